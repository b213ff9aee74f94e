"""Writes that fail: how the connection ends, when the protocol is told, and what later writes do."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from support.attaching import attach
from support.errors import Reports
from support.loops import PATIENCE, run, until
from support.net.connections import connected
from support.net.datagrams import endpoint
from support.net.pipes import writing
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
async def test_connection_lost_comes_before_what_was_queued_after_the_write(
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


async def test_connection_lost_takes_the_place_of_the_write_that_failed(loop: Loop) -> None:
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


WITHOUT_TLS = ["tcp", "unix", "write pipe"]


def stop_reading(kind: str, transport: asyncio.Transport) -> None:
    """Let nothing but a write show that the peer has gone."""
    if kind != "write pipe":
        transport.pause_reading()


@pytest.mark.parametrize("transport", WITHOUT_TLS)
@pytest.mark.parametrize("unsent", [False, True])
async def test_a_write_to_a_peer_that_has_gone_ends_the_connection(
    loop: Loop, transport: str, unsent: bool
) -> None:
    protocol = Recorder()

    async with connected(transport, protocol) as far:
        near = protocol.transport
        stop_reading(transport, near)
        if unsent:
            near.write(bytes(2_000_000))
            assert near.get_write_buffer_size() > 0
        far.close()
        while not protocol.is_lost:
            if not unsent:
                # The kernel takes the first one over TCP; the peer's reset answers it.
                near.write(b"x")
            await asyncio.sleep(0.001)
    assert isinstance(protocol.lost, (BrokenPipeError, ConnectionResetError))


@pytest.mark.parametrize("ending", ["close", "abort", "peer", "reset"])
@pytest.mark.parametrize("method", ["write", "writelines"])
def test_writes_to_a_lost_socket_are_dropped_with_a_warning(
    kind: str, loop: Loop, ending: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    protocol = Recorder()

    def write(transport: asyncio.Transport) -> None:
        if method == "write":
            transport.write(b"dropped")
        else:
            transport.writelines([b"dropped", b"too"])

    async def main(near: socket.socket, far: socket.socket) -> None:
        transport = await attach(near, protocol)
        if ending == "peer":
            far.close()
        elif ending == "reset":
            reset(far)
        else:
            getattr(transport, ending)()
        await protocol.wait_lost()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(20):
                write(transport)
        assert transport.get_write_buffer_size() == 0
        await asyncio.sleep(0)
        transport.write_eof()

    with tcp_pair() as (near, far):
        try:
            run(loop, main(near, far))
        except (AttributeError, OSError, TypeError):
            # asyncio's own write_eof and, up to 3.13.0, writelines trip over what is gone.
            if kind != "asyncio":
                raise
            return
    texts = {record.getMessage() for record in caplog.records}
    if kind != "asyncio":
        assert texts == {"socket.send() raised exception."}


async def test_writes_to_a_lost_pipe_are_dropped_with_a_warning_from_the_sixth_on(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    r, w = os.pipe()
    os.close(r)
    transport, protocol = await writing(w)
    await protocol.wait_lost()
    for _ in range(5):
        transport.write(b"x")
    assert "pipe closed by peer" not in caplog.text
    transport.write(b"x")
    assert "pipe closed by peer or os.write(pipe, data) raised exception." in caplog.text


@pytest.mark.parametrize("transport", WITHOUT_TLS)
async def test_a_write_between_close_and_the_loss_is_no_error(loop: Loop, transport: str) -> None:
    protocol = Recorder()

    async with connected(transport, protocol):
        protocol.transport.close()
        protocol.transport.write(b"late")
        assert await protocol.wait_lost() is None


def test_write_eof_after_the_peers_reset_is_the_kernels_error_or_nothing(loop: Loop) -> None:
    protocol = Recorder()

    async def main(near: socket.socket, far: socket.socket) -> None:
        transport = await attach(near, protocol)
        reset(far)
        try:
            transport.write_eof()
        except OSError as error:
            assert error.errno == errno.ENOTCONN  # noqa: PT017 - asyncio lets it out
        await protocol.wait_lost()

    with tcp_pair() as (near, far):
        run(loop, main(near, far))


async def test_a_refused_datagram_is_reported_and_the_endpoint_stays_open(loop: Loop) -> None:
    server = await endpoint(local_addr=("127.0.0.1", 0))
    address = server.address
    await server.close()
    client = await endpoint(remote_addr=address)
    client.transport.sendto(b"lost")
    await until(lambda: client.errors)
    assert isinstance(client.errors[0], ConnectionRefusedError)
    assert not client.transport.is_closing()
    again = await endpoint(local_addr=address)
    client.transport.sendto(b"arrives")
    await again.wait_data(b"arrives")
    await again.close()
    await client.close()


async def test_a_datagram_to_an_impossible_address_ends_the_endpoint(
    loop: Loop, reports: Reports
) -> None:
    client = await endpoint(family=socket.AF_INET)
    client.transport.sendto(b"data", cast("Any", 7))
    await until(lambda: len(client.events) == 2)
    assert "TypeError" in client.events[1]
    context = reports.take()
    assert context["message"] == "Fatal write error on datagram transport"
