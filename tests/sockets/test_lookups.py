"""Name look-ups: they run in the loop's threads, equal ones share a result, cancelled ones are given up."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.loops import run, run_turns, turns, until
from support.programs import run_code

Loop = asyncio.AbstractEventLoop
Infos = list[tuple[Any, ...]]

ANSWER: Infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]


class Slow:
    """A `getaddrinfo` that answers when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.threads: list[str] = []
        self.may_end = threading.Event()
        self.error: Exception | None = None

    def __call__(self, host: Any, *args: Any, **kwargs: Any) -> Infos:
        self.calls.append(host)
        self.threads.append(threading.current_thread().name)
        assert self.may_end.wait(10)
        if self.error is not None:
            raise self.error
        return list(ANSWER)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    slow = Slow()
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    yield slow
    slow.may_end.set()


def lookup_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "lookup" in thread.name]


def begin(loop: Loop, *hosts: str) -> list[asyncio.Task[Any]]:
    return [loop.create_task(loop.getaddrinfo(host, 80)) for host in hosts]


@pytest.mark.ours_only("asyncio looks names up in the default executor")
@pytest.mark.parametrize("call", ["getaddrinfo", "getnameinfo"])
async def test_a_busy_executor_delays_no_lookup(loop: Loop, call: str) -> None:
    may_end = threading.Event()
    busy = concurrent.futures.ThreadPoolExecutor(1)
    loop.set_default_executor(busy)

    work = loop.run_in_executor(None, may_end.wait, 10)
    if call == "getaddrinfo":
        assert await loop.getaddrinfo("localhost", 80)
    else:
        assert await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
    assert not work.done()
    may_end.set()
    assert await work


@pytest.mark.ours_only("asyncio looks up once for each call")
async def test_equal_lookups_in_flight_share_one(loop: Loop, slow: Slow) -> None:
    tasks = begin(loop, "some.name", "some.name", "other.name", "some.name")
    await until(lambda: len(slow.calls) == 2)
    slow.may_end.set()
    first, second, other, third = await asyncio.gather(*tasks)
    assert first == second == third == other == ANSWER
    assert first is not second  # each may change its own
    assert sorted(slow.calls) == ["other.name", "some.name"]
    await loop.getaddrinfo("some.name", 80)
    assert len(slow.calls) == 3, "an answer is not kept"


@pytest.mark.ours_only("asyncio looks up once for each call")
async def test_those_who_share_a_failure_get_an_exception_each(loop: Loop, slow: Slow) -> None:
    slow.error = socket.gaierror(socket.EAI_NONAME, "no such name")

    tasks = begin(loop, "some.name", "some.name")
    await until(lambda: slow.calls)
    slow.may_end.set()
    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert type(first) is type(second) is socket.gaierror
    assert first.args == second.args == (socket.EAI_NONAME, "no such name")
    assert first is not second
    assert len(slow.calls) == 1


