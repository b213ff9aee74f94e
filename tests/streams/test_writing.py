"""write, writelines, write_eof: what arrives, when, and what a finished connection does with it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from support.attaching import attach, attached
from support.loops import run, until
from support.net.protocols import Recorder
from support.net.sockets import (
    Pair,
    drain_socket,
    receive_exactly,
    receive_in_turns,
)

Loop = asyncio.AbstractEventLoop


async def end(transport: asyncio.Transport, protocol: Recorder) -> None:
    transport.abort()
    await protocol.wait_lost()


async def test_writes_arrive_in_their_order(loop: Loop, pair: Pair) -> None:
    near, far = pair
    async with attached(near) as (transport, _):
        for number in range(500):
            transport.write(b"%03d" % number)
        transport.writelines([b"a", b"", b"b", bytearray(b"c"), memoryview(b"d")])
        transport.write(b"")
        transport.write(b"end")
        await asyncio.sleep(0)
        expected = b"".join(b"%03d" % n for n in range(500)) + b"abcdend"
        assert await receive_in_turns(far, len(expected)) == expected


def test_a_write_from_outside_any_callback_has_left_when_it_returns(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()
    transport = run(loop, attach(near, protocol))
    transport.write(b"at once")
    assert far.recv(100) == b"at once"
    run(loop, end(transport, protocol))


async def test_a_write_has_left_when_the_callback_returns(loop: Loop, pair: Pair) -> None:
    near, far = pair
    async with attached(near) as (transport, _):
        seen: list[bytes] = []
        loop.call_soon(transport.write, b"one")
        loop.call_soon(lambda: seen.append(far.recv(100)))
        loop.call_soon(transport.writelines, [b"two", b"three"])
        loop.call_soon(lambda: seen.append(far.recv(100)))
        await asyncio.sleep(0)
        assert seen == [b"one", b"twothree"]


async def test_asking_for_the_buffers_size_has_sent_what_could_be_sent(
    loop: Loop, pair: Pair
) -> None:
    near, far = pair
    async with attached(near) as (transport, _):
        transport.write(b"small")
        assert transport.get_write_buffer_size() == 0
        assert far.recv(100) == b"small"


async def test_close_in_the_same_callback_still_sends(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()

    transport = await attach(near, protocol)
    transport.write(b"header")
    transport.write(b"body")
    transport.close()
    await protocol.wait_lost()
    assert receive_exactly(far, 10) == b"headerbody"
    assert far.recv(1) == b""


Maker = Callable[[bytes], Any]


@pytest.mark.parametrize(
    "make",
    [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))],
    ids=["bytes", "bytearray", "memoryview", "writable memoryview"],
)
async def test_every_kind_of_bytes_can_be_written(loop: Loop, pair: Pair, make: Maker) -> None:
    near, far = pair
    async with attached(near) as (transport, _):
        transport.write(make(b"some bytes"))
        transport.writelines([make(b"more "), make(b"bytes")])
        await asyncio.sleep(0)
        assert receive_exactly(far, 20) == b"some bytesmore bytes"


async def test_a_subclass_of_bytes_can_be_written(loop: Loop, pair: Pair) -> None:
    class Own(bytes):
        pass

    near, far = pair
    async with attached(near) as (transport, _):
        transport.write(Own(b"own"))
        await asyncio.sleep(0)
        assert receive_exactly(far, 3) == b"own"


def test_the_callers_buffer_is_his_again_after_the_write(loop: Loop, pair: Pair) -> None:
    """Kept data is a snapshot: what the caller does to his buffer afterwards does not show."""
    near, far = pair
    protocol = Recorder()
    size = 2_000_000

    async def main() -> bytes:
        transport = await attach(near, protocol)
        buffer = bytearray(b"a" * size)
        transport.write(buffer)
        assert transport.get_write_buffer_size() > 0
        buffer[:] = b"b" * size
        received = bytearray()
        while len(received) < size:
            try:
                received += far.recv(1 << 18)
            except BlockingIOError:
                await asyncio.sleep(0)
        await end(transport, protocol)
        return bytes(received)

    if type(loop).__module__.startswith("asyncio"):
        pytest.skip("asyncio keeps a view of the caller's buffer since 3.12")
    assert run(loop, main()) == b"a" * size


async def test_nothing_holds_a_buffer_that_was_written(loop: Loop, pair: Pair) -> None:
    near, far = pair
    async with attached(near) as (transport, _):
        buffer = bytearray(b"x" * 100)
        view = memoryview(buffer)
        transport.write(buffer)
        transport.write(view[10:20])
        transport.write(view[:0])
        view.release()
        buffer.clear()
        assert receive_exactly(far, 110) == b"x" * 110
        with pytest.raises(ValueError, match="released"):
            transport.write(view)


@pytest.mark.parametrize("how", ["write", "writelines"])
async def test_much_more_than_the_kernel_takes_arrives(loop: Loop, pair: Pair, how: str) -> None:
    near, far = pair
    chunk = bytes(range(256)) * 64
    count = 500

    async with attached(near) as (transport, _):
        if how == "write":
            for _ in range(count):
                transport.write(chunk)
        else:
            transport.writelines([chunk] * count)
        assert await receive_in_turns(far, len(chunk) * count, 1 << 18) == chunk * count


async def test_more_pieces_than_one_system_call_takes_arrive(loop: Loop, pair: Pair) -> None:
    near, far = pair
    async with attached(near) as (transport, _):
        transport.writelines([b"%05d" % number for number in range(5000)])
        await asyncio.sleep(0)
        received = await receive_in_turns(far, 25_000)
        assert received == b"".join(b"%05d" % number for number in range(5000))


async def test_a_writelines_that_ends_in_nothing_is_finished(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()

    transport = await attach(near, protocol)
    transport.writelines([b"x", b""])
    transport.writelines([])
    transport.writelines([b""])
    transport.writelines(iter([b"y"]))
    transport.close()
    await protocol.wait_lost()
    assert receive_exactly(far, 2) == b"xy"


async def test_write_eof_comes_after_what_was_written(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()
    size = 2_000_000

    transport = await attach(near, protocol)
    assert transport.can_write_eof() is True
    transport.write(bytes(size))
    transport.write_eof()
    transport.write_eof()
    assert not transport.is_closing()
    assert await drain_socket(far, size + 1) == size
    # The other direction is still open.
    far.send(b"answer")
    assert await protocol.wait_data(6) == b"answer"
    far.close()
    await protocol.wait_lost()


async def test_a_write_within_each_protocol_call_is_sent(loop: Loop, pair: Pair) -> None:
    near, far = pair

    class Protocol(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.write(b"made,")

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"data,")

        def eof_received(self) -> bool | None:
            super().eof_received()
            self.transport.write(b"eof")
            return None

    protocol = Protocol()

    await attach(near, protocol)
    far.send(b"x")
    await protocol.wait_data(1)
    far.shutdown(socket.SHUT_WR)
    await until(lambda: protocol.is_lost)
    assert receive_exactly(far, 13) == b"made,data,eof"
