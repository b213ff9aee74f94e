"""Tasks and futures: what an `await` costs. Figures: thousands of operations a second."""

from __future__ import annotations

import asyncio
import sys
from time import perf_counter
from typing import TYPE_CHECKING

from harness.case import InProcess
from harness.results.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from harness.case import Measure

STEPS = 100_000
GATHERS = 100
GATHERED = 1_000
MESSAGES = 50_000


async def _nothing() -> None:
    """An empty coroutine."""


async def sleep_zero(_loop: asyncio.AbstractEventLoop) -> int:
    """`sleep(0)`: one turn each."""
    for _ in range(STEPS):
        await asyncio.sleep(0)
    return STEPS


async def gather(_loop: asyncio.AbstractEventLoop) -> int:
    """`gather` of a thousand empty coroutines, again and again."""
    for _ in range(GATHERS):
        await asyncio.gather(*(_nothing() for _ in range(GATHERED)))
    return GATHERS * GATHERED


async def future(loop: asyncio.AbstractEventLoop) -> int:
    """A future whose result a `call_soon` callback sets."""
    for _ in range(STEPS):
        waiter = loop.create_future()
        loop.call_soon(waiter.set_result, None)
        await waiter
    return STEPS


async def queues(_loop: asyncio.AbstractEventLoop) -> int:
    """Two tasks that pass an item to and fro over two queues; an operation is both ways."""
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def answer() -> None:
        for _ in range(MESSAGES):
            back.put_nowait(await there.get())

    task = asyncio.ensure_future(answer())
    for number in range(MESSAGES):
        there.put_nowait(number)
        await back.get()
    await task
    return MESSAGES


async def timeout(_loop: asyncio.AbstractEventLoop) -> int:
    """`asyncio.timeout` around `sleep(0)`."""
    if sys.version_info >= (3, 11):
        for _ in range(STEPS):
            async with asyncio.timeout(30):
                await asyncio.sleep(0)
        return STEPS
    raise NotImplementedError("asyncio.timeout is new in Python 3.11")


def _timed(main: Callable[[asyncio.AbstractEventLoop], Coroutine[None, None, int]]) -> Measure:
    def measure(loop: asyncio.AbstractEventLoop) -> float:
        start = perf_counter()
        count = loop.run_until_complete(main(loop))
        return count / (perf_counter() - start) / 1e3

    return measure


def _case(
    name: str,
    title: str,
    main: Callable[[asyncio.AbstractEventLoop], Coroutine[None, None, int]],
    target: Target,
    *,
    alone: bool = False,
) -> InProcess:
    measure = _timed(main)
    return InProcess(name, title, "scheduling", "k/s", target, measure=measure, alone=alone)


CASES = (
    _case("timeout", "asyncio.timeout around sleep(0)", timeout, Target(1.1)),
    _case("sleep_zero", "sleep(0)", sleep_zero, Target(1.1, "zuvloop")),
    _case(
        "sleep_zero_alone",
        "sleep(0), nothing else in the loop",
        sleep_zero,
        Target(1.0),
        alone=True,
    ),
    _case("gather", "gather of 1,000 empty coroutines", gather, Target(1.1)),
    _case("future", "a future woken by call_soon", future, Target(1.1, "rsloop")),
    _case("future_alone", "a future, nothing else in the loop", future, Target(1.0), alone=True),
    _case("queues", "two tasks over two asyncio.Queue", queues, Target(1.1)),
    _case("queues_alone", "two queues, nothing else in the loop", queues, Target(1.0), alone=True),
)
