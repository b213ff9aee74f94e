"""call_later and call_at: when timers fire, in which order, and what cancelling leaves."""

from __future__ import annotations

import asyncio
import gc
import math
import sys
import time
import tracemalloc
import weakref
from typing import Any

import pytest

from support.loops import run, run_turns

Loop = asyncio.AbstractEventLoop


class Payload:
    """Something that can be referred to weakly."""


def test_time_is_the_monotonic_clock(loop: Loop) -> None:
    before = time.monotonic()
    now = loop.time()
    assert before <= now <= time.monotonic()
    assert type(now) is float


@pytest.mark.parametrize("delay", [0.0, 1e-9, 0.0001, 0.0005, 0.001, 0.0015, 0.004, 0.011])
def test_a_timer_never_fires_early(loop: Loop, delay: float, kind: str) -> None:
    late: list[float] = []
    # asyncio allows itself what it takes for the clock's resolution.
    slack = time.get_clock_info("monotonic").resolution if kind == "asyncio" else 0.0

    def fire(when: float) -> None:
        late.append(loop.time() - when)
        if len(late) == 5:
            loop.stop()

    for number in range(5):
        when = loop.time() + delay * (1 + number / 10)
        loop.call_at(when, fire, when)
    loop.run_forever()
    assert min(late) >= -slack


@pytest.mark.parametrize("delay", [0.0003, 0.002])
def test_call_later_counts_from_the_call(loop: Loop, delay: float) -> None:
    before = loop.time()
    timer = loop.call_later(delay, int)
    assert before + delay <= timer.when() <= loop.time() + delay


def test_timers_fire_in_the_order_of_their_deadlines(loop: Loop) -> None:
    seen: list[int] = []
    base = loop.time() + 0.002
    for number in (5, 3, 9, 1, 7, 0, 2, 8, 6, 4):
        loop.call_at(base + number * 1e-6, seen.append, number)
    loop.call_at(base + 1e-4, loop.stop)
    loop.run_forever()
    assert seen == list(range(10))


@pytest.mark.ours_only("asyncio's heap is not stable")
@pytest.mark.parametrize("count", [3, 10, 1000])
def test_timers_of_one_deadline_fire_in_the_order_of_their_calls(loop: Loop, count: int) -> None:
    seen: list[int] = []
    when = loop.time() + 0.001
    for number in range(count):
        loop.call_at(when, seen.append, number)
    loop.call_at(when, loop.stop)
    loop.run_forever()
    assert seen == list(range(count))


@pytest.mark.ours_only("asyncio's heap is not stable")
def test_cancelling_some_of_one_deadline_keeps_the_order_of_the_others(loop: Loop) -> None:
    seen: list[int] = []
    when = loop.time() + 0.001
    timers = [loop.call_at(when, seen.append, number) for number in range(500)]
    for timer in timers[::3]:
        timer.cancel()
    loop.call_at(when, loop.stop)
    loop.run_forever()
    assert seen == [number for number in range(500) if number % 3]


@pytest.mark.parametrize("delay", [0, -1, -1e9, -math.inf])
def test_a_deadline_in_the_past_fires_in_the_next_turn(loop: Loop, delay: float) -> None:
    seen: list[int] = []
    timer = loop.call_later(delay, seen.append, 1)
    assert isinstance(timer, asyncio.TimerHandle)
    run_turns(loop)
    assert seen == [1]


def test_an_integer_is_a_deadline_too(loop: Loop) -> None:
    seen: list[int] = []
    timer = loop.call_at(0, seen.append, 1)
    assert timer.when() == 0
    assert type(timer.when()) is int
    run_turns(loop)
    assert seen == [1]


@pytest.mark.parametrize("when", [-5, 0, 1, 2**40, 2.0, math.inf])
def test_when_is_the_number_that_call_at_was_given(loop: Loop, when: float) -> None:
    """aiohttp rounds the deadlines of its time-outs to whole seconds."""
    timer = loop.call_at(when, int)
    assert (type(timer.when()), timer.when()) == (type(when), when)
    assert f"when={when!r}" in repr(timer)
    assert hash(timer) == hash(when)
    timer.cancel()
    assert type(loop.call_at(loop.time() + 60, int).when()) is float


@pytest.mark.parametrize("delay", [math.inf, 1e300, 1e18, 86400 * 365 * 1000])
def test_a_huge_delay_is_as_good_as_never(loop: Loop, delay: float) -> None:
    seen: list[int] = []
    timer = loop.call_later(delay, seen.append, 1)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert not seen
    assert timer.when() > loop.time()
    timer.cancel()
    run_turns(loop)


@pytest.mark.ours_only("asyncio takes it, and its heap loses the order of everything else")
def test_a_deadline_that_is_not_a_number_leaves_the_order_of_the_others(loop: Loop) -> None:
    seen: list[int] = []
    loop.call_later(math.nan, seen.append, 0)
    base = loop.time()
    for number in range(1, 20):
        loop.call_at(base + number * 1e-6, seen.append, number)
    loop.call_at(base + 0.002, loop.stop)
    loop.run_forever()
    assert seen == list(range(20))


def test_a_cancelled_timer_does_not_fire(loop: Loop) -> None:
    seen: list[int] = []
    timers = [loop.call_later(0.001, seen.append, number) for number in range(4)]
    timers[0].cancel()
    timers[2].cancel()
    loop.call_later(0.003, loop.stop)
    loop.run_forever()
    assert seen == [1, 3]
    assert timers[0].cancelled()


