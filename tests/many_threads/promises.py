"""Calls that any thread may make, made by several threads at once."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

from support.loops import Factory

from .crew import LONGEST, THREADS, collecting, running, together

CALLS = 2000


def every_callback_runs_once_and_in_the_order_of_its_thread(new_loop: Factory) -> None:
    """call_soon_threadsafe, from every thread to every loop."""
    with running(new_loop, THREADS) as loops:
        seen: list[list[list[int]]] = [[[] for _ in range(THREADS)] for _ in loops]

        def work(number: int) -> None:
            done = threading.Semaphore(0)
            for value in range(CALLS):
                for loop, lists in zip(loops, seen, strict=True):
                    loop.call_soon_threadsafe(lists[number].append, value)
            for loop in loops:
                loop.call_soon_threadsafe(done.release)
            for _ in loops:
                assert done.acquire(timeout=LONGEST)

        together(*(partial(work, number) for number in range(THREADS)))
        expected = list(range(CALLS))
        assert all(values == expected for lists in seen for values in lists)


def coroutines_give_their_results_to_other_threads(new_loop: Factory) -> None:
    """run_coroutine_threadsafe, from every thread to every loop, some of it cancelled."""

    async def double(value: int) -> int:
        await asyncio.sleep(0)
        return 2 * value

    with running(new_loop, 2) as loops, collecting():

        def work() -> None:
            for value in range(CALLS // 100):
                futures = [asyncio.run_coroutine_threadsafe(double(value), it) for it in loops]
                lost = asyncio.run_coroutine_threadsafe(asyncio.sleep(LONGEST), loops[value % 2])
                assert [future.result(LONGEST) for future in futures] == [2 * value] * 2
                assert lost.cancel()

        together(*[work] * THREADS)


def a_loop_stops_once_however_many_ask(new_loop: Factory) -> None:
    """loop.stop by way of call_soon_threadsafe, while the loop starts, runs and closes."""
    for _ in range(50):
        loop = new_loop()

        def run(loop: asyncio.AbstractEventLoop = loop) -> None:
            loop.call_later(LONGEST, loop.stop)
            loop.run_forever()
            loop.close()

        def ask(loop: asyncio.AbstractEventLoop = loop) -> None:
            try:
                for _ in range(200):
                    loop.call_soon_threadsafe(loop.stop)
            except RuntimeError as error:
                assert str(error) == "Event loop is closed"  # noqa: PT017 - in a thread

        together(run, ask, ask)


def questions_are_answered_while_the_loop_lives(new_loop: Factory) -> None:
    """is_running, is_closed, get_debug, time, repr and, of ours, metrics."""
    over = threading.Event()
    loop = new_loop()
    metrics: Callable[[], object] = getattr(loop, "metrics", lambda: None)

    def ask() -> None:
        before = loop.time()
        while not over.is_set():
            assert loop.is_running() in (False, True)
            assert loop.is_closed() in (False, True)
            assert loop.get_debug() in (False, True)
            assert "running=" in repr(loop)
            metrics()
            now = loop.time()
            assert now >= before
            before = now

    def live() -> None:
        try:
            for _ in range(20):
                loop.run_until_complete(_some_work())
            loop.close()
        finally:
            over.set()

    together(live, ask, ask)
    assert loop.is_closed()


async def _some_work() -> None:
    tasks = [asyncio.create_task(asyncio.sleep(0.0001 * (number % 3))) for number in range(50)]
    await asyncio.gather(*tasks)


def handles_of_other_threads_can_be_cancelled(new_loop: Factory) -> None:
    """A callback has run, or it was cancelled before it began; the canceller waits for one that runs."""
    with running(new_loop) as (loop,), collecting():

        def work() -> None:
            ran: list[int] = []
            handles = []
            for value in range(CALLS):
                handle = loop.call_soon_threadsafe(ran.append, value)
                if value % 2:
                    handle.cancel()
                    assert handle.cancelled()
                handles.append(handle)
                assert repr(handle)
            done = threading.Event()
            loop.call_soon_threadsafe(done.set)
            assert done.wait(LONGEST)
            assert [value for value in ran if not value % 2] == list(range(0, CALLS, 2))

        together(*[work] * THREADS)


def executors_bring_their_results_back(new_loop: Factory) -> None:
    """run_in_executor and to_thread, on several loops at once."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for block in range(20):
            results = await asyncio.gather(
                *(loop.run_in_executor(None, pow, number, 2) for number in range(20)),
                asyncio.to_thread(pow, block, 3),
            )
            assert results == [number**2 for number in range(20)] + [block**3]

    def work() -> None:
        loop = new_loop()
        try:
            loop.run_until_complete(main())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

    together(*[work] * THREADS)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], int]) -> int:
    """What the function returns in the thread of the loop."""

    async def call() -> int:
        return function()

    return asyncio.run_coroutine_threadsafe(call(), loop).result(LONGEST)


