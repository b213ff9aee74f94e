"""call_soon_threadsafe: the only call of a loop that other threads may make."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from support.loops import PATIENCE, Factory, run
from support.programs import run_code

Loop = asyncio.AbstractEventLoop


def in_thread(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def test_a_parked_loop_is_woken(loop: Loop) -> None:
    seen: list[threading.Thread] = []

    def callback() -> None:
        seen.append(threading.current_thread())
        loop.stop()

    # Keeps the loop from waiting for ever if it is not woken.
    timer = loop.call_later(PATIENCE, loop.stop)
    thread = in_thread(lambda: loop.call_soon_threadsafe(callback))
    loop.run_forever()
    assert loop.time() < timer.when(), "only the timer woke the loop"
    thread.join()
    assert seen == [threading.main_thread()]


def test_the_order_of_one_thread_is_kept(loop: Loop) -> None:
    seen: list[int] = []

    def work() -> None:
        for number in range(20_000):
            loop.call_soon_threadsafe(seen.append, number)
        loop.call_soon_threadsafe(loop.stop)

    thread = in_thread(work)
    loop.run_forever()
    thread.join()
    assert seen == list(range(20_000))


def test_none_of_many_threads_callbacks_is_lost(loop: Loop) -> None:
    seen: dict[int, list[int]] = {number: [] for number in range(8)}
    left = len(seen)

    def done() -> None:
        nonlocal left
        left -= 1
        if not left:
            loop.stop()

    def work(number: int) -> None:
        for value in range(2000):
            loop.call_soon_threadsafe(seen[number].append, value)
        loop.call_soon_threadsafe(done)

    threads = [in_thread(partial(work, n)) for n in seen]
    loop.run_forever()
    for thread in threads:
        thread.join()
    assert all(values == list(range(2000)) for values in seen.values())


def test_a_wakeup_is_never_lost_in_ping_pong(loop: Loop) -> None:
    """Each side waits for the other each time: one lost wake-up and it stands still."""
    turn = threading.Semaphore(0)
    asked = answered = 0

    def pong() -> None:
        nonlocal answered
        answered += 1
        turn.release()

    def work() -> None:
        nonlocal asked
        # On a busy machine each side gets a processor only after 0.1 s.
        end = time.monotonic() + 5
        while asked < 3000 and time.monotonic() < end:
            asked += 1
            loop.call_soon_threadsafe(pong)
            assert turn.acquire(timeout=PATIENCE)
        loop.call_soon_threadsafe(loop.stop)

    thread = in_thread(work)
    loop.run_forever()
    thread.join()
    assert answered == asked > 100


def test_from_the_loops_own_thread_it_is_call_soon(loop: Loop) -> None:
    seen: list[str] = []

    def first() -> None:
        loop.call_soon_threadsafe(seen.append, "threadsafe")
        loop.call_soon(seen.append, "soon")
        loop.call_soon(loop.stop)

    loop.call_soon(first)
    loop.run_forever()
    assert seen == ["threadsafe", "soon"]


def test_a_callback_can_be_cancelled_before_it_runs(loop: Loop) -> None:
    seen: list[str] = []
    loop.call_soon_threadsafe(seen.append, "cancelled").cancel()
    loop.call_soon_threadsafe(seen.append, "kept")
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    assert seen == ["kept"]


def test_it_takes_a_context_and_else_copies_the_callers(loop: Loop) -> None:
    variable = contextvars.ContextVar("variable", default="nothing")
    seen: list[str] = []
    given = contextvars.copy_context()
    given.run(variable.set, "given")

    def work() -> None:
        variable.set("the thread's")
        loop.call_soon_threadsafe(lambda: seen.append(variable.get()))
        loop.call_soon_threadsafe(lambda: seen.append(variable.get()), context=given)
        loop.call_soon_threadsafe(loop.stop)

    thread = in_thread(work)
    loop.run_forever()
    thread.join()
    assert seen == ["the thread's", "given"]


def test_stop_from_another_thread_takes_effect_through_it(loop: Loop) -> None:
    thread = in_thread(lambda: loop.call_soon_threadsafe(loop.stop))
    loop.run_forever()
    thread.join()


def test_another_thread_learns_that_the_loop_is_closed(loop: Loop) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as error:
            errors.append(error)

    loop.close()
    in_thread(work).join()
    assert str(errors[0]) == "Event loop is closed"


def test_run_coroutine_threadsafe_gives_the_result_to_the_thread(loop: Loop) -> None:
    async def double(value: int) -> int:
        await asyncio.sleep(0)
        return 2 * value

    results: list[int] = []

    def work() -> None:
        futures = [asyncio.run_coroutine_threadsafe(double(n), loop) for n in range(50)]
        results.extend(future.result(PATIENCE) for future in futures)
        loop.call_soon_threadsafe(loop.stop)

    thread = in_thread(work)
    loop.run_forever()
    thread.join()
    assert results == [2 * number for number in range(50)]


def test_closing_while_another_thread_schedules_either_takes_it_or_refuses(loop: Loop) -> None:
    refused = threading.Event()

    def work() -> None:
        try:
            while True:
                loop.call_soon_threadsafe(int)
        except RuntimeError as error:
            assert str(error) == "Event loop is closed"  # noqa: PT017 - in a thread
            refused.set()

    thread = in_thread(work)
    for _ in range(20):
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
    assert refused.wait(PATIENCE)
    thread.join()


def test_a_loop_may_run_in_any_thread(new_loop: Factory) -> None:
    results: list[str] = []

    async def main(name: str) -> None:
        await asyncio.sleep(0.001)
        results.append(name)

    def work(name: str) -> None:
        loop = new_loop()
        try:
            run(loop, main(name))
        finally:
            loop.close()

    threads = [in_thread(partial(work, n)) for n in "abcd"]
    for thread in threads:
        thread.join()
    assert sorted(results) == list("abcd")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="since 3.14")
def test_cancelling_from_another_thread_waits_for_a_callback_that_runs(loop: Loop) -> None:
    started = threading.Event()
    cancelling = threading.Event()
    finished: list[bool] = []
    seen_by_thread: list[bool] = []

    def callback() -> None:
        started.set()
        assert cancelling.wait(PATIENCE)
        finished.append(True)

    handle = loop.call_soon_threadsafe(callback)

    def work() -> None:
        assert started.wait(PATIENCE)
        cancelling.set()
        handle.cancel()
        seen_by_thread.extend(finished)
        loop.call_soon_threadsafe(loop.stop)

    thread = in_thread(work)
    loop.run_forever()
    thread.join()
    assert seen_by_thread == [True]


@pytest.mark.parametrize("debug", [False, True])
async def test_a_thread_without_a_frame_of_pythons_may_call_it(loop: Loop, debug: bool) -> None:
    loop.set_debug(debug)
    done = loop.create_future()
    # The thread runs the method itself, as threads of native libraries do.
    _thread.start_new_thread(loop.call_soon_threadsafe, (done.set_result, "told"))
    assert await done == "told"


NATIVE_CHAIN = """
    import functools, threading

    loop = new_loop()
    again = functools.partial(loop.call_soon)
    again.__setstate__((loop.call_soon, (again,), {}, None))
    loop.call_soon(again)
    event = threading.Event()

    def stop():
        event.wait()
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=stop)
    thread.start()
    loop.call_soon(event.set)
    loop.run_forever()
    thread.join()
    loop.close()
    print("stopped")
"""


def test_other_threads_run_while_callbacks_run_no_python_code(kind: str) -> None:
    """No bytecode runs in which CPython would have the loop's thread give up the GIL."""
    assert run_code(kind, NATIVE_CHAIN) == (0, "stopped\n", "")
