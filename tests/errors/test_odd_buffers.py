"""Buffers that report a wrong length, change it, or are kept: only their own bytes are sent and received."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from support.loops import until
from support.net.certificates import client_context, server_context
from support.net.protocols import BufferedRecorder, Recorder, returning
from support.net.sockets import socket_pair
from support.net.tls import Peer

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


async def served(loop: Loop, tls: bool, protocol: Any) -> tuple[socket.socket, Peer | None]:
    """The far end of a connection of the protocol, and what speaks TLS on it."""
    near, far = socket.socketpair()
    far.setblocking(False)
    if not tls:
        await loop.create_unix_connection(returning(protocol), sock=near)
        return far, None
    connecting = asyncio.ensure_future(
        loop.create_unix_connection(
            returning(protocol), sock=near, ssl=client_context(), server_hostname="localhost"
        )
    )
    peer = Peer(far, server_context(), server_side=True)
    await asyncio.sleep(0)
    await peer.receive()
    await peer.handshake()
    await connecting
    return far, peer


async def arrived(loop: Loop, far: socket.socket, peer: Peer | None, size: int) -> bytes:
    """So many bytes, as the far end sees them."""
    if peer is not None:
        return await peer.read(size)
    data = b""
    while len(data) < size:
        part = await loop.sock_recv(far, size - len(data))
        if not part:
            break
        data += part
    return data


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@SENT
async def test_what_is_sent_is_what_the_buffer_holds(
    loop: Loop, make: Callable[[], Any], tls: bool
) -> None:
    if isinstance(make(), (bytes, bytearray)) and not _is_ours(loop):
        pytest.skip("asyncio believes the length")
    if isinstance(make(), Exporting) and not _is_ours(loop):
        pytest.skip("asyncio asks for the length")
    protocol = Recorder()
    far, peer = await served(loop, tls, protocol)
    with far:
        transport: Any = protocol.transport
        sent = b""
        with contextlib.suppress(TypeError):
            transport.write(make())
            sent += b"text"
        with contextlib.suppress(TypeError):
            transport.writelines([make(), b"."])
            sent += b"text."
        if not transport.is_closing():
            transport.write(b"END")
            sent += b"END"
            assert await arrived(loop, far, peer, len(sent)) == sent
        transport.abort()
        await protocol.wait_lost()


def _is_ours(loop: Loop) -> bool:
    return type(loop).__module__.startswith("ferroloop")


@SENT
async def test_datagrams_are_what_the_buffer_holds(loop: Loop, make: Callable[[], Any]) -> None:
    class Datagrams(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.got: list[bytes] = []

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.got.append(data)

    far, protocol = await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))
    near, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=far.get_extra_info("sockname")
    )
    try:
        near.sendto(make())
    except TypeError:
        near.sendto(b"text")
    await until(lambda: protocol.got)
    assert protocol.got == [b"text"]
    near.close()
    far.close()


@SENT
async def test_sock_sendall_sends_what_the_buffer_holds(
    loop: Loop, make: Callable[[], Any]
) -> None:
    if not _is_ours(loop):
        pytest.skip("asyncio believes the length")
    with socket_pair() as (near, far):
        near.setblocking(False)
        far.setblocking(False)
        await loop.sock_sendall(near, make())
        near.shutdown(socket.SHUT_WR)
        assert await arrived(loop, far, None, 100) == b"text"


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


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_buffer_gets_no_more_than_it_holds(loop: Loop, tls: bool) -> None:
    if tls and not _is_ours(loop):
        pytest.skip("asyncio reads what does not fit into a copy")
    protocol = Lending(lambda: LongArray(4))
    far, peer = await served(loop, tls, protocol)
    with far:
        if peer is None:
            await loop.sock_sendall(far, b"12345678")
        else:
            await peer.send(b"12345678")
        await until(lambda: sum(protocol.counts) == 8)
        assert [bytes(it) for it in protocol.lent[:2]] == [b"1234", b"5678"]
        assert protocol.counts == [4, 4]
        protocol.transport.abort()
        await protocol.wait_lost()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 688 is of 3.12")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.ours_only("asyncio slices what is no buffer to it")
async def test_a_buffer_that_changes_gets_what_fits(loop: Loop, tls: bool) -> None:
    memories: list[bytearray] = []

    def make() -> Exporting:
        sizes = [bytearray(size) for size in (100, 3, 50, 1, 100)]
        memories.extend(sizes)
        return Exporting(*sizes)

    protocol = Lending(make)
    far, peer = await served(loop, tls, protocol)
    with far:
        message = b"x" * 300
        if peer is None:
            await loop.sock_sendall(far, message)
        else:
            await peer.send(message)
        await until(lambda: sum(protocol.counts) >= 300)
        assert sum(protocol.counts) == 300 == sum(it.count(b"x") for it in memories)
        protocol.transport.abort()
        await protocol.wait_lost()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_buffer_may_be_emptied_when_it_is_filled(loop: Loop, tls: bool) -> None:
    class Emptying(Lending):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            self.data += self.lent[-1][:nbytes]
            self.lent[-1].clear()

    protocol = Emptying(lambda: bytearray(5))
    far, peer = await served(loop, tls, protocol)
    with far:
        for part in (b"first", b"second text", b"third"):
            if peer is None:
                await loop.sock_sendall(far, part)
            else:
                await peer.send(part)
            await until(lambda: protocol.data.endswith(part))  # noqa: B023 - at once
        assert protocol.data == b"firstsecond textthird"
        protocol.transport.abort()
        await protocol.wait_lost()


async def test_sock_recv_into_gets_what_fits(loop: Loop) -> None:
    with socket_pair() as (near, far):
        near.setblocking(False)
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
    loop: Loop, streams: ModuleType, swap: str
) -> None:
    """While a coroutine waits for the rest of what it has begun to look through."""
    made: dict[str, Callable[[], bytearray]] = {
        "longer": lambda: bytearray(b"z" * 1000),
        "shorter": lambda: bytearray(b"z"),
        "empty": bytearray,
        "lying": lambda: LongArray(b"z" * 10),
    }

    if swap == "lying" and not _is_ours(loop) and streams is asyncio:
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
