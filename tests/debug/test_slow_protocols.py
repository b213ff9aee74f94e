"""Slow calls of protocols in debug mode: each is named, with its transport and its peer.

Everything counts as slow here, so no test has to take its time. asyncio tells of the same moments,
but names its own methods.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from support.loops import run, until
from support.net.certificates import client_context, server_context
from support.net.pipes import opened
from support.net.protocols import Recorder, Remembering, returning
from support.net.sockets import Pair
from support.net.tls import calling_openssl
from support.slow import SlowLines

Loop = asyncio.AbstractEventLoop
ours = pytest.mark.ours_only("asyncio names its own methods")


class Server(Recorder):
    """The protocol whose calls are looked at."""


class Client(Recorder):
    """Its peer."""


class BufferedServer(Remembering, asyncio.BufferedProtocol):
    """A protocol with a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(100)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.events.append("buffer_updated")


def assert_named(line: str, method: str, transport: str, peer: object = None) -> None:
    """The line names the protocol's class and method, where that is, the transport and the peer."""
    start = rf"<{re.escape(method)}\(\) at \S+\.py:\d+ transport=<{transport}[ >]"
    assert re.match(start, line), line
    assert line.endswith(f" peer={peer!r}>" if peer else ">>"), line


@contextlib.asynccontextmanager
async def connected(server_protocol: Any, client_protocol: Any, *, tls: bool) -> AsyncIterator[Any]:
    """The client's transport, its address and the server's; both ends are lost after the block."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        returning(server_protocol), "127.0.0.1", 0, ssl=server_context() if tls else None
    )
    address = server.sockets[0].getsockname()
    transport, _ = await loop.create_connection(
        returning(client_protocol),
        *address,
        ssl=client_context() if tls else None,
        server_hostname="localhost" if tls else None,
    )
    yield transport, transport.get_extra_info("sockname"), address
    transport.close()
    await client_protocol.wait_lost()
    await server_protocol.wait_lost()
    server.close()
    await server.wait_closed()


@pytest.fixture(params=["tcp", "tls", "tls-indirect"])
def tls(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether connections have TLS, which is tried on both ways to OpenSSL."""
    with calling_openssl(directly=request.param != "tls-indirect"):
        yield request.param != "tcp"


@ours
async def test_the_calls_of_a_connection_are_named(
    slow_loop: Loop, lines: SlowLines, tls: bool
) -> None:
    kind = "TlsTransport" if tls else "StreamTransport"

    protocol, client = Server(), Client()
    async with connected(protocol, client, tls=tls) as (transport, peer, address):
        transport.write(b"hello")
        assert await protocol.wait_data(5) == b"hello"
        if not tls:
            transport.write_eof()
            await until(lambda: "eof_received" in protocol.events)

    factories = [line for line in lines.about("protocol factory ") if str(peer) in line]
    assert len(factories) == 1, lines.texts
    assert factories[0].endswith(f" server={address!r} peer={peer!r}>")
    assert_named(lines.only("<Server.data_received("), "Server.data_received", kind, peer)
    assert_named(lines.only("<Server.eof_received("), "Server.eof_received", kind, peer)
    for name in ("connection_made", "connection_lost"):
        # The class of the protocol, also where the method is inherited.
        found = re.compile(
            rf"<Server\.{name}\(|<Handle (?:_Receiving|Remembering)\.{name}\(.* protocol=Server "
        )
        (line,) = filter(found.match, lines.texts)
        assert f" transport=<{kind}" in line, line
        assert line.endswith(f" peer={peer!r}>"), line


@ours
async def test_the_calls_of_a_buffered_protocol_are_named(
    slow_loop: Loop, lines: SlowLines, tls: bool
) -> None:
    kind = "TlsTransport" if tls else "StreamTransport"

    protocol, client = BufferedServer(), Client()
    async with connected(protocol, client, tls=tls) as (transport, peer, _):
        transport.write(b"hello")
        name = "BufferedServer.buffer_updated"
        assert_named(await lines.wait(f"<{name}("), name, kind, peer)
        # A TLS connection asks once more, whether there is more.
        name = "BufferedServer.get_buffer"
        assert_named(lines.about(f"<{name}(")[0], name, kind, peer)


@ours
async def test_flow_control_is_named(slow_loop: Loop, lines: SlowLines, tls: bool) -> None:
    kind = "TlsTransport" if tls else "StreamTransport"

    protocol, client = Server(), Client()
    async with connected(protocol, client, tls=tls) as (transport, _, address):
        await until(lambda: protocol.transport)
        protocol.transport.pause_reading()
        while "pause_writing" not in client.events:
            transport.write(bytes(1 << 18))
            await asyncio.sleep(0)
        await lines.wait("<Client.pause_writing(")
        protocol.transport.resume_reading()
        await lines.wait("<Client.resume_writing(")
        for name in ("Client.pause_writing", "Client.resume_writing"):
            assert_named(lines.only(f"<{name}("), name, kind, address)
        transport.abort()


@ours
async def test_a_unix_connection_has_no_address_to_be_named(
    slow_loop: Loop, lines: SlowLines
) -> None:
    near, far = socket.socketpair()
    protocol = Server()
    with far:
        transport, _ = await slow_loop.create_unix_connection(returning(protocol), sock=near)
        far.send(b"x")
        name = "Server.data_received"
        assert_named(await lines.wait(f"<{name}("), name, "StreamTransport")
        transport.close()
        await protocol.wait_lost()


