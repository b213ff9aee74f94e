"""One event of a TLS connection does no more in a turn than on asyncio."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import pytest

import ferroloop
from support.errors import Reports
from support.loops import run, turns, until
from support.net.certificates import server_context
from support.net.protocols import BufferedRecorder, Recorder
from support.net.tls import Peer, calling_openssl, served

Loop = asyncio.AbstractEventLoop


class Turns:
    """Counts the turns of the running loop, until it is stopped."""

    def __init__(self) -> None:
        self.now = 0
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_soon(self._count)

    def _count(self) -> None:
        self.now += 1
        self._next = self._loop.call_soon(self._count)

    def stop(self) -> None:
        self._next.cancel()


class Small(BufferedRecorder):
    """Lends a small buffer, as a memoryview, of which a part is no copy."""

    size: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__(self.size)
        self.turns: list[int] = []
        self.counter: Turns | None = None
        self.queues = False
        self.pauses = False

    def get_buffer(self, sizehint: int) -> Any:
        super().get_buffer(sizehint)
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        if self.counter is not None:
            self.turns.append(self.counter.now)
        if self.pauses:
            self.transport.pause_reading()
        if self.queues:
            asyncio.get_running_loop().call_soon(self.events.append, "queued")

    async def wait_data(self, size: int) -> bytes:
        await until(lambda: len(self.data) >= size)
        return bytes(self.data)


async def test_one_buffer_is_filled_in_a_turn(loop: Loop) -> None:
    protocol = Small()
    async with served(protocol) as peer:
        protocol.counter = Turns()
        text = bytes(range(200))
        await peer.send(text[:150], text[150:])
        assert await protocol.wait_data(200) == text
        protocol.counter.stop()
        first = protocol.turns[0]
        assert protocol.turns == list(range(first, first + 200))
        protocol.transport.abort()
        await protocol.wait_lost()


async def test_reading_on_comes_before_what_the_protocol_queues(loop: Loop) -> None:
    protocol = Small()
    async with served(protocol) as peer:
        protocol.events.clear()
        protocol.queues = True
        await peer.send(b"abc")
        await until(lambda: protocol.events.count("queued") == 3)
        assert protocol.events == [
            *("buffer_updated", "buffer_updated", "queued"),
            *("buffer_updated", "queued", "queued"),
        ]
        protocol.transport.abort()
        await protocol.wait_lost()


async def test_reading_on_stops_when_the_program_pauses(loop: Loop) -> None:
    protocol = Small()
    async with served(protocol) as peer:
        text = bytes(range(250))
        protocol.pauses = True
        await peer.send(text)
        await until(lambda: protocol.data)
        await turns(20)
        assert protocol.data == text[:1]
        protocol.pauses = False
        protocol.transport.resume_reading()
        assert await protocol.wait_data(250) == text
        protocol.transport.abort()
        await protocol.wait_lost()


async def test_reading_on_stops_with_the_connection(loop: Loop) -> None:
    protocol = Small()
    async with served(protocol) as peer:
        await peer.send(b"some text")
        await until(lambda: protocol.data)
        protocol.transport.abort()
        held = len(protocol.data)
        await protocol.wait_lost()
        # What was queued before is called before the end is told.
        assert len(protocol.data) <= held + 1


async def test_close_notify_comes_after_the_data_for_small_buffers(loop: Loop) -> None:
    protocol = Small()
    async with served(protocol) as peer:
        await peer.send_raw(peer.records(b"x" * 100) + peer.close_notify())
        assert await protocol.wait_lost() is None
    assert protocol.data == b"x" * 100
    assert protocol.events[-2:] == ["eof_received", "connection_lost"]


@pytest.mark.parametrize("length", [100, 300_000])
@pytest.mark.ours_only("asyncio drops what the buffer does not hold")
async def test_the_end_comes_behind_what_small_buffers_take(loop: Loop, length: int) -> None:
    class Larger(Small):
        size = max(1, length // 300)

    protocol = Larger()
    async with served(protocol) as peer:
        await peer.send(b"x" * length)
        peer.sock.shutdown(socket.SHUT_WR)
        await protocol.wait_lost()
    assert len(protocol.data) == length
    assert protocol.events[-2:] == ["eof_received", "connection_lost"]


async def test_what_came_while_reading_was_paused_is_one_piece(loop: Loop) -> None:
    sizes: list[int] = []

    class Pieces(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            sizes.append(len(data))

    protocol = Pieces()
    async with served(protocol) as peer:
        transport: Any = protocol.transport
        transport.set_read_buffer_limits(high=2_000_000)
        transport.pause_reading()
        records = peer.records(*[bytes(10_000)] * 60)
        await peer.send_raw(records)
        await until(lambda: transport.get_read_buffer_size() == len(records))
        transport.resume_reading()
        await protocol.wait_data(600_000)
        assert sizes == [600_000]
        transport.abort()
        await protocol.wait_lost()


async def test_one_buffer_is_filled_in_a_turn_over_tls_within_tls(loop: Loop) -> None:
    outer, inner = Recorder(), Small()
    async with served(outer) as peer:
        upgrading = asyncio.ensure_future(
            loop.start_tls(outer.transport, inner, server_context(), server_side=True)
        )
        await asyncio.sleep(0)
        nested = Peer(peer.sock)
        while True:
            done = True
            try:
                nested.tls.do_handshake()
            except ssl.SSLWantReadError:
                done = False
            data = nested.outgoing.read()
            if data:
                await peer.send(data)
            if done:
                break
            nested.incoming.write(await peer.read(1) + await _rest(peer))
        upgraded = await upgrading
        assert upgraded is not None
        inner.transport = upgraded
        inner.counter = Turns()
        text = bytes(range(200))
        await peer.send(nested.records(text[:150], text[150:]))
        assert await inner.wait_data(200) == text
        inner.counter.stop()
        first = inner.turns[0]
        assert inner.turns == list(range(first, first + 200))
        inner.transport.abort()
        await inner.wait_lost()


async def _rest(peer: Peer) -> bytes:
    """What else is decrypted of what has come."""
    rest = b""
    try:
        while True:
            rest += peer.tls.read(1 << 16)
    except ssl.SSLWantReadError:
        return rest


class Echo(Recorder):
    """Writes what it receives."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


