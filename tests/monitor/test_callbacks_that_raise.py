"""Functions given to a monitor that raise: reported once, and the monitor goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

import ferroloop
from support.errors import Reports
from support.loops import PATIENCE, run, turns, until

pytestmark = pytest.mark.ours_only("asyncio has no monitor")


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
