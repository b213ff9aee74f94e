"""BufferedProtocol: data received straight into the protocol's own buffer."""

from __future__ import annotations

import array
import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from support.attaching import attach
from support.loops import until
from support.net.protocols import BufferedRecorder, Recorder
from support.net.sockets import Pair

Loop = asyncio.AbstractEventLoop


async def test_data_lands_in_the_protocols_buffer(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = BufferedRecorder()

    await attach(near, protocol)
    far.send(b"some data")
    await until(lambda: len(protocol.data) == 9)
    far.close()
    await protocol.wait_lost()
    assert protocol.data == b"some data"
    assert protocol.events == [
        "connection_made",
        "buffer_updated",
        "eof_received",
        "connection_lost",
    ]
    # The hint may say that anything is welcome.
    assert all(hint == -1 or hint > 0 for hint in protocol.hints)


@pytest.mark.parametrize("size", [1, 2, 7, 4096])
async def test_a_small_buffer_is_filled_as_often_as_needed(
    loop: Loop, pair: Pair, size: int
) -> None:
    near, far = pair
    protocol = BufferedRecorder(size)
    data = bytes(range(256)) * 4

    await attach(near, protocol)
    far.send(data)
    await until(lambda: len(protocol.data) == len(data))
    protocol.transport.abort()
    await protocol.wait_lost()
    assert protocol.data == data


Maker = Callable[[], Any]


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytearray(100),
        lambda: memoryview(bytearray(100)),
        lambda: memoryview(bytearray(100))[10:60],
        lambda: array.array("B", bytes(100)),
        lambda: array.array("i", bytes(12)),
        lambda: memoryview(bytearray(12)).cast("H"),
    ],
    ids=["bytearray", "memoryview", "part of a memoryview", "array", "wide array", "wide view"],
)
async def test_any_writable_buffer_will_do(loop: Loop, pair: Pair, make: Maker) -> None:
    near, far = pair
    received = bytearray()

    class Protocol(BufferedRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            self.lent = make()
            return self.lent

        def buffer_updated(self, nbytes: int) -> None:
            received.extend(memoryview(self.lent).cast("B")[:nbytes])

    protocol = Protocol()

    await attach(near, protocol)
    far.send(b"some more data")
    await until(lambda: len(received) == 14)
    protocol.transport.abort()
    await protocol.wait_lost()
    assert received == b"some more data"


async def test_a_buffer_may_be_resized_within_buffer_updated(loop: Loop, pair: Pair) -> None:
    """It is no longer lent then: a bytearray that is exported cannot be resized."""
    near, far = pair

    class Protocol(BufferedRecorder):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            del self.buffer[:]
            self.buffer.extend(bytes(64))

    protocol = Protocol(8)

    await attach(near, protocol)
    far.send(bytes(100))
    await until(lambda: len(protocol.data) == 100)
    protocol.transport.abort()
    await protocol.wait_lost()


async def test_changing_the_protocols_kind_in_mid_stream(loop: Loop, pair: Pair) -> None:
    near, far = pair
    plain, buffered, last = Recorder(), BufferedRecorder(), Recorder()

    transport = await attach(near, plain)
    far.send(b"one")
    await plain.wait_data(3)
    transport.set_protocol(buffered)
    far.send(b"two")
    await until(lambda: len(buffered.data) == 3)
    transport.set_protocol(last)
    far.send(b"three")
    await last.wait_data(5)
    transport.abort()
    await last.wait_lost()
    assert b",".join((plain.data, buffered.data, last.data)) == b"one,two,three"


async def test_a_protocol_set_by_get_buffer_hears_of_the_data(loop: Loop, pair: Pair) -> None:
    near, far = pair
    second = BufferedRecorder()

    class First(BufferedRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            self.transport.set_protocol(second)
            return self.buffer

    first = First()

    await attach(near, first)
    far.send(b"x")
    await until(lambda: second.events)
    assert second.events == ["buffer_updated"]
    assert "buffer_updated" not in first.events
    first.transport.abort()
    await second.wait_lost()


async def test_reading_can_be_paused_within_buffer_updated(loop: Loop, pair: Pair) -> None:
    near, far = pair

    class Protocol(BufferedRecorder):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

        def has(self, size: int) -> bool:
            return len(self.data) == size

    protocol = Protocol(10)

    await attach(near, protocol)
    far.send(bytes(30))
    for expected in (10, 20, 30):
        await until(partial(protocol.has, expected))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(protocol.data) == expected
        protocol.transport.resume_reading()
    protocol.transport.abort()
    await protocol.wait_lost()


async def test_a_megabyte_arrives_whole(loop: Loop, pair: Pair) -> None:
    near, far = pair
    far.setblocking(True)
    protocol = BufferedRecorder(50_000)
    data = bytes(range(250)) * 8000

    await attach(near, protocol)
    sending = loop.run_in_executor(None, far.sendall, data)
    await until(lambda: len(protocol.data) == len(data))
    await sending
    protocol.transport.abort()
    await protocol.wait_lost()
    assert protocol.data == data
