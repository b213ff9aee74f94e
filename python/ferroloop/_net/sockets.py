"""Socket operations without a transport: the `sock_*` calls.

Native code makes the system calls and watches the socket. The coroutines here try, wait for readiness,
and try again. Each coroutine makes its system call itself, so after a cancellation the data is still in
the kernel. Called in the loop's thread.
"""

from __future__ import annotations

import _socket
import functools
import socket
import types
from typing import TYPE_CHECKING, Any, TypeVar

from ferroloop._compat import ssl

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

    from ferroloop._loop.base import LoopBase

__all__ = (
    "SOCKET_CLASS",
    "begin_connect",
    "check_socket",
    "check_ssl_socket",
    "next_turn",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
    "stop_serving",
    "wait_connected",
    "wait_socket",
)

T = TypeVar("T")

#: The standard library's class, also if a program had put another one in its place by now.
SOCKET_CLASS: Any = next(
    (cls for cls in _socket.socket.__subclasses__() if cls.__module__ == "socket"), socket.socket
)


def check_ssl_socket(sock: object) -> None:
    """Raise TypeError for an SSLSocket, which would do its own reading and writing."""
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")


def check_socket(loop: LoopBase, sock: socket.socket) -> None:
    """Raise TypeError for an SSLSocket, ValueError in debug mode for a blocking socket."""
    check_ssl_socket(sock)
    if loop.get_debug() and sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")


def stop_serving(loop: LoopBase, sock: socket.socket) -> None:
    """Stop reading from `sock` and close it; mirrors asyncio's `_stop_serving`."""
    loop._remove_reader(sock.fileno())
    sock.close()


# Each call waits and removes its watch by itself: another coroutine for that costs 700 instructions a wait.


async def sock_recv(loop: LoopBase, sock: socket.socket, n: int) -> bytes:
    """Receive at most `n` bytes from the non-blocking `sock`; b"" once the peer has ended.

    Raises TypeError for an SSLSocket, ValueError in debug mode for a blocking socket, RuntimeError
    for a descriptor that a transport owns, OSError if receiving fails. Mirrors asyncio's
    `sock_recv`; a cancelled call has taken nothing.
    """
    while True:
        result = loop._sock_recv(sock, n)
        if type(result) is bytes:
            return result
        if result is NotImplemented:
            check_socket(loop, sock)
            return await _retried(loop, sock, False, lambda: sock.recv(n))
        try:
            await result
        except BaseException:
            loop._sock_forget(sock, result)
            raise


async def sock_recv_into(loop: LoopBase, sock: socket.socket, buf: Any) -> int:
    """Receive from the non-blocking `sock` into the writable buffer `buf`; how many bytes.

    Raises what `sock_recv` raises. Mirrors asyncio's `sock_recv_into`.
    """
    while True:
        result = loop._sock_recv_into(sock, buf)
        if type(result) is int:
            return result
        if result is NotImplemented:
            check_socket(loop, sock)
            return await _retried(loop, sock, False, lambda: sock.recv_into(buf))
        try:
            await result
        except BaseException:
            loop._sock_forget(sock, result)
            raise


