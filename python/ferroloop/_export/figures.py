"""The figures that are exported: exactly those of `loop.metrics()` and of a monitor. Any thread."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ferroloop._export.loops import Seen

__all__ = ("DISTRIBUTIONS", "FIGURES", "DistributionFigure", "Figure", "cumulative")

#: How many coroutines and kinds of descriptors have figures of their own.
_MOST = 50
#: The bounds of the exported buckets: powers of two, from 61 microseconds to 16 seconds.
_BOUNDS = tuple(2.0**power for power in range(-14, 5))


class Figure(NamedTuple):
    """One figure, or one for each value of a label."""

    #: Prometheus' name behind `ferroloop_`; a counter gets `_total` behind it.
    prometheus: str
    #: OpenTelemetry's name behind `ferroloop.eventloop.`, and its unit.
    opentelemetry: str
    unit: str
    text: str
    is_counter: bool
    #: Pairs of the label's value, empty without a label, and the figure's.
    values: Callable[[Seen], Iterable[tuple[str, float]]]
    #: The label besides the loop's name, as Prometheus and as OpenTelemetry write it; empty if none.
    label: tuple[str, str] = ("", "")


class DistributionFigure(NamedTuple):
    """A histogram of the monitor."""

    prometheus: str
    opentelemetry: str
    text: str
    #: The histogram; None if there is no monitor.
    histogram: Callable[[Seen], Any]


def _of_metrics(field: str) -> Callable[[Seen], Iterable[tuple[str, float]]]:
    return lambda seen: [("", getattr(seen.metrics, field))]


def _of_monitor(
    get: Callable[[Any], Iterable[tuple[str, float]]], threshold: str = ""
) -> Callable[[Seen], Iterable[tuple[str, float]]]:
    """A figure that only a monitor with the threshold has."""

    def values(seen: Seen) -> Iterable[tuple[str, float]]:
        monitor = seen.monitor
        if monitor is None or (threshold and getattr(monitor, threshold) is None):
            return ()
        return get(monitor)

    return values


def _executor(field: str) -> Callable[[Any], Iterable[tuple[str, float]]]:
    def get(monitor: Any) -> Iterable[tuple[str, float]]:
        state = monitor.executor()
        return () if state is None else [("", getattr(state, field))]

    return get


def _most(counts: dict[str, int]) -> Iterator[tuple[str, float]]:
    return itertools.islice(counts.items(), _MOST)


FIGURES = (
    Figure("turns", "turns", "{turn}", "Turns begun.", True, _of_metrics("turns")),
    Figure(
        "callbacks",
        "callbacks",
        "{callback}",
        "What turns have run: callbacks, due timers, I/O events, the loop's own steps.",
        True,
        _of_metrics("callbacks"),
    ),
    Figure(
        "waits",
        "waits",
        "{wait}",
        "Polls that waited because nothing was to be run.",
        True,
        _of_metrics("waits"),
    ),
    Figure(
        "idle_seconds", "idle.time", "s", "Time spent in these waits.", True, _of_metrics("idle")
    ),
    Figure(
        "ready_callbacks",
        "ready.count",
        "{callback}",
        "What is queued to be run.",
        False,
        _of_metrics("ready"),
    ),
    Figure(
        "timers",
        "timer.count",
        "{timer}",
        "Timers that are not cancelled and not due.",
        False,
        _of_metrics("timers"),
    ),
    Figure(
        "descriptors",
        "descriptor.count",
        "{descriptor}",
        "Descriptors that the loop watches.",
        False,
        _of_metrics("descriptors"),
    ),
    Figure(
        "stalls",
        "stalls",
        "{stall}",
        "Callbacks that held the loop up for the monitor's stall_after or longer.",
        True,
        _of_monitor(lambda monitor: [("", monitor.stall_count)], "stall_after"),
    ),
    Figure(
        "stall_seconds",
        "stall.time",
        "s",
        "Time for which stalls held the loop up.",
        True,
        _of_monitor(lambda monitor: [("", monitor.stall_seconds)], "stall_after"),
    ),
    Figure(
        "slow_callbacks",
        "slow_callbacks",
        "{callback}",
        "Callbacks that took the monitor's slow_after or longer.",
        True,
        _of_monitor(lambda monitor: [("", monitor.slow_count)], "slow_after"),
    ),
    Figure(
        "slow_callback_seconds",
        "slow_callback.time",
        "s",
        "Time that slow callbacks took.",
        True,
        _of_monitor(lambda monitor: [("", monitor.slow_seconds)], "slow_after"),
    ),
    Figure(
        "tasks",
        "task.count",
        "{task}",
        "Tasks that are not done, by coroutine.",
        False,
        _of_monitor(lambda monitor: _most(monitor.tasks())),
        ("coroutine", "code.function.name"),
    ),
    Figure(
        "open_descriptors",
        "open_descriptor.count",
        "{descriptor}",
        "Descriptors that the loop watches, by what they are.",
        False,
        _of_monitor(lambda monitor: _most(monitor.descriptors())),
        ("kind", "ferroloop.descriptor.kind"),
    ),
    Figure(
        "executor_threads",
        "executor.thread.count",
        "{thread}",
        "Threads of the default executor.",
        False,
        _of_monitor(_executor("threads")),
    ),
    Figure(
        "executor_queued_jobs",
        "executor.queue.size",
        "{job}",
        "Jobs that wait for a thread of the default executor.",
        False,
        _of_monitor(_executor("queued")),
    ),
    Figure(
        "lookups",
        "lookup.count",
        "{lookup}",
        "Names that are being looked up.",
        False,
        _of_monitor(lambda monitor: [("", len(monitor.lookups()))]),
    ),
)
"""All figures but the distributions."""

DISTRIBUTIONS = (
    DistributionFigure(
        "turn_seconds",
        "turn.duration",
        "How long turns took.",
        lambda seen: seen.monitor and seen.monitor.turns,
    ),
    DistributionFigure(
        "delay_seconds",
        "delay",
        "How late due timers and queued callbacks began.",
        lambda seen: seen.monitor and seen.monitor.delays,
    ),
)
"""The histograms."""


def cumulative(histogram: Any) -> tuple[list[tuple[float, int]], int]:
    """Return how much lies at or below each of the exported bounds, and the whole count, which agree."""
    found: list[tuple[float, int]] = []
    total = 0
    for upper, number in histogram.buckets():
        while len(found) < len(_BOUNDS) and upper > _BOUNDS[len(found)]:
            found.append((_BOUNDS[len(found)], total))
        total += number
    return found, total
