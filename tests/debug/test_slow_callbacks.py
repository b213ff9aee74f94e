"""Slow callbacks in debug mode: their names, and which times are told.

Everything counts as slow here, or the protocol moves the clock: no test has to take its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

import ferroloop
from support.errors import Reports
from support.loops import run, run_turns, until
from support.net.protocols import returning
from support.net.sockets import socket_pair
from support.slow import SlowLines

Loop = asyncio.AbstractEventLoop
ours = pytest.mark.ours_only("asyncio names its own methods")


def test_callbacks_have_their_own_names(slow_loop: Loop, lines: SlowLines) -> None:
    def soon_callback() -> None: ...

    def timer_callback() -> None: ...

    def threadsafe_callback() -> None: ...

    def reader_callback() -> None:
        near.recv(10)

    def writer_callback() -> None:
        slow_loop.remove_writer(far)

    with socket_pair() as (near, far):

        async def main() -> None:
            slow_loop.call_soon(soon_callback)
            slow_loop.call_later(0, timer_callback)
            slow_loop.call_soon_threadsafe(threadsafe_callback)
            slow_loop.add_reader(near, reader_callback)
            slow_loop.add_writer(far, writer_callback)
            far.send(b"x")
            for name in ("soon", "timer", "threadsafe", "reader", "writer"):
                line = await lines.wait(f"{name}_callback() at {__file__}")
                assert re.match(r"<(\w*Handle|TimerHandle when=\S+) ", line), line
            slow_loop.remove_reader(near)

        run(slow_loop, main())


async def test_a_signal_handler_has_its_own_name(slow_loop: Loop, lines: SlowLines) -> None:
    seen: list[Any] = []

    def on_signal(number: int) -> None:
        seen.append((number, slow_loop._current_handle))  # type: ignore[attr-defined]

    slow_loop.add_signal_handler(signal.SIGUSR1, on_signal, 5)
    for _ in range(2):
        seen.clear()
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: seen)
    slow_loop.remove_signal_handler(signal.SIGUSR1)
    found = lines.about("on_signal(")
    assert len(found) == 2, lines.texts
    for line in found:
        assert re.match(r"<Handle .*on_signal\(.*\) at .*test_slow_callbacks\.py", line), line
    number, current = seen[0]
    assert number == 5
    assert "on_signal" in repr(current)


@pytest.mark.parametrize("way", ["soon", "timer", "reader", "writer", "signal"])
@pytest.mark.parametrize("fails", [False, True], ids=["slow", "fails"])
def test_a_callback_that_ends_itself_keeps_its_name(
    slow_loop: Loop, lines: SlowLines, reports: Reports, way: str, fails: bool
) -> None:
    done: list[object] = []
    handles: list[asyncio.Handle] = []

    def ends_itself() -> None:
        done.append(end())
        if fails:
            raise LookupError

    with socket_pair() as (near, _):

        def remove(name: str, what: object) -> Callable[[], object]:
            return lambda: getattr(slow_loop, f"remove_{name}")(what)

        end: Callable[[], object] = lambda: handles[0].cancel()  # noqa: E731 - one of many
        if way == "soon":
            handles.append(slow_loop.call_soon(ends_itself))
        elif way == "timer":
            handles.append(slow_loop.call_later(0, ends_itself))
        elif way == "signal":
            end = remove("signal_handler", signal.SIGUSR1)
            slow_loop.add_signal_handler(signal.SIGUSR1, ends_itself)
            os.kill(os.getpid(), signal.SIGUSR1)
        elif way == "reader":
            end = remove("reader", near)
            _.send(b"x")
            slow_loop.add_reader(near, ends_itself)
        else:
            end = remove("writer", near)
            slow_loop.add_writer(near, ends_itself)
        run(slow_loop, until(lambda: done))

    assert "ends_itself() at " in lines.only("ends_itself")
    if fails:
        context = reports.take()
        assert "ends_itself() at " in repr(context["handle"])
        assert len(done) == 1


@ours
@pytest.mark.parametrize("debug", [False, True])
def test_the_report_of_a_failure_names_a_callback_that_has_cancelled_itself(
    loop: Loop, reports: Reports, debug: bool
) -> None:
    # asyncio writes "Exception in callback None()".
    loop.set_debug(debug)

    def fails() -> None:
        handle.cancel()
        raise LookupError

    handle = loop.call_soon(fails)
    run_turns(loop)
    message = reports.take()["message"]
    assert re.match(r"Exception in callback .*fails\(\) at ", message), message


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def loop(self, debug: bool = True) -> Any:
        clock = self

        class Moved(ferroloop.Loop):
            def time(self) -> float:
                return clock.now

        loop = Moved()
        loop.set_debug(debug)
        return loop


class Slow(asyncio.Protocol):
    """Takes time by the clock in the calls that it is told of."""

    def __init__(self, clock: Clock, **seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.transport: Any = None

    def spend(self, name: str) -> None:
        self.clock.now += self.seconds.get(name, 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if "pause_writing" in self.seconds:
            self.transport.write(bytes(1 << 24))
        self.spend("data_received")

    def pause_writing(self) -> None:
        self.spend("pause_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing."""


