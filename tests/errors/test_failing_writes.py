"""Writes that fail: connection_lost comes in the same turn as on asyncio."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.attaching import attach
from support.loops import PATIENCE, until
from support.net.protocols import Recorder
from support.net.sockets import reset, tcp_pair

Loop = asyncio.AbstractEventLoop

CLOSED = 7
"""TCP_CLOSE: the state of a connection that was reset."""


def tcp_state(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


class Watched(Recorder):
    """Says when its connection is lost."""

    def __init__(self, name: str, seen: list[str]) -> None:
        super().__init__()
        self.name, self.seen = name, seen

    def connection_lost(self, exc: Exception | None) -> None:
        self.seen.append(f"{self.name} lost")
        super().connection_lost(exc)


THEN: dict[str, Callable[[Any], object]] = {
    "nothing": lambda transport: None,
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "is_closing": lambda transport: transport.is_closing(),
    "much": lambda transport: transport.write(bytes(100_000)),
    "the size": lambda transport: transport.get_write_buffer_size(),
    "the socket": lambda transport: transport.get_extra_info("socket"),
}


@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize("debug", [False, True])
async def test_the_end_comes_before_what_was_queued_after_the_write(
    loop: Loop, then: str, debug: bool
) -> None:
    seen: list[str] = []

    loop.set_debug(debug)
    with tcp_pair() as (one, far), tcp_pair() as (two, other):
        protocols = [Watched("one", seen), Watched("two", seen)]
        transports = [
            await attach(sock, protocol)
            for sock, protocol in zip((one, two), protocols, strict=True)
        ]
        for transport in transports:
            transport.pause_reading()
        reset(far)
        reset(other)
        await until(lambda: tcp_state(one) == tcp_state(two) == CLOSED)
        loop.call_soon_threadsafe(seen.append, "before")
        transports[0].write(b"nobody reads it")
        loop.call_soon(seen.append, "between")
        transports[1].write(b"nor this")
        loop.call_soon(seen.append, "after")
        THEN[then](transports[0])
        for protocol in protocols:
            await protocol.wait_lost()
    assert seen == ["before", "one lost", "between", "two lost", "after"]


async def test_the_place_is_that_of_the_write_that_fails(loop: Loop) -> None:
    seen: list[str] = []

    with tcp_pair() as (near, far):
        protocol = Watched("it", seen)
        transport = await attach(near, protocol)
        transport.pause_reading()
        transport.write(b"sent at once, because it is asked for")
        assert transport.get_write_buffer_size() == 0
        loop.call_soon(seen.append, "between")
        reset(far)
        deadline = time.monotonic() + PATIENCE
        # Without a turn, in which the loop would see the reset.
        while tcp_state(near) != CLOSED:
            assert time.monotonic() < deadline, "no reset comes"
        transport.write(b"nobody reads it")
        loop.call_soon(seen.append, "after")
        await protocol.wait_lost()
    assert seen == ["between", "it lost", "after"]
