"""One poll: each transport is served once a turn, and callbacks run in between."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

import pytest

from support.loops import run, until
from support.net.datagrams import Endpoint, endpoint, send_all
from support.net.protocols import BufferedRecorder, Recorder

Loop = asyncio.AbstractEventLoop
HERE = ("127.0.0.1", 0)
TURNS = 30


class Counter:
    """Counts what its protocol receives, turn by turn, and sends as much back to be received."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.count = 0

    def __call__(self, data: bytes | bytearray) -> None:
        self.count += 1
        with suppress(BlockingIOError):
            self.peer.send(data)

    async def most_in_a_turn(self) -> int:
        most = 0
        for _ in range(TURNS):
            await asyncio.sleep(0)
            most, self.count = max(most, self.count), 0
        return most


class Counted(Recorder):
    """Has what it receives counted."""

    def __init__(self, served: Counter) -> None:
        super().__init__()
        self.served = served

    def data_received(self, data: bytes) -> None:
        self.served(data)


def filled(kind: int, size: int) -> tuple[socket.socket, socket.socket]:
    """A pair, of which the first has much to receive."""
    ours, peer = socket.socketpair(socket.AF_UNIX, kind)
    peer.setblocking(False)
    for end in (ours, peer):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    with suppress(BlockingIOError):
        for _ in range(64):
            peer.send(bytes(size))
    return ours, peer


@pytest.mark.parametrize("shape", ["Protocol", "BufferedProtocol"])
async def test_a_connection_is_served_once_a_turn(loop: Loop, shape: str) -> None:
    ours, peer = filled(socket.SOCK_STREAM, 100_000)
    served = Counter(peer)

    class Buffered(BufferedRecorder):
        def buffer_updated(self, nbytes: int) -> None:
            served(bytes(self.buffer[:nbytes]))

    with peer:
        protocol: Any = Counted(served) if shape == "Protocol" else Buffered(4096)
        transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
        assert await served.most_in_a_turn() == 1
        transport.abort()
        await protocol.wait_lost()


async def test_a_pipe_is_served_once_a_turn(loop: Loop) -> None:
    ours, peer = filled(socket.SOCK_SEQPACKET, 10)
    served = Counter(peer)

    with peer:
        protocol = Counted(served)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, ours)
        assert await served.most_in_a_turn() == 1
        transport.close()
        await protocol.wait_lost()


def test_an_endpoint_is_served_once_a_turn(loop: Loop) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(HERE)
        peer.setblocking(False)
        served = Counter(peer)

        def receive(server: Endpoint) -> None:
            served(server.data[-1])
            loop.call_soon(int)

        async def main() -> None:
            server = await endpoint(Endpoint(receive), local_addr=HERE)
            peer.connect(server.address)
            for number in range(20):
                peer.send(str(number).encode())
            assert await served.most_in_a_turn() == 1
            await server.close()

        run(loop, main())


async def test_a_due_timer_has_its_turn_among_datagrams(loop: Loop) -> None:
    order: list[str] = []

    def note(server: Endpoint) -> None:
        order.append(server.data[-1].decode())
        if order == ["1"]:
            loop.call_at(loop.time(), order.append, "timer")

    server = await endpoint(Endpoint(note), local_addr=HERE)
    send_all(server.address, b"1", b"2", b"3")
    await until(lambda: len(order) == 4)
    await server.close()
    assert order == ["1", "2", "timer", "3"]


async def test_an_endpoint_receives_nothing_before_its_maker_has_it(loop: Loop) -> None:
    order: list[str] = []
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(HERE)
    send_all(sock.getsockname(), b"1", b"2")

    server = await endpoint(Endpoint(lambda it: order.append("received")), sock=sock)
    order.append("returned")
    await server.wait_data(b"1", b"2")
    await server.close()
    assert order == ["returned", "received", "received"]


@pytest.mark.parametrize("what", ["endpoint", "pipe", "connection"])
async def test_an_event_from_before_a_resume_is_left_for_the_next_turn(
    kind: str, loop: Loop, what: str
) -> None:
    if (kind, what) == ("asyncio", "endpoint") and sys.version_info < (3, 11):
        pytest.skip("since 3.11")
    order: list[str] = []
    ours, peer = socket.socketpair(
        socket.AF_UNIX, socket.SOCK_DGRAM if what == "endpoint" else socket.SOCK_STREAM
    )

    class Protocol(Recorder):
        def data_received(self, data: bytes) -> None:
            order.append("received")

        def datagram_received(self, data: bytes, addr: object) -> None:
            order.append("received")

        def error_received(self, exc: Exception) -> None:
            raise exc

    def resume(transport: Any, watched: socket.socket) -> None:
        loop.remove_reader(watched)
        transport.resume_reading()
        order.append("resumed")
        loop.call_soon(order.append, "callback")

    with peer:
        protocol = Protocol()
        transport: Any
        if what == "endpoint":
            transport, _ = await loop.create_datagram_endpoint(lambda: protocol, sock=ours)
        elif what == "pipe":
            transport, _ = await loop.connect_read_pipe(lambda: protocol, ours)
        else:
            transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
        transport.pause_reading()
        watched, woken = socket.socketpair()
        loop.add_reader(watched, resume, transport, watched)
        # Both are there in the same poll, the reader's first.
        woken.send(b"x")
        peer.send(b"x")
        await until(lambda: "received" in order)
        transport.close()
        await protocol.wait_lost()
        watched.close()
        woken.close()
    assert order == ["resumed", "callback", "received"]


@pytest.mark.parametrize("watched", ["reader", "signal"])
def test_what_a_busy_loop_begins_to_watch_is_seen_in_the_next_turn(
    loop: Loop, watched: str
) -> None:
    """Until then it has watched nothing, and every turn has something to run."""
    ours, peer = socket.socketpair()
    seen: list[int] = []
    turn = 0

    def watch() -> None:
        if watched == "reader":
            peer.send(b"x")
            loop.add_reader(ours, lambda: seen.append(turn))
        else:
            loop.add_signal_handler(signal.SIGUSR1, lambda: seen.append(turn))
            os.kill(os.getpid(), signal.SIGUSR1)

    def count() -> None:
        nonlocal turn
        turn += 1
        if turn == TURNS:
            watch()
        if turn == TURNS + 5:
            loop.stop()
        loop.call_soon(count)

    loop.call_soon(count)
    try:
        loop.run_forever()
        # A signal is read in the next turn, and its handler is queued then.
        assert seen[0] == TURNS + (1 if watched == "reader" else 2)
    finally:
        loop.remove_reader(ours)
        loop.remove_signal_handler(signal.SIGUSR1)
        ours.close()
        peer.close()
