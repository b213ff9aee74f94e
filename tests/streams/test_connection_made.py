"""Reading that is paused or resumed in connection_made, before anything was read."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

import pytest

from support.attaching import attach
from support.loops import until
from support.net.pipes import reading
from support.net.protocols import BufferedRecorder, Recorder, returning
from support.net.sockets import Pair, listening

Loop = asyncio.AbstractEventLoop


@pytest.fixture(autouse=True)
def _asyncio_obeys(kind: str) -> None:
    if kind == "asyncio" and sys.version_info < (3, 11, 4):
        pytest.skip("asyncio starts to read all the same, or twice (gh-103607)")


class Pausing(Recorder):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()


@pytest.mark.parametrize(
    ("calls", "reads"),
    [
        ("resume", True),
        ("pause resume", True),
        ("pause pause resume", True),
        ("pause", False),
        ("resume pause", False),
        ("pause resume pause", False),
    ],
)
@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
async def test_the_last_call_in_connection_made_decides_about_reading(
    loop: Loop, pair: Pair, factory: Any, calls: str, *, reads: bool
) -> None:
    near, far = pair
    far.send(b"early")

    class Protocol(factory):  # type: ignore[misc] # one of two
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            for call in calls.split():
                getattr(self.transport, f"{call}_reading")()

    protocol = Protocol()

    transport = await attach(near, protocol)
    assert transport.is_reading() is reads
    if not reads:
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.data == b""
        transport.resume_reading()
    await until(lambda: protocol.data == b"early")
    far.send(b" and late")
    await until(lambda: protocol.data == b"early and late")
    transport.pause_reading()
    far.send(b"!")
    for _ in range(5):
        await asyncio.sleep(0)
    assert protocol.data == b"early and late"
    transport.abort()
    await protocol.wait_lost()


async def test_a_reader_of_a_pipe_can_be_paused_in_connection_made(loop: Loop) -> None:
    r, w = os.pipe()
    os.write(w, b"early")
    os.close(w)
    transport, protocol = await reading(r, Pausing())
    for _ in range(5):
        await asyncio.sleep(0)
    assert protocol.events == ["connection_made"]
    transport.resume_reading()
    await protocol.wait_lost()
    assert protocol.data == b"early"


async def test_an_accepted_connection_can_be_paused_in_connection_made(loop: Loop) -> None:
    protocol = Pausing()

    server = await loop.create_server(returning(protocol), sock=listening())
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        # It is there before the connection is accepted.
        client.sendall(b"early")
        await until(lambda: protocol.events)
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.events == ["connection_made"]
        protocol.transport.resume_reading()
        await protocol.wait_data(5)
        protocol.transport.abort()
        await protocol.wait_lost()
    server.close()
