"""Echo servers, each as a program would write it. Figures: thousands of messages a second."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any, cast

from harness.case import Echo
from harness.results.targets import FLOOR, Target

if TYPE_CHECKING:
    from harness.case import ServerSocket

CHUNK = 65536


class EchoProtocol(asyncio.Protocol):
    """Writes back what it receives."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Writes it back."""
        self.transport.write(data)


class EchoBufferedProtocol(asyncio.BufferedProtocol):
    """Receives into a buffer of its own and writes back a copy of what came."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        """Makes the buffer."""
        self._view = memoryview(bytearray(CHUNK))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lends the buffer."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Writes it back; the buffer is reused at once, so what is written is a copy."""
        self.transport.write(bytes(self._view[:nbytes]))


async def _serve(place: ServerSocket, protocol: type[asyncio.BaseProtocol]) -> object:
    loop = asyncio.get_running_loop()
    if place.listener.family == socket.AF_UNIX:
        return await loop.create_unix_server(protocol, sock=place.listener, ssl=place.context)
    return await loop.create_server(protocol, sock=place.listener, ssl=place.context)


async def serve_protocol(place: ServerSocket) -> object:
    """A Protocol."""
    return await _serve(place, EchoProtocol)


async def serve_buffered(place: ServerSocket) -> object:
    """A BufferedProtocol."""
    return await _serve(place, EchoBufferedProtocol)


async def _lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def _chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve_readline(place: ServerSocket) -> object:
    """Streams of asyncio, line by line."""
    return await asyncio.start_server(_lines, sock=place.listener, ssl=place.context)


async def serve_read(place: ServerSocket) -> object:
    """Streams of asyncio, whatever has come."""
    return await asyncio.start_server(_chunks, sock=place.listener, ssl=place.context)


def own_streams() -> Any:
    """The package of the running loop if it has streams of its own, else asyncio."""
    package = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    module = sys.modules[package]
    return module if hasattr(module, "start_server") else asyncio


async def serve_own_readline(place: ServerSocket) -> object:
    """Streams of the loop, line by line."""
    return await own_streams().start_server(_lines, sock=place.listener, ssl=place.context)


async def serve_own_read(place: ServerSocket) -> object:
    """Streams of the loop, whatever has come."""
    return await own_streams().start_server(_chunks, sock=place.listener, ssl=place.context)


async def serve_sock(place: ServerSocket) -> object:
    """`sock_accept`, `sock_recv` and `sock_sendall`, a task for each connection."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def echo(connection: socket.socket) -> None:
        with connection:
            while data := await loop.sock_recv(connection, CHUNK):
                await loop.sock_sendall(connection, data)

    async def accept() -> None:
        while True:
            connection, _ = await loop.sock_accept(place.listener)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.ensure_future(echo(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    accepting = asyncio.ensure_future(accept())
    await asyncio.sleep(0.01)
    if accepting.done():
        accepting.result()  # raises why the loop cannot
    return accepting


_GROUP = ("echo", "k/s")
# The bounds are shares of what the epoll floor server reaches in the same run.
CASES = (
    Echo(
        "protocol_1",
        "Protocol, 1 connection, 1 KiB",
        *_GROUP,
        Target(0.96, FLOOR),
        serve=serve_protocol,
        connections=1,
    ),
    Echo(
        "protocol_16",
        "Protocol, 16 connections, 1 KiB",
        *_GROUP,
        Target(0.96, FLOOR),
        serve=serve_protocol,
    ),
    Echo(
        "protocol_128",
        "Protocol, 128 connections, 1 KiB",
        *_GROUP,
        Target(0.95, FLOOR),
        serve=serve_protocol,
        connections=128,
    ),
    Echo(
        "protocol_10k",
        "Protocol, 16 connections, 10 KiB",
        *_GROUP,
        Target(0.95, FLOOR),
        serve=serve_protocol,
        size=10 * 1024,
    ),
    Echo(
        "protocol_100k",
        "Protocol, 16 connections, 100 KiB",
        *_GROUP,
        Target(0.95, FLOOR),
        serve=serve_protocol,
        size=100 * 1024,
    ),
    Echo(
        "buffered",
        "BufferedProtocol, 16, 1 KiB",
        *_GROUP,
        Target(0.95, FLOOR),
        serve=serve_buffered,
    ),
    Echo(
        "readline",
        "streams readline, 16, 1 KiB",
        *_GROUP,
        Target(0.64, FLOOR),
        serve=serve_readline,
        line=True,
    ),
    Echo("read", "streams read, 16, 1 KiB", *_GROUP, Target(0.64, FLOOR), serve=serve_read),
    Echo(
        "own_readline",
        "the loop's own streams, readline",
        *_GROUP,
        Target(0.75, FLOOR),
        serve=serve_own_readline,
        line=True,
    ),
    Echo(
        "own_read",
        "the loop's own streams, read",
        *_GROUP,
        Target(0.75, FLOOR),
        serve=serve_own_read,
    ),
    Echo(
        "sock",
        "sock_recv / sock_sendall, 16, 1 KiB",
        *_GROUP,
        Target(0.70, FLOOR),
        serve=serve_sock,
    ),
    Echo(
        "unix",
        "Protocol over a Unix socket, 16, 1 KiB",
        *_GROUP,
        Target(1.1, "uvloop"),
        serve=serve_protocol,
        unix=True,
    ),
)
