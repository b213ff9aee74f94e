"""Socket operations without a transport: `sock_connect`, `sock_accept`, places for the others.

Owns nothing but the watch of one operation; called in the loop's thread.
The surprise: a watch is taken away only while it is still the operation's own, because after a
cancellation the same descriptor number may already be watched for somebody else.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, NoReturn

from ferroloop._asyncio_private import ssl

if TYPE_CHECKING:
    import asyncio

    from ferroloop._base import LoopBase

__all__ = (
    "begin_connect",
    "check_ssl_socket",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
    "wait_connected",
)


def check_ssl_socket(sock: object) -> None:
    """Raise TypeError for an SSLSocket, which would do its own reading and writing."""
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")


async def sock_connect(loop: LoopBase, sock: socket.socket, address: Any) -> None:
    """Connect the non-blocking `sock` to `address`.

    A host name is resolved first for IPv4 and IPv6 sockets. Raises TypeError for an SSLSocket,
    ValueError in debug mode for a blocking socket, RuntimeError for a descriptor that a transport
    owns, OSError if the connection fails. Mirrors asyncio's `sock_connect`.
    """
    _check_usable(loop, sock)
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        infos = await loop._ensure_resolved(
            address, family=sock.family, type=sock.type, proto=sock.proto
        )
        address = infos[0][4]
    if not begin_connect(sock, address):
        await wait_connected(loop, sock, address)


def begin_connect(sock: socket.socket, address: Any) -> bool:
    """Begin to connect the non-blocking `sock`; True if it is connected already.

    Raises OSError if the connection fails at once.
    """
    try:
        sock.connect(address)
        return True
    except (BlockingIOError, InterruptedError):
        # After EINTR too the kernel goes on connecting (bpo-23618).
        pass
    # Over loopback the handshake is through by now: one system call in place of a watch, a turn of
    # the loop and an unwatch. A failure is left for wait_connected to find, because a caller that
    # tries again and again must let the loop turn in between.
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


async def wait_connected(loop: LoopBase, sock: socket.socket, address: Any) -> None:
    """Wait until the connection under way is made; raise OSError if it failed."""
    fd = sock.fileno()
    loop._ensure_fd_no_transport(fd)
    future: asyncio.Future[None] = loop.create_future()
    handle = loop._add_writer(fd, _connected, future, sock, address)
    try:
        await future
    finally:
        # Whoever watches the number after us has cancelled our handle.
        if not handle.cancelled():
            loop._remove_writer(fd)
        # The exception's traceback holds this frame.
        del future


def _connected(future: asyncio.Future[None], sock: socket.socket, address: Any) -> None:
    """Settle `future` by what became of the connection; its socket is writable."""
    if future.done():
        return
    try:
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error != 0:
            raise OSError(error, f"Connect call failed {address}")
    except (BlockingIOError, InterruptedError):
        # Still watched: the next event tries again.
        return
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        future.set_exception(exc)
    else:
        future.set_result(None)
    finally:
        # The exception's traceback holds this frame.
        del future


async def sock_accept(loop: LoopBase, sock: socket.socket) -> tuple[socket.socket, Any]:
    """Accept a connection on the listening, non-blocking `sock`; (socket, address of the peer).

    The new socket does not block. Raises TypeError for an SSLSocket, ValueError in debug mode for
    a blocking socket, RuntimeError for a descriptor that a transport owns, OSError if accepting
    fails. Mirrors asyncio's `sock_accept`; a cancelled call never drops a connection, which in
    asyncio holds since late 3.13 and 3.14 patches.
    """
    _check_usable(loop, sock)
    while True:
        try:
            connection, address = sock.accept()
        except (BlockingIOError, InterruptedError):
            pass
        else:
            connection.setblocking(False)
            return connection, address
        await _wait_readable(loop, sock)


async def _wait_readable(loop: LoopBase, sock: socket.socket) -> None:
    """Wait until `sock` has something to read or to accept."""
    fd = sock.fileno()
    loop._ensure_fd_no_transport(fd)
    future: asyncio.Future[None] = loop.create_future()
    handle = loop._add_reader(fd, _wake, future)
    try:
        await future
    finally:
        # Whoever watches the number after us has cancelled our handle.
        if not handle.cancelled():
            loop._remove_reader(fd)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _check_usable(loop: LoopBase, sock: socket.socket) -> None:
    """Raise as asyncio does for a socket that its loop cannot work with."""
    check_ssl_socket(sock)
    if loop.get_debug() and sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")


def _not_yet(name: str) -> NoReturn:
    raise NotImplementedError(f"ferroloop does not implement loop.{name}() yet")


async def sock_recv(loop: LoopBase, sock: socket.socket, nbytes: int) -> bytes:
    """Raise NotImplementedError: asyncio's `sock_recv` is still to come."""
    _not_yet("sock_recv")


async def sock_recv_into(loop: LoopBase, sock: socket.socket, buf: Any) -> int:
    """Raise NotImplementedError: asyncio's `sock_recv_into` is still to come."""
    _not_yet("sock_recv_into")


async def sock_recvfrom(loop: LoopBase, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
    """Raise NotImplementedError: asyncio's `sock_recvfrom` (3.11) is still to come."""
    _not_yet("sock_recvfrom")


async def sock_recvfrom_into(
    loop: LoopBase,
    sock: socket.socket,
    buf: Any,
    nbytes: int = 0,
) -> tuple[int, Any]:
    """Raise NotImplementedError: asyncio's `sock_recvfrom_into` (3.11) is still to come."""
    _not_yet("sock_recvfrom_into")


async def sock_sendall(loop: LoopBase, sock: socket.socket, data: Any) -> None:
    """Raise NotImplementedError: asyncio's `sock_sendall` is still to come."""
    _not_yet("sock_sendall")


async def sock_sendto(loop: LoopBase, sock: socket.socket, data: Any, address: Any) -> int:
    """Raise NotImplementedError: asyncio's `sock_sendto` (3.11) is still to come."""
    _not_yet("sock_sendto")
