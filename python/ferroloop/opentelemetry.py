"""Figures of running loops for OpenTelemetry. Needs its API: `pip install ferroloop[opentelemetry]`.

    from ferroloop.opentelemetry import instrument

    instrument(loop)

The figures are read when a reader of the meter provider collects, in the thread that does so. The
loop itself takes no part, so the figures of a blocked loop are current too.
"""

from __future__ import annotations

import operator
import threading
import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter

from ferroloop._export.figures import DISTRIBUTIONS, FIGURES, cumulative
from ferroloop._export.loops import Loops

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from ferroloop._export.figures import DistributionFigure, Figure

__all__ = ("instrument", "uninstrument")

_PREFIX = "ferroloop.eventloop."
_NAME = _PREFIX + "name"
_PERCENTILES = (50, 90, 99)
#: The attribute that holds the upper bound of a bucket, named as Prometheus names it.
_BOUND = "le"

#: The loops that each meter provider gets; an instrument can be made once for each.
_by_provider: weakref.WeakKeyDictionary[MeterProvider, Loops] = weakref.WeakKeyDictionary()
#: Those of the global provider, which may be set after `instrument`.
_global: list[Loops] = []
_lock = threading.Lock()


def instrument(
    loop: asyncio.AbstractEventLoop | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    name: str | None = None,
) -> None:
    """Report the figures of `loop.metrics()`, and of a `Monitor` if one runs, to a meter provider.

    `loop` is the running one if None, `meter_provider` the global one, which may be set later. `name` is
    the attribute `ferroloop.eventloop.name`; without one it is the name of the calling thread. A loop
    that is closed is left out from then on; none is kept alive. Any thread.

    Raises RuntimeError if no loop is running or the loop is closed, TypeError if it is not ferroloop's,
    ValueError if another loop of the provider has the name.
    """
    with _lock:
        loops = _loops_of(meter_provider)
        if loops is not None:
            loops.add(loop, name)
            return
        loops = Loops()
        loops.add(loop, name)
        _make_instruments(get_meter("ferroloop", meter_provider=meter_provider), loops)
        if meter_provider is None:
            _global.append(loops)
        else:
            _by_provider[meter_provider] = loops


def uninstrument(
    loop: asyncio.AbstractEventLoop, meter_provider: MeterProvider | None = None
) -> None:
    """Stop reporting a loop to a meter provider. Does nothing if it is not reported."""
    with _lock:
        loops = _loops_of(meter_provider)
    if loops is not None:
        loops.discard(loop)


def _loops_of(provider: MeterProvider | None) -> Loops | None:
    if provider is None:
        return _global[0] if _global else None
    return _by_provider.get(provider)


def _make_instruments(meter: Meter, loops: Loops) -> None:
    for figure in FIGURES:
        make: Any = (
            meter.create_observable_counter
            if figure.is_counter
            else meter.create_observable_up_down_counter
        )
        make(_PREFIX + figure.opentelemetry, [_observe(figure, loops)], figure.unit, figure.text)
    for distribution in DISTRIBUTIONS:
        for what, get in _statistics():
            meter.create_observable_gauge(
                f"{_PREFIX}{distribution.opentelemetry}.{what}",
                [_observe_statistic(distribution, get, loops)],
                "s",
                f"{distribution.text} This is the {what}.",
            )
        for what, unit, observe in (
            ("count", "{value}", _count),
            ("sum", "s", _sum),
            ("bucket", "{value}", _buckets),
        ):
            meter.create_observable_counter(
                f"{_PREFIX}{distribution.opentelemetry}.{what}",
                [_observe_distribution(distribution, observe, loops)],
                unit,
                f"{distribution.text} This is the {what} of a cumulative histogram.",
            )


def _statistics() -> Iterable[tuple[str, Callable[[Any], float]]]:
    yield "mean", lambda histogram: histogram.sum / max(histogram.count, 1)
    yield "max", lambda histogram: float(histogram.max)
    for place in _PERCENTILES:
        yield f"p{place}", operator.methodcaller("percentile", place)


def _observe(figure: Figure, loops: Loops) -> Callable[[CallbackOptions], Iterable[Observation]]:
    label = figure.label[1]

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for seen in loops.seen():
            for value, number in figure.values(seen):
                attributes = {_NAME: seen.name, label: value} if label else {_NAME: seen.name}
                yield Observation(number, attributes)

    return observe


def _observe_statistic(
    figure: DistributionFigure, get: Callable[[Any], float], loops: Loops
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for seen in loops.seen():
            histogram = figure.histogram(seen)
            if histogram is not None:
                yield Observation(get(histogram), {_NAME: seen.name})

    return observe


def _count(histogram: Any) -> Iterable[tuple[float, dict[str, str]]]:
    yield histogram.count, {}


def _sum(histogram: Any) -> Iterable[tuple[float, dict[str, str]]]:
    yield histogram.sum, {}


def _buckets(histogram: Any) -> Iterable[tuple[float, dict[str, str]]]:
    buckets, count = cumulative(histogram)
    for bound, number in buckets:
        yield number, {_BOUND: str(bound)}
    yield count, {_BOUND: "+Inf"}


def _observe_distribution(
    figure: DistributionFigure,
    get: Callable[[Any], Iterable[tuple[float, dict[str, str]]]],
    loops: Loops,
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for seen in loops.seen():
            histogram = figure.histogram(seen)
            if histogram is not None:
                for number, attributes in get(histogram):
                    yield Observation(number, {_NAME: seen.name, **attributes})

    return observe