class SmallEcho(Small):
    """The same, byte by byte."""

    size = 8

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        self.transport.write(self.buffer[:nbytes])


def mutated(rng: random.Random, records: bytes) -> bytes:
    """The records with something wrong with them."""
    broken = bytearray(records)
    kind = rng.randrange(4)
    place = rng.randrange(len(broken))
    if kind == 0:
        broken[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del broken[place : place + rng.randrange(1, 50)]
    elif kind == 2:
        broken[place:place] = rng.randbytes(rng.randrange(1, 50))
    else:
        broken += rng.randbytes(50)
    return bytes(broken)


async def attacked(make: Callable[[], Any], rng: random.Random, *, resets: bool) -> None:
    """A peer sends records to an echoing server, the last ones broken."""
    protocol = make()
    async with served(protocol) as peer:
        good = peer.records(*[rng.randbytes(rng.randrange(1, 3000)) for _ in range(3)])
        bad = mutated(rng, peer.records(rng.randbytes(200)) * 2)
        await peer.send_raw(good + bad)
        if resets:
            peer.sock.close()
        else:
            peer.sock.shutdown(socket.SHUT_WR)
        await protocol.wait_lost()


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="asyncio of 3.10 logs a line for each write after the end"
)
@pytest.mark.parametrize("resets", [False, True], ids=["ends", "goes away"])
@pytest.mark.parametrize("make", [Echo, SmallEcho])
@pytest.mark.parametrize("seed", range(3))
def test_broken_records_are_logged_as_by_asyncio(
    make: Callable[[], Any], seed: int, resets: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    seen = []
    ways: list[tuple[Callable[[], Loop], bool]] = [
        (asyncio.SelectorEventLoop, True),
        (ferroloop.new_event_loop, True),
        (ferroloop.new_event_loop, False),
    ]
    for factory, directly in ways:
        caplog.clear()
        reports = Reports()
        loop = factory()
        loop.set_exception_handler(reports.handle)
        rng = random.Random(seed)
        with calling_openssl(directly=directly):
            for _ in range(10):
                run(loop, attacked(make, rng, resets=resets))
        loop.close()
        reported = [str(it["message"]) for it in reports]
        seen.append((reported, [record.getMessage() for record in caplog.records]))
    (reported, lines), *others = seen
    for other_reported, other_lines in others:
        assert other_reported == reported
        assert other_lines == lines


@pytest.mark.parametrize("packages", [asyncio, ferroloop], ids=["asyncio's", "ferroloop's"])
async def test_streams_over_tls_get_what_came_in_one_piece(
    loop: Loop, packages: ModuleType
) -> None:
    done: asyncio.Future[bytes]

    async def serve(reader: Any, writer: Any) -> None:
        data = b""
        while part := await reader.read(1 << 20):
            data += part
        done.set_result(data)
        writer.close()

    done = loop.create_future()
    server = await packages.start_server(serve, "127.0.0.1", 0, ssl=server_context())
    with socket.create_connection(server.sockets[0].getsockname()) as sock:
        peer = Peer(sock)
        await peer.handshake()
        await peer.send_raw(peer.records(*[b"y" * 1000] * 50) + peer.close_notify())
        assert await done == b"y" * 50_000
    server.close()
