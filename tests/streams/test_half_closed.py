"""Connections of which the peer has ended its side: what the program may do, and who keeps them."""

from __future__ import annotations

import asyncio
import gc
import socket
from types import ModuleType
from typing import Any, cast

import pytest

from support.attaching import attach
from support.descriptors import open_descriptors
from support.loops import run, run_turns, until
from support.net.protocols import Lenient, Recorder
from support.net.sockets import Pair

Loop = asyncio.AbstractEventLoop


forgotten = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


async def test_a_kept_end_is_told_once_although_reading_is_resumed_in_the_callback(
    loop: Loop,
) -> None:
    ours, peer = socket.socketpair()

    class Protocol(Lenient):
        def eof_received(self) -> bool | None:
            self.transport.pause_reading()
            self.transport.resume_reading()
            return super().eof_received()

    with peer:
        protocol = Protocol()
        await loop.create_connection(lambda: protocol, sock=ours)
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "eof_received" in protocol.events)
        for _ in range(10):
            await asyncio.sleep(0)
        assert protocol.events.count("eof_received") == 1
        protocol.transport.abort()
        await protocol.wait_lost()


class Forgetful(asyncio.Protocol):
    """Keeps its side open, and no reference to its transport."""

    ended = 0
    written = 0
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport until the end."""
        self.transport = cast("asyncio.Transport", transport)

    def eof_received(self) -> bool:
        """Counts, writes a last time, and keeps the connection."""
        type(self).ended += 1
        if self.transport is not None:
            self.transport.write(bytes(self.written))
            self.transport.resume_reading()
        self.transport = None
        return True


@forgotten
@pytest.mark.parametrize("written", [0, 10, 100_000])
async def test_an_unreferenced_half_closed_connection_is_collected(
    loop: Loop, written: int
) -> None:
    Forgetful.ended = 0
    Forgetful.written = written

    peers: list[socket.socket] = []
    server = await loop.create_server(Forgetful, "127.0.0.1", 0)
    before = len(open_descriptors())
    for _ in range(10):
        peer = socket.create_connection(server.sockets[0].getsockname())
        peers.append(peer)
        peer.shutdown(socket.SHUT_WR)
    await until(lambda: Forgetful.ended == 10)
    run_once = loop.create_future()
    loop.call_soon(run_once.set_result, None)
    await run_once
    gc.collect()
    assert len(open_descriptors()) == before + len(peers)
    for peer in peers:
        peer.close()
    # asyncio of 3.12 would wait for the forgotten ones.
    server.close()


@forgotten
async def test_a_handler_of_streams_that_forgets_to_close_leaves_no_descriptor(
    loop: Loop, streams: ModuleType
) -> None:
    handled = 0

    async def handle(reader: Any, writer: Any) -> None:
        nonlocal handled
        assert await reader.read() == b""
        handled += 1

    server = await streams.start_server(handle, "127.0.0.1", 0)
    before = len(open_descriptors())
    for _ in range(10):
        with socket.create_connection(server.sockets[0].getsockname()):
            pass
    await until(lambda: handled == 10)

    def gone() -> bool:
        gc.collect()
        return len(open_descriptors()) == before

    await until(gone)
    server.close()
    await server.wait_closed()


@pytest.mark.slow
def test_a_kept_end_sends_everything_though_the_program_has_let_go_of_it(loop: Loop) -> None:
    ours, peer = socket.socketpair()
    size = 4 << 20
    lost: list[Exception | None] = []

    class Protocol(Recorder):
        def eof_received(self) -> bool | None:
            # From here on the loop alone knows the transport.
            transport, self.transport = self.transport, None  # type: ignore[assignment]
            transport.write(bytes(size))
            transport.close()
            return True

        def connection_lost(self, exc: Exception | None) -> None:
            lost.append(exc)

    async def connect() -> None:
        await loop.create_connection(Protocol, sock=ours)

    run(loop, connect())
    peer.shutdown(socket.SHUT_WR)
    peer.setblocking(False)
    count = 0
    with peer:
        while True:
            run_turns(loop)
            gc.collect()
            try:
                part = peer.recv(1 << 20)
            except BlockingIOError:
                continue
            if not part:
                break
            count += len(part)
    assert (count, lost) == (size, [None])


@pytest.mark.parametrize("how", ["write", "later"])
async def test_a_kept_end_goes_on_writing(loop: Loop, how: str) -> None:
    ours, peer = socket.socketpair()
    size = 1 << 20

    with peer:
        protocol = Lenient()
        await loop.create_connection(lambda: protocol, sock=ours)
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "eof_received" in protocol.events)
        transport = protocol.transport
        reading = loop.run_in_executor(None, received, peer)
        if how == "later":
            loop.call_later(0.001, transport.write, bytes(size))
        else:
            transport.write(bytes(size))
        del protocol.transport
        gc.collect()
        await asyncio.sleep(0.002)
        transport.close()
        assert await reading == size


def received(peer: socket.socket) -> int:
    """How much comes until the end."""
    count = 0
    while part := peer.recv(1 << 20):
        count += len(part)
    return count


@pytest.mark.parametrize("result", [1, "yes", object()])
async def test_any_true_answer_keeps_the_connection_open(
    loop: Loop, pair: Pair, result: object
) -> None:
    near, far = pair
    protocol: Any = Recorder()

    def eof_received() -> object:
        protocol.events.append("eof_received")
        return result

    protocol.eof_received = eof_received

    transport = await attach(near, protocol)
    far.shutdown(socket.SHUT_WR)
    await until(lambda: "eof_received" in protocol.events)
    await asyncio.sleep(0)
    assert not transport.is_closing()
    transport.abort()
    await protocol.wait_lost()