def test_a_timer_can_be_cancelled_by_one_that_is_due_with_it(loop: Loop) -> None:
    seen: list[str] = []
    now = loop.time()
    timers: list[asyncio.TimerHandle] = []
    loop.call_at(now - 2, lambda: timers[0].cancel())
    timers.append(loop.call_at(now - 1, seen.append, "must not run"))
    run_turns(loop)
    assert not seen


def test_a_timer_set_by_a_timer_waits_for_the_next_turn(loop: Loop) -> None:
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        loop.call_at(0, seen.append, "nested")

    loop.call_at(0, first)
    run_turns(loop)
    assert seen == ["first"]
    run_turns(loop)
    assert seen == ["first", "nested"]


@pytest.mark.slow
def test_a_million_timers_set_and_cancelled_take_no_memory(loop: Loop, kind: str) -> None:
    if loop.get_debug():
        pytest.skip("tracebacks are kept in debug mode, and take long")

    def many(count: int) -> None:
        for _ in range(count):
            loop.call_later(1000, print).cancel()

    many(1000)
    run_turns(loop)
    tracemalloc.start()
    try:
        many(1000)
        before = tracemalloc.get_traced_memory()[0]
        # asyncio stands beside it for comparison, and needs ten times as long.
        for _ in range(20 if kind == "ferroloop" else 2):
            many(50_000)
            run_turns(loop)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 200_000


@pytest.mark.parametrize("clean_up", ["turn", "none"])
def test_cancelled_timers_do_not_keep_their_arguments(loop: Loop, clean_up: str) -> None:
    if loop.get_debug():
        pytest.skip("in debug mode asyncio keeps them, for the handle's text")
    payloads = [Payload() for _ in range(100)]
    gone = [weakref.ref(payload) for payload in payloads]
    timers = [loop.call_later(1000, print, payload) for payload in payloads]
    del payloads
    for timer in timers:
        timer.cancel()
    del timer
    if clean_up == "turn":
        run_turns(loop)
    assert not any(reference() for reference in gone)


def test_sleep_and_timeouts_do_not_pile_up_timers(loop: Loop) -> None:
    async def main() -> None:
        for _ in range(300):
            await asyncio.wait_for(asyncio.sleep(0), 1000)

    run(loop, main())
    # A look inside that both loops allow: asyncio sweeps when half of a hundred are cancelled.
    assert len(loop._scheduled) < 250  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.ours_only("epoll_wait rounds up to a millisecond")
async def test_short_sleeps_are_short(loop: Loop) -> None:
    overshoot: list[float] = []

    def are_short() -> int:
        # A wait in whole milliseconds is always above it, a busy machine only as a rule.
        return sum(1 for seconds in overshoot if seconds < 0.0004)

    while are_short() < 20:
        began = loop.time()
        await asyncio.sleep(0.0005)
        overshoot.append(loop.time() - began - 0.0005)
    assert min(overshoot) >= 0


def test_ten_thousand_timers_of_97_deadlines_fire_in_order(loop: Loop) -> None:
    seen: list[int] = []
    base = loop.time() + 0.02
    for number in range(10_000):
        loop.call_at(base + number % 97 * 1e-4, seen.append, number % 97)
    loop.call_at(base + 0.0097, loop.stop)
    loop.run_forever()
    assert len(seen) == 10_000
    assert seen == sorted(seen)


def test_timers_go_by_the_time_of_a_subclass(loop: Loop) -> None:
    """A clock that stands still until a test moves it on, as simulations have it."""
    kind: Any = type(loop)

    class Simulated(kind):  # type: ignore[misc] # a class found at run time
        now = 1000.0

        def time(self) -> float:
            return self.now

    simulated = Simulated()
    seen: list[float] = []
    timer = simulated.call_later(3600, lambda: seen.append(simulated.time()))
    assert timer.when() == 4600.0
    simulated.call_at(1000.5, seen.append, 1000.5)
    run_turns(simulated)
    assert not seen
    Simulated.now = 1000.5
    run_turns(simulated)
    assert seen == [1000.5]
    Simulated.now = 4600.0
    run_turns(simulated)
    assert seen == [1000.5, 4600.0]
    simulated.close()


def test_a_clock_of_whole_numbers_gives_whole_deadlines(loop: Loop) -> None:
    kind: Any = type(loop)

    class Counting(kind):  # type: ignore[misc] # a class found at run time
        def time(self) -> int:
            return 7

    counting = Counting()
    assert type(counting.call_later(3, int).when()) is int
    assert type(counting.call_later(3.0, int).when()) is float
    counting.close()


def test_a_deadline_that_is_not_a_number_is_due(loop: Loop, kind: str) -> None:
    if kind == "asyncio" and sys.version_info >= (3, 13):
        pytest.skip("asyncio's loop ends with a ValueError since 3.13")
    loop.call_later(math.nan, loop.stop)
    loop.call_later(3600, loop.stop)
    loop.run_forever()


def test_call_later_goes_through_the_call_at_of_a_subclass(loop: Loop) -> None:
    kind: Any = type(loop)
    made: list[float] = []

    class Traced(kind):  # type: ignore[misc] # a class found at run time
        def call_at(self, when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            made.append(when)
            timer: asyncio.TimerHandle = super().call_at(when, *args, **kwargs)
            return timer

    traced = Traced()
    before = traced.time()
    timer = traced.call_later(10, int)
    assert made == [timer.when()]
    assert timer.when() >= before + 10
    with pytest.raises(TypeError):
        traced.call_later(None, int)
    traced.close()
