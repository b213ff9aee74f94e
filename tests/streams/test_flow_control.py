"""Flow control: high and low water, pausing and resuming, in both directions."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from support.attaching import attach, attached
from support.loops import until
from support.net.protocols import Recorder
from support.net.sockets import Pair, drain_socket

Loop = asyncio.AbstractEventLoop
BIG = 4_000_000


async def test_the_protocol_is_paused_above_high_water_and_resumed_below_low_water(
    loop: Loop, pair: Pair
) -> None:
    near, far = pair
    async with attached(near) as (transport, protocol):
        transport.write(bytes(BIG))
        assert protocol.events[-1] == "pause_writing"
        size = transport.get_write_buffer_size()
        assert 64 * 1024 < size <= BIG
        transport.write(bytes(1000))
        assert protocol.events.count("pause_writing") == 1
        assert await drain_socket(far, BIG + 1000) == BIG + 1000
        await until(lambda: "resume_writing" in protocol.events)
        assert protocol.events.count("resume_writing") == 1
        await until(lambda: transport.get_write_buffer_size() == 0)


async def test_the_default_limits_are_asyncios(loop: Loop, pair: Pair) -> None:
    protocol = Recorder()
    transport: Any = await attach(pair[0], protocol)
    assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    transport.set_write_buffer_limits(high=1000)
    assert transport.get_write_buffer_limits() == (250, 1000)
    transport.set_write_buffer_limits(low=1000)
    assert transport.get_write_buffer_limits() == (1000, 4000)
    transport.set_write_buffer_limits(high=0)
    assert transport.get_write_buffer_limits() == (0, 0)
    transport.set_write_buffer_limits(high=10, low=5)
    assert transport.get_write_buffer_limits() == (5, 10)
    transport.set_write_buffer_limits()
    assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    transport.abort()
    await protocol.wait_lost()


async def test_a_high_water_of_zero_pauses_on_the_first_byte_that_stays(
    loop: Loop, pair: Pair
) -> None:
    near, far = pair
    async with attached(near) as (transport, protocol):
        transport.set_write_buffer_limits(high=0)
        transport.write(b"fits")
        assert transport.get_write_buffer_size() == 0
        assert "pause_writing" not in protocol.events
        transport.write(bytes(BIG))
        assert "pause_writing" in protocol.events
        await drain_socket(far, BIG + 4)
        await until(lambda: "resume_writing" in protocol.events)
        assert transport.get_write_buffer_size() == 0


async def test_lower_limits_apply_to_the_next_write(loop: Loop, pair: Pair) -> None:
    near, far = pair
    async with attached(near) as (transport, protocol):
        transport.set_write_buffer_limits(high=BIG * 2)
        transport.write(bytes(BIG))
        assert "pause_writing" not in protocol.events
        transport.set_write_buffer_limits(high=1000)
        transport.write(b"x")
        assert "pause_writing" in protocol.events
        await drain_socket(far, BIG + 1)
        await until(lambda: "resume_writing" in protocol.events)


async def test_writing_within_resume_writing_is_fine(loop: Loop, pair: Pair) -> None:
    near, far = pair
    rounds = 3

    class Protocol(Recorder):
        left = rounds

        def resume_writing(self) -> None:
            super().resume_writing()
            if self.left:
                self.left -= 1
                self.transport.write(bytes(BIG))

    protocol = Protocol()

    transport = await attach(near, protocol)
    transport.write(bytes(BIG))
    assert await drain_socket(far, BIG * (rounds + 1)) == BIG * (rounds + 1)
    await until(lambda: protocol.events.count("resume_writing") == rounds + 1)
    transport.abort()
    await protocol.wait_lost()
    assert protocol.events.count("pause_writing") == rounds + 1


async def test_writing_within_pause_writing_is_fine(loop: Loop, pair: Pair) -> None:
    near, far = pair

    class Protocol(Recorder):
        def pause_writing(self) -> None:
            super().pause_writing()
            self.transport.write(b"x" * 1000)

    protocol = Protocol()

    transport = await attach(near, protocol)
    transport.write(bytes(BIG))
    assert await drain_socket(far, BIG + 1000) == BIG + 1000
    transport.abort()
    await protocol.wait_lost()
    assert protocol.events.count("pause_writing") == 1


@pytest.mark.ours_only("asyncio loses such a connection twice (gh-156512)")
@pytest.mark.parametrize("event", ["pause_writing", "resume_writing"])
@pytest.mark.parametrize("act", ["close", "abort"])
async def test_ending_the_connection_within_flow_control_is_fine(
    loop: Loop, pair: Pair, event: str, act: str
) -> None:
    near, far = pair
    protocol = Recorder()

    def ending() -> None:
        protocol.events.append(event)
        getattr(protocol.transport, act)()

    setattr(protocol, event, ending)

    transport = await attach(near, protocol)
    transport.write(bytes(BIG))
    await drain_socket(far, BIG)
    await protocol.wait_lost()
    assert protocol.events.count("connection_lost") == 1


async def test_writelines_is_under_flow_control(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()

    transport = await attach(near, protocol)
    transport.writelines([bytes(BIG // 4)] * 4)
    assert await drain_socket(far, BIG) == BIG
    transport.abort()
    await protocol.wait_lost()
    # asyncio before 3.12.9 and 3.13.2 forgot to pause.
    if not type(loop).__module__.startswith("asyncio"):
        assert protocol.events.count("pause_writing") == 1


async def test_a_stream_writers_drain_waits_for_the_peer(loop: Loop, pair: Pair) -> None:
    near, far = pair

    connect = (
        asyncio.open_unix_connection if near.family == socket.AF_UNIX else asyncio.open_connection
    )
    _, writer = await connect(sock=near)
    writer.write(bytes(BIG))
    draining = loop.create_task(writer.drain())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not draining.done()
    await drain_socket(far, BIG)
    await draining
    writer.close()
    await writer.wait_closed()


async def test_a_paused_transport_reads_nothing(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()

    transport = await attach(near, protocol)
    assert transport.is_reading() is True
    transport.pause_reading()
    assert transport.is_reading() is False
    far.send(b"later")
    for _ in range(10):
        await asyncio.sleep(0)
    assert protocol.data == b""
    transport.resume_reading()
    assert transport.is_reading() is True
    assert await protocol.wait_data(5) == b"later"
    transport.abort()
    await protocol.wait_lost()
    assert transport.is_reading() is False


async def test_pausing_and_resuming_twice_is_doing_it_once(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()

    transport = await attach(near, protocol)
    for method in ("pause_reading", "pause_reading", "resume_reading", "resume_reading"):
        getattr(transport, method)()
    far.send(b"x")
    await protocol.wait_data(1)
    transport.close()
    for method in ("pause_reading", "resume_reading"):
        getattr(transport, method)()
    assert transport.is_reading() is False
    await protocol.wait_lost()


async def test_pausing_within_data_received_stops_the_delivery(loop: Loop, pair: Pair) -> None:
    near, far = pair
    size = 150_000

    class Protocol(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    protocol = Protocol()

    transport = await attach(near, protocol)
    far.setblocking(True)
    await loop.run_in_executor(None, far.sendall, bytes(size))
    deliveries = 0
    while len(protocol.data) < size:
        await until(lambda: not transport.is_reading())
        deliveries += 1
        for _ in range(3):
            await asyncio.sleep(0)
        assert protocol.events.count("data_received") == deliveries
        transport.resume_reading()
    transport.abort()
    await protocol.wait_lost()


async def test_the_end_is_not_seen_while_reading_is_paused(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()

    transport = await attach(near, protocol)
    transport.pause_reading()
    far.send(b"data")
    far.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert protocol.events == ["connection_made"]
    transport.resume_reading()
    await protocol.wait_lost()
    assert protocol.events == [
        "connection_made",
        "data_received",
        "eof_received",
        "connection_lost",
    ]


async def test_a_fast_sender_does_not_starve_the_loop(loop: Loop, pair: Pair) -> None:
    near, far = pair
    far.setblocking(True)
    protocol = Recorder()
    turns_between: list[int] = []

    transport = await attach(near, protocol)
    sending = loop.run_in_executor(None, far.sendall, bytes(20_000_000))
    while len(protocol.data) < 20_000_000:
        before = len(protocol.data)
        await asyncio.sleep(0)
        turns_between.append(len(protocol.data) - before)
    await sending
    transport.abort()
    await protocol.wait_lost()
    # Other callbacks get their turn again and again in the meantime.
    assert max(turns_between) <= 4_000_000
