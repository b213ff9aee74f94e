"""Flow control over TLS at the edges: pausing, half closes, tiny limits, and callbacks that write."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import sys
from typing import Any

import pytest

from support.loops import PATIENCE, run, until
from support.net.certificates import server_context
from support.net.protocols import BufferedRecorder, Recorder, returning
from support.net.sockets import drain_socket, reset, socket_pair
from support.net.tls import Peer, peer_of, served

Loop = asyncio.AbstractEventLoop


class Answering(Recorder):
    """Answers each message, and is asked to pause and to go on at every flush."""

    last: Answering

    def __init__(self) -> None:
        super().__init__()
        Answering.last = self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(b"to " + data + b";")


async def read_until(peer: Peer, end: bytes) -> None:
    """Receive until the data ends in `end`."""
    data = b""
    while not data.endswith(end):
        part = await peer.read(1)
        assert part, f"the other side ended after {data!r}"
        data += part


async def test_what_resume_writing_writes_holds_nothing_up(loop: Loop) -> None:
    class Writing(Answering):
        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.write(b"go on;")

    async with peer_of(Writing) as peer:
        await peer.handshake()
        for number in range(6):
            await peer.send(b"%d" % number)
            await read_until(peer, b"to %d;" % number)
        assert {"pause_writing", "resume_writing"} <= set(Answering.last.events)
        Answering.last.transport.abort()
        await Answering.last.wait_lost()


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_an_interrupt_in_flow_control_holds_nothing_up(loop: Loop, method: str) -> None:
    class Interrupted(Answering):
        armed = False

    def interrupt(self: Interrupted) -> None:
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt

    setattr(Interrupted, method, interrupt)

    async def main() -> None:
        async with peer_of(Interrupted) as peer:
            await peer.handshake()
            await peer.send(b"first")
            await read_until(peer, b"to first;")
            protocol: Any = Answering.last
            protocol.armed = True
            for number in range(6):
                await peer.send(b"%d" % number)
                await read_until(peer, b"to %d;" % number)
            assert not protocol.armed
            protocol.transport.abort()
            await protocol.wait_lost()

    task = loop.create_task(asyncio.wait_for(main(), PATIENCE))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    loop.run_until_complete(task)


def test_an_end_while_both_sides_are_paused_loses_nothing_written(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="asyncio")
    loop.set_debug(True)

    class Both(Recorder):
        written = 0

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()
            while "pause_writing" not in self.events and not self.transport.is_closing():
                self.transport.write(bytes(100_000))
                self.written += 100_000

        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.resume_reading()

    both = Both()

    async def main() -> None:
        async with peer_of(returning(both)) as peer:
            await peer.handshake()
            await peer.send(b"go")
            await until(lambda: "pause_writing" in both.events)
            peer.sock.shutdown(socket.SHUT_WR)
            # The end is seen before anything is read here.
            await until(lambda: "received EOF" in caplog.text)
            assert await drain_socket(peer.sock, 1 << 30) > both.written
            assert await both.wait_lost() is None
            assert both.events[-3:] == ["resume_writing", "eof_received", "connection_lost"]

    run(loop, main(), patience=30)


class Sipping:
    """Pauses at each delivery, and reads on when the test says so or in the next callback."""

    last: Any
    transport: Any

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc] # a mixin
        type(self).last = self
        transport.set_read_buffer_limits(high=4 << 20)
        transport.pause_reading()

    def pause(self) -> None:
        self.transport.pause_reading()
        asyncio.get_running_loop().call_soon(self.transport.resume_reading)


class SippingPlain(Sipping, Recorder):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.pause()


class SippingBuffered(Sipping, BufferedRecorder):
    def __init__(self) -> None:
        super().__init__(65_536)

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        self.pause()


@pytest.mark.parametrize("close_notify", [False, True])
@pytest.mark.parametrize("factory", [SippingPlain, SippingBuffered])
async def test_a_paused_program_reads_everything_that_came_before_the_end(
    loop: Loop, kind: str, factory: Any, close_notify: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "asyncio" and factory is SippingBuffered:
        pytest.skip("asyncio drops what the first buffer does not hold")
    caplog.set_level("DEBUG", logger="asyncio")
    loop.set_debug(True)
    size = 800_000

    async with peer_of(factory) as peer:
        await peer.handshake()
        await peer.send_raw(
            peer.records(bytes(size)) + (peer.close_notify() if close_notify else b"")
        )
        peer.sock.shutdown(socket.SHUT_WR)
        await until(lambda: "received EOF" in caplog.text)
        assert not factory.last.data
        factory.last.transport.resume_reading()
        assert await factory.last.wait_lost() is None
        assert len(factory.last.data) == size
        assert factory.last.events[-2:] == ["eof_received", "connection_lost"]


@pytest.mark.ours_only("asyncio waits for a resume that need not come")
@pytest.mark.parametrize("data", [b"", b"unread"])
async def test_closing_ends_a_connection_with_unread_data(
    loop: Loop, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="asyncio")
    loop.set_debug(True)

    async with peer_of(SippingPlain) as peer:
        await peer.handshake()
        await peer.send_raw(peer.records(data) if data else b"")
        peer.sock.shutdown(socket.SHUT_WR)
        await until(lambda: "received EOF" in caplog.text)
        SippingPlain.last.transport.close()
        assert await SippingPlain.last.wait_lost() is None
        assert not SippingPlain.last.data


async def test_what_comes_with_the_end_of_the_handshake_is_delivered_in_one_piece(
    loop: Loop,
) -> None:
    size = 80_000
    server = Recorder()

    with socket_pair() as (near, far):
        accepting = loop.create_task(
            loop.connect_accepted_socket(returning(server), far, ssl=server_context())
        )
        peer = Peer(near)
        while True:
            try:
                peer.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await peer.flush()
                assert await peer.receive()
        # The end of the handshake is still here.
        burst = peer.outgoing.read() + peer.records(bytes(size))
        assert near.send(burst) == len(burst)
        transport, _ = await accepting
        assert len(await server.wait_data(size)) == size
        assert server.events == ["connection_made", "data_received"]
        transport.abort()
        await server.wait_lost()


class Small(BufferedRecorder):
    """Lends four bytes, and hands the connection over when they are full."""

    def __init__(self, following: Recorder) -> None:
        super().__init__(4)
        self.following = following

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        self.transport.set_protocol(self.following)


async def test_a_protocol_that_is_exchanged_within_a_record_gets_the_rest(loop: Loop) -> None:
    following = Recorder()
    first = Small(following)

    async with peer_of(returning(first)) as peer:
        await peer.handshake()
        await peer.send(b"HEADand the rest")
        assert await following.wait_data(12) == b"and the rest"
        first.transport.abort()
        await following.wait_lost()
    assert first.data == b"HEAD"
    assert first.events == ["connection_made", "buffer_updated"]


async def test_a_protocol_that_is_exchanged_within_a_batch_gets_the_rest(loop: Loop) -> None:
    size = 600_000
    following = BufferedRecorder(65_536)

    class First(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.pause_reading()
            self.transport.set_read_buffer_limits(high=4 << 20)  # type: ignore[attr-defined] # TLS

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(following)

    first = First()

    async with peer_of(returning(first)) as peer:
        await peer.handshake()
        await peer.send(bytes(size))
        await until(lambda: first.events)
        waiting: Any = first.transport
        await until(lambda: waiting.get_read_buffer_size() > size)
        waiting.resume_reading()
        await until(lambda: len(first.data) + len(following.data) == size)
        waiting.abort()
        await following.wait_lost()
    assert first.events == ["connection_made", "data_received"]


@pytest.mark.parametrize("high", [0, 1000, 4096, 20_000])
async def test_a_record_longer_than_the_read_limits_is_delivered(
    loop: Loop, kind: str, high: int
) -> None:
    if kind == "asyncio" and not high:
        pytest.skip("asyncio stops when nothing waits, and never goes on")
    protocol = Recorder()

    async with served(protocol) as peer:
        transport: Any = protocol.transport
        below = transport._ssl_protocol._transport
        transport.set_read_buffer_limits(high=high, low=0)
        size = 0
        for length in (16_000, 16_384, 40_000):
            records = peer.records(bytes(length))
            size += length
            for at in range(0, len(records), 5000):
                await peer.send_raw(records[at : at + 5000])
                # Nothing is in the kernel that was not read.
                await until(lambda: not readable(transport))
                assert below.is_reading()
            await protocol.wait_data(size)
        transport.abort()
        await protocol.wait_lost()


def readable(transport: Any) -> bool:
    """Whether the kernel has something that the transport has not read."""
    ready, _, _ = select.select([transport.get_extra_info("socket")], [], [], 0)
    return bool(ready)


async def test_closing_sees_a_close_notify_that_came_while_reading_was_paused(loop: Loop) -> None:
    protocol = Recorder()

    # Not the time-out's end: that would outlast the test.
    options: dict[str, Any] = {"ssl_shutdown_timeout": 60}
    if sys.version_info < (3, 11):
        options.clear()
    async with served(protocol, **options) as peer:
        transport: Any = protocol.transport
        transport.pause_reading()
        await peer.send_raw(peer.close_notify())
        await until(lambda: transport.get_read_buffer_size() > 0)
        transport.close()
        assert await protocol.wait_lost() is None
    assert protocol.events == ["connection_made", "eof_received", "connection_lost"]


async def test_a_large_write_to_a_broken_connection_is_dropped_quietly(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    protocol = Recorder()

    async with served(protocol) as peer:
        transport: Any = protocol.transport
        reset(peer.sock)
        # Before the loop can see it.
        transport.write(bytes(5_000_000))
        assert transport.get_write_buffer_size() == 0
        assert isinstance(await protocol.wait_lost(), ConnectionError)
    assert not caplog.records


@pytest.mark.ours_only("asyncio sends close_notify before the data that is being written")
async def test_closing_from_within_openssl_sends_what_was_written_before(loop: Loop) -> None:
    size = 100_000
    protocol = Recorder()

    class Closing(ssl.SSLObject):
        def write(self, data: Any) -> int:
            protocol.transport.close()
            return super().write(data)

    context = server_context()
    context.sslobject_class = Closing

    async with served(protocol, context) as peer:
        protocol.transport.write(bytes(size))
        assert len(await peer.read(size + 1)) == size
        await peer.send_raw(peer.close_notify())
        assert await protocol.wait_lost() is None
