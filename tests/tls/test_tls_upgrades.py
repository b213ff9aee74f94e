"""start_tls: on connections in use, over other transports than ours, and over TLS itself."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from types import ModuleType
from typing import Any

import pytest

import ferroloop
from support.loops import until
from support.net.certificates import client_context, server_context
from support.net.protocols import BufferedRecorder, Recorder
from support.net.sockets import listening, socket_pair
from support.net.tls import Peer

Loop = asyncio.AbstractEventLoop


async def pair(loop: Loop, near: Any, far: Any) -> tuple[Any, Any]:
    """Two connected plain transports of the loop."""
    left, right = socket.socketpair()
    one, _ = await loop.create_connection(lambda: near, sock=left)
    two, _ = await loop.create_connection(lambda: far, sock=right)
    return one, two


async def upgrade(loop: Loop, near: Any, far: Any, one: Any, two: Any) -> tuple[Any, Any]:
    """TLS on both: `near` is the client."""
    return await asyncio.gather(
        loop.start_tls(one, near, client_context(), server_hostname="localhost"),
        loop.start_tls(two, far, server_context(), server_side=True),
    )


async def finish(near: Any, far: Any, transport: Any) -> None:
    transport.close()
    await near.wait_lost()
    await far.wait_lost()


async def test_both_ends_are_upgraded(loop: Loop) -> None:
    near, far = Recorder(), Recorder()
    one, two = await pair(loop, near, far)
    one.write(b"plain")
    await far.wait_data(5)
    client, server = await upgrade(loop, near, far, one, two)
    assert near.events == ["connection_made"], "it is told of the connection once"
    client.write(b" and secret")
    assert await far.wait_data(16) == b"plain and secret"
    assert client.get_protocol() is near
    assert client.get_extra_info("ssl_object").version()
    assert client.get_extra_info("socket") is one.get_extra_info("socket")
    server.write(b"answer")
    await near.wait_data(6)
    await finish(near, far, client)


async def exchange(
    near: Recorder, far: BufferedRecorder, client: Any, server: Any, size: int = 300_000
) -> None:
    """Send in both directions, then close the client."""
    client.write(bytes(size))
    await until(lambda: len(far.data) == size)
    server.write(b"answer")
    await near.wait_data(6)
    client.close()
    await near.wait_lost()
    await far.wait_lost()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio can since 3.11")
async def test_tls_over_tls(loop: Loop) -> None:
    near, far = Recorder(), BufferedRecorder(70_000)
    client, server = await pair(loop, near, far)
    for _ in range(2):
        client, server = await upgrade(loop, near, far, client, server)
    await exchange(near, far, client, server)


class Wire(asyncio.Transport):
    """A transport made in Python: what is written arrives at the other end in a later turn."""

    _start_tls_compatible = True

    def __init__(self, loop: Loop, protocol: Any) -> None:
        super().__init__()
        self.loop = loop
        self.protocol = protocol
        self.other: Wire
        self.paused = self.closed = False
        self.arrived: list[bytes] = []

    def write(self, data: Any) -> None:
        if not self.closed:
            self.other.arrived.append(bytes(data))
            self.loop.call_soon(self.other.deliver)

    def deliver(self) -> None:
        while self.arrived and not self.paused and not self.closed:
            data = self.arrived.pop(0)
            if not isinstance(self.protocol, asyncio.BufferedProtocol):
                self.protocol.data_received(data)
                continue
            while data:
                room = memoryview(self.protocol.get_buffer(-1))
                count = min(len(room), len(data))
                room[:count] = data[:count]
                self.protocol.buffer_updated(count)
                data = data[count:]

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self.loop.call_soon(self.deliver)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self._force_close(None)

    def abort(self) -> None:
        self._force_close(None)

    def _force_close(self, exc: Any) -> None:
        if not self.closed:
            self.closed = True
            self.loop.call_soon(self.protocol.connection_lost, exc)
            if not self.other.closed:
                self.loop.call_soon(self.other._force_close, None)


async def test_over_a_transport_that_python_made(loop: Loop) -> None:
    near, far = Recorder(), BufferedRecorder(5000)
    one, two = Wire(loop, near), Wire(loop, far)
    one.other, two.other = two, one
    client, server = await upgrade(loop, near, far, one, two)
    await exchange(near, far, client, server)


async def test_a_server_that_speaks_first_and_a_client_that_answers_at_once(loop: Loop) -> None:
    """What came in the same batch as the end of the handshake is delivered."""

    near = Recorder()
    left, right = socket.socketpair()
    with right:
        one, _ = await loop.create_connection(lambda: near, sock=left)
        peer = Peer(right)
        server = loop.create_task(loop.start_tls(one, near, server_context(), server_side=True))
        while True:
            try:
                peer.tls.do_handshake()
            except ssl.SSLWantReadError:
                await peer.flush()
                await peer.receive()
            else:
                break
        # The client's last flight and its first message leave as one.
        await peer.send(b"at once")
        assert await near.wait_data(7) == b"at once"
        transport = await server
        assert transport is not None
        transport.abort()
        await near.wait_lost()


@pytest.mark.ours_only("asyncio does so since late patches of 3.13 and 3.14")
async def test_the_beginning_of_the_handshake_may_sit_in_the_reader(loop: Loop) -> None:
    async def serve(reader: asyncio.StreamReader, writer: Any) -> None:
        assert await reader.readline() == b"PROXY TCP4\r\n"
        await until(lambda: len(reader._buffer) > 100)  # type: ignore[attr-defined]
        await writer.start_tls(server_context())
        writer.write((await reader.readline()).upper())
        writer.close()

    if sys.version_info < (3, 11):
        pytest.skip("StreamWriter.start_tls is there since 3.11")
    server = await asyncio.start_server(serve, sock=listening())
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, server.sockets[0].getsockname())
        peer = Peer(sock)
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        await peer.send_raw(b"PROXY TCP4\r\n" + peer.outgoing.read())
        await peer.handshake()
        await peer.send(b"hello\n")
        assert await peer.read(6) == b"HELLO\n"
        await peer.send_raw(peer.close_notify())
        while await peer.receive():
            pass
    server.close()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def upgraded_streams(streams: Any, **options: Any) -> tuple[Any, Streams, Streams]:
    """A server, its end and the client's of a connection that became TLS in use."""
    accepted: asyncio.Future[Streams] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"go\n")
        upgrading: Any = writer
        await upgrading.start_tls(server_context())
        accepted.set_result((reader, writer))

    server = await streams.start_server(serve, sock=listening(), **options)
    place = server.sockets[0].getsockname()
    reader, writer = await streams.open_connection(*place, **options)
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"go\n"
    await writer.start_tls(client_context(), server_hostname="localhost")
    return server, await accepted, (reader, writer)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="StreamWriter.start_tls: since 3.11")
