"""Flow control over TLS at the edges: pausing, half closes, tiny limits, and callbacks that write."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import pytest

from support.loops import PATIENCE, run, until
from support.protocols import Recorder, returning
from support.sockets import drain_socket
from support.tls import Peer, peer_of

Loop = asyncio.AbstractEventLoop


@pytest.fixture(autouse=True)
def _since_3_11(kind: str) -> None:
    """asyncio's TLS has flow control since 3.11."""
    if kind == "asyncio" and sys.version_info < (3, 11):
        pytest.skip("asyncio has read limits and a shutdown since 3.11")


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
    """What comes up to `end`; whatever is in between is taken too."""
    data = b""
    while not data.endswith(end):
        part = await peer.read(1)
        assert part, f"the other side ended after {data!r}"
        data += part


def test_what_resume_writing_writes_holds_nothing_up(loop: Loop) -> None:
    class Writing(Answering):
        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.write(b"go on;")

    async def main() -> None:
        async with peer_of(Writing) as peer:
            await peer.handshake()
            for number in range(6):
                await peer.send(b"%d" % number)
                await read_until(peer, b"to %d;" % number)
            assert {"pause_writing", "resume_writing"} <= set(Answering.last.events)
            Answering.last.transport.abort()
            await Answering.last.wait_lost()

    run(loop, main())


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
