"""Sending files with sendfile(2), or by reading and writing if that is not possible.

The position of the file is behind the last byte that was sent. Called in the loop's thread.
asyncio's private methods (`_sendfile_native` and similar) are called through the loop, because
CPython's tests and some programs replace them.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import posix  # not os: see blockbuster in docs/compatibility/introspection.md
import socket
import sys
from typing import IO, TYPE_CHECKING, Any

from ferroloop._compat import SENDFILE_ALWAYS_SEEKS, SendfileMode, constants
from ferroloop._net.sockets import check_ssl_socket, next_turn, wait_socket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ferroloop._loop.base import LoopBase

__all__ = (
    "check_sendfile_params",
    "sendfile",
    "sendfile_fallback",
    "sendfile_native",
    "sock_sendfile",
    "sock_sendfile_fallback",
    "sock_sendfile_native",
)

#: How much one call asks for: more is an OverflowError on 32-bit machines.
_MOST = sys.maxsize // 2 + 1
#: How much of a file is read at a time for a transport that cannot sendfile(2). Each block costs a
#: turn through the executor; asyncio takes 16 KiB for transports, and this much for sockets.
_BLOCK = 256 * 1024


async def sendfile(
    loop: LoopBase,
    transport: Any,
    file: IO[bytes],
    offset: int = 0,
    count: int | None = None,
    *,
    fallback: bool = True,
) -> int:
    """Send `count` bytes (None: all) of `file` from `offset` on through `transport`; how many.

    Raises RuntimeError for a transport that is closing or cannot send files, and with
    `fallback=False` SendfileNotAvailableError or RuntimeError where sendfile(2) cannot be used.
    Nothing may be written and nothing is read meanwhile. Mirrors asyncio's `sendfile`.
    """
    if transport.is_closing():
        raise RuntimeError("Transport is closing")
    mode = getattr(transport, "_sendfile_compatible", SendfileMode.UNSUPPORTED)
    if mode is SendfileMode.UNSUPPORTED:
        raise RuntimeError(f"sendfile is not supported for transport {transport!r}")
    if mode is SendfileMode.TRY_NATIVE:
        try:
            return await loop._sendfile_native(transport, file, offset, count)
        except asyncio.SendfileNotAvailableError:
            if not fallback:
                raise
    if not fallback:
        raise RuntimeError(
            f"fallback is disabled and native sendfile is not supported for transport {transport!r}"
        )
    return await loop._sendfile_fallback(transport, file, offset, count)


async def sendfile_native(
    loop: LoopBase, transport: Any, file: IO[bytes], offset: int, count: int | None
) -> int:
    """Send the file with sendfile(2), after the transport's queue is empty.

    Raises SendfileNotAvailableError if it cannot be. Mirrors asyncio's `_sendfile_native`.
    """
    sock = transport.get_extra_info("socket")
    resumes = transport.is_reading()
    drained = transport._make_empty_waiter()
    try:
        transport.pause_reading()
        await drained
        loop._check_sendfile_params(sock, file, offset, count)
        return await _transfer(sock, file, offset, count, transport._wait_for_room)
    finally:
        transport._reset_empty_waiter()
        if resumes:
            transport.resume_reading()


async def sendfile_fallback(
    loop: LoopBase, transport: Any, file: IO[bytes], offset: int, count: int | None
) -> int:
    """Read the file in an executor and write it to the transport.

    Mirrors asyncio's `_sendfile_fallback`.
    """
    stand_in = _StandIn(transport, loop)

    async def send(view: memoryview[int]) -> None:
        if SENDFILE_ALWAYS_SEEKS:
            transport.write(view)
            await stand_in.drain()
        else:
            await stand_in.drain()
            transport.write(view)

    try:
        return await _read_and_send(loop, file, offset, count, _BLOCK, send)
    finally:
        await stand_in.restore()


class _StandIn(asyncio.Protocol):
    """Replaces the protocol while a file is written, so that no other data is mixed in."""

    def __init__(self, transport: Any, loop: LoopBase) -> None:
        """Pause reading and take the place of the transport's protocol."""
        self._transport = transport
        self._loop = loop
        self._protocol = transport.get_protocol()
        self._resumes_reading = transport.is_reading()
        self._resumes_writing = bool(transport._protocol_paused)
        self._room: asyncio.Future[None] | None = None
        transport.pause_reading()
        transport.set_protocol(self)
        if self._resumes_writing:
            self._room = loop.create_future()

    async def drain(self) -> None:
        """Wait until the transport takes more; raise ConnectionError if it is closing."""
        if self._transport.is_closing():
            raise ConnectionError("Connection closed by peer")
        if self._room is not None:
            await self._room

    async def restore(self) -> None:
        """Restore the protocol, and deliver the calls that it has missed."""
        self._transport.set_protocol(self._protocol)
        if self._resumes_reading:
            self._transport.resume_reading()
        if self._room is not None:
            # Its waiter was cancelled.
            self._room.cancel()
        if self._resumes_writing:
            self._protocol.resume_writing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse: the connection was made long ago."""
        raise RuntimeError("Invalid state: connection should have been established already.")

    def connection_lost(self, exc: Exception | None) -> None:
        """End the transfer, and tell the protocol."""
        if self._room is not None and not self._room.done():
            # It ends before everything is sent, so it is an error in any case.
            self._room.set_exception(exc or ConnectionError("Connection is closed by peer"))
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Make the transfer wait."""
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let the transfer continue."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Refuse: reading is paused."""
        raise RuntimeError("Invalid state: reading should be paused")

    def eof_received(self) -> None:
        """Refuse: reading is paused."""
        raise RuntimeError("Invalid state: reading should be paused")