async def test_the_reader_is_told_of_the_upgrade_as_with_asyncios_streams(loop: Loop) -> None:
    """Its transport is the encrypted one since late patches of 3.13 and 3.14 (gh-152431)."""

    async def told(streams: Any) -> list[bool]:
        server, *ends = await upgraded_streams(streams)
        found = []
        for reader, writer in ends:
            assert writer.get_extra_info("ssl_object").version()
            found.append(reader._transport is writer.transport)  # type: ignore[attr-defined]
            writer.transport.abort()
        server.close()
        for reader, _ in ends:
            await until(reader.at_eof)
        return found

    assert await told(ferroloop) == await told(asyncio)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="StreamWriter.start_tls: since 3.11")
async def test_an_upgraded_reader_stops_the_sender_and_loses_nothing(
    loop: Loop, streams: ModuleType
) -> None:
    size = 4_000_000

    server, (reader, far), (near, writer) = await upgraded_streams(streams, limit=10_000)
    writer.write(b"x" * size)
    await until(lambda: reader._paused)  # type: ignore[attr-defined]
    assert await reader.readexactly(size) == b"x" * size
    await writer.drain()
    far.write(b"answer")
    far.close()
    assert await near.read() == b"answer"
    writer.close()
    await until(reader.at_eof)
    server.close()


@pytest.mark.ours_only("asyncio fails an assertion")
async def test_paused_writing_stays_paused(loop: Loop) -> None:
    near = Recorder()
    with socket_pair() as (left, right):
        one, _ = await loop.create_connection(lambda: near, sock=left)
        one.write(bytes(1 << 20))
        await until(lambda: "pause_writing" in near.events)
        upgrading = loop.create_task(
            loop.start_tls(one, near, client_context(), server_hostname="localhost")
        )
        await until(lambda: one.get_protocol() is not near)
        peer = Peer(right, server_side=True)
        total = 0
        while total < 1 << 20:
            total += len(await loop.sock_recv(right, (1 << 20) - total))
        await peer.handshake()
        transport = await upgrading
        assert transport is not None
        await until(lambda: "resume_writing" in near.events)
        transport.write(b"secret")
        assert await peer.read(6) == b"secret"
        transport.abort()
        await near.wait_lost()


async def test_a_failed_upgrade_closes_the_connection(loop: Loop, reports: list[Any]) -> None:
    near, far = Recorder(), Recorder()
    one, two = await pair(loop, near, far)
    two.write(b"this is no TLS at all\n")
    with pytest.raises(ssl.SSLError):
        await loop.start_tls(one, near, client_context(), server_hostname="localhost")
    assert one.is_closing()
    two.close()
    await far.wait_lost()


async def test_a_cancelled_upgrade_closes_the_connection(loop: Loop) -> None:
    near, far = Recorder(), Recorder()
    one, two = await pair(loop, near, far)
    task = loop.create_task(
        loop.start_tls(one, near, client_context(), server_hostname="localhost")
    )
    await far.wait_data(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert one.is_closing()
    await far.wait_lost()
    two.close()


async def test_an_upgrade_that_takes_too_long_is_given_up(loop: Loop) -> None:
    near, far = Recorder(), Recorder()
    one, _ = await pair(loop, near, far)
    with pytest.raises(ConnectionAbortedError, match="taking longer than 0.02 seconds"):
        await loop.start_tls(
            one,
            near,
            client_context(),
            server_hostname="localhost",
            ssl_handshake_timeout=0.02,
        )
    await far.wait_lost()


async def test_what_can_carry_tls_is_checked(loop: Loop) -> None:
    near, far = Recorder(), Recorder()
    one, two = await pair(loop, near, far)
    with pytest.raises(TypeError, match="sslcontext is expected to be an instance of"):
        await loop.start_tls(one, near, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is not supported by start_tls"):
        await loop.start_tls(asyncio.Transport(), near, client_context())
    with pytest.raises(ValueError, match="ssl_handshake_timeout should be a positive number"):
        await loop.start_tls(one, near, client_context(), ssl_handshake_timeout=0)
    one.close()
    await far.wait_lost()
    two.close()