async def sock_recvfrom(loop: LoopBase, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
    """Receive a datagram of at most `bufsize` bytes: (data, sender's address).

    Raises what `sock_recv` raises. Mirrors asyncio's `sock_recvfrom`, which is there since 3.11.
    """
    while True:
        result = loop._sock_recvfrom(sock, bufsize)
        if type(result) is tuple:
            return result
        if result is NotImplemented:
            check_socket(loop, sock)
            return await _retried(loop, sock, False, lambda: sock.recvfrom(bufsize))
        try:
            await result
        except BaseException:
            loop._sock_forget(sock, result)
            raise


async def sock_recvfrom_into(
    loop: LoopBase,
    sock: socket.socket,
    buf: Any,
    nbytes: int = 0,
) -> tuple[int, Any]:
    """Receive a datagram into `buf`, at most `nbytes` (0: its size): (count, sender's address).

    Raises what `sock_recv` raises. Mirrors asyncio's `sock_recvfrom_into`, which is there since
    3.11.
    """
    checked = False
    while True:
        if not nbytes:
            check_socket(loop, sock)
            checked = True
            nbytes = len(buf)
        result = loop._sock_recvfrom_into(sock, buf, nbytes)
        if type(result) is tuple:
            return result
        if result is NotImplemented:
            if not checked:
                check_socket(loop, sock)
            attempt = functools.partial(sock.recvfrom_into, buf, nbytes)
            return await _retried(loop, sock, False, attempt)
        try:
            await result
        except BaseException:
            loop._sock_forget(sock, result)
            raise


async def sock_sendall(loop: LoopBase, sock: socket.socket, data: Any) -> None:
    """Send all of `data` on the connected, non-blocking `sock`.

    Raises what `sock_recv` raises; how much was sent before an error cannot be told. Mirrors
    asyncio's `sock_sendall`.
    """
    rest = loop._sock_sendall(sock, data, 0)
    if rest is None:
        return
    if rest is NotImplemented:
        check_socket(loop, sock)
        sent = await _retried(loop, sock, True, lambda: sock.send(data), 0)
        # asyncio counts items where `send` counts bytes, and never ends if they are longer.
        await _send_rest(loop, sock, memoryview(data).cast("B"), sent)
        return
    # Held, so that it cannot be resized meanwhile.
    with memoryview(data) as view:
        while rest is not None:
            if rest is NotImplemented:
                # The socket was closed meanwhile, or is no longer what it was.
                await _send_rest(loop, sock, view.cast("B"), sent)
                return
            sent, ready = rest
            if ready is None:
                await next_turn()
            elif ready is NotImplemented:
                await _wait_watched(loop, sock, True)
            else:
                try:
                    await ready
                except BaseException:
                    loop._sock_forget(sock, ready)
                    raise
            rest = loop._sock_sendall(sock, view, sent)


async def _send_rest(loop: LoopBase, sock: socket.socket, view: memoryview[int], sent: int) -> None:
    """Send the bytes of `view` from `sent` on by the socket's own `send`."""
    while sent < len(view):
        sent += await _retried(loop, sock, True, functools.partial(sock.send, view[sent:]))
        if sent < len(view):
            await next_turn()


@types.coroutine
def next_turn() -> Generator[None, None, None]:
    """Continue in the next turn, without `asyncio.sleep(0)`, which tests replace."""
    yield


async def sock_sendto(loop: LoopBase, sock: socket.socket, data: Any, address: Any) -> int:
    """Send the datagram `data` from `sock` to `address`; how many bytes.

    Raises what `sock_recv` raises. Mirrors asyncio's `sock_sendto`, which is there since 3.11.
    """
    check_socket(loop, sock)
    return await _retried(loop, sock, True, lambda: sock.sendto(data, address))


async def sock_accept(loop: LoopBase, sock: socket.socket) -> tuple[socket.socket, Any]:
    """Accept a connection on the listening `sock`: (a non-blocking socket, the peer's address).

    Raises what `sock_recv` raises. Mirrors asyncio's `sock_accept`; a cancelled call has accepted
    nothing.
    """
    while True:
        result = loop._sock_accept(sock)
        if type(result) is tuple:
            return result
        if result is NotImplemented:
            check_socket(loop, sock)
            sock.fileno()  # asks first for what an object that is no socket lacks
            accepted, address = await _retried(loop, sock, False, sock.accept)
            accepted.setblocking(False)
            return accepted, address
        try:
            await result
        except BaseException:
            loop._sock_forget(sock, result)
            raise


async def _retried(
    loop: LoopBase, sock: socket.socket, write: bool, attempt: Callable[[], T], blocked: Any = None
) -> T:
    """Call `attempt()` until it does not block, and return its result.

    If `blocked` is given and the first attempt would block, return `blocked`.
    """
    while True:
        try:
            return attempt()
        except (BlockingIOError, InterruptedError):
            if blocked is not None:
                return blocked  # type: ignore[no-any-return]  # of the kind that attempt returns
        await wait_socket(loop, sock, write)


async def wait_socket(loop: LoopBase, sock: socket.socket, write: bool) -> None:
    """Wait until `sock` may be ready to be written, or read; it may turn out not to be.

    Raises RuntimeError for a descriptor that a transport owns.
    """
    ready = loop._sock_wait(sock, write)
    if ready is NotImplemented:
        await _wait_watched(loop, sock, write)
        return
    try:
        await ready
    except BaseException:
        loop._sock_forget(sock, ready)
        raise


async def _wait_watched(loop: LoopBase, sock: socket.socket, write: bool) -> None:
    """Wait by a watch that replaces the program's and is removed afterwards, as asyncio does."""
    fd = sock.fileno()
    loop._ensure_fd_no_transport(fd)
    future: asyncio.Future[None] = loop.create_future()
    add = loop._add_writer if write else loop._add_reader
    handle = add(fd, _wake, future)
    try:
        await future
    finally:
        # A later watch of the same number has cancelled our handle.
        if not handle.cancelled():
            remove = loop._remove_writer if write else loop._remove_reader
            remove(fd)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def sock_connect(loop: LoopBase, sock: socket.socket, address: Any) -> None:
    """Connect the non-blocking `sock` to `address`.

    A host name is resolved first for IPv4 and IPv6 sockets. Raises TypeError for an SSLSocket,
    ValueError in debug mode for a blocking socket, RuntimeError for a descriptor that a transport
    owns, OSError if the connection fails. Mirrors asyncio's `sock_connect`.
    """
    check_socket(loop, sock)
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
        # After EINTR the kernel continues to connect (bpo-23618).
        pass
    # Over loopback the connection is established by now: one system call in place of a watch, a turn of
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
        # A later watch of the same number has cancelled our handle.
        if not handle.cancelled():
            loop._remove_writer(fd)
        # The exception's traceback holds this frame.
        del future


def _connected(future: asyncio.Future[None], sock: socket.socket, address: Any) -> None:
    """Settle `future` with the outcome of the connection; its socket is writable."""
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
