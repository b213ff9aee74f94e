"""`call_soon` and `call_soon_threadsafe`: what every callback pays. Figures: thousands of callbacks a second."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import TYPE_CHECKING

from cases.operations import rate_until_stopped
from harness.case import InProcess
from harness.results.targets import Target

if TYPE_CHECKING:
    import asyncio

    from harness.case import Measure

QUEUED = 300_000
QUEUE = 1_000
FROM_THREAD = 100_000


def noop(*_: object) -> None:
    """What is called."""


def _queued(loop: asyncio.AbstractEventLoop, *arguments: object) -> float:
    """Queues everything from one callback, then lets it run."""

    def fill() -> None:
        for _ in range(QUEUED):
            loop.call_soon(noop, *arguments)
        loop.call_soon(loop.stop)

    return rate_until_stopped(loop, QUEUED, fill)


def queued(loop: asyncio.AbstractEventLoop) -> float:
    """A long queue of callbacks without arguments."""
    return _queued(loop)


def queued_with_three_arguments(loop: asyncio.AbstractEventLoop) -> float:
    """A long queue of callbacks with three arguments each."""
    return _queued(loop, 1, loop, None)


def queues_of_a_thousand(loop: asyncio.AbstractEventLoop) -> float:
    """Queues a thousand callbacks with one argument a turn, from a callback."""

    def turn(left: int) -> None:
        if not left:
            loop.stop()
            return
        for number in range(QUEUE):
            loop.call_soon(noop, number)
        loop.call_soon(turn, left - 1)

    turns = QUEUED // QUEUE
    return rate_until_stopped(loop, turns * QUEUE, turn, turns)


def rescheduling_itself(loop: asyncio.AbstractEventLoop) -> float:
    """One callback that calls `call_soon` with itself: one callback a turn."""
    left = QUEUED

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            loop.stop()

    return rate_until_stopped(loop, QUEUED, step)


def from_a_thread(loop: asyncio.AbstractEventLoop) -> float:
    """A thread schedules while the loop runs."""

    def schedule() -> None:
        for _ in range(FROM_THREAD):
            loop.call_soon_threadsafe(noop)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=schedule)
    start = perf_counter()
    loop.call_soon(thread.start)
    loop.run_forever()
    seconds = perf_counter() - start
    thread.join()
    return FROM_THREAD / seconds / 1e3


def _case(name: str, title: str, measure: Measure, target: Target) -> InProcess:
    return InProcess(name, title, "scheduling", "k/s", target, measure=measure)


CASES = (
    _case("call_soon", "call_soon, 300 k queued then run", queued, Target(1.1)),
    _case(
        "call_soon_1000",
        "call_soon, queues of 1,000, one argument",
        queues_of_a_thousand,
        Target(1.05),
    ),
    _case(
        "call_soon_3_args",
        "call_soon, 300 k with 3 arguments",
        queued_with_three_arguments,
        Target(1.1),
    ),
    _case(
        "reschedule",
        "one callback that reschedules itself",
        rescheduling_itself,
        Target(1.1, "zuvloop"),
    ),
    _case("threadsafe", "call_soon_threadsafe from a thread", from_a_thread, Target(1.0)),
)
