"""Buffers that are none, have no room, report a wrong length or change: only their own bytes are sent and filled."""

from __future__ import annotations

import array
import asyncio
import contextlib
import ctypes
import socket
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from support.attaching import attach
from support.errors import Reports
from support.loops import until
from support.net.connections import TLS, FarEnd, connected
from support.net.datagrams import endpoint
from support.net.protocols import BufferedRecorder, Recorder
from support.net.sockets import Pair, socket_pair

Loop = asyncio.AbstractEventLoop


class LongBytes(bytes):
    """Says that it is longer."""

    def __len__(self) -> int:
        return super().__len__() + 100_000


class LongArray(bytearray):
    """Says that it is longer."""

    def __len__(self) -> int:
        return super().__len__() + 100_000


class Exporting:
    """Has a buffer of its own (PEP 688), another one each time that it is asked."""

    def __init__(self, *memories: Any) -> None:
        self.memories = list(memories)
        self.released = 0

    def __len__(self) -> int:
        return 1000

    def __buffer__(self, flags: int) -> memoryview:
        first = self.memories[0]
        if len(self.memories) > 1:
            del self.memories[0]
        return memoryview(first)

    def __release_buffer__(self, view: memoryview) -> None:
        self.released += 1
        view.release()


EXPORTING = pytest.param(
    lambda: Exporting(b"text"),
    id="__buffer__",
    marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 688 is of 3.12"),
)
SENT = pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: LongBytes(b"text"), id="bytes"),
        pytest.param(lambda: LongArray(b"text"), id="bytearray"),
        pytest.param(lambda: memoryview(LongArray(b"text")), id="memoryview"),
        EXPORTING,
    ],
)


@pytest.mark.parametrize("transport", ["unix", *TLS])
@SENT
async def test_what_is_sent_is_what_the_buffer_holds(
    kind: str, loop: Loop, make: Callable[[], Any], transport: str
) -> None:
    if kind == "asyncio" and not isinstance(make(), memoryview):
        pytest.skip("asyncio believes the length")
    protocol = Recorder()

    async with connected(transport, protocol) as far:
        near = protocol.transport
        sent = b""
        with contextlib.suppress(TypeError):
            near.write(make())
            sent += b"text"
        with contextlib.suppress(TypeError):
            near.writelines([make(), b"."])
            sent += b"text."
        if not near.is_closing():
            near.write(b"END")
            sent += b"END"
            assert await far.receive(len(sent)) == sent


@SENT
async def test_datagrams_are_what_the_buffer_holds(loop: Loop, make: Callable[[], Any]) -> None:
    far = await endpoint(local_addr=("127.0.0.1", 0))
    near = await endpoint(remote_addr=far.address)
    try:
        near.transport.sendto(make())
    except TypeError:
        near.transport.sendto(b"text")
    await far.wait_data(b"text")
    await near.close()
    await far.close()


@SENT
@pytest.mark.ours_only("asyncio believes the length")
async def test_sock_sendall_sends_what_the_buffer_holds(
    loop: Loop, make: Callable[[], Any]
) -> None:
    with socket_pair() as (near, far):
        await loop.sock_sendall(near, make())
        near.shutdown(socket.SHUT_WR)
        assert await FarEnd(far).receive(100) == b"text"


async def test_an_array_is_sent_whole(loop: Loop) -> None:
    protocol = Recorder()
    data: Any = array.array("i", [1, 2, 3])

    async with connected("unix", protocol) as far:
        protocol.transport.write(memoryview(data))
        assert await far.receive(12) == data.tobytes()


