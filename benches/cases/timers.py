"""Timers: making, cancelling, firing, and how late a short sleep wakes."""

from __future__ import annotations

import asyncio
import random
import statistics
from time import perf_counter

from cases.operations import rate_until_stopped
from harness.case import InProcess
from harness.results.targets import Target

CANCELLED = 100_000
FIRED = 100_000
SPREAD = 0.05
SLEEPERS = 100_000
DELAYS = 97
SHORT = 0.0005


def _noop() -> None:
    """What a cancelled timer would have called."""


def cancelled(loop: asyncio.AbstractEventLoop) -> float:
    """`call_later` far ahead, then `cancel`: what every timeout that does not expire costs."""

    def schedule() -> None:
        for _ in range(CANCELLED):
            loop.call_later(30, _noop).cancel()
        loop.call_soon(loop.stop)

    return rate_until_stopped(loop, CANCELLED, schedule)


def fired(loop: asyncio.AbstractEventLoop) -> float:
    """Timers that are all due within 50 ms, in no order."""
    chance = random.Random(1)
    delays = [chance.random() * SPREAD for _ in range(FIRED)]
    left = FIRED

    def fire() -> None:
        nonlocal left
        left -= 1
        if not left:
            loop.stop()

    start = perf_counter()
    for delay in delays:
        loop.call_later(delay, fire)
    loop.run_forever()
    return FIRED / (perf_counter() - start) / 1e3


def sleepers(loop: asyncio.AbstractEventLoop) -> float:
    """A hundred thousand tasks that sleep, with 97 different delays."""

    async def main() -> None:
        await asyncio.gather(
            *(asyncio.sleep((number % DELAYS) / 1000) for number in range(SLEEPERS))
        )

    start = perf_counter()
    loop.run_until_complete(main())
    return SLEEPERS / (perf_counter() - start) / 1e3


def overshoot(loop: asyncio.AbstractEventLoop) -> float:
    """The median time by which `sleep(0.0005)` is late, in microseconds."""

    async def main() -> float:
        late = []
        for _ in range(500):
            start = perf_counter()
            await asyncio.sleep(SHORT)
            late.append(perf_counter() - start - SHORT)
        if min(late) < 0:
            raise RuntimeError(f"woke {-min(late) * 1e6:.0f} us before its time")
        return statistics.median(late) * 1e6

    return loop.run_until_complete(main())


CASES = (
    InProcess(
        "cancel", "call_later(30) then cancel", "scheduling", "k/s", Target(1.1), measure=cancelled
    ),
    InProcess(
        "timers",
        "100 k timers that fire within 50 ms",
        "scheduling",
        "k/s",
        Target(1.2),
        measure=fired,
    ),
    InProcess(
        "sleepers", "100 k sleepers, 97 delays", "scheduling", "k/s", Target(1.2), measure=sleepers
    ),
    InProcess(
        "overshoot",
        "sleep(0.0005), median overshoot",
        "scheduling",
        "us",
        Target(150, absolute=True),
        less_is_better=True,
        measure=overshoot,
    ),
)
