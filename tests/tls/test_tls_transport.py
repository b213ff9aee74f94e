"""The transport of a TLS connection: writing, reading, pausing, limits, closing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from support.loops import run, until
from support.net.certificates import client_context, server_context
from support.net.protocols import BufferedRecorder, Recorder, returning
from support.net.responses import BODY, HEAD
from support.net.sockets import drain_socket, listening
from support.net.tls import HEADER, Peer, peer_of, served

Loop = asyncio.AbstractEventLoop


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[tuple[Peer, Any, Recorder]]:
    """A peer after its handshake, the transport of the server's end and its protocol; aborted in the end."""
    protocol = Recorder()
    async with served(protocol) as peer:
        yield peer, protocol.transport, protocol
        protocol.transport.abort()
        await protocol.wait_lost()


async def waiting_records(peer: Peer, count: int) -> list[int]:
    """The lengths of the bodies of the next records that come, at least so many."""
    loop = asyncio.get_running_loop()
    data = b""
    lengths: list[int] = []
    while len(lengths) < count:
        data += await loop.sock_recv(peer.sock, 1 << 18)
        lengths = []
        at = 0
        while at + HEADER <= len(data):
            size = int.from_bytes(data[at + 3 : at + HEADER], "big")
            lengths.append(size)
            at += HEADER + size
    peer.incoming.write(data)
    return lengths


async def read_tickets(peer: Peer, protocol: Recorder) -> None:
    """Have the peer read what the handshake sends last, so that only the test's records follow."""
    await peer.send(b"ready")
    await protocol.wait_data(5)
    protocol.transport.write(b"first")
    assert await peer.read(5) == b"first"


async def test_each_write_is_a_record(loop: Loop) -> None:
    async with opened() as (peer, transport, protocol):
        await read_tickets(peer, protocol)
        for piece in (b"head", b"", bytearray(b"er"), memoryview(b" body")):
            transport.write(piece)
        assert len(await waiting_records(peer, 3)) == 3
        assert await peer.read(11) == b"header body"


@pytest.mark.ours_only("asyncio makes a record and a system call of each write")
async def test_head_and_body_are_one_record_and_so_are_the_items_of_writelines(loop: Loop) -> None:
    async with opened() as (peer, transport, protocol):
        await read_tickets(peer, protocol)
        transport.write(HEAD)
        transport.write(BODY)
        assert len(await waiting_records(peer, 1)) == 1
        assert await peer.read(len(HEAD + BODY)) == HEAD + BODY
        transport.writelines([b"a", bytearray(b"b"), memoryview(b"c"), b""])
        assert len(await waiting_records(peer, 1)) == 1
        assert await peer.read(3) == b"abc"


