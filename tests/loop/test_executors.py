"""run_in_executor, and starting and ending the default executor."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
from typing import Any

import pytest

from support.loops import PATIENCE, run

Loop = asyncio.AbstractEventLoop


async def test_a_function_runs_in_another_thread(loop: Loop) -> None:
    thread = await loop.run_in_executor(None, threading.current_thread)
    assert thread is not threading.main_thread()
    assert thread.name.startswith("asyncio_")
    assert await loop.run_in_executor(None, pow, 2, 10) == 1024


async def test_its_exception_comes_back(loop: Loop) -> None:
    def fails() -> None:
        raise LookupError("in the thread")

    with pytest.raises(LookupError, match="in the thread"):
        await loop.run_in_executor(None, fails)


async def test_an_executor_can_be_given(loop: Loop) -> None:
    with concurrent.futures.ThreadPoolExecutor(1, "own") as executor:
        thread = await loop.run_in_executor(executor, threading.current_thread)
    assert thread.name.startswith("own")


async def test_the_default_executor_can_be_set(loop: Loop) -> None:
    executor = concurrent.futures.ThreadPoolExecutor(1, "own")
    loop.set_default_executor(executor)

    thread = await loop.run_in_executor(None, threading.current_thread)
    assert thread.name.startswith("own")
    await loop.shutdown_default_executor()
    with pytest.raises(RuntimeError):
        executor.submit(print)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a TypeError since 3.11")
def test_the_default_executor_must_be_a_thread_pool(loop: Loop) -> None:
    with pytest.raises(TypeError, match=r"^executor must be ThreadPoolExecutor instance$"):
        loop.set_default_executor(object())  # type: ignore[arg-type] # what is tested


async def test_after_the_shutdown_it_refuses(loop: Loop) -> None:
    await loop.run_in_executor(None, int)
    await loop.shutdown_default_executor()
    with pytest.raises(RuntimeError, match="^Executor shutdown has been called$"):
        loop.run_in_executor(None, int)
    await loop.shutdown_default_executor()


async def test_the_shutdown_waits_for_what_runs(loop: Loop) -> None:
    release = threading.Event()
    finished: list[int] = []

    def work() -> None:
        assert release.wait(PATIENCE)
        finished.append(1)

    future = loop.run_in_executor(None, work)
    loop.call_later(0.01, release.set)
    await loop.shutdown_default_executor()
    assert finished
    await future


@pytest.mark.skipif(sys.version_info < (3, 12), reason="since 3.12")
async def test_the_shutdown_gives_up_after_its_timeout(kind: str, loop: Loop) -> None:
    if kind == "asyncio" and not hasattr(asyncio.base_events, "timeouts"):
        pytest.skip("asyncio of an early 3.12 waits for ever (gh-111358)")
    release = threading.Event()

    future = loop.run_in_executor(None, release.wait, PATIENCE)
    with pytest.warns(RuntimeWarning, match="did not finish(ed|ing)? joining its threads"):
        await loop.shutdown_default_executor(0.01)  # type: ignore[call-arg,unused-ignore] # since 3.12
    release.set()
    await future


def test_closing_the_loop_does_not_wait_for_the_executor(loop: Loop) -> None:
    release = threading.Event()
    finished = threading.Event()

    def work() -> None:
        release.wait(PATIENCE)
        finished.set()

    async def main() -> None:
        loop.run_in_executor(None, work)

    run(loop, main())
    loop.close()
    assert not finished.is_set()
    release.set()
    assert finished.wait(PATIENCE)


async def test_a_cancelled_wait_leaves_the_function_running(loop: Loop) -> None:
    release = threading.Event()
    finished = threading.Event()

    def work() -> None:
        release.wait(PATIENCE)
        finished.set()

    task = loop.create_task(to_await(loop.run_in_executor(None, work)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    await loop.run_in_executor(None, finished.wait, PATIENCE)
    assert finished.is_set()


async def to_await(future: asyncio.Future[None]) -> None:
    await future


async def test_hundreds_of_calls_all_come_back(loop: Loop) -> None:
    futures = [loop.run_in_executor(None, pow, n, 2) for n in range(500)]
    assert await asyncio.gather(*futures) == [n * n for n in range(500)]


def test_a_closed_loop_refuses(loop: Loop) -> None:
    loop.close()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.run_in_executor(None, int)


class AtOnce(concurrent.futures.ThreadPoolExecutor):
    """Does the work in the caller's thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        work: concurrent.futures.Future[Any] = concurrent.futures.Future()
        work.set_running_or_notify_cancel()
        work.set_result(fn(*args, **kwargs))
        return work


def order_with_work_done_at_once(loop: asyncio.AbstractEventLoop) -> list[str]:
    """What happens in which order if the work is done before its future is returned."""
    order: list[str] = []

    async def main() -> None:
        loop.call_soon(order.append, "before")
        future = loop.run_in_executor(AtOnce(), int)
        order.append(f"done: {future.done()}")
        future.add_done_callback(lambda _: order.append("callback"))
        loop.call_soon(order.append, "after")
        assert await future == 0
        order.append(f"cancelled: {loop.run_in_executor(AtOnce(), int).cancel()}")

    run(loop, main())
    return order


def test_a_result_that_is_there_at_once_comes_as_asyncio_brings_it(loop: Loop) -> None:
    """Through the queue, until 3.13."""
    asyncios = asyncio.SelectorEventLoop()
    expected = order_with_work_done_at_once(asyncios)
    asyncios.close()
    assert order_with_work_done_at_once(loop) == expected
