"""run_in_executor, and starting and ending the default executor."""

from __future__ import annotations

import asyncio
import concurrent.futures
import concurrent.futures.thread
import contextlib
import gc
import queue
import sys
import threading
import time
import weakref
from typing import Any

import pytest

from ferroloop._loop import jobs
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


async def test_a_call_that_is_cancelled_before_it_begins_is_never_made(loop: Loop) -> None:
    release = threading.Event()
    made: list[int] = []
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        first = loop.run_in_executor(executor, release.wait, PATIENCE)
        second = loop.run_in_executor(executor, made.append, 2)
        third = loop.run_in_executor(executor, made.append, 3)
        second.cancel()
        await asyncio.sleep(0)
        release.set()
        assert await first
        await third
    assert made == [3]
    assert second.cancelled()


@pytest.mark.parametrize("in_loop_thread", [True, False])
async def test_an_executor_that_cancels_what_waits_cancels_the_future(
    loop: Loop, in_loop_thread: bool
) -> None:
    release = threading.Event()
    executor = concurrent.futures.ThreadPoolExecutor(1)
    first = loop.run_in_executor(executor, release.wait, PATIENCE)
    second = loop.run_in_executor(executor, int)

    def shut_down() -> None:
        executor.shutdown(wait=False, cancel_futures=True)

    if in_loop_thread:
        shut_down()
    else:
        await loop.run_in_executor(None, shut_down)
    with pytest.raises(asyncio.CancelledError):
        await second
    release.set()
    assert await first
    with pytest.raises(RuntimeError, match="^cannot schedule new futures after shutdown$"):
        loop.run_in_executor(executor, int)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_executor_whose_threads_cannot_begin_breaks_what_waits(loop: Loop) -> None:
    wait_for_the_call = threading.Event()

    def initializer() -> None:
        assert wait_for_the_call.wait(PATIENCE)
        raise LookupError("no thread for you")

    with concurrent.futures.ThreadPoolExecutor(1, initializer=initializer) as executor:
        future = loop.run_in_executor(executor, int)
        wait_for_the_call.set()
        with pytest.raises(concurrent.futures.BrokenExecutor, match="initializer failed"):
            await future
        with pytest.raises(concurrent.futures.BrokenExecutor, match="initializer failed"):
            await loop.run_in_executor(executor, int)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (concurrent.futures.CancelledError("told"), asyncio.CancelledError),
        (concurrent.futures.InvalidStateError("told"), asyncio.InvalidStateError),
        (KeyboardInterrupt("told"), KeyboardInterrupt),
        (SystemExit("told"), SystemExit),
    ],
    ids=lambda it: getattr(it, "__name__", type(it).__name__),
)
def test_the_exceptions_of_futures_become_asyncios(
    loop: Loop, raised: BaseException, expected: type[BaseException]
) -> None:
    def fails() -> None:
        raise raised

    async def main() -> BaseException | None:
        future = loop.run_in_executor(None, fails)
        await asyncio.wait([future])
        return future.exception()

    error = run(loop, main())
    assert type(error) is expected
    assert error.args == ("told",)