def generators_that_other_threads_drop_are_closed_in_their_loop(new_loop: Factory) -> None:
    """The finalizer hook runs in the thread that drops the last reference to an asynchronous generator."""
    closed: list[int] = []
    count = 200
    dropped: queue.SimpleQueue[object] = queue.SimpleQueue()

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(threading.get_ident())

    async def begin() -> None:
        for _ in range(count):
            generator = numbers()
            assert await anext(generator) == 1
            dropped.put(generator)
            del generator
            await asyncio.sleep(0)
        dropped.put(None)

    def drop() -> None:
        while dropped.get(timeout=LONGEST) is not None:
            pass

    with running(new_loop) as (loop,):
        begun = asyncio.run_coroutine_threadsafe(begin(), loop)
        together(drop, partial(begun.result, LONGEST))
        owner: list[int] = []
        deadline = time.monotonic() + LONGEST
        while (len(closed) < count or not owner) and time.monotonic() < deadline:
            owner.append(_call(loop, threading.get_ident))
        assert len(closed) == count
        assert set(closed) == set(owner), (set(closed), set(owner))


def a_server_may_be_closed_while_clients_come(new_loop: Factory) -> None:
    """Server.close in the loop, asked for by another thread, while others connect."""

    class Greeting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"hello")
            transport.close()

    with running(new_loop) as (loop,), collecting():
        for _ in range(10):
            made = asyncio.run_coroutine_threadsafe(
                loop.create_server(Greeting, "127.0.0.1", 0), loop
            )
            server = made.result(LONGEST)
            address = server.sockets[0].getsockname()
            over = threading.Event()

            def call(address: tuple[str, int] = address, over: threading.Event = over) -> None:
                while not over.is_set():
                    try:
                        with socket.create_connection(address, LONGEST) as sock:
                            # Linux forgets a connection whose handshake ends while the listening socket
                            # is closed, and the client is never told.
                            sock.settimeout(2)
                            assert sock.recv(5) in (b"hello", b"")
                    except OSError:
                        assert over.wait(LONGEST)

            def close(server: asyncio.Server = server, over: threading.Event = over) -> None:
                async def end() -> None:
                    server.close()
                    await server.wait_closed()

                asyncio.run_coroutine_threadsafe(end(), loop).result(LONGEST)
                over.set()

            together(call, call, close)


def a_callback_sees_the_context_of_the_thread_that_asked(new_loop: Factory) -> None:
    """Contexts of many threads in one loop, changed by the callbacks themselves."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=-1)

    with running(new_loop) as (loop,), collecting():

        def work(number: int) -> None:
            seen: list[int] = []

            def callback(expected: int) -> None:
                seen.append(variable.get())
                assert variable.get() == expected
                variable.set(-2)

            for value in range(CALLS // 4):
                variable.set(number * CALLS + value)
                for _ in range(2):
                    loop.call_soon_threadsafe(callback, number * CALLS + value)
            done = threading.Event()
            loop.call_soon_threadsafe(done.set)
            assert done.wait(LONGEST)
            start = number * CALLS
            expected = [value for value in range(start, start + CALLS // 4) for _ in range(2)]
            assert seen == expected

        together(*(partial(work, number) for number in range(THREADS)))


def a_loop_may_be_made_run_and_closed_in_three_threads(new_loop: Factory) -> None:
    """What was scheduled in one thread runs in another, and a third one closes."""
    for _ in range(50):
        ran: list[int] = []
        made: list[asyncio.AbstractEventLoop] = []

        def make(made: list[asyncio.AbstractEventLoop] = made, ran: list[int] = ran) -> None:
            loop = new_loop()
            for value in range(20):
                loop.call_soon(ran.append, value)
            loop.call_later(0.0001, loop.stop)
            made.append(loop)

        together(make)
        (loop,) = made
        together(loop.run_forever)
        together(loop.close)
        assert ran == list(range(20))


def what_other_threads_let_go_of_is_freed(new_loop: Factory) -> None:
    """Handles, timers, futures, tasks and lost transports whose last owner is another thread."""
    dropped: queue.SimpleQueue[object] = queue.SimpleQueue()

    class Quiet(asyncio.Protocol):
        pass

    async def make() -> None:
        loop = asyncio.get_running_loop()
        for number in range(100):
            here, there = socket.socketpair()
            transport, protocol = await loop.connect_accepted_socket(Quiet, here)
            with there:
                transport.close()
                await asyncio.sleep(0)
            handle = loop.call_soon(int)
            timer = loop.call_later(0.0001 * (number % 3), int)
            task = loop.create_task(asyncio.sleep(0))
            dropped.put((transport, protocol, handle, timer, task, loop.create_future()))
            del transport, protocol, handle, timer, task
            await asyncio.sleep(0)
        dropped.put(None)

    def drop() -> None:
        while dropped.get(timeout=LONGEST) is not None:
            gc.collect(0)

    with running(new_loop) as (loop,), collecting():
        made = asyncio.run_coroutine_threadsafe(make(), loop)
        together(drop, partial(made.result, LONGEST))


PROMISES: dict[str, Callable[[Factory], None]] = {
    function.__name__: function
    for function in (
        every_callback_runs_once_and_in_the_order_of_its_thread,
        coroutines_give_their_results_to_other_threads,
        a_loop_stops_once_however_many_ask,
        questions_are_answered_while_the_loop_lives,
        handles_of_other_threads_can_be_cancelled,
        executors_bring_their_results_back,
        generators_that_other_threads_drop_are_closed_in_their_loop,
        a_server_may_be_closed_while_clients_come,
        a_callback_sees_the_context_of_the_thread_that_asked,
        a_loop_may_be_made_run_and_closed_in_three_threads,
        what_other_threads_let_go_of_is_freed,
    )
}
