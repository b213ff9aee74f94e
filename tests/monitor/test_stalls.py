"""Stalls: each is reported once, while it lasts, with what blocks the loop; nothing else is one."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import ferroloop
from support.loops import PATIENCE, run, run_turns, turns, until

pytestmark = pytest.mark.ours_only("asyncio has no monitor")


def noting(
    stalls: list[ferroloop.Stall], function: str = "block"
) -> Callable[[ferroloop.Stall], None]:
    """Notes stalls in a function: on a machine that is busy enough, anything may take 0.02 seconds."""

    def on_stall(stall: ferroloop.Stall) -> None:
        if function in [frame.name for frame in stall.stack]:
            stalls.append(stall)

    return on_stall


def block(until: Callable[[], object]) -> None:
    """Keep the loop from everything else until another thread has done something."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, "the other thread does nothing"
        time.sleep(0.001)


async def test_a_stall_is_reported_while_it_lasts(loop: ferroloop.Loop) -> None:
    told: list[tuple[bool, float]] = []
    stalls: list[ferroloop.Stall] = []

    def on_stall(stall: ferroloop.Stall) -> None:
        told.append((stall.ended, stall.seconds))
        noting(stalls)(stall)
        if not stalls:
            told.clear()

    def handler() -> None:
        block(lambda: stalls)

    began = time.monotonic()
    with ferroloop.Monitor(stall_after=0.02, on_stall=on_stall) as monitor:
        loop.call_soon(handler)
        await until(lambda: stalls and stalls[0].ended)
        passed = time.monotonic() - began
        assert [it for it in monitor.stalls if it is stalls[0]] == stalls
        assert monitor.stall_count >= 1
        assert monitor.stall_seconds >= stalls[0].seconds
    (ended, seconds), stall = told[0], stalls[0]
    assert not ended
    assert 0.02 <= seconds <= stall.seconds <= passed
    assert began <= stall.started <= began + passed
    assert stall.callback is not None
    assert stall.callback.endswith("handler")
    frames = [frame.name for frame in stall.stack]
    assert frames[frames.index("handler") + 1] == "block"
    assert (stall.task, stall.task_name) == (None, None)
    text = str(stall)
    assert text.startswith(stall.callback)
    assert "blocked the event loop for" in text
    assert "block(lambda: stalls)" in text


async def test_the_task_is_named(loop: ferroloop.Loop) -> None:
    stalls: list[ferroloop.Stall] = []

    async def worker() -> None:
        block(lambda: stalls)

    with ferroloop.Monitor(stall_after=0.02, on_stall=noting(stalls)):
        task = loop.create_task(worker(), name="the worker")
        await task
        assert stalls[0].task is task
    assert stalls[0].task_name == "the worker"
    assert "worker" in str(stalls[0].callback)
    assert "in task 'the worker'" in str(stalls[0])