async def test_what_replaces_getaddrinfo_is_found_at_each_call(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        answer: Any = [(number,)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, answer=answer: answer)
        assert answer == await loop.getaddrinfo("some.name", 80)
    monkeypatch.setattr(socket, "getnameinfo", lambda *_: ("a", "b"))
    assert await loop.getnameinfo(("127.0.0.1", 80)) == ("a", "b")


@pytest.mark.ours_only("asyncio looks up once for each call")
async def test_lookups_by_different_functions_are_not_shared(
    loop: Loop, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = begin(loop, "some.name")
    await until(lambda: slow.calls)
    other: Any = [("other",)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: other)
    assert other == await loop.getaddrinfo("some.name", 80)
    assert not first.done()
    slow.may_end.set()
    assert await first == ANSWER


async def test_arguments_that_have_no_hash_are_looked_up(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def note(host: Any, *_: Any) -> Infos:
        seen.append(host)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", note)

    await asyncio.gather(*[loop.getaddrinfo(bytearray(b"name"), 80) for _ in range(2)])  # type: ignore[arg-type]
    assert seen == [bytearray(b"name")] * 2


@pytest.mark.parametrize("debug", [False, True])
async def test_a_replaced_run_in_executor_is_called(
    loop: Loop, slow: Slow, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    """Test tools replace it, to wait for threads or to have none."""
    loop.set_debug(debug)
    slow.may_end.set()
    used: list[Any] = []

    def at_once(executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        used.append(executor)
        future = loop.create_future()
        future.set_result(function(*args))
        return future

    monkeypatch.setattr(loop, "run_in_executor", at_once)

    assert await loop.getaddrinfo("some.name", 80) == ANSWER
    assert used == [None]
    assert slow.threads == [threading.current_thread().name]


def test_no_name_is_looked_up_after_the_executors_end(loop: Loop) -> None:
    run(loop, loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
        run(loop, loop.getaddrinfo("localhost", 80))
    with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
        run(loop, loop.getnameinfo(("127.0.0.1", 80)))


@pytest.mark.ours_only("asyncio waits for the threads of its executor")
def test_neither_the_shutdown_nor_the_close_waits_for_a_lookup(loop: Loop, slow: Slow) -> None:
    async def main() -> None:
        (task,) = begin(loop, "some.name")
        await until(lambda: slow.calls)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await loop.shutdown_default_executor()

    run(loop, main())
    loop.close()
    assert lookup_threads()
    slow.may_end.set()
    for thread in lookup_threads():
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.ours_only("asyncio's threads end when the executor does")
def test_the_threads_end_with_the_loop(loop: Loop) -> None:
    run(loop, loop.getaddrinfo("localhost", 80))
    assert len(lookup_threads()) == 1
    for _ in range(20):
        # A thread gives its answer before it is idle.
        threads = lookup_threads()
        run(loop, loop.getaddrinfo("localhost", 80))
        if lookup_threads() == threads:
            break
    else:
        pytest.fail("one that is idle is used again")
    loop.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.ours_only("asyncio's executor runs what is queued")
async def test_a_lookup_that_was_given_up_in_the_queue_does_not_run(
    loop: Loop, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: -3)  # one thread

    (first,) = begin(loop, "first")
    await until(lambda: slow.calls)
    (second,) = begin(loop, "second")
    await turns()
    second.cancel()
    await turns()
    (third, again) = begin(loop, "third", "second")
    await turns()
    slow.may_end.set()
    await asyncio.gather(first, third, again)
    assert slow.calls == ["first", "third", "second"]


@pytest.mark.ours_only("asyncio looks up once for each call")
async def test_one_that_gives_up_does_not_take_it_from_the_others(loop: Loop, slow: Slow) -> None:
    first, second = begin(loop, "some.name", "some.name")
    await until(lambda: slow.calls)
    first.cancel()
    await turns()
    slow.may_end.set()
    assert await second == ANSWER
    assert first.cancelled()
    assert len(slow.calls) == 1


def test_a_loop_is_closed_while_a_lookup_runs(loop: Loop, slow: Slow) -> None:
    (task,) = begin(loop, "some.name")
    while not slow.calls:
        run_turns(loop)
    task.cancel()
    run_turns(loop, 3)
    loop.close()
    slow.may_end.set()
    for thread in lookup_threads():
        thread.join(10)


@pytest.mark.ours_only("asyncio's interpreter joins the threads of executors")
def test_the_end_of_the_program_does_not_wait_for_a_lookup() -> None:
    source = """
        import socket, threading
        begun = threading.Event()

        def never(*args):
            begun.set()
            threading.Event().wait()

        socket.getaddrinfo = never

        async def main():
            loop = asyncio.get_running_loop()
            task = loop.create_task(loop.getaddrinfo("some.name", 80))
            while not begun.is_set():
                await asyncio.sleep(0.001)
            raise SystemExit(3)

        loop = new_loop()
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()
    """
    status, _, err = run_code("ferroloop", source)
    assert status == 3, err


def test_a_forked_child_looks_up_by_itself(kind: str) -> None:
    source = """
        import os, socket, threading
        begun, may_end = threading.Event(), threading.Event()
        found = socket.getaddrinfo

        def slow(*args):
            begun.set()
            may_end.wait()
            return found(*args)

        async def main():
            loop = asyncio.get_running_loop()
            socket.getaddrinfo = slow
            task = loop.create_task(loop.getaddrinfo("localhost", 80))
            while not begun.is_set():
                await asyncio.sleep(0.001)
            pid = os.fork()
            if not pid:
                socket.getaddrinfo = found
                asyncio._set_running_loop(None)
                child = new_loop()
                infos = child.run_until_complete(child.getaddrinfo("localhost", 80))
                print(len(infos) > 0, flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            may_end.set()
            print(len(await task) > 0)
            await loop.shutdown_default_executor()

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
    """
    status, out, err = run_code(kind, source, env={"PYTHONWARNINGS": "ignore"})
    assert status == 0, err
    assert out.split() == ["True", "True"]
