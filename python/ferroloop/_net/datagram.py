"""UDP and other datagram endpoints: arguments, addresses and sockets of create_datagram_endpoint.

Owns a new socket until its transport has it; called in the loop's thread, once for each endpoint.
A host name may have addresses of several families. The local and the remote address must be of one
family, so the first family that has both and works is used.
"""

from __future__ import annotations

import socket
import sys
import warnings
from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._compat import logger
from ferroloop._net.binding import remove_stale, set_reuse_port

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from ferroloop._loop.base import AddressInfo, LoopBase, ProtocolFactory

__all__ = ("create_datagram_endpoint", "make_datagram_transport")


class _NotGiven:
    """Shows that `reuse_address`, which asyncio took until 3.10, was not given."""

    def __repr__(self) -> str:
        return "<not given>"


_NOT_GIVEN: Any = _NotGiven()


async def create_datagram_endpoint(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    local_addr: Any = None,
    remote_addr: Any = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_address: Any = _NOT_GIVEN,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
) -> tuple[Any, Any]:
    """Make an endpoint for datagrams, or take `sock`, and return (transport, protocol).

    Addresses are (host, port), or a path for AF_UNIX. Raises ValueError for arguments that exclude
    each other or lack a family, TypeError for addresses of the wrong kind, OSError if no address
    works. Mirrors asyncio's `create_datagram_endpoint`: `reuse_address` only up to 3.10, any
    socket but a stream socket from 3.13 on, before that only datagram sockets.
    """
    if reuse_address is not _NOT_GIVEN:
        _check_reuse_address(reuse_address)
    peer: Any = None
    is_ours = sock is None
    if sock is not None:
        options = {
            "local_addr": local_addr,
            "remote_addr": remote_addr,
            "family": family,
            "proto": proto,
            "flags": flags,
            # asyncio's of 3.10 names it even if it was not given.
            "reuse_address": reuse_address if sys.version_info < (3, 11) else None,
            "reuse_port": reuse_port,
            "allow_broadcast": allow_broadcast,
        }
        _check_taken(sock, options)
        sock.setblocking(False)
    else:
        candidates = await _candidates(loop, local_addr, remote_addr, family, proto, flags)
        sock, peer = await _open_first(loop, candidates, reuse_port, allow_broadcast)

    waiter: asyncio.Future[None] = loop.create_future()
    try:
        protocol = protocol_factory()
        transport = loop._make_datagram_transport(sock, protocol, peer, waiter)
    except BaseException:
        if is_ours:
            sock.close()
        raise
    if loop.get_debug():
        _log_created(local_addr, remote_addr, transport, protocol)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    return transport, protocol


def make_datagram_transport(
    loop: LoopBase,
    sock: socket.socket,
    protocol: asyncio.BaseProtocol,
    address: Any = None,
    waiter: asyncio.Future[None] | None = None,
    extra: dict[str, Any] | None = None,
) -> _native.DatagramTransport:
    """Return a transport that owns `sock`; an exception leaves the socket with the caller.

    Mirrors asyncio's method of the same purpose, `_make_datagram_transport`.
    """
    return _native.DatagramTransport(loop, sock, protocol, address, waiter, extra)


def _check_reuse_address(reuse_address: object) -> None:
    """Do what asyncio does with `reuse_address` on 3.10; it was removed in 3.11."""
    if sys.version_info >= (3, 11):
        raise TypeError(
            "BaseEventLoop.create_datagram_endpoint() got an unexpected keyword argument"
            " 'reuse_address'"
        )
    if reuse_address:
        raise ValueError(
            "Passing `reuse_address=True` is no longer supported, as the usage of SO_REUSEPORT in"
            " UDP poses a significant security concern."
        )
    warnings.warn(
        "The *reuse_address* parameter has been deprecated as of 3.5.10 and is scheduled for"
        " removal in 3.11.",
        DeprecationWarning,
        stacklevel=3,
    )


def _check_taken(sock: socket.socket, options: dict[str, Any]) -> None:
    """Raise for a socket of the wrong kind, and for options together with a socket."""
    if sys.version_info >= (3, 13):
        if sock.type == socket.SOCK_STREAM:
            raise ValueError(f"A datagram socket was expected, got {sock!r}")
    elif sock.type != socket.SOCK_DGRAM:
        raise ValueError(f"A UDP Socket was expected, got {sock!r}")
    if any(value for name, value in options.items() if name != "reuse_address"):
        problems = ", ".join(f"{name}={value}" for name, value in options.items() if value)
        raise ValueError(
            "socket modifier keyword arguments can not be used when sock is specified."
            f" ({problems})"
        )