async def test_a_protocol_call_is_named(loop: ferroloop.Loop) -> None:
    stalls: list[ferroloop.Stall] = []

    class Blocking(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            block(lambda: stalls)

    server = await loop.create_server(Blocking, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    transport, _ = await loop.create_connection(asyncio.Protocol, *address)
    with ferroloop.Monitor(stall_after=0.02, on_stall=noting(stalls)):
        transport.write(b"x")
        await until(lambda: stalls and stalls[0].ended)
    transport.close()
    server.close()
    await server.wait_closed()
    assert "data_received" in str(stalls[0].callback)
    assert len(stalls) == 1


async def test_each_stall_is_reported_once(loop: ferroloop.Loop) -> None:
    stalls: list[ferroloop.Stall] = []

    with ferroloop.Monitor(stall_after=0.02, on_stall=noting(stalls)) as monitor:
        for _ in range(2):
            seen = len(stalls)
            loop.call_soon(block, lambda: len(stalls) > seen)  # noqa: B023
            await until(lambda: len(stalls) > seen and stalls[-1].ended)  # noqa: B023
        assert monitor.stall_count >= 2
    assert len(stalls) == 2


async def test_a_stall_by_default_is_one_warning_with_the_stack(
    loop: ferroloop.Loop, caplog: pytest.LogCaptureFixture
) -> None:
    with ferroloop.Monitor(stall_after=0.02):
        block(lambda: [it for it in caplog.records if "block(" in it.getMessage()])
        await asyncio.sleep(0)
    (record,) = (it for it in caplog.records if "block(" in it.getMessage())
    assert (record.name, record.levelno) == ("ferroloop.monitor", logging.WARNING)
    assert "has blocked the event loop for" in record.getMessage()


def waits(loop: ferroloop.Loop) -> None:
    run(loop, asyncio.sleep(0.1))


def has_a_long_turn(loop: ferroloop.Loop) -> None:
    for _ in range(20):
        loop.call_soon(time.sleep, 0.005)
    run(loop, asyncio.sleep(0))


def works_in_another_thread(loop: ferroloop.Loop) -> None:
    async def main() -> None:
        await loop.run_in_executor(None, time.sleep, 0.1)

    run(loop, main())


def does_not_run(_loop: ferroloop.Loop) -> None:
    time.sleep(0.1)


@pytest.mark.parametrize("part", [waits, has_a_long_turn, works_in_another_thread, does_not_run])
def test_a_loop_that_no_callback_blocks_has_no_stall(
    loop: ferroloop.Loop, part: Callable[[ferroloop.Loop], None]
) -> None:
    # A busy machine may let a thread rest in any callback, but not every time. What is taken for a stall
    # although it is none is taken for one every time.
    stalls: list[ferroloop.Stall] = []
    deadline = time.monotonic() + PATIENCE
    with ferroloop.Monitor(loop, stall_after=0.05, on_stall=stalls.append):
        part(loop)
        while stalls:
            assert time.monotonic() < deadline, stalls
            stalls.clear()
            part(loop)


def hold_gil(seconds: float) -> None:
    """Sleep in C code that lets no other thread have the GIL."""
    ctypes.PyDLL(None).usleep(round(seconds * 1e6))


async def test_code_that_keeps_the_gil_is_reported_as_soon_as_it_lets_go(
    loop: ferroloop.Loop,
) -> None:
    stalls: list[ferroloop.Stall] = []
    seconds: list[float] = []

    def on_stall(stall: ferroloop.Stall) -> None:
        noting(stalls, "handler")(stall)
        if stalls:
            seconds.append(stall.seconds)

    def handler() -> None:
        hold_gil(0.1)
        block(lambda: stalls)

    with ferroloop.Monitor(stall_after=0.02, on_stall=on_stall):
        loop.call_soon(handler)
        await until(lambda: stalls and stalls[0].ended)
    assert len(stalls) == 1
    assert seconds[0] >= 0.02


async def test_a_stall_that_is_over_when_the_gil_can_be_had_has_no_stack_of_something_else(
    loop: ferroloop.Loop,
) -> None:
    stalls: list[ferroloop.Stall] = []
    ends: list[float] = []

    def handler() -> None:
        hold_gil(0.2)
        ends.append(time.monotonic())

    def after() -> None:
        block(lambda: stalls)

    def before_the_end() -> list[ferroloop.Stall]:
        return [it for it in stalls if ends and it.started <= ends[-1]]

    with ferroloop.Monitor(stall_after=0.02, on_stall=stalls.append):
        while not before_the_end():
            stalls.clear()
            ends.clear()
            loop.call_soon(handler)
            loop.call_soon(after)
            await until(lambda: stalls and ends)
    for stall in before_the_end():
        frames = [frame.name for frame in stall.stack]
        assert "after" not in frames
        assert frames or str(stall).startswith("A callback")


def test_a_stall_is_seen_while_the_one_before_is_reported(loop: ferroloop.Loop) -> None:
    reported = threading.Event()
    over = threading.Event()
    stalls: list[ferroloop.Stall] = []

    def on_stall(stall: ferroloop.Stall) -> None:
        if stall.callback is not None and stall.callback.endswith("first"):
            reported.set()
            assert over.wait(PATIENCE)
        else:
            stalls.append(stall)

    def first() -> None:
        block(reported.is_set)

    def second() -> None:
        # The monitor's thread is busy meanwhile, and could not have the GIL either.
        began.append(time.monotonic())
        hold_gil(0.2)
        over.set()

    def found() -> list[ferroloop.Stall]:
        return [it for it in stalls if it.ended and began[0] - 0.03 <= it.started]

    began: list[float] = []

    async def main() -> None:
        with ferroloop.Monitor(stall_after=0.02, on_stall=on_stall):
            loop.call_soon(first)
            loop.call_soon(second)
            await until(lambda: over.is_set() and found())

    run(loop, main())
    assert found()[0].seconds >= 0.02
    assert not found()[0].stack


async def test_a_monitor_watches_from_another_thread(loop: ferroloop.Loop) -> None:
    stalls: list[ferroloop.Stall] = []
    monitors: list[ferroloop.Monitor] = []

    def watch() -> None:
        monitors.append(ferroloop.Monitor(loop, stall_after=0.02, on_stall=noting(stalls)).start())

    thread = threading.Thread(target=watch)
    thread.start()
    block(lambda: stalls)
    thread.join()
    await until(lambda: stalls[0].ended)
    monitors[0].stop()
    assert len(stalls) == 1


def watchers() -> list[threading.Thread]:
    """The threads of monitors, with those that are still ending."""
    return [it for it in threading.enumerate() if it.name == "ferroloop-monitor"]


def test_one_thread_watches_all_loops_and_ends_with_the_last_monitor() -> None:
    # Of the tests before.
    block(lambda: not watchers())
    loops = [ferroloop.new_event_loop() for _ in range(3)]
    stalls: list[ferroloop.Stall] = []

    async def main() -> None:
        seen = len(stalls)
        block(lambda: len(stalls) > seen)

    monitors = [
        ferroloop.Monitor(loop, stall_after=0.02, on_stall=noting(stalls)).start() for loop in loops
    ]
    (thread,) = watchers()
    for loop in loops:
        run(loop, main())
    for monitor in monitors:
        monitor.stop()
    thread.join(PATIENCE)
    assert watchers() == []
    assert len(stalls) == 3
    for loop in loops:
        loop.close()


def test_loops_that_are_blocked_at_once_in_their_own_threads_are_all_reported() -> None:
    stalls: list[ferroloop.Stall] = []
    seen: set[threading.Thread] = set()
    count = 4

    def serve() -> None:
        def main() -> None:
            # Until each of the others is reported, too.
            block(lambda: len(stalls) == count)
            seen.update(watchers())

        loop = ferroloop.new_event_loop()
        with ferroloop.Monitor(loop, stall_after=0.02, on_stall=noting(stalls)):
            loop.call_soon(main)
            run_turns(loop, 1)
        loop.close()

    threads = [threading.Thread(target=serve) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(stalls) == count
    assert len(seen) == 1


def test_without_a_threshold_there_is_no_thread(loop: ferroloop.Loop) -> None:
    block(lambda: not watchers())
    with ferroloop.Monitor(loop, slow_after=1.0, histograms=True, totals=True):
        run(loop, asyncio.sleep(0))
        assert watchers() == []


async def test_a_stall_that_the_monitor_leaves_counts_as_over(loop: ferroloop.Loop) -> None:
    stalls: list[ferroloop.Stall] = []

    with ferroloop.Monitor(stall_after=0.02, on_stall=noting(stalls)):
        block(lambda: stalls)
    assert stalls[0].ended


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
async def test_an_eager_task_is_named_too(loop: ferroloop.Loop) -> None:
    stalls: list[ferroloop.Stall] = []

    async def eager() -> None:
        block(lambda: stalls)

    with ferroloop.Monitor(stall_after=0.02, on_stall=noting(stalls)):
        # Not by create_task: some releases name the task after its first step.
        options: dict[str, Any] = {"name": "eager one", "eager_start": True}
        await asyncio.Task(eager(), loop=loop, **options)
    assert stalls[0].task_name == "eager one"


async def test_digest_of_much_data_names_the_function(loop: ferroloop.Loop) -> None:
    # C code without a Python function of its own: the innermost frame is who has called it.
    stalls: list[ferroloop.Stall] = []
    data = b"x" * 1_000_000

    def digest() -> None:
        deadline = time.monotonic() + PATIENCE
        while not stalls and time.monotonic() < deadline:
            hashlib.sha256(data).digest()

    with ferroloop.Monitor(stall_after=0.02, on_stall=noting(stalls, "digest")):
        loop.call_soon(digest)
        await until(lambda: stalls and stalls[0].ended)
    assert stalls[0].stack[-1].name == "digest"


def test_reports_of_stalls_are_kept_up_to_a_hundred() -> None:
    # What is kept is bounded; a hundred stalls would take the time of a hundred.
    loop: Any = ferroloop.new_event_loop()
    monitor = ferroloop.Monitor(loop, stall_after=1.0, on_stall=str)
    with monitor:
        for _ in range(150):
            monitor._stall_began(time.monotonic(), None, lambda: False)
            monitor._stall_ended(1.0)
    assert (len(monitor.stalls), monitor.stall_count, monitor.stall_seconds) == (100, 150, 150.0)
    loop.close()


async def test_what_a_blocked_callback_holds_ends_in_the_loops_thread(
    loop: ferroloop.Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a stack only code and lines are kept while source files are read, which may take long.
    stalls: list[ferroloop.Stall] = []
    reading, over = threading.Event(), threading.Event()
    ends: list[int] = []

    class Held:
        def __del__(self) -> None:
            ends.append(threading.get_ident())

    def checkcache(*_args: object) -> None:
        # In debug mode the loop's thread reads source files too.
        if threading.current_thread() is not threading.main_thread():
            reading.set()
            over.wait(PATIENCE)

    def handler() -> None:
        held = Held()
        block(reading.is_set)
        assert isinstance(held, Held)

    monkeypatch.setattr("linecache.checkcache", checkcache)
    with ferroloop.Monitor(stall_after=0.02, on_stall=noting(stalls)):
        loop.call_soon(handler)
        await until(reading.is_set)
        await turns(2)
        over.set()
        await until(lambda: ends)
    assert ends == [threading.get_ident()]