async def test_a_large_write_arrives_whole_and_in_order(loop: Loop) -> None:
    size = 3_000_000
    data = bytes(range(251)) * (size // 251 + 1)

    async with opened() as (peer, transport, _):
        transport.write(b"small")
        transport.write(data[:size])
        transport.writelines([b"after", b"wards"])
        assert await peer.read(5) == b"small"
        assert await peer.read(size) == data[:size]
        assert await peer.read(10) == b"afterwards"


async def test_a_buffer_may_be_changed_after_it_was_written(loop: Loop, kind: str) -> None:
    async with opened() as (peer, transport, _):
        buffer = bytearray(b"before")
        transport.write(buffer)
        buffer[:] = b"behind"
        assert await peer.read(6) == b"before"
        transport.write(memoryview(b"abcdef")[::2] if kind != "asyncio" else b"ace")
        assert await peer.read(3) == b"ace"


async def test_what_is_written_before_the_handshake_is_sent_after_it(loop: Loop) -> None:
    class Early(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.write(b"hello")
            self.transport.write(b" there")

    protocol = Early()

    with listening() as listener:
        connecting = loop.create_task(
            loop.create_connection(
                returning(protocol),
                *listener.getsockname(),
                ssl=client_context(),
                server_hostname="localhost",
            )
        )
        await asyncio.sleep(0.005)
        sock, _ = listener.accept()
        with sock:
            peer = Peer(sock, server_side=True)
            handshake = loop.create_task(peer.handshake())
            transport, _ = await connecting
            await handshake
            assert await peer.read(11) == b"hello there"
            transport.abort()
            await protocol.wait_lost()


async def test_writing_after_close_is_dropped_and_logged(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as (peer, transport, protocol):
        transport.write(b"last")
        transport.close()
        for _ in range(8):
            transport.write(b"dropped")
        assert await peer.read(100) == b"last"
        await peer.send_raw(peer.close_notify())
        await protocol.wait_lost()
        transport.write(b"dropped")
        transport.close()
    assert "SSL connection is closed" in caplog.text


async def test_a_transport_without_half_close(loop: Loop) -> None:
    async with opened() as (_peer, transport, protocol):
        assert transport.can_write_eof() is False
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        transport.abort()
        assert transport.is_closing()
        await protocol.wait_lost()


async def test_pausing_stops_delivery_and_resuming_goes_on(loop: Loop) -> None:
    async with opened() as (peer, transport, protocol):
        transport.pause_reading()
        assert not transport.is_reading()
        await peer.send(b"one", b"two")
        await until(lambda: transport.get_read_buffer_size() > 2 * HEADER)
        assert not protocol.data
        transport.resume_reading()
        assert transport.is_reading()
        assert not protocol.data, "delivery goes on in a callback of its own"
        assert await protocol.wait_data(6) == b"onetwo"
        assert transport.get_read_buffer_size() == 0


class OneByOne(BufferedRecorder):
    """Pauses at each message, in the middle of a batch."""

    last: OneByOne

    def __init__(self) -> None:
        super().__init__(3)
        OneByOne.last = self

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        self.transport.pause_reading()

    def has(self, count: int) -> bool:
        return len(self.data) == count


async def test_pausing_within_a_batch_stops_after_that_message(loop: Loop) -> None:
    async with peer_of(OneByOne) as peer:
        await peer.handshake()
        await peer.send_raw(peer.records(b"one", b"two", b"thr", b"eee"))
        await until(lambda: len(OneByOne.last.data) == 3)
        for count in (6, 9, 12):
            await asyncio.sleep(0.005)
            assert len(OneByOne.last.data) == count - 3
            OneByOne.last.transport.resume_reading()
            await until(partial(OneByOne.last.has, count))
        assert OneByOne.last.data == b"onetwothreee"
        OneByOne.last.transport.abort()
        await OneByOne.last.wait_lost()


@pytest.mark.parametrize("size", [1, 7, 1000, 16384, 100_000])
async def test_a_protocol_can_lend_its_buffer(loop: Loop, size: int) -> None:
    class Lending(BufferedRecorder):
        last: Lending

        def __init__(self) -> None:
            super().__init__(size)
            Lending.last = self

        def get_buffer(self, sizehint: int) -> Any:
            return memoryview(super().get_buffer(sizehint))

    message = bytes(range(256)) * 100

    async with peer_of(Lending) as peer:
        await peer.handshake()
        await peer.send_raw(peer.records(message[:5], message[5:20_000], message[20_000:]))
        await until(lambda: len(Lending.last.data) == len(message))
        assert Lending.last.data == message
        Lending.last.transport.abort()
        await Lending.last.wait_lost()


async def test_the_protocol_can_be_exchanged(loop: Loop) -> None:
    first = Recorder()

    async with served(first) as peer:
        transport: Any = first.transport
        await peer.send(b"first")
        await first.wait_data(5)
        lending = BufferedRecorder()
        transport.set_protocol(lending)
        assert transport.get_protocol() is lending
        await peer.send(b"second")
        await until(lambda: len(lending.data) == 6)
        third = Recorder()
        transport.set_protocol(third)
        await peer.send(b"third")
        await third.wait_data(5)
        transport.abort()
        await third.wait_lost()
        assert first.events == ["connection_made", "data_received"]


async def test_limits_follow_from_each_other(loop: Loop) -> None:
    async with opened() as (_peer, transport, _):
        assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
        assert transport.get_read_buffer_limits() == (64 * 1024, 256 * 1024)
        transport.set_write_buffer_limits(high=1000)
        transport.set_read_buffer_limits(low=10)
        assert transport.get_write_buffer_limits() == (250, 1000)
        assert transport.get_read_buffer_limits() == (10, 40)
        with pytest.raises(ValueError, match=r"high \(1\) must be >= low \(2\)"):
            transport.set_read_buffer_limits(high=1, low=2)


async def test_a_full_read_buffer_pauses_the_transport_below(loop: Loop) -> None:
    async with opened() as (peer, transport, protocol):
        below = transport._ssl_protocol._transport
        transport.set_read_buffer_limits(high=5000, low=1000)
        transport.pause_reading()
        await peer.send(bytes(20_000))
        await until(lambda: not below.is_reading())
        transport.resume_reading()
        assert await protocol.wait_data(20_000) == bytes(20_000)
        await until(below.is_reading)


def test_a_peer_that_does_not_read_pauses_the_protocol(loop: Loop) -> None:
    async def main() -> None:
        async with opened() as (peer, transport, protocol):
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            total = 0
            while "pause_writing" not in protocol.events:
                transport.write(bytes(100_000))
                total += 100_000
                await asyncio.sleep(0)
            assert transport.get_write_buffer_size() > 0
            assert transport._protocol_paused
            assert len(await peer.read(total)) == total
            await until(lambda: "resume_writing" in protocol.events)
            assert transport.get_write_buffer_size() == 0
            transport.abort()
            await protocol.wait_lost()

    run(loop, main(), patience=30)


def test_closing_sends_what_waits_for_a_slow_peer(loop: Loop) -> None:
    size = 4_000_000

    async def main() -> None:
        async with opened() as (peer, transport, protocol):
            transport.write(bytes(size))
            transport.close()
            await asyncio.sleep(0.01)
            assert len(await peer.read(size + 1)) == size
            await peer.send_raw(peer.close_notify())
            assert await protocol.wait_lost() is None

    run(loop, main(), patience=30)


async def test_data_the_peer_sent_before_it_saw_our_close_notify_is_delivered(loop: Loop) -> None:
    class Closing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.close()

    protocol = Closing()

    async with served(protocol) as peer:
        await peer.send_raw(peer.records(b"a", b"b"))
        await peer.read(1)
        await peer.send_raw(peer.close_notify())
        assert await protocol.wait_lost() is None
    assert protocol.data == b"ab"


async def test_aborting_calls_connection_lost_once(loop: Loop) -> None:
    async with opened() as (peer, transport, protocol):
        transport.write(b"gone")
        transport.abort()
        transport.abort()
        transport.close()
        assert await protocol.wait_lost() is None
        await drain_socket(peer.sock, 1 << 20)
    assert protocol.events.count("connection_lost") == 1


async def test_closing_the_transport_below_loses_nothing_written_before(loop: Loop) -> None:
    async with opened() as (peer, transport, protocol):
        transport.write(b"written")
        transport._ssl_protocol._transport.close()
        assert await peer.read(7) == b"written"
        await protocol.wait_lost()


async def test_the_loop_says_what_the_session_does_in_debug_mode(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="asyncio")
    loop.set_debug(True)

    async with opened() as (peer, _transport, protocol):
        peer.sock.shutdown(socket.SHUT_WR)
        await protocol.wait_lost()
    for text in ("starts SSL handshake", "SSL handshake took", "received EOF"):
        assert text in caplog.text


async def test_a_handshake_that_fails_is_reported_in_debug_mode(
    loop: Loop, reports: list[Any]
) -> None:
    loop.set_debug(True)

    server = await loop.create_server(Recorder, sock=listening(), ssl=server_context())
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, server.sockets[0].getsockname())
        await loop.sock_sendall(sock, b"GET / HTTP/1.0\r\n\r\n")
        await until(lambda: reports)
    server.close()
    (report,) = reports
    assert report["message"] == "Error on transport creation for incoming connection"
    assert {"exception", "protocol", "transport"} <= set(report)
    reports.clear()


async def test_isinstance_finds_asyncios_transport_classes(loop: Loop) -> None:
    async with opened() as (_peer, transport, protocol):
        assert isinstance(transport, asyncio.Transport)
        assert "closing" not in repr(transport)
        transport.abort()
        assert transport.get_extra_info("nothing", "default") == "default"
        await protocol.wait_lost()


async def test_the_context_is_there_by_asyncios_private_names(loop: Loop) -> None:
    async with opened() as (_peer, transport, _):
        context = transport.get_extra_info("sslcontext")
        assert context is not None
        assert transport._ssl_protocol._sslcontext is context
        if type(transport).__module__.startswith("ferroloop"):
            assert transport._sslcontext is context
