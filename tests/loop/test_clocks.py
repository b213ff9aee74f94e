"""Clocks and waits that a program puts in the place of the loop's own."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import selectors
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from meta.project import ROOT
from support.loops import Factory, run, run_turns
from support.programs import run_code

Loop = asyncio.AbstractEventLoop


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def fired_by(loop: Any, delay: float) -> list[float]:
    """A timer of the loop: what it saw when it ran."""
    seen: list[float] = []
    loop.call_later(delay, lambda: seen.append(loop.time()))
    return seen


def test_timers_go_by_a_time_that_is_put_on_the_loop(loop: Any) -> None:
    """aiohttp's tests of keep-alive do so."""
    clock = Clock()
    loop.time = clock
    assert loop.time() == 1000.0
    seen = fired_by(loop, 3600)
    run_turns(loop, 3)
    assert not seen
    clock.now += 3600
    run_turns(loop, 2)
    assert seen == [4600.0]
    del loop.time
    assert abs(loop.time() - time.monotonic()) < 5
    run(loop, asyncio.sleep(0.001))


def test_attributes_of_a_loop_can_be_set_by_the_method_of_object(loop: Any) -> None:
    def set_attribute(self: object, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    object.__setattr__(loop, "own", 1)
    assert loop.own == 1
    object.__delattr__(loop, "own")
    assert not hasattr(loop, "own")
    derived = type("Derived", (type(loop),), {"__setattr__": set_attribute})()
    try:
        derived.own = 1
        assert derived.own == 1
        run(derived, asyncio.sleep(0))
    finally:
        derived.close()


def test_timers_that_wait_already_go_by_a_new_time(loop: Any) -> None:
    seen = fired_by(loop, 3600)
    with mock.patch.object(loop, "time", return_value=time.monotonic() + 4000):
        run_turns(loop, 2)
    assert len(seen) == 1


def test_a_time_is_put_on_the_loop_while_it_runs(loop: Any) -> None:
    clock = Clock()

    async def main() -> None:
        loop.time = clock
        try:
            sleeping = loop.create_task(asyncio.sleep(60))
            await asyncio.sleep(0)
            clock.now += 60
            await sleeping
        finally:
            del loop.time

    loop.run_until_complete(main())


def test_a_time_that_is_put_on_the_class_is_followed_from_the_next_run_on(
    loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(type(loop), "time", lambda _: clock())
    run_turns(loop)
    seen = fired_by(loop, 60)
    clock.now += 60
    run_turns(loop, 2)
    assert seen == [1060.0]


def test_a_loop_whose_class_is_changed_goes_by_the_new_one(new_loop: Factory) -> None:
    loop: Any = new_loop()
    kind = type("Mine", (type(loop),), {"time": lambda _: 5.0})
    loop.__class__ = kind
    assert loop.call_later(2, print).when() == 7.0
    loop.close()


def test_attributes_of_a_loop_are_set_and_deleted_as_any_others(loop: Any) -> None:
    loop.own = 5
    assert loop.own == 5
    del loop.own
    with pytest.raises(AttributeError):
        del loop.own
    with pytest.raises(AttributeError):
        _ = loop.own
    with pytest.raises(TypeError):
        setattr(loop, 5, 5)  # type: ignore[arg-type]


def recipe() -> Callable[..., Any]:
    """The `virtual_time` of the docs."""
    text = (ROOT / "docs" / "testing" / "virtual-time.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(import .*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(program.replace("asyncio.run(main())", ""), names)
    return names["virtual_time"]  # type: ignore[no-any-return]


def test_the_program_of_the_docs_runs(kind: str) -> None:
    text = (ROOT / "docs" / "testing" / "virtual-time.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(import .*?)^```", text, re.MULTILINE | re.DOTALL)
    run_it = (
        "import ferroloop\nferroloop.run(main())" if kind == "ferroloop" else "asyncio.run(main())"
    )
    status, out, err = run_code(kind, program.replace("asyncio.run(main())", run_it))
    assert (status, out) == (0, "500\n"), err


async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"x")
    writer.close()


def test_five_hundred_seconds_pass_in_a_moment(loop: Any) -> None:
    order: list[Any] = []

    async def worker(number: int) -> None:
        for _ in range(5):
            await asyncio.sleep(number)
            order.append(number)

    async def main() -> None:
        with recipe()(loop):
            begin, really = loop.time(), time.monotonic()
            await asyncio.gather(worker(100), worker(7), worker(50))
            assert round(loop.time() - begin, 6) == 500
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.create_future(), 3600)
            # Threads and sockets bring what they have in real time.
            assert await loop.run_in_executor(None, lambda: 5) == 5
            server = await asyncio.start_server(greet, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b"x"
            writer.close()
            server.close()
            assert time.monotonic() - really < 10
        await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    assert order[:5] == [7] * 5


async def test_another_thread_wakes_a_loop_that_waits_by_its_selector(loop: Any) -> None:
    assert isinstance(loop._selector, selectors.BaseSelector)

    future = loop.create_future()
    thread = threading.Timer(
        0.01, lambda: loop.call_soon_threadsafe(future.set_result, "from there")
    )
    thread.start()
    assert await future == "from there"
    thread.join()
    begin = loop.time()
    await asyncio.sleep(0.01)
    assert loop.time() - begin >= 0.01


def test_what_select_raises_leaves_the_run(loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(timeout: float | None) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(loop._selector, "select", fail)
        with pytest.raises(ZeroDivisionError):
            loop.run_forever()
    assert not loop.is_running()
    run(loop, asyncio.sleep(0))


def test_select_is_told_what_the_loop_would_wait(
    loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = []
    select = loop._selector.select

    def note(timeout: float | None) -> Any:
        asked.append(timeout)
        return select(0)

    monkeypatch.setattr(loop._selector, "select", note)
    loop.call_later(1e9, print)
    loop.call_soon(loop.call_soon, lambda: None)
    for _ in range(3):
        loop._run_once()
    assert asked[:2] == [0, 0]
    assert asked[2] == 24 * 3600


@pytest.mark.ours_only("asyncio's loop uses its selector for everything")
def test_a_program_gives_a_selector_and_takes_it_back(loop: Any) -> None:
    calls: list[Any] = []

    class Wrapper:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def select(self, timeout: float | None) -> Any:
            calls.append(timeout)
            return self.inner.select(timeout)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    loop._selector = Wrapper(loop._selector)
    run(loop, asyncio.sleep(0.001))
    assert calls
    loop._selector = selectors.SelectSelector()
    run(loop, asyncio.sleep(0.001))
    del loop._selector
    calls.clear()
    run(loop, asyncio.sleep(0.001))
    assert not calls


def test_a_closed_loop_has_no_selector_left_open(new_loop: Factory) -> None:
    loop: Any = new_loop()
    selector = loop._selector
    loop.close()
    assert selector.get_map() is None
    if "ferroloop" in type(loop).__module__:
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            _ = loop._selector


@pytest.mark.parametrize("base", [selectors.EpollSelector, selectors.SelectSelector])
def test_a_replaced_default_selector_is_what_a_new_loop_waits_by(
    new_loop: Factory, monkeypatch: pytest.MonkeyPatch, base: type[selectors.BaseSelector]
) -> None:
    """gevent puts one of its own there, eventlet leaves the one over its `select.select` only."""
    waits: list[Any] = []

    class Mine(base):  # type: ignore[valid-type, misc]  # a parameter
        __module__ = "selectors"

        def select(self, timeout: float | None = None) -> Any:
            waits.append(timeout)
            return super().select(timeout)

    monkeypatch.setattr(selectors, "DefaultSelector", Mine)
    loop = new_loop()
    run(loop, asyncio.sleep(0.001))
    loop.close()
    assert waits


# What packages do.


def package(name: str) -> Any:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return importlib.import_module(name)


@pytest.mark.frameworks
def test_aiotools_moves_the_loop_by_its_virtual_clock(loop: Any) -> None:
    clock = package("aiotools").VirtualClock()

    async def main() -> None:
        with clock.patch_loop():
            await asyncio.sleep(500)
            assert loop.time() == clock.virtual_time() >= 500
        await asyncio.sleep(0.001)

    loop.run_until_complete(main())


@pytest.mark.frameworks
def test_looptime_moves_the_loop_by_its_own_clock(new_loop: Factory) -> None:
    loop: Any = package("looptime").patch_event_loop(new_loop())

    async def main() -> str:
        begin = loop.time()
        await asyncio.sleep(500)
        assert loop.time() - begin == 500
        assert await loop.run_in_executor(None, lambda: 5) == 5
        assert await loop.getaddrinfo("localhost", 80)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        server.close()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loop.create_future(), 3600)
        return repr(loop)

    text = loop.run_until_complete(main())
    assert "Looptime" in text
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert loop.is_closed()


@pytest.mark.frameworks
def test_freezegun_moves_a_loop_that_is_told_to_ask(loop: Any) -> None:
    freezegun = package("freezegun")
    loop.time = lambda: time.monotonic()
    with freezegun.freeze_time("2020-01-01") as frozen:
        seen = fired_by(loop, 600)
        run_turns(loop, 2)
        assert not seen
        frozen.tick(601)
        run_turns(loop, 2)
        assert len(seen) == 1
    del loop.time


def test_a_patched_monotonic_moves_a_loop_that_is_told_to_ask(loop: Any) -> None:
    loop.time = lambda: time.monotonic()
    now = time.monotonic()
    seen = fired_by(loop, 600)
    with mock.patch("time.monotonic", return_value=now + 601):
        run_turns(loop, 2)
    assert len(seen) == 1
    del loop.time
