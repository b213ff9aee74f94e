"""call_soon and the turn: what runs when."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from support.loops import Factory, run_turns
from support.net.sockets import socket_pair

Loop = asyncio.AbstractEventLoop


def test_callbacks_run_in_the_order_in_which_they_were_queued(loop: Loop) -> None:
    seen: list[int] = []
    for number in range(1000):
        loop.call_soon(seen.append, number)
    run_turns(loop)
    assert seen == list(range(1000))


@pytest.mark.parametrize("count", range(8))
def test_a_callback_gets_its_arguments(loop: Loop, count: int) -> None:
    seen: list[tuple[object, ...]] = []
    arguments = [object() for _ in range(count)]

    def callback(*args: object) -> None:
        seen.append(args)

    loop.call_soon(callback, *arguments)
    run_turns(loop)
    assert seen == [tuple(arguments)]


def test_a_turn_runs_exactly_what_was_queued_when_it_began(loop: Loop) -> None:
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        loop.call_soon(seen.append, "of the next turn")

    loop.call_soon(first)
    loop.call_soon(seen.append, "second")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == ["first", "second"]
    run_turns(loop)
    assert seen == ["first", "second", "of the next turn"]


def test_events_come_behind_what_is_queued_and_due_timers_behind_events(loop: Loop) -> None:
    seen: list[str] = []
    with socket_pair() as (near, far):
        far.send(b"x")
        loop.add_reader(near, seen.append, "event")
        loop.call_at(loop.time() - 1, seen.append, "timer")
        loop.call_soon(seen.append, "soon")
        run_turns(loop)
        loop.remove_reader(near)
    assert seen == ["soon", "event", "timer"]


def test_a_busy_loop_still_sees_events_in_every_turn(loop: Loop) -> None:
    seen: list[bytes] = []
    turns = 0

    def spin() -> None:
        nonlocal turns
        turns += 1
        if turns % 2 == 0:
            far.send(b"x")
        if turns < 20:
            loop.call_soon(spin)
        else:
            loop.stop()

    with socket_pair() as (near, far):
        loop.add_reader(near, lambda: seen.append(near.recv(10)))
        loop.call_soon(spin)
        loop.run_forever()
        run_turns(loop)
        loop.remove_reader(near)
    # One byte at a time: none had to wait for the next.
    assert seen == [b"x"] * 10


def test_a_timer_is_not_starved_by_a_callback_that_reschedules_itself(loop: Loop) -> None:
    def spin() -> None:
        if not fired:
            loop.call_soon(spin)

    fired: list[bool] = []
    loop.call_later(0.001, fired.append, True)
    loop.call_later(0.001, loop.stop)
    loop.call_soon(spin)
    loop.run_forever()
    assert fired


def test_a_callback_may_be_any_callable(loop: Loop) -> None:
    seen: list[object] = []

    class Callable:
        def __call__(self, *args: object) -> None:
            seen.append(args)

        def method(self, argument: object) -> None:
            seen.append(argument)

    def with_default(a: int, b: int = 3) -> None:
        seen.append((a, b))

    loop.call_soon(Callable(), 1)
    loop.call_soon(Callable().method, 2)
    loop.call_soon(with_default, 4)
    loop.call_soon(seen.append, 5)
    run_turns(loop)
    assert seen == [(1,), 2, (4, 3), 5]


def test_what_a_callback_returns_is_dropped(loop: Loop) -> None:
    class Result:
        """Something that can be referred to weakly."""

    results: list[weakref.ref[Result]] = []

    def callback() -> Result:
        result = Result()
        results.append(weakref.ref(result))
        return result

    loop.call_soon(callback)
    loop.call_later(0, callback)
    run_turns(loop, 2)
    assert [reference() for reference in results] == [None, None]


@pytest.mark.slow
def test_three_hundred_thousand_callbacks_can_wait_at_once(loop: Loop) -> None:
    count = 0

    def callback() -> None:
        nonlocal count
        count += 1

    # Debug mode takes a stack for each, which is what would be tested then.
    many = 10_000 if loop.get_debug() else 300_000
    for _ in range(many):
        loop.call_soon(callback)
    run_turns(loop)
    assert count == many


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("call_soon", (print,)),
        ("call_soon_threadsafe", (print,)),
        ("call_later", (1, print)),
        ("call_at", (1, print)),
    ],
)
def test_nothing_can_be_scheduled_on_a_closed_loop(
    loop: Loop, method: str, arguments: tuple[Any, ...]
) -> None:
    loop.close()
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        getattr(loop, method)(*arguments)


def test_a_callback_scheduled_before_the_loop_runs_waits_for_it(new_loop: Factory) -> None:
    loop = new_loop()
    seen: list[int] = []
    loop.call_soon(seen.append, 1)
    assert not seen
    run_turns(loop)
    assert seen == [1]
    loop.close()


def test_closing_drops_what_was_queued(new_loop: Factory) -> None:
    class Callback:
        def __call__(self) -> None:
            """Never called."""

    loop = new_loop()
    callback = Callback()
    gone = weakref.ref(callback)
    loop.call_soon(callback)
    loop.call_soon_threadsafe(callback)
    loop.call_later(0, callback)
    del callback
    assert gone() is not None
    loop.close()
    gc.collect()
    assert gone() is None


def test_a_callback_runs_in_the_loop_that_is_then_the_running_one(loop: Loop) -> None:
    seen: list[object] = []
    loop.call_soon(lambda: seen.append(asyncio.get_running_loop()))
    run_turns(loop)
    assert seen == [loop]
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


async def test_sleep_zero_gives_others_one_turn_each(loop: Loop) -> None:
    seen: list[str] = []

    async def worker(name: str) -> None:
        for _ in range(3):
            seen.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(worker("a"), worker("b"))
    assert seen == ["a", "b"] * 3


def test_a_loop_says_what_it_is(loop: Loop, kind: str) -> None:
    assert isinstance(loop, asyncio.AbstractEventLoop)
    text = repr(loop)
    assert "running=False" in text
    assert "closed=False" in text
    assert "debug=False" in text or loop.get_debug()
    loop.close()
    assert "closed=True" in repr(loop)