async def sock_sendfile(
    loop: LoopBase,
    sock: socket.socket,
    file: IO[bytes],
    offset: int = 0,
    count: int | None = None,
    *,
    fallback: bool | None = True,
) -> int:
    """Send `count` bytes (None: all) of `file` from `offset` on through `sock`; how many.

    Raises ValueError in debug mode for a blocking socket, for a text file or a socket that is no
    stream, TypeError and ValueError for a wrong offset or count, TypeError for an SSLSocket, and
    with `fallback=False` SendfileNotAvailableError where sendfile(2) cannot be used. Mirrors
    asyncio's `sock_sendfile`.
    """
    if loop.get_debug() and sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")
    check_ssl_socket(sock)
    loop._check_sendfile_params(sock, file, offset, count)
    try:
        return await loop._sock_sendfile_native(sock, file, offset, count)
    except asyncio.SendfileNotAvailableError:
        if not fallback:
            raise
    return await loop._sock_sendfile_fallback(sock, file, offset, count)


async def sock_sendfile_native(
    loop: LoopBase, sock: socket.socket, file: IO[bytes], offset: int, count: int | None
) -> int:
    """Send the file with sendfile(2).

    Raises SendfileNotAvailableError if it cannot be. Mirrors asyncio's `_sock_sendfile_native`.
    """
    return await _transfer(sock, file, offset, count, lambda: wait_socket(loop, sock, True))


async def sock_sendfile_fallback(
    loop: LoopBase, sock: socket.socket, file: IO[bytes], offset: int, count: int | None
) -> int:
    """Read the file in an executor and send it; mirrors asyncio's `_sock_sendfile_fallback`."""
    most = constants.SENDFILE_FALLBACK_READBUFFER_SIZE

    async def send(view: memoryview[int]) -> None:
        await loop.sock_sendall(sock, view)

    return await _read_and_send(loop, file, offset, count, most, send)


async def _read_and_send(
    loop: LoopBase,
    file: IO[bytes],
    offset: int,
    count: int | None,
    most: int,
    send: Callable[[memoryview[int]], Awaitable[None]],
) -> int:
    """Read the file in an executor, at most `most` bytes at a time, and `send` each part; how much.

    The file's position follows what was sent.
    """
    _seek(file, offset)
    block = min(count, most) if count else most
    buffer = bytearray(block)
    sent = 0
    try:
        while True:
            if count:
                block = min(count - sent, block)
                if block <= 0:
                    return sent
            view = memoryview(buffer)[:block]
            read = await loop.run_in_executor(None, file.readinto, view)  # type: ignore[attr-defined]  # binary files have it
            if not read:
                return sent
            await send(view[:read])
            sent += read
    finally:
        if sent > 0 and hasattr(file, "seek"):
            file.seek(offset + sent)


def _seek(file: IO[bytes], offset: int) -> None:
    """Put the file at `offset`, as far as asyncio of this version does."""
    if hasattr(file, "seek") if SENDFILE_ALWAYS_SEEKS else offset:
        file.seek(offset)


def check_sendfile_params(
    loop: LoopBase, sock: socket.socket, file: IO[bytes], offset: Any, count: Any
) -> None:
    """Raise ValueError or TypeError with asyncio's text for what sock_sendfile cannot send."""
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("file should be opened in binary mode")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError("only SOCK_STREAM type sockets are supported")
    if count is not None:
        if not isinstance(count, int):
            raise TypeError(f"count must be a positive integer (got {count!r})")
        if count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")
    if not isinstance(offset, int):
        raise TypeError(f"offset must be a non-negative integer (got {offset!r})")
    if offset < 0:
        raise ValueError(f"offset must be a non-negative integer (got {offset!r})")


async def _transfer(
    sock: Any,
    file: IO[bytes],
    offset: int,
    count: int | None,
    wait_for_room: Callable[[], Awaitable[None]],
) -> int:
    """Send the file with sendfile(2) and leave its position behind what was sent; how much.

    Raises SendfileNotAvailableError if nothing was sent because it cannot be.
    """
    fileno, size = _regular(file)
    block = count or size
    if not block:
        return 0
    sent = 0
    try:
        while True:
            if count:
                block = count - sent
                if block <= 0:
                    return sent
            part = _send_part(sock.fileno(), fileno, offset, block, begun=sent > 0)
            if part == 0:
                return sent
            if part is None:
                await wait_for_room()
            else:
                offset += part
                sent += part
                # Wait for the next turn, so that a fast peer does not block other callbacks.
                await next_turn()
    finally:
        if sent > 0 or SENDFILE_ALWAYS_SEEKS:
            os.lseek(fileno, offset, os.SEEK_SET)


def _send_part(sock: int, file: int, offset: int, block: int, *, begun: bool) -> int | None:
    """One sendfile(2): how much was sent, 0 at the file's end, None if there is no room."""
    try:
        return posix.sendfile(sock, file, offset, min(block, _MOST))
    except (BlockingIOError, InterruptedError):
        return None
    except OSError as exc:
        if not begun:
            raise asyncio.SendfileNotAvailableError("os.sendfile call failed") from None
        if exc.errno == errno.ENOTCONN:
            # Other systems report this when the peer closes the connection meanwhile.
            raise ConnectionError("socket is not connected", errno.ENOTCONN) from exc
        raise


def _regular(file: IO[bytes]) -> tuple[int, int]:
    """(descriptor, size) of the file; SendfileNotAvailableError if it has no such things."""
    try:
        fileno = file.fileno()
    except (AttributeError, io.UnsupportedOperation):
        raise asyncio.SendfileNotAvailableError("not a regular file") from None
    try:
        return fileno, os.fstat(fileno).st_size
    except OSError:
        raise asyncio.SendfileNotAvailableError("not a regular file") from None
