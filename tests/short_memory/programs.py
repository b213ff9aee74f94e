"""Small programs, each of which uses one part of a loop and checks what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

Program = Callable[[ModuleType], Coroutine[Any, Any, None]]

CONTEXTS: dict[str, ssl.SSLContext] = {}
"""The server's and the client's, filled in before a program over TLS runs."""


async def scheduling(_streams: ModuleType) -> None:
    loop = asyncio.get_running_loop()
    seen: list[object] = []
    loop.call_soon(seen.append, 1)
    loop.call_later(0.001, seen.append, 2)
    loop.call_at(loop.time(), seen.append, 3)
    loop.call_later(5, seen.append, 4).cancel()
    loop.call_soon_threadsafe(seen.append, 5)
    future = loop.create_future()
    loop.call_soon(future.set_result, 6)
    seen.append(await future)
    task = loop.create_task(asyncio.sleep(0.002, 7))
    seen.append(await asyncio.wait_for(task, 5))
    near, far = socket.socketpair()
    with near, far:
        loop.add_reader(near, seen.append, 8)
        far.send(b"x")
        while 8 not in seen:
            await asyncio.sleep(0.001)
        loop.remove_reader(near)
    assert {1, 2, 3, 5, 6, 7, 8} <= set(seen)


async def sockets(_streams: ModuleType) -> None:
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        receiving = loop.create_task(loop.sock_recv(near, 100))
        await asyncio.sleep(0)
        await loop.sock_sendall(far, b"ping")
        assert await receiving == b"ping"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        server.setblocking(False)
        client.setblocking(False)
        accepting = loop.create_task(loop.sock_accept(server))
        await loop.sock_connect(client, server.getsockname())
        connection, _ = await accepting
        connection.close()


async def making(streams: ModuleType) -> None:
    """Make what Python classes extend native ones for."""
    loop = asyncio.get_running_loop()
    for _ in range(2):
        type(loop)().close()
        reader = streams.StreamReader(loop=loop)
        protocol = streams.StreamReaderProtocol(reader, loop=loop)
        near, far = socket.socketpair()
        with far:
            transport, _ = await loop.create_connection(
                functools.partial(lambda it: it, protocol), sock=near
            )
            streams.StreamWriter(transport, protocol, reader, loop)
            transport.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


class Buffered(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self.space = bytearray(4)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def get_buffer(self, _hint: int) -> bytearray:
        return self.space

    def buffer_updated(self, count: int) -> None:
        self.transport.write(bytes(self.space[:count]))


async def exchange(factory: Callable[[], Any], **options: Any) -> None:
    """Send to a server whose protocols `factory` makes, have it back, and close."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=options.get("server"))
    try:
        transport, protocol = await loop.create_connection(
            Client, *server.sockets[0].getsockname(), ssl=options.get("client")
        )
        transport.write(b"ping")
        transport.writelines([bytearray(b"pong"), b"!"])
        assert transport.get_extra_info("peername")
        while len(protocol.data) < 9 and not protocol.lost.done():
            await asyncio.sleep(0.001)
        transport.close()
        await protocol.lost
    finally:
        server.close()


async def tcp(_streams: ModuleType) -> None:
    await exchange(Echo)


async def buffered(_streams: ModuleType) -> None:
    await exchange(Buffered)


async def tls(_streams: ModuleType) -> None:
    await exchange(Echo, server=CONTEXTS["server"], client=CONTEXTS["client"])


async def tls_buffered(_streams: ModuleType) -> None:
    await exchange(Buffered, server=CONTEXTS["server"], client=CONTEXTS["client"])


async def streams(module: ModuleType) -> None:
    async def serve(reader: Any, writer: Any) -> None:
        writer.write(await reader.readline())
        writer.write(await reader.readexactly(3))
        await writer.drain()
        writer.close()

    server = await module.start_server(serve, "127.0.0.1", 0)
    try:
        reader, writer = await module.open_connection(*server.sockets[0].getsockname())
        writer.write(b"a line\n")
        writer.writelines([b"ab", b"c"])
        await writer.drain()
        await reader.readuntil(b"\n")
        await reader.read()
        writer.close()
    finally:
        server.close()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.received.append(data)
        if data.startswith(b"ask"):
            self.transport.sendto(b"told", address)


async def datagrams(_streams: ModuleType) -> None:
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
    client, protocol = await loop.create_datagram_endpoint(
        Datagrams, remote_addr=server.get_extra_info("sockname")
    )
    # A datagram that cannot be delivered is lost, so it is asked again.
    while not protocol.received and not client.is_closing() and not server.is_closing():
        client.sendto(b"ask")
        client.sendto(bytearray(b"ask again"))
        await asyncio.sleep(0.002)
    client.close()
    server.close()


async def pipes(_streams: ModuleType) -> None:
    loop = asyncio.get_running_loop()
    read_end, write_end = os.pipe()
    source, sink = os.fdopen(read_end, "rb", 0), os.fdopen(write_end, "wb", 0)
    transports: list[Any] = []
    try:
        reader, received = await loop.connect_read_pipe(Client, source)
        transports.append(reader)
        writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sink)
        transports.append(writer)
        writer.write(b"ping")
        writer.write(bytearray(b"pong"))
        writer.close()
        await received.lost
    finally:
        for transport in transports:
            transport.close()


async def processes(_streams: ModuleType) -> None:
    process = await asyncio.create_subprocess_exec(
        "/bin/cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        await process.communicate(b"ping")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


PROGRAMS: dict[str, Program] = {
    program.__name__: program
    for program in (
        scheduling,
        sockets,
        making,
        tcp,
        buffered,
        streams,
        datagrams,
        pipes,
        processes,
        tls,
        tls_buffered,
    )
}


async def afterwards() -> None:
    """What a loop that has come through can still do."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.001)
    near, far = socket.socketpair()
    near_reader, near_writer = await asyncio.open_connection(sock=near)
    _, far_writer = await asyncio.open_connection(sock=far)
    far_writer.write(b"still here")
    far_writer.close()
    assert await near_reader.read() == b"still here"
    near_writer.close()
    assert await loop.create_task(asyncio.sleep(0, "result")) == "result"