class Endpoint(asyncio.DatagramProtocol):
    """What a datagram endpoint is told."""

    def __init__(self) -> None:
        self.lost = False
        self.error: Exception | None = None

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Nothing to remember: the log tells."""

    def error_received(self, exc: Exception) -> None:
        self.error = exc

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


@ours
async def test_datagrams_are_named_with_their_sender(slow_loop: Loop, lines: SlowLines) -> None:
    transport, protocol = await slow_loop.create_datagram_endpoint(
        Endpoint, local_addr=("127.0.0.1", 0)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        sender.sendto(b"x", transport.get_extra_info("sockname"))
        name = "Endpoint.datagram_received"
        line = await lines.wait(f"<{name}(")
        assert_named(line, name, "DatagramTransport", sender.getsockname())
    transport.close()
    await until(lambda: protocol.lost)
    name = "Endpoint.connection_lost"
    assert_named(await lines.wait(f"<{name}("), name, "DatagramTransport")
    assert "Endpoint transport=<DatagramTransport" in lines.only("connection_made(")


@ours
async def test_the_error_of_a_datagram_is_named(slow_loop: Loop, lines: SlowLines) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = gone.getsockname()
    transport, protocol = await slow_loop.create_datagram_endpoint(Endpoint, remote_addr=address)
    transport.sendto(b"x")
    await until(lambda: protocol.error)
    name = "Endpoint.error_received"
    assert_named(await lines.wait(f"<{name}("), name, "DatagramTransport", address)
    transport.close()
    await until(lambda: protocol.lost)


@ours
async def test_pipes_are_named(slow_loop: Loop, lines: SlowLines) -> None:
    reader, writer = os.pipe()
    protocol, writing = Server(), Client()
    await slow_loop.connect_read_pipe(returning(protocol), opened(reader, "rb"))
    sink, _ = await slow_loop.connect_write_pipe(returning(writing), opened(writer, "wb"))
    sink.write(b"x")
    name = "Server.data_received"
    assert_named(await lines.wait(f"<{name}("), name, "ReadPipeTransport")
    protocol.transport.pause_reading()
    while "pause_writing" not in writing.events:
        sink.write(bytes(1 << 16))
    await lines.wait("<Client.pause_writing(")
    protocol.transport.resume_reading()
    await lines.wait("<Client.resume_writing(")
    for name in ("Client.pause_writing", "Client.resume_writing"):
        assert_named(lines.only(f"<{name}("), name, "WritePipeTransport")
    sink.close()
    await protocol.wait_lost()
    await writing.wait_lost()
    line = await lines.wait("eof_received(")
    assert " protocol=Server transport=<ReadPipeTransport" in line
    await lines.wait("<Server.connection_lost(")
    for protocol_class, kind in (("Server", "ReadPipe"), ("Client", "WritePipe")):
        name = f"{protocol_class}.connection_lost"
        assert_named(lines.only(f"<{name}("), name, f"{kind}Transport")


class Process(asyncio.SubprocessProtocol):
    """What a process tells."""

    def __init__(self) -> None:
        self.lost = False

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Nothing to remember: the log tells."""

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """As above."""

    def process_exited(self) -> None:
        """As above."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


@ours
async def test_the_callbacks_of_a_process_are_named(slow_loop: Loop, lines: SlowLines) -> None:
    transport, protocol = await slow_loop.subprocess_exec(
        Process, sys.executable, "-c", "print(1)", stdin=None, stderr=None
    )
    await until(lambda: protocol.lost)
    line = await lines.wait("_call_connection_lost(")
    assert " protocol=Process transport=<" in line, line
    for name in ("pipe_data_received", "pipe_connection_lost", "process_exited"):
        found = lines.about(f"Process.{name}(")
        assert found, lines.texts
        for line in found:
            assert " protocol=Process transport=<" in line, line
    transport.close()


@ours
async def test_the_callback_of_a_stream_server_is_named(
    slow_loop: Loop, lines: SlowLines, streams: Any
) -> None:
    def connected(reader: Any, writer: Any) -> None:
        writer.close()

    server = await streams.start_server(connected, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    reader, writer = await streams.open_connection(*address)
    peer = writer.get_extra_info("sockname")
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    mine = [line for line in lines.about(" calling ") if str(peer) in line]
    assert len(mine) == 1, lines.texts
    assert "transport=<StreamTransport" in mine[0]
    name = "test_the_callback_of_a_stream_server_is_named.<locals>.connected"
    assert f" calling {name}() at {__file__}:" in mine[0]


def test_nothing_is_reported_outside_of_debug_mode(
    loop: Loop, lines: SlowLines, pair: Pair
) -> None:
    # Before the loop runs: the callback that is running would be reported still.
    loop.set_debug(False)
    loop.slow_callback_duration = 0
    near, far = pair

    async def main() -> None:
        protocol = Server()
        transport, _ = await loop.connect_accepted_socket(returning(protocol), near)
        far.send(b"x")
        await protocol.wait_data(1)
        transport.close()
        await protocol.wait_lost()

    run(loop, main())
    assert lines.texts == []
