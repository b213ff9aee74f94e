"""Bad arguments and callbacks of monitors; a monitor keeps nothing alive."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import ferroloop
from support.errors import Reports
from support.loops import PATIENCE, run, turns, until
from support.memory import frees_unclosed
from support.programs import run_code

pytestmark = pytest.mark.ours_only("asyncio has no monitor")

WAIT = f"""
import time
def block(until):
    deadline = time.monotonic() + {PATIENCE}
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.001)
"""


@pytest.mark.parametrize("name", ["stall_after", "slow_after"])
@pytest.mark.parametrize(
    "value", [0, 0.0, -1, float("nan"), float("inf"), pytest.param(10**400, id="huge")]
)
def test_thresholds_are_positive_numbers(loop: ferroloop.Loop, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be a positive number of seconds"):
        ferroloop.Monitor(loop, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["stall_after", "slow_after"])
@pytest.mark.parametrize("value", ["1", True, [1], b"1", 1j])
def test_thresholds_are_numbers(loop: ferroloop.Loop, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be a positive number of seconds"):
        ferroloop.Monitor(loop, **{name: value})


@pytest.mark.parametrize("name", ["on_stall", "on_slow"])
def test_callbacks_can_be_called(loop: ferroloop.Loop, name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be callable"):
        ferroloop.Monitor(loop, **{name: 1})  # type: ignore[arg-type]


def test_without_a_running_loop_one_has_to_be_given() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        ferroloop.Monitor()


def test_a_loop_of_asyncio_has_no_monitor() -> None:
    other = asyncio.SelectorEventLoop()
    with pytest.raises(TypeError, match=r"a ferroloop\.Loop is expected"):
        ferroloop.Monitor(other)
    other.close()


def test_a_closed_loop_is_refused() -> None:
    loop = ferroloop.new_event_loop()
    monitor = ferroloop.Monitor(loop, stall_after=1.0)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        monitor.start()
    assert not monitor.is_running


def test_a_loop_has_one_monitor_at_a_time(loop: ferroloop.Loop) -> None:
    first, second = ferroloop.Monitor(loop, stall_after=1.0), ferroloop.Monitor(loop)
    with first:
        for monitor in (first, second):
            with pytest.raises(RuntimeError, match="has a monitor already"):
                monitor.start()
        assert first.is_running
        second.stop()
        assert first.is_running
    with second:
        assert second.is_running
    with first:
        assert first.is_running


@pytest.mark.parametrize("seconds", [0, -1, "x", float("nan")])
def test_intervals_are_positive_numbers(loop: ferroloop.Loop, seconds: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="seconds must be a positive number"):
        ferroloop.Monitor(loop).every(seconds, int)


def failing(seen: list[Any]) -> Any:
    """A callback that fails whenever it is called."""

    def callback(found: Any = None) -> None:
        seen.append(found)
        raise ValueError("of the callback")

    return callback


async def test_on_stall_that_raises_is_reported_once_and_the_monitor_goes_on(
    loop: ferroloop.Loop, reports: Reports
) -> None:
    seen: list[ferroloop.Stall] = []

    def block(count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(seen) < count:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    with ferroloop.Monitor(stall_after=0.02, on_stall=failing(seen)):
        for _ in range(2):
            before = len(seen)
            loop.call_soon(block, before + 1)
            await until(lambda: len(seen) > before and seen[-1].ended)  # noqa: B023
        await until(lambda: reports)
    (report,) = reports
    assert "on_stall" in report["message"]
    assert isinstance(report["exception"], ValueError)
    reports.clear()
    assert len(seen) >= 2


async def test_on_slow_that_raises_is_reported_once_and_the_monitor_goes_on(
    loop: ferroloop.Loop, reports: Reports
) -> None:
    seen: list[ferroloop.SlowCallback] = []

    with ferroloop.Monitor(slow_after=1e-9, on_slow=failing(seen)):
        await turns(5)
    (report,) = reports
    assert "on_slow" in report["message"]
    reports.clear()
    assert len(seen) > 2


async def test_functions_that_raise_are_reported_once_and_called_again(
    loop: ferroloop.Loop, reports: Reports
) -> None:
    seen: list[None] = []
    end = failing(seen)

    with ferroloop.Monitor() as monitor:
        monitor.every(0.005, failing(seen))
        await until(lambda: len(seen) >= 3 and reports)
        monitor.at_stop(end)
    messages = [report["message"] for report in reports]
    assert messages == [
        "Exception in a function of every() of a monitor",
        "Exception in a function of at_stop() of a monitor",
    ]
    reports.clear()


class Unnamed(asyncio.Task):  # type: ignore[type-arg]
    """A task that does not tell its name."""

    def get_name(self) -> str:
        raise ValueError("of the task")


async def test_a_stall_that_cannot_be_described_is_reported_and_the_next_one_is_seen(
    loop: ferroloop.Loop, reports: Reports
) -> None:
    seen: list[ferroloop.Stall] = []
    ended: list[float] = []

    def block(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    async def unnamed(monitor: ferroloop.Monitor) -> None:
        block(lambda: monitor._failed)

    with ferroloop.Monitor(stall_after=0.02, on_stall=seen.append) as monitor:
        await Unnamed(unnamed(monitor), loop=loop)
        ended.append(time.monotonic())
        loop.call_soon(block, lambda: [it for it in seen if it.started >= ended[0]])
        await until(lambda: reports and [it for it in seen if it.started >= ended[0]])
    report = reports.take()
    assert report["message"] == "Exception in the thread of a monitor"
    assert isinstance(report["exception"], ValueError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("end", ["close", "stop"])
def test_what_leaves_a_loop_leaves_the_end_of_its_monitor(
    loop: ferroloop.Loop, end: str, error: type[BaseException]
) -> None:
    def leave() -> None:
        raise error

    monitor = ferroloop.Monitor(loop)
    monitor.at_stop(leave)
    monitor.start()
    run(loop, turns(1))
    with pytest.raises(error):
        (loop.close if end == "close" else monitor.stop)()
    assert not monitor.is_running
    loop.close()
    assert loop.is_closed()


def test_what_fails_when_a_loop_is_closed_is_reported(
    loop: ferroloop.Loop, reports: Reports
) -> None:
    monitor = ferroloop.Monitor(loop)
    monitor.at_stop(failing([]))
    monitor.start()
    run(loop, turns(1))
    loop.close()
    report = reports.take()
    assert report["message"] == "Exception in a function of at_stop() of a monitor"
    assert isinstance(report["exception"], ValueError)


def test_a_loop_that_is_closed_stops_its_monitor(loop: ferroloop.Loop) -> None:
    monitor = ferroloop.Monitor(loop, stall_after=0.5, slow_after=0.5, histograms=True).start()
    run(loop, turns(2))
    loop.close()
    assert not monitor.is_running
    assert monitor.turns.count > 0
    assert monitor.descriptors() == {}
    assert (monitor.tasks(), monitor.executor(), monitor.lookups()) == ({}, None, [])
    monitor.stop()


def test_a_monitor_keeps_no_unclosed_loop_alive() -> None:
    loop = ferroloop.new_event_loop()
    ferroloop.Monitor(loop, stall_after=0.5, totals=True).start()
    run(loop, turns(2))
    gone = weakref.ref(loop)
    with frees_unclosed(gone):
        del loop


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_no_monitor(loop: ferroloop.Loop) -> None:
    monitor = ferroloop.Monitor(loop, stall_after=0.5, slow_after=100.0)
    ends: list[int] = []
    monitor.at_stop(lambda: ends.append(1))
    with monitor:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                from ferroloop._insight import monitor as module  # noqa: PLC0415

                other = ferroloop.new_event_loop()
                seen: list[ferroloop.Stall] = []
                assert not monitor.is_running
                assert module.monitor_of(loop) is None
                with ferroloop.Monitor(other, stall_after=0.02, on_stall=seen.append):

                    async def blocking() -> None:
                        deadline = time.monotonic() + PATIENCE
                        while not seen and time.monotonic() < deadline:
                            time.sleep(0.001)

                    run(other, blocking())
                other.close()
                status = 0 if seen and not ends else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert status == 0
        assert monitor.is_running
    assert ends == [1]


def test_a_monitor_keeps_no_process_alive() -> None:
    status, out, err = run_code(
        "ferroloop",
        """
        loop = new_loop()
        monitor = ferroloop.Monitor(loop, stall_after=0.01)
        monitor.at_stop(lambda: print("stopped"))
        monitor.every(0.001, int)
        monitor.start()
        loop.run_until_complete(asyncio.sleep(0.01))
        print("end")
        """,
    )
    assert (status, out.split()) == (0, ["end", "stopped"])
    assert "ResourceWarning" not in err


def test_a_process_ends_although_a_callback_of_the_monitor_does_not() -> None:
    status, out, _ = run_code(
        "ferroloop",
        WAIT
        + """
import threading
seen = []
def on_stall(stall):
    seen.append(stall)
    threading.Event().wait()
loop = new_loop()
async def main():
    ferroloop.Monitor(stall_after=0.01, on_stall=on_stall).start()
    block(lambda: seen)
loop.run_until_complete(main())
print("end")
""",
    )
    assert (status, out.split()) == (0, ["end"])


def test_a_stall_at_the_end_of_a_process_breaks_nothing() -> None:
    status, out, err = run_code(
        "ferroloop",
        """
        import sys, time
        loop = new_loop()
        async def main():
            ferroloop.Monitor(stall_after=0.001, on_stall=lambda stall: None).start()
            time.sleep(0.01)
            sys.exit(3)
        try:
            loop.run_until_complete(main())
        finally:
            print("end")
        """,
    )
    assert (status, out.split()) == (3, ["end"])
    assert "Fatal" not in err