async def _candidates(
    loop: LoopBase, local_addr: Any, remote_addr: Any, family: int, proto: int, flags: int
) -> list[tuple[int, int, Any, Any]]:
    """(family, protocol, local address, remote address) of the sockets worth trying, in order."""
    if not (local_addr or remote_addr):
        if family == 0:
            raise ValueError("unexpected address family")
        return [(family, proto, None, None)]
    if family == socket.AF_UNIX:
        _check_paths(local_addr, remote_addr)
        return [(family, proto, local_addr, remote_addr)]

    hints = {"family": family, "proto": proto, "flags": flags}
    found: dict[tuple[int, int], list[Any]] = {}
    for place, addr in enumerate((local_addr, remote_addr)):
        if addr is None:
            continue
        for info_family, _, info_proto, _, address in await _resolve(loop, addr, hints):
            found.setdefault((info_family, info_proto), [None, None])[place] = address
    pairs = [
        (*key, local, remote)
        for key, (local, remote) in found.items()
        if not ((local_addr and local is None) or (remote_addr and remote is None))
    ]
    if not pairs:
        raise ValueError("can not get address information")
    return pairs


async def _resolve(loop: LoopBase, addr: Any, hints: dict[str, int]) -> list[AddressInfo]:
    """Address infos of a datagram socket for `addr`, at least one."""
    is_pair = isinstance(addr, tuple) and len(addr) == len(("host", "port"))
    if not is_pair:
        # An assert statement in asyncio up to 3.10.
        error = TypeError if sys.version_info >= (3, 11) else AssertionError
        raise error("2-tuple is expected")
    infos = await loop._ensure_resolved(addr, type=socket.SOCK_DGRAM, **hints)
    if not infos:
        raise OSError("getaddrinfo() returned empty list")
    return infos


def _check_paths(local_addr: Any, remote_addr: Any) -> None:
    """Raise for addresses that are not paths, and remove a stale file at `local_addr`."""
    for addr in (local_addr, remote_addr):
        if addr is not None and not isinstance(addr, str):
            raise TypeError("string is expected")
    if local_addr:
        remove_stale(local_addr)


async def _open_first(
    loop: LoopBase,
    candidates: Sequence[tuple[int, int, Any, Any]],
    reuse_port: bool | None,
    allow_broadcast: bool | None,
) -> tuple[socket.socket, Any]:
    """(a bound, connected socket, its peer's address) of the first candidate that works."""
    failed: OSError | None = None
    try:
        for family, proto, local, remote in candidates:
            try:
                sock = socket.socket(family=family, type=socket.SOCK_DGRAM, proto=proto)
            except OSError as exc:
                failed = failed or exc
                continue
            try:
                await _prepare(loop, sock, local, remote, reuse_port, allow_broadcast)
            except OSError as exc:
                sock.close()
                failed = failed or exc
            except BaseException:
                sock.close()
                raise
            else:
                return sock, remote
        if failed is None:
            raise ValueError("can not get address information")
        raise failed
    finally:
        # The exception's traceback holds this frame.
        del failed


async def _prepare(
    loop: LoopBase,
    sock: socket.socket,
    local: Any,
    remote: Any,
    reuse_port: bool | None,
    allow_broadcast: bool | None,
) -> None:
    """Set the options of a new socket, bind it and connect it."""
    if reuse_port:
        set_reuse_port(sock)
    if allow_broadcast:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setblocking(False)
    if local:
        sock.bind(local)
    # Connected, a socket could not hear the answers to a broadcast.
    if remote and not allow_broadcast:
        await loop.sock_connect(sock, remote)


def _log_created(local_addr: Any, remote_addr: Any, transport: object, protocol: object) -> None:
    if local_addr:
        logger.info(
            "Datagram endpoint local_addr=%r remote_addr=%r created: (%r, %r)",
            local_addr,
            remote_addr,
            transport,
            protocol,
        )
    else:
        logger.debug(
            "Datagram endpoint remote_addr=%r created: (%r, %r)", remote_addr, transport, protocol
        )
