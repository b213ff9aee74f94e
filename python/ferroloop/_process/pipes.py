"""Pipes as transports: connect_read_pipe and connect_write_pipe.

The native transport owns the pipe object and closes it. Only the loop's thread may call. A regular file
cannot be a transport, because its reads and writes never wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._compat import logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ferroloop._loop.base import LoopBase, ProtocolFactory

__all__ = (
    "connect_read_pipe",
    "connect_write_pipe",
    "make_read_pipe_transport",
    "make_write_pipe_transport",
)


def make_read_pipe_transport(
    loop: LoopBase,
    pipe: Any,
    protocol: asyncio.BaseProtocol,
    waiter: asyncio.Future[None] | None = None,
    extra: dict[str, Any] | None = None,
) -> _native.ReadPipeTransport:
    """Make the transport of a reading end. Mirrors asyncio's `_make_read_pipe_transport`."""
    return _native.ReadPipeTransport(loop, pipe, protocol, waiter, extra)


def make_write_pipe_transport(
    loop: LoopBase,
    pipe: Any,
    protocol: asyncio.BaseProtocol,
    waiter: asyncio.Future[None] | None = None,
    extra: dict[str, Any] | None = None,
) -> _native.WritePipeTransport:
    """Make the transport of a writing end. Mirrors asyncio's `_make_write_pipe_transport`."""
    return _native.WritePipeTransport(loop, pipe, protocol, waiter, extra)


async def connect_read_pipe(
    loop: LoopBase, protocol_factory: ProtocolFactory, pipe: Any
) -> tuple[Any, Any]:
    """Read from `pipe`, which has fileno() and close(); return (transport, protocol).

    `pipe` is a pipe, FIFO, character device or socket. Raises ValueError for a regular file, whose
    owner the caller stays, and OSError for a closed descriptor.
    Mirrors asyncio's `connect_read_pipe`.
    """
    return await _connect(loop, loop._make_read_pipe_transport, protocol_factory, pipe, "Read")


async def connect_write_pipe(
    loop: LoopBase, protocol_factory: ProtocolFactory, pipe: Any
) -> tuple[Any, Any]:
    """Write to `pipe`, which has fileno() and close(); return (transport, protocol).

    `pipe` is a pipe, FIFO, character device or socket. Raises ValueError for a regular file, whose
    owner the caller stays, and OSError for a closed descriptor.
    Mirrors asyncio's `connect_write_pipe`.
    """
    return await _connect(loop, loop._make_write_pipe_transport, protocol_factory, pipe, "Write")


async def _connect(
    loop: LoopBase,
    make: Callable[..., Any],
    protocol_factory: ProtocolFactory,
    pipe: Any,
    kind: str,
) -> tuple[Any, Any]:
    """Make the transport and wait for `connection_made`; close it if the caller is cancelled."""
    protocol = protocol_factory()
    waiter = loop.create_future()
    transport = make(pipe, protocol, waiter)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    if loop.get_debug():
        logger.debug(f"{kind} pipe %r connected: (%r, %r)", pipe.fileno(), transport, protocol)
    return transport, protocol
