"""Distributions, totals by name, what a loop has open, and functions that are called meanwhile."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
import time
from typing import Any

import pytest

import ferroloop
from support.loops import PATIENCE, run, run_turns, turns, until
from support.net.protocols import Recorder

pytestmark = pytest.mark.ours_only("asyncio has no monitor")


def handler(*_args: object) -> None:
    """A callback."""


def test_turns_are_counted_with_what_they_took(loop: ferroloop.Loop) -> None:
    with ferroloop.Monitor(loop) as monitor:
        run_turns(loop, 3)
        loop.call_soon(time.sleep, 0.01)
        run_turns(loop, 1)
    assert monitor.turns.count == 4
    assert 0.01 <= monitor.turns.max <= monitor.turns.sum
    assert monitor.turns.max <= monitor.turns.percentile(100) * 1.0000001
    run_turns(loop, 1)
    assert monitor.turns.count == 4


def test_waits_belong_to_no_turn(loop: ferroloop.Loop) -> None:
    with ferroloop.Monitor(loop) as monitor:
        began = loop.metrics()
        loop.call_later(0.01, loop.call_later, 0.01, loop.stop)
        loop.run_forever()
        ended = loop.metrics()
    assert ended.idle > began.idle
    assert 0.0 < monitor.turns.sum <= ended.time - began.time - (ended.idle - began.idle)


def test_a_turn_is_counted_before_the_wait_after_it(loop: ferroloop.Loop) -> None:
    counted: list[int] = []

    def look() -> None:
        end = time.monotonic() + PATIENCE
        while not monitor.turns.count and time.monotonic() < end:
            time.sleep(0.001)
        counted.append(monitor.turns.count)
        loop.call_soon_threadsafe(loop.stop)

    with ferroloop.Monitor(loop) as monitor:
        looking = threading.Thread(target=look)
        loop.call_soon(looking.start)
        loop.run_forever()
        looking.join()
    assert counted == [1]


async def test_a_timer_is_late_by_what_ran_before_it(loop: ferroloop.Loop) -> None:
    with ferroloop.Monitor() as monitor:
        loop.call_later(0.0, handler)
        time.sleep(0.02)
        await turns(2)
        assert monitor.delays.max >= 0.02


async def test_a_queued_callback_is_late_by_what_ran_before_it(loop: ferroloop.Loop) -> None:
    with ferroloop.Monitor() as monitor:
        await turns(2)
        before = monitor.delays.count
        loop.call_soon(handler)
        time.sleep(0.02)
        await turns(2)
        assert monitor.delays.count > before
        assert monitor.delays.max >= 0.02


def test_one_callback_of_a_turn_counts_at_its_own_place(loop: ferroloop.Loop) -> None:
    def busy() -> None:
        time.sleep(0.02)
        loop.call_soon(handler)

    with ferroloop.Monitor(loop) as monitor:
        loop.call_soon(busy)
        loop.call_soon(time.sleep, 0.02)
        run_turns(loop, 1)
        assert monitor.delays.count == 1
        run_turns(loop, 1)
    # From the end of busy() on.
    assert monitor.delays.max >= 0.02
    assert monitor.delays.count == 2


def test_times_are_counted_from_when_they_are_asked_for(loop: ferroloop.Loop) -> None:
    with ferroloop.Monitor(loop, slow_after=100.0) as monitor:
        run_turns(loop, 2)
        assert monitor.turns.count == 0
        run_turns(loop, 2)
        assert monitor.turns.count == 2
    with ferroloop.Monitor(loop, slow_after=100.0, histograms=True) as monitor:
        run_turns(loop, 2)
        assert monitor.turns.count == 2


def test_buckets_hold_all_values() -> None:
    histogram = ferroloop.Histogram()
    bounds = [bound for bound, _ in histogram.buckets()]
    assert bounds == sorted(set(bounds))
    assert (bounds[0], bounds[-2], bounds[-1]) == (2**-20, 4096.0, float("inf"))
    assert {2.0**power for power in range(-20, 13)} < set(bounds)
    assert (histogram.count, histogram.sum, histogram.max) == (0, 0.0, 0.0)
    assert histogram.percentile(99) == 0.0
    for wrong in (-1, 101, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 100"):
            histogram.percentile(wrong)
    with pytest.raises(TypeError):
        histogram.percentile("a")  # type: ignore[arg-type]
    assert repr(histogram).startswith("<Histogram count=0 ")


def test_buckets_are_of_what_was_counted(loop: ferroloop.Loop) -> None:
    with ferroloop.Monitor(loop) as monitor:
        run_turns(loop, 10)
    filled = [(bound, count) for bound, count in monitor.turns.buckets() if count]
    assert sum(count for _, count in filled) == 10
    assert filled[-1][0] >= monitor.turns.max


class Server(Recorder):
    """A protocol."""


async def test_totals_add_up_by_name(loop: ferroloop.Loop) -> None:
    async def worker() -> None:
        await asyncio.sleep(0)
        time.sleep(0.01)

    with ferroloop.Monitor(totals=True) as monitor:
        for _ in range(5):
            loop.call_soon(handler)
            loop.call_soon(time.time)
        await asyncio.gather(worker(), worker())
        server = await loop.create_server(Server, "127.0.0.1", 0)
        transport, _ = await loop.create_connection(
            asyncio.Protocol, *server.sockets[0].getsockname()
        )
        transport.write(b"x")
        await until(lambda: "Server.data_received()" in {it.name for it in monitor.callbacks(None)})
        transport.close()
        await turns(3)
        server.close()
        await server.wait_closed()
    found = {total.name: total for total in monitor.callbacks(None)}
    assert found["handler()"].calls == 5
    assert found["time"].calls == 5
    (name,) = (name for name in found if name.endswith(("worker()", "worker")))
    assert found[name].calls == 4
    assert found[name].seconds >= 0.02
    assert 0.01 <= found[name].longest <= found[name].seconds
    assert found["Server.data_received()"].calls == 1
    ordered = monitor.callbacks(3)
    assert len(ordered) == 3
    assert [it.seconds for it in ordered] == sorted((it.seconds for it in ordered), reverse=True)
    assert monitor.callbacks(0) == []


class Meta(type):
    """Classes that do not tell their names."""

    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise ValueError("of the class")
        return super().__getattribute__(name)


class Remote(metaclass=Meta):
    """Answers for any attribute, as a proxy does that asks another machine."""

    asked: list[str] = []  # noqa: RUF012 - what no instance has to be asked for

    def __call__(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        raise AttributeError(name)


class Partial(functools.partial):  # type: ignore[type-arg]
    """Answers for its function in code of its own."""

    @property
    def func(self) -> Any:
        Remote.asked.append("func")
        return super().func


class Named(asyncio.Task):  # type: ignore[type-arg]
    """Answers for its coroutine in code of its own."""

    def get_coro(self) -> Any:
        Remote.asked.append("get_coro")
        return super().get_coro()


def test_totals_ask_the_programs_objects_nothing(loop: ferroloop.Loop) -> None:
    if loop.get_debug():
        pytest.skip("debug mode asks callbacks where they are defined, as asyncio's does")

    async def worker() -> None:
        pass

    with ferroloop.Monitor(loop, totals=True) as monitor:
        for _ in range(2):
            loop.call_soon(Remote())
            loop.call_soon(Partial(handler))
            loop.call_soon(functools.partial(functools.partial(handler, 1), 2))
            loop.call_soon(Server().connection_lost, None)
        tasks = [Named(worker(), loop=loop), loop.create_task(worker())]
        run_turns(loop, 2)
        assert all(task.done() for task in tasks)
        calls = {it.name.rpartition(".<locals>.")[2]: it.calls for it in monitor.callbacks(None)}
    assert Remote.asked == []
    assert (calls["Remote"], calls["Partial"], calls["handler()"]) == (2, 2, 2)
    assert calls["worker()"] == 2
    (name,) = (name for name in calls if name.endswith("connection_lost()"))
    assert calls[name] == 2


def test_totals_begin_with_the_first_question_and_are_a_monitors_own(loop: ferroloop.Loop) -> None:
    with ferroloop.Monitor(loop) as first:
        run_turns(loop, 1)
        assert first.callbacks() == []
        run_turns(loop, 3)
        assert [it.calls for it in first.callbacks()] == [3]
    with ferroloop.Monitor(loop, totals=True) as second:
        run_turns(loop, 1)
        assert [it.calls for it in second.callbacks()] == [1]
    assert [it.calls for it in first.callbacks()] == [3]


def test_names_are_bounded(loop: ferroloop.Loop) -> None:
    with ferroloop.Monitor(loop, totals=True) as monitor:
        for number in range(1500):
            code = compile(f"def f{number}(): pass", "<made>", "exec")
            space: dict[str, Any] = {}
            exec(code, space)
            loop.call_soon(space[f"f{number}"])
        run_turns(loop, 1)
        found = {total.name: total.calls for total in monitor.callbacks(None)}
    assert len(found) == 1001
    assert found["(others)"] + 1000 == 1501


async def test_what_a_loop_has_open(loop: ferroloop.Loop) -> None:
    async def waiting(event: asyncio.Event) -> None:
        await event.wait()

    ours, theirs = socket.socketpair()
    asked = threading.Event()
    event = asyncio.Event()
    monitor = ferroloop.Monitor()
    assert monitor.executor() is None
    tasks = [loop.create_task(waiting(event)) for _ in range(3)]
    server = await loop.create_server(Server, "127.0.0.1", 0)
    loop.add_reader(theirs, handler)
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    found = monitor.tasks()
    (name,) = (name for name in found if name.endswith(".waiting"))
    assert found[name] == 3
    assert monitor.descriptors() == {
        "listeners": 1,
        "connections": 1,
        "add_reader and add_writer": 1,
    }
    future = loop.run_in_executor(None, asked.wait, PATIENCE)
    state = monitor.executor()
    assert state is not None
    assert (state.threads, state.queued) in {(1, 0), (1, 1)}
    assert state.max_threads >= 1
    asked.set()
    await future
    assert monitor.lookups() == []
    event.set()
    await asyncio.gather(*tasks)
    loop.remove_reader(theirs)
    transport.close()
    server.close()
    await server.wait_closed()
    await turns(2)
    theirs.close()
    assert monitor.descriptors() == {}


async def test_names_that_are_looked_up(
    loop: ferroloop.Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow_lookup(*_args: object, **_kwargs: object) -> list[object]:
        go.wait(PATIENCE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow_lookup)
    monitor = ferroloop.Monitor()
    task = loop.create_task(loop.getaddrinfo("example.invalid", 80))
    await until(monitor.lookups)
    assert monitor.lookups() == ["example.invalid"]
    go.set()
    await task
    assert monitor.lookups() == []


def test_functions_are_called_in_the_monitors_thread(loop: ferroloop.Loop) -> None:
    calls: list[str] = []
    rare: list[str] = []
    with ferroloop.Monitor(loop) as monitor:
        cancel = monitor.every(0.005, lambda: calls.append(threading.current_thread().name))
        monitor.every(3600.0, lambda: rare.append("too early"))

        async def main() -> None:
            await until(lambda: len(calls) >= 3)
            cancel()
            seen = len(calls)
            await asyncio.sleep(0.05)
            # One may have begun already.
            assert len(calls) <= seen + 1

        run(loop, main())
    cancel()
    assert set(calls) == {"ferroloop-monitor"}
    assert rare == []


def test_a_function_may_be_given_before_the_start(loop: ferroloop.Loop) -> None:
    calls: list[int] = []
    monitor = ferroloop.Monitor(loop)
    monitor.every(0.005, lambda: calls.append(1))
    with monitor:
        run(loop, until(lambda: calls))


def test_the_end_is_reported(loop: ferroloop.Loop) -> None:
    ends: list[str] = []
    monitor = ferroloop.Monitor(loop)
    monitor.at_stop(lambda: ends.append(f"closed={loop.is_closed()}"))
    monitor.start()
    run(loop, turns(1))
    monitor.stop()
    monitor.stop()
    assert ends == ["closed=False"]
    monitor.start()
    loop.close()
    assert ends == ["closed=False"] * 2
    assert not monitor.is_running