def received(seconds: dict[str, float], lines: SlowLines) -> None:
    """Give a protocol, whose calls take that long, some data on a loop with 0.1 s."""
    clock = Clock()
    with contextlib.closing(clock.loop()) as loop:
        near, far = socket.socketpair()
        near.setblocking(False)
        with far:
            protocol = Slow(clock, **seconds)

            async def main() -> None:
                transport, _ = await loop.create_unix_connection(returning(protocol), sock=near)
                before = len(lines.texts)
                far.send(b"x")
                while len(lines.texts) == before and clock.now == 1000.0:
                    await asyncio.sleep(0)
                await asyncio.sleep(0)
                transport.abort()
                await asyncio.sleep(0)

            loop.run_until_complete(main())


def test_a_slow_call_within_a_slow_event_is_reported_once(lines: SlowLines) -> None:
    received({"data_received": 0.3}, lines)
    assert lines.only("Slow.data_received(") == lines.texts[0]
    assert lines.seconds == [0.3]


def test_a_fast_call_is_not_reported(lines: SlowLines) -> None:
    received({"data_received": 0.09}, lines)
    assert lines.texts == []


def test_the_limit_itself_is_slow(lines: SlowLines) -> None:
    clock = Clock()
    clock.now = 0.0
    with contextlib.closing(clock.loop()) as loop:

        def exact() -> None:
            clock.now += 0.5
            loop.slow_callback_duration = 0.5

        loop.call_soon(exact)
        run_turns(loop)
    assert lines.seconds == [0.5]


def test_time_within_a_call_is_charged_to_the_inner_one_alone(lines: SlowLines) -> None:
    received({"data_received": 0.09, "pause_writing": 0.3}, lines)
    assert [line.partition("(")[0] for line in lines.texts] == ["<Slow.pause_writing"]
    assert lines.seconds == [0.3]


def test_two_slow_calls_one_within_the_other_are_two_lines_whose_times_add_up(
    lines: SlowLines,
) -> None:
    received({"data_received": 0.2, "pause_writing": 0.3}, lines)
    names = [line.partition("(")[0] for line in lines.texts]
    assert names == ["<Slow.pause_writing", "<Slow.data_received"]
    assert lines.seconds == [0.3, 0.2]


def test_an_event_of_many_calls_that_is_slow_as_a_whole_is_reported(lines: SlowLines) -> None:
    clock = Clock()

    class Calls(asyncio.BufferedProtocol):
        def get_buffer(self, sizehint: int) -> bytearray:
            clock.now += 0.05
            return bytearray(10)

        def buffer_updated(self, nbytes: int) -> None:
            clock.now += 0.06

    with contextlib.closing(clock.loop()) as loop:
        near, far = socket.socketpair()
        near.setblocking(False)
        with far:

            async def main() -> None:
                transport, _ = await loop.create_unix_connection(Calls, sock=near)
                far.send(b"x")
                while not lines.texts:
                    await asyncio.sleep(0)
                transport.abort()
                await asyncio.sleep(0)

            loop.run_until_complete(main())
    (line,) = lines.texts
    start = "<read event with 2 calls, the longest "
    name = "test_an_event_of_many_calls_that_is_slow_as_a_whole_is_reported.<locals>.Calls"
    assert line.startswith(f"{start}{name}.buffer_updated() at "), line
    assert "transport=<StreamTransport" in line
    assert lines.seconds == [0.11]


def test_a_call_that_fails_is_reported_as_slow_too(lines: SlowLines) -> None:
    clock = Clock()
    reports: list[dict[str, Any]] = []

    class Fails(Slow):
        def data_received(self, data: bytes) -> None:
            clock.now += 1
            raise LookupError

    with contextlib.closing(clock.loop()) as loop:
        loop.set_exception_handler(lambda _, context: reports.append(context))
        near, far = socket.socketpair()
        near.setblocking(False)
        with far:

            async def main() -> None:
                await loop.create_unix_connection(lambda: Fails(clock), sock=near)
                far.send(b"x")
                while not lines.texts:
                    await asyncio.sleep(0)
                await asyncio.sleep(0)

            loop.run_until_complete(main())
    assert "Fails.data_received(" in lines.texts[0]
    assert [type(report["exception"]) for report in reports] == [LookupError]