def test_a_result_for_a_closed_loop_is_dropped(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:

        async def main() -> None:
            loop.run_in_executor(executor, release.wait, PATIENCE)

        run(loop, main())
        loop.close()
        release.set()
        # The thread is still there.
        assert executor.submit(int).result(PATIENCE) == 0
    assert not caplog.records


def test_a_loop_that_refuses_the_result_is_logged(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:

        class Refusing(type(loop)):  # type: ignore[misc]  # the class of the parameter
            def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:
                raise LookupError("refused")

        refusing = Refusing()

        async def main() -> None:
            refusing.run_in_executor(executor, release.wait, PATIENCE)

        run(refusing, main())
        release.set()
        assert executor.submit(int).result(PATIENCE) == 0
        refusing.close()
    assert [record.getMessage()[:35] for record in caplog.records] == [
        "exception calling callback for <Fut"
        if isinstance(loop, asyncio.SelectorEventLoop)
        else "exception calling callback for <fer"
    ]


async def test_a_replaced_submit_is_called(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tools that follow work from thread to thread replace it."""
    submitted: list[Any] = []
    genuine = concurrent.futures.ThreadPoolExecutor.submit

    def submit(self: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        submitted.append(function)
        return genuine(self, function, *args, **kwargs)

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert await loop.run_in_executor(executor, int) == 0
        executor.submit = submit.__get__(executor)  # type: ignore[method-assign]
        assert await loop.run_in_executor(executor, float) == 0.0
        del executor.submit
        monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "submit", submit)
        assert await loop.run_in_executor(executor, str) == ""
        assert await loop.run_in_executor(None, bytes) == b""
    assert submitted == [float, str, bytes]


class Wrapper:
    """Wraps a function, and has its attributes, as the wrappers of wrapt do."""

    def __init__(self, wrapped: Any, called: list[Any]) -> None:
        self.wrapped = wrapped
        self.called = called

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)

    def __get__(self, instance: object, owner: type) -> Any:
        return Wrapper(self.wrapped.__get__(instance, owner), self.called)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.called.append(self.wrapped.__name__)
        return self.wrapped(*args, **kwargs)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (concurrent.futures.ThreadPoolExecutor, "submit"),
        (concurrent.futures.thread._WorkItem, "__init__"),
        (concurrent.futures.thread._WorkItem, "run"),
        (concurrent.futures.thread, "_WorkItem"),
        (concurrent.futures.thread, "_worker"),
        (getattr(concurrent.futures.thread, "WorkerContext", None), "run"),
    ],
    ids=lambda it: getattr(it, "__name__", it),
)
async def test_what_tools_wrap_is_called(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    if owner is None:
        pytest.skip("this Python has no such class")
    called: list[Any] = []
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        assert await loop.run_in_executor(executor, int) == 0
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, Wrapper(vars(owner)[name], called))
            with concurrent.futures.ThreadPoolExecutor(1) as another:
                assert await loop.run_in_executor(another, int) == 0
            assert called == [name]
        assert await loop.run_in_executor(executor, int) == 0
    assert called == [name]


async def test_a_submit_whose_code_is_replaced_is_called(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        work = self._base_of_this_test.Future()
        work.set_result("replaced")
        return work

    executor_class = concurrent.futures.ThreadPoolExecutor
    monkeypatch.setattr(executor_class, "_base_of_this_test", concurrent.futures, raising=False)
    with executor_class(1) as executor:
        assert await loop.run_in_executor(executor, int) == 0
        with monkeypatch.context() as patch:
            patch.setattr(executor_class.submit, "__code__", submit.__code__)
            replaced: object = await loop.run_in_executor(executor, int)
        assert replaced == "replaced"
        assert await loop.run_in_executor(executor, int) == 0


async def test_a_queue_of_the_programs_own_gets_what_it_knows(loop: Loop) -> None:
    items: list[Any] = []

    class Queue(queue.Queue[Any]):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            items.append(item)
            super().put(item, block, timeout)

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        executor._work_queue = Queue()  # type: ignore[assignment]
        assert await loop.run_in_executor(executor, int) == 0
    assert type(items[0]) is concurrent.futures.thread._WorkItem


def test_a_refused_call_leaves_nothing_to_the_collector(loop: Loop) -> None:
    executor = concurrent.futures.ThreadPoolExecutor(1)
    executor.shutdown()

    class Argument:
        pass

    def refuse() -> weakref.ref[Argument]:
        argument = Argument()
        with contextlib.suppress(RuntimeError):
            loop.run_in_executor(executor, id, argument)
        return weakref.ref(argument)

    gc.disable()
    try:
        assert refuse()() is None
    finally:
        gc.enable()


def test_the_error_of_a_call_whose_thread_cannot_be_started_is_not_reported(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets an exception instead of a future, but another thread makes the call."""
    release = threading.Event()
    called: list[int] = []
    reports: list[Any] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    def fails() -> None:
        called.append(1)
        raise LookupError("of no interest")

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            first = loop.run_in_executor(executor, release.wait, PATIENCE)
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", start)
                with pytest.raises(RuntimeError, match="^can't start new thread$"):
                    loop.run_in_executor(executor, fails)
            release.set()
            assert await first
            await loop.run_in_executor(executor, int)
        # What the thread handed to the loop has run.
        await asyncio.sleep(0)

    run(loop, main())
    gc.collect()
    assert called == [1]
    assert not reports


def test_this_pythons_executors_take_jobs() -> None:
    """A Python whose `submit` has changed needs a look at `jobs`, whose shorter way is not used until then."""
    assert jobs.takes_jobs(concurrent.futures.ThreadPoolExecutor(1))


async def test_no_thread_is_started_while_one_waits_for_work(loop: Loop) -> None:
    """Programs that measure their executors count the threads that wait as this test does."""
    names = set()
    for _ in range(20):
        names.add((await loop.run_in_executor(None, threading.current_thread)).name)
        idle = loop._default_executor._idle_semaphore  # type: ignore[attr-defined]
        deadline = time.monotonic() + PATIENCE
        while idle._value == 0:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
    assert names == {"asyncio_0"}
    assert idle.acquire(blocking=False)
    assert not idle.acquire(blocking=False)


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
