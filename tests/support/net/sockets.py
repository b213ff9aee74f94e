"""Real sockets in the states that tests need."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import Iterator

from support.loops import PATIENCE

Pair = tuple[socket.socket, socket.socket]


@contextlib.contextmanager
def socket_pair() -> Iterator[Pair]:
    """Two connected Unix sockets that do not block."""
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


def listening(family: socket.AddressFamily = socket.AF_INET, backlog: int = 16) -> socket.socket:
    """A TCP socket that listens on a free port of this machine."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    sock.listen(backlog)
    return sock


def silent_listener() -> tuple[socket.socket, list[socket.socket]]:
    """A listener whose queue is full: who connects waits."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting: list[socket.socket] = []
    for _ in range(8):
        sock = socket.socket()
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(listener.getsockname())
        waiting.append(sock)
    return listener, waiting


@contextlib.contextmanager
def tcp_pair() -> Iterator[Pair]:
    """Two connected TCP sockets that do not block and have buffers of a known size."""
    with listening() as listener:
        near = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
        with near:
            far, _ = listener.accept()
            with far:
                for sock in (near, far):
                    sock.setblocking(False)
                    # Otherwise the kernel lets them grow until they hold everything that a test writes.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
                yield near, far


def reset(sock: socket.socket) -> None:
    """Close a TCP socket so that the peer sees a reset instead of an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def fill(sock: socket.socket) -> int:
    """Write until the kernel takes no more; how much it took."""
    total = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            total += sock.send(bytes(1 << 16))
    return total


def wait_readable(sock: socket.socket) -> None:
    """Block until the socket has something to read."""
    assert select.select([sock], [], [], PATIENCE)[0], "nothing arrives"


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    """Block until so many bytes have come."""
    data = b""
    while len(data) < size:
        wait_readable(sock)
        part = sock.recv(size - len(data))
        assert part, f"the peer closed after {data!r}"
        data += part
    return data


async def receive_in_turns(sock: socket.socket, size: int, most: int = 1 << 16) -> bytes:
    """Receive so many bytes, at most `most` at once, while the loop runs."""
    received = bytearray()
    while len(received) < size:
        try:
            received += sock.recv(most)
        except BlockingIOError:
            await asyncio.sleep(0)
    return bytes(received)


async def drain_socket(sock: socket.socket, size: int) -> int:
    """Read so many bytes while the loop runs; fewer when the peer ends."""
    loop = asyncio.get_running_loop()
    total = 0
    deadline = loop.time() + PATIENCE
    while total < size:
        try:
            part = sock.recv(1 << 18)
        except BlockingIOError:
            assert loop.time() < deadline, f"{total} of {size} bytes came"
            await asyncio.sleep(0)
            continue
        if not part:
            break
        total += len(part)
    return total
