"""Transports that a program has paused and no longer holds: the collector closes them."""

from __future__ import annotations

import asyncio
import gc
import os
import pty
import socket
import sys
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from support.descriptors import open_descriptors
from support.loops import run, turns, until
from support.memory import tidy
from support.net.certificates import client_context, server_context
from support.net.pipes import opened
from support.net.sockets import listening
from support.net.tls import calling_openssl

Loop = asyncio.AbstractEventLoop
COUNT = 10

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


class Pausing(asyncio.Protocol):
    """Pauses when `pauses` says so, and writes `written` bytes after that; only a cycle holds it."""

    def __init__(self, pauses: str, written: int, paused: list[weakref.ref[Any]]) -> None:
        self._pauses = pauses
        self._written = written
        self._paused = paused

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._pause("made")

    def data_received(self, data: bytes) -> None:
        self._pause("data")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._pause("data")

    def error_received(self, exc: Exception) -> None:
        """Ignored."""

    def _pause(self, when: str) -> None:
        if when != self._pauses:
            return
        self.transport.pause_reading()
        if self._written:
            self.transport.write(bytes(self._written))
        self._paused.append(weakref.ref(self))


async def collected(references: list[weakref.ref[Any]]) -> None:
    """Wait until the collector has found all of them."""

    def gone() -> bool:
        gc.collect()
        return not any(reference() for reference in references)

    await until(lambda: len(references) == COUNT)
    # What brought them here is still on its way.
    await turns()
    await until(gone)


@pytest.mark.parametrize("pauses", ["made", "data"])
@pytest.mark.parametrize("written", [0, 10, 1 << 20])
@pytest.mark.parametrize("goes", [False, True], ids=["stays", "goes"])
async def test_a_forgotten_paused_connection_is_closed(
    loop: Loop, kind: str, pauses: str, written: int, goes: bool, tmp_path: Any
) -> None:
    if kind == "asyncio" and pauses == "made" and sys.version_info < (3, 11):
        pytest.skip("pause_reading in connection_made does nothing")
    paused: list[weakref.ref[Any]] = []

    async def receive(peer: socket.socket) -> None:
        left = written
        while left:
            left -= len(await loop.sock_recv(peer, 1 << 18))

    server = await loop.create_server(lambda: Pausing(pauses, written, paused), sock=listening())
    before = len(open_descriptors())
    peers = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(COUNT)]
    for peer in peers:
        peer.setblocking(False)
        peer.send(b"x")
    await asyncio.gather(*map(receive, peers))
    if goes:
        for peer in peers:
            peer.close()
        await until(lambda: len(paused) == COUNT)
    await collected(paused)
    for peer in peers:
        peer.close()
    assert len(open_descriptors()) == before
    # asyncio of 3.12 would wait for the forgotten ones.
    server.close()


@pytest.mark.parametrize("size", [1, 1 << 20], ids=["little", "much"])
@pytest.mark.parametrize("directly", [True, False], ids=["directly", "indirectly"])
@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has another implementation")
async def test_a_forgotten_paused_tls_connection_is_closed(
    loop: Loop, size: int, directly: bool
) -> None:
    paused: list[weakref.ref[Any]] = []

    with calling_openssl(directly=directly):
        server = await loop.create_server(
            lambda: Pausing("data", 0, paused), sock=listening(), ssl=server_context()
        )
        before = len(open_descriptors())
        context, place = client_context(), server.sockets[0].getsockname()
        peers = []
        for _ in range(COUNT):
            transport, _ = await loop.create_connection(
                asyncio.Protocol, *place, ssl=context, server_hostname="localhost"
            )
            transport.write(bytes(size))
            peers.append(transport)
        await until(lambda: len(paused) == COUNT)
        for transport in peers:
            transport.abort()
        transport = None  # type: ignore[assignment]
        peers.clear()
        await collected(paused)
        await turns()
        assert len(open_descriptors()) == before
        server.close()