class Lending(BufferedRecorder):
    """Lends what a function makes."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self.make = make
        self.lent: list[Any] = []
        self.counts: list[int] = []

    def get_buffer(self, sizehint: int) -> Any:
        self.lent.append(self.make())
        return self.lent[-1]

    def buffer_updated(self, nbytes: int) -> None:
        self.events.append("buffer_updated")
        self.counts.append(nbytes)


@pytest.mark.parametrize("transport", ["unix", *TLS])
async def test_a_buffer_gets_no_more_than_it_holds(kind: str, loop: Loop, transport: str) -> None:
    if transport == "tls" and kind == "asyncio":
        pytest.skip("asyncio reads what does not fit into a copy")
    protocol = Lending(lambda: LongArray(4))

    async with connected(transport, protocol) as far:
        await far.send(b"12345678")
        await until(lambda: sum(protocol.counts) == 8)
        # Over TLS a buffer may be asked for that no data comes for.
        assert [bytes(it) for it in protocol.lent if any(it)] == [b"1234", b"5678"]
        assert protocol.counts == [4, 4]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 688 is of 3.12")
@pytest.mark.parametrize("transport", ["unix", *TLS])
@pytest.mark.ours_only("asyncio slices what is no buffer to it")
async def test_a_buffer_that_changes_gets_what_fits(loop: Loop, transport: str) -> None:
    memories: list[bytearray] = []

    def make() -> Exporting:
        sizes = [bytearray(size) for size in (100, 3, 50, 1, 100)]
        memories.extend(sizes)
        return Exporting(*sizes)

    protocol = Lending(make)

    async with connected(transport, protocol) as far:
        message = b"x" * 300
        await far.send(message)
        await until(lambda: sum(protocol.counts) >= 300)
        assert sum(protocol.counts) == 300 == sum(it.count(b"x") for it in memories)


@pytest.mark.parametrize("transport", ["unix", *TLS])
async def test_a_buffer_may_be_emptied_when_it_is_filled(loop: Loop, transport: str) -> None:
    class Emptying(Lending):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            self.data += self.lent[-1][:nbytes]
            self.lent[-1].clear()

    protocol = Emptying(lambda: bytearray(5))

    async with connected(transport, protocol) as far:
        for part in (b"first", b"second text", b"third"):
            await far.send(part)
            await until(lambda: protocol.data.endswith(part))  # noqa: B023 - at once
        assert protocol.data == b"firstsecond textthird"


@pytest.mark.parametrize(
    ("get_buffer", "error"),
    [
        (lambda _: bytearray(), RuntimeError),
        (lambda _: None, TypeError),
        (lambda _: 5, TypeError),
        (lambda _: b"read-only", (TypeError, BufferError)),
        (lambda _: memoryview(b"read-only"), (TypeError, BufferError)),
    ],
    ids=["empty", "none", "number", "bytes", "read-only view"],
)
async def test_a_buffer_that_cannot_be_filled_ends_the_connection(
    loop: Loop, pair: Pair, reports: Reports, get_buffer: Any, error: Any
) -> None:
    near, far = pair
    protocol: Any = BufferedRecorder()
    protocol.get_buffer = get_buffer

    await attach(near, protocol)
    far.send(b"x")
    await protocol.wait_lost()
    context = reports.take()
    assert isinstance(context["exception"], error)
    assert context["protocol"] is protocol
    assert context["transport"] is protocol.transport
    assert context["message"].startswith("Fatal ")
    assert protocol.lost is context["exception"]


class Nothing(ctypes.Structure):
    """Has no size."""


@pytest.mark.ours_only("asyncio takes the read of nothing for the peer's end")
async def test_items_without_a_size_are_an_empty_buffer(
    loop: Loop, pair: Pair, reports: Reports
) -> None:
    near, far = pair
    protocol: Any = BufferedRecorder()
    protocol.get_buffer = lambda _: (Nothing * 5)()

    await attach(near, protocol)
    far.send(b"x")
    await protocol.wait_lost()
    assert isinstance(reports.take()["exception"], RuntimeError)
    assert "eof_received" not in protocol.events


async def test_sock_recv_into_gets_what_fits(loop: Loop) -> None:
    with socket_pair() as (near, far):
        far.send(b"12345678")
        room = LongArray(3)
        assert await loop.sock_recv_into(near, room) == 3
        assert bytes(room) == b"123"
        if sys.version_info >= (3, 12):
            memory = bytearray(2)
            exporting: Any = Exporting(memory)
            assert await loop.sock_recv_into(near, exporting) == 2
            assert memory == b"45"


async def test_what_a_socket_of_ones_own_returns_is_the_answer(loop: Loop) -> None:
    class Odd(socket.socket):
        def recv(self, *args: Any) -> Any:
            super().recv(*args)
            return LongBytes(b"odd")

        def recv_into(self, *args: Any, **options: Any) -> Any:
            super().recv_into(*args, **options)
            return 10**30

    near, far = socket.socketpair()
    odd = Odd(fileno=near.detach())
    with odd, far:
        odd.setblocking(False)
        far.send(b"12345678")
        assert bytes(await loop.sock_recv(odd, 2)) == b"odd"
        assert await loop.sock_recv_into(odd, bytearray(2)) == 10**30


@pytest.mark.parametrize("swap", ["longer", "shorter", "empty", "lying"])
async def test_the_buffer_of_a_reader_may_be_exchanged(
    kind: str, loop: Loop, streams: ModuleType, swap: str
) -> None:
    """While a coroutine waits for the rest of what it has begun to look through."""
    made: dict[str, Callable[[], bytearray]] = {
        "longer": lambda: bytearray(b"z" * 1000),
        "shorter": lambda: bytearray(b"z"),
        "empty": bytearray,
        "lying": lambda: LongArray(b"z" * 10),
    }

    if swap == "lying" and kind == "asyncio" and streams is asyncio:
        pytest.skip("asyncio believes the length")
    near, far = socket.socketpair()
    reader, writer = await streams.open_unix_connection(sock=near)
    with far:
        far.send(b"y" * 500)
        line = asyncio.ensure_future(reader.readuntil(b"\r\n"))
        await until(lambda: len(reader._buffer) == 500)
        await asyncio.sleep(0)
        reader._buffer = made[swap]()
        held = bytes(reader._buffer)
        far.send(b"x\r\n" * 200)
        try:
            got = await asyncio.wait_for(line, 5)
        except asyncio.LimitOverrunError:
            got = b""
        assert (held + b"x\r\n" * 200).startswith(got)
        writer.close()
