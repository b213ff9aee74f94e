"""Slow callbacks without debug mode: each is told once, with its name and its peer.

Everything counts as slow here, so no test has to take its time.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import socket
import time
from typing import Any

import pytest

import ferroloop
from support.loops import run, turns, until
from support.net.certificates import client_context, server_context
from support.net.pipes import opened
from support.net.protocols import Recorder, returning
from support.net.sockets import Pair

pytestmark = pytest.mark.ours_only("asyncio has no monitor")

NOTHING = 1e-9
"""Seconds that everything takes."""


class Server(Recorder):
    """The protocol whose calls are looked at."""


class Seen(list[ferroloop.SlowCallback]):
    """What was slow."""

    def about(self, name: str) -> list[ferroloop.SlowCallback]:
        return [slow for slow in self if name in slow.name]

    def only(self, name: str) -> ferroloop.SlowCallback:
        """The one that has this in its name."""
        found = self.about(name)
        assert len(found) == 1, (name, self)
        return found[0]


@pytest.fixture
def seen() -> Seen:
    return Seen()


def watching(loop: ferroloop.Loop, seen: Seen) -> ferroloop.Monitor:
    return ferroloop.Monitor(loop, slow_after=NOTHING, on_slow=seen.append)


@pytest.fixture(params=[False, True], ids=["", "debug"])
def loop(request: pytest.FixtureRequest, loop: ferroloop.Loop) -> ferroloop.Loop:
    """A loop with and without debug mode."""
    loop.set_debug(request.param)
    loop.slow_callback_duration = 100.0
    return loop


def handler(*_args: object) -> None:
    """A callback."""


async def test_callbacks_and_timers_are_named(loop: ferroloop.Loop, seen: Seen) -> None:
    before = time.monotonic()
    with watching(loop, seen):
        loop.call_soon(handler)
        kept = loop.call_soon(functools.partial(handler, 1), 2)
        loop.call_later(0.001, handler)
        loop.call_soon_threadsafe(handler)
        await until(lambda: len(seen.about("handler")) >= 4)
        assert not kept.cancelled()
        loop.call_soon(time.time)
        await turns(2)
    assert len(seen.about("handler(")) == 4
    assert all(0.0 < slow.seconds < 10.0 and slow.peer is None for slow in seen)
    assert all(before <= slow.ended <= time.monotonic() for slow in seen)
    assert seen.about("time(")
    assert str(seen[0]).startswith(seen[0].name)
    assert str(seen[0]).endswith("seconds")


async def test_tasks_are_named_with_their_coroutine(loop: ferroloop.Loop, seen: Seen) -> None:
    async def worker() -> None:
        pass

    with watching(loop, seen):
        await loop.create_task(worker(), name="bob")
        await turns(1)
    assert seen.only("bob").name.endswith(".worker")
    assert seen.only("bob").name.startswith("bob ")


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_protocol_calls_are_named_with_their_peer(
    loop: ferroloop.Loop, seen: Seen, tls: bool
) -> None:
    protocol = Server()
    with watching(loop, seen):
        server = await loop.create_server(
            returning(protocol), "127.0.0.1", 0, ssl=server_context() if tls else None
        )
        address = server.sockets[0].getsockname()
        await loop.getaddrinfo("localhost", 0)
        transport, _ = await loop.create_connection(
            asyncio.Protocol,
            *address,
            ssl=client_context() if tls else None,
            server_hostname="localhost" if tls else None,
        )
        peer = transport.get_extra_info("sockname")
        transport.write(b"x")
        await until(lambda: seen.about("Server.data_received()"))
        transport.close()
        await until(lambda: seen.about("Server.connection_lost()"))
        server.close()
        await server.wait_closed()
    for method in ("connection_made", "data_received", "connection_lost"):
        assert seen.only(f"Server.{method}()").peer == peer
    assert seen.only("protocol factory").peer == peer
    assert seen.about(f"accepting connections server={address!r}")
    assert seen.about("end of a look-up")


async def test_datagrams_are_named_with_their_sender(loop: ferroloop.Loop, seen: Seen) -> None:
    class Endpoint(asyncio.DatagramProtocol):
        pass

    with watching(loop, seen):
        transport, _ = await loop.create_datagram_endpoint(Endpoint, ("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            sender.sendto(b"x", transport.get_extra_info("sockname"))
            await until(lambda: seen.about("Endpoint.datagram_received()"))
            assert seen.only("datagram_received").peer == sender.getsockname()
        transport.close()
        await turns(2)


async def test_pipes_readers_signals_and_processes_are_named(
    loop: ferroloop.Loop, seen: Seen, pair: Pair
) -> None:
    ours, theirs = pair
    with watching(loop, seen):
        loop.add_reader(ours, lambda: ours.recv(10))
        loop.add_signal_handler(signal.SIGUSR1, handler)
        theirs.send(b"x")
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: seen.about("<lambda>") and seen.about("handler("))
        loop.remove_reader(ours)
        loop.remove_signal_handler(signal.SIGUSR1)
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()
        assert seen.about("exit of a child process")


async def test_what_a_pipe_brings_is_named(loop: ferroloop.Loop, seen: Seen) -> None:
    read_end, write_end = os.pipe()
    with watching(loop, seen):
        transport, _ = await loop.connect_read_pipe(Server, opened(read_end, "rb"))
        os.write(write_end, b"x")
        await until(lambda: seen.about("Server.data_received()"))
        transport.close()
        await turns(2)
    os.close(write_end)


async def test_time_is_reported_once_by_the_innermost_call(
    loop: ferroloop.Loop, pair: Pair
) -> None:
    seen = Seen()
    ours, theirs = pair

    class Slow(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            time.sleep(0.1)

    transport, _ = await loop.create_connection(Slow, sock=ours)
    began = time.monotonic()
    with ferroloop.Monitor(slow_after=0.02, on_slow=seen.append) as monitor:
        theirs.send(b"x")
        await until(lambda: seen.about("Slow.data_received()"))
        await turns(2)
        assert monitor.slow_count == len(seen)
        assert monitor.slow_seconds == pytest.approx(sum(slow.seconds for slow in seen))
        assert monitor.slow_callbacks == seen
        # A moment that was told twice would make them longer than all the time that passed.
        assert monitor.slow_seconds <= time.monotonic() - began
    transport.abort()
    await turns(2)
    assert len(seen.about("Slow.data_received()")) == 1


async def test_a_threshold_keeps_short_callbacks_out(loop: ferroloop.Loop) -> None:
    seen = Seen()

    with ferroloop.Monitor(slow_after=3600.0, on_slow=seen.append):
        for _ in range(100):
            loop.call_soon(handler)
        await turns(3)
    assert seen == []


async def test_a_slow_callback_by_default_is_one_warning(
    loop: ferroloop.Loop, caplog: pytest.LogCaptureFixture
) -> None:
    with ferroloop.Monitor(slow_after=0.02):
        loop.call_soon(time.sleep, 0.03)
        await turns(2)
    records = [it for it in caplog.records if "sleep(" in it.getMessage()]
    assert [(it.name, it.levelno) for it in records] == [("ferroloop.monitor", logging.WARNING)]


def test_what_leaves_the_loop_leaves_it_from_on_slow_too(loop: ferroloop.Loop) -> None:
    def leave(_slow: Any) -> None:
        raise KeyboardInterrupt

    with ferroloop.Monitor(loop, slow_after=NOTHING, on_slow=leave):
        loop.call_soon(handler)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
    run(loop, turns(1))


class Nameless:
    """A callback whose names raise."""

    def __call__(self) -> None:
        pass

    def __repr__(self) -> str:
        raise ValueError("of the callback")


async def test_a_callback_that_cannot_be_named_goes_by_its_class(
    loop: ferroloop.Loop, seen: Seen
) -> None:
    with watching(loop, seen):
        loop.call_soon(Nameless())
        loop.call_soon(handler)
        await turns(2)
    assert seen.only("Nameless").name == "Nameless"
    assert seen.about("handler(")