@pytest.mark.parametrize("pauses", ["made", "data"])
async def test_a_forgotten_paused_endpoint_is_closed(loop: Loop, kind: str, pauses: str) -> None:
    if kind == "asyncio" and sys.version_info < (3, 11):
        pytest.skip("endpoints cannot be paused")
    if kind == "asyncio" and pauses == "made":
        pytest.skip("asyncio begins to read in any case")
    paused: list[weakref.ref[Any]] = []

    before = len(open_descriptors())
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        for _ in range(COUNT):
            transport, _ = await loop.create_datagram_endpoint(
                lambda: Pausing(pauses, 0, paused),
                local_addr=("127.0.0.1", 0),
            )
            peer.sendto(b"x", transport.get_extra_info("sockname"))
        del transport, _
        await collected(paused)
    assert len(open_descriptors()) == before


@pytest.mark.parametrize("pauses", ["made", "data"])
async def test_a_forgotten_paused_pipe_is_closed(loop: Loop, kind: str, pauses: str) -> None:
    if kind == "asyncio" and pauses == "made" and sys.version_info < (3, 11):
        pytest.skip("pause_reading in connection_made does nothing")
    paused: list[weakref.ref[Any]] = []

    before = len(open_descriptors())
    ends = []
    for _ in range(COUNT):
        r, w = os.pipe()
        os.write(w, b"x")
        ends.append(w)
        await loop.connect_read_pipe(lambda: Pausing(pauses, 0, paused), opened(r, "rb"))
    await until(lambda: len(paused) == COUNT)
    for w in ends:
        os.close(w)
    await collected(paused)
    assert len(open_descriptors()) == before


class Writer(asyncio.BaseProtocol):
    """Holds its transport; the test holds neither."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport


def test_a_forgotten_terminal_to_which_everything_was_written_is_closed(loop: Loop) -> None:
    """A terminal does not tell when its other side has gone, so nothing is watched."""

    async def main() -> weakref.ref[Any]:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(Writer, opened(inner, "wb"))
        size = 0
        while not transport.get_write_buffer_size():
            transport.write(b"x" * 1000)
            size += 1000
        os.set_blocking(outer, False)

        def drained() -> bool:
            try:
                os.read(outer, 1 << 16)
            except BlockingIOError:
                pass
            return not transport.get_write_buffer_size()

        await until(drained)
        await turns()
        return weakref.ref(protocol)

    outer, inner = pty.openpty()
    try:
        reference = run(loop, main())
        tidy()
        assert reference() is None
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(inner)
    finally:
        os.close(outer)


async def test_a_forgotten_reader_that_is_full_is_closed(loop: Loop, streams: ModuleType) -> None:
    """A handler that has gone without reading leaves a paused transport behind."""
    handled: list[Any] = []

    async def handle(reader: Any, writer: Any) -> None:
        transport = writer.transport
        await until(lambda: not transport.is_reading())
        handled.append(weakref.ref(reader))

    server = await streams.start_server(handle, sock=listening(), limit=100)
    before = len(open_descriptors())
    peers = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(COUNT)]
    for peer in peers:
        peer.send(bytes(1000))
    await until(lambda: len(handled) == COUNT)
    for peer in peers:
        peer.close()
    await collected(handled)
    assert len(open_descriptors()) == before
    server.close()


Act = Callable[[Any], object]


@pytest.mark.parametrize(
    "act",
    [
        lambda transport: transport.resume_reading(),
        lambda transport: transport.write(bytes(4 << 20)),
    ],
    ids=["resumes", "writes"],
)
def test_a_connection_that_goes_on_is_held(loop: Loop, act: Act) -> None:
    """Only the loop has it, and there is something to do for it."""
    ours, peer = socket.socketpair()
    peer.setblocking(False)
    seen = bytearray()

    class Protocol(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            seen.extend(data)

    async def main() -> None:
        transport, _ = await loop.create_connection(Protocol, sock=ours)
        transport.pause_reading()
        await turns()
        tidy()
        act(transport)
        gone = weakref.ref(transport)
        del transport
        tidy()
        assert gone() is not None
        if not gone().get_write_buffer_size():  # type: ignore[union-attr]  # see above
            peer.send(b"hello")
            await until(lambda: seen == b"hello")
            gone().abort()  # type: ignore[union-attr]  # the loop has it
            return
        size = 0
        while size < 4 << 20:
            size += len(await loop.sock_recv(peer, 1 << 20))
        await turns()
        tidy()
        assert gone() is None

    with peer:
        run(loop, main())
        run(loop, turns())
