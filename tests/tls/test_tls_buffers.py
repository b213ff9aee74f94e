"""Buffers that a BufferedProtocol lends to a TLS connection: what they hold is counted in bytes."""

from __future__ import annotations

import array
import asyncio
import ctypes
import ssl
import sys
from collections.abc import Callable
from typing import Any

import pytest

from support.errors import Reports
from support.loops import until
from support.net.certificates import server_context
from support.net.protocols import BufferedRecorder, returning
from support.net.tls import Peer, peer_of

Loop = asyncio.AbstractEventLoop
Maker = Callable[[], Any]

OF_WIDE_ITEMS = pytest.mark.parametrize(
    "make",
    [
        lambda: array.array("i", bytes(4000)),
        lambda: memoryview(bytearray(2000)).cast("H"),
        lambda: memoryview(bytearray(5000)).cast("B", [1000, 5]),
    ],
    ids=["array", "memoryview", "two dimensions"],
)


class Lending(BufferedRecorder):
    """Lends one buffer of any kind."""

    def __init__(self, make: Maker) -> None:
        super().__init__()
        self.lent = make()

    def get_buffer(self, sizehint: int) -> Any:
        super().get_buffer(sizehint)
        return self.lent

    def buffer_updated(self, nbytes: int) -> None:
        self.events.append("buffer_updated")
        self.data += memoryview(self.lent).cast("B")[:nbytes]

    async def wait_data(self, size: int) -> bytes:
        await until(lambda: len(self.data) >= size or "eof_received" in self.events)
        return bytes(self.data)


async def served(protocol: Lending, peer: Peer, *messages: bytes) -> None:
    """Send the messages, each after the one before has come."""
    await peer.handshake()
    size = 0
    for message in messages:
        await peer.send(message)
        size += len(message)
        await protocol.wait_data(size)
    events = list(protocol.events)
    protocol.transport.abort()
    await protocol.wait_lost()
    assert protocol.data == b"".join(messages)
    assert set(events) == {"connection_made", "buffer_updated"}


@OF_WIDE_ITEMS
async def test_items_may_be_longer_than_a_byte(loop: Loop, make: Maker) -> None:
    protocol = Lending(make)
    async with peer_of(returning(protocol)) as peer:
        await served(protocol, peer, bytes(range(250)) * 20, b"x" * 5000, b"one")


@OF_WIDE_ITEMS
@pytest.mark.ours_only("asyncio slices by items, and arrays into copies")
async def test_several_records_follow_each_other_in_wide_items(loop: Loop, make: Maker) -> None:
    protocol = Lending(make)
    async with peer_of(returning(protocol)) as peer:
        await peer.handshake()
        messages = [bytes([number]) * (number * 7 + 1) for number in range(200)]
        stream = b"".join(messages) + bytes(range(256)) * 200
        await peer.send_raw(peer.records(*messages, bytes(range(256)) * 200))
        assert await protocol.wait_data(len(stream)) == stream
        await peer.send_raw(peer.close_notify())
        await protocol.wait_lost()
        assert protocol.events[-2:] == ["eof_received", "connection_lost"]


class Nothing(ctypes.Structure):
    """Has no size."""


@pytest.mark.ours_only("asyncio takes the read of nothing for the peer's end")
async def test_items_without_a_size_are_an_empty_buffer(loop: Loop, reports: Reports) -> None:
    protocol = Lending(Nothing * 5)
    async with peer_of(returning(protocol)) as peer:
        await peer.handshake()
        await peer.send(b"data")
        assert isinstance(await protocol.wait_lost(), RuntimeError)
        assert protocol.events == ["connection_made", "connection_lost"]
    assert str(reports.take()["exception"]) == "get_buffer() returned an empty buffer"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio of 3.10 lends no buffer")
@pytest.mark.ours_only("asyncio takes the read of nothing for the peer's end")
async def test_a_buffer_that_is_emptied_in_between_is_not_the_end(loop: Loop) -> None:
    class Shrinking(BufferedRecorder):
        def get_buffer(self, sizehint: int) -> Any:
            self.buffer = bytearray(100)
            return self.buffer

    protocol = Shrinking()

    class Emptying(ssl.SSLObject):
        def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - that is its name
            count = super().read(len, buffer)
            if protocol.buffer[:5] == b"first":
                protocol.buffer.clear()
            return count

    context = server_context()
    context.sslobject_class = Emptying

    async with peer_of(returning(protocol), context) as peer:
        await peer.handshake()
        await peer.send_raw(peer.records(b"first", b"second"))
        await until(lambda: protocol.data or "eof_received" in protocol.events)
        assert protocol.data == b"second"
        protocol.transport.abort()
        await protocol.wait_lost()
        assert "eof_received" not in protocol.events
