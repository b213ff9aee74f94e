"""Arguments of a monitor that are refused, and loops that cannot have one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import ferroloop

pytestmark = pytest.mark.ours_only("asyncio has no monitor")


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
