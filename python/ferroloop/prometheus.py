"""Figures of running loops for Prometheus. Needs `prometheus_client`: `pip install ferroloop[prometheus]`.

    from prometheus_client import REGISTRY
    from ferroloop.prometheus import Collector

    REGISTRY.register(Collector(loop))

The figures are read when they are scraped, in the thread that does so. The loop itself takes no part, so
the figures of a blocked loop are current too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from ferroloop._export.figures import DISTRIBUTIONS, FIGURES, cumulative
from ferroloop._export.loops import Loops

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric

    from ferroloop._export.figures import DistributionFigure, Figure
    from ferroloop._export.loops import Seen

__all__ = ("Collector",)


class Collector:
    """Reports the figures of `loop.metrics()`, and of a `Monitor` if one runs, to `prometheus_client`.

    Each figure has the label `loop`. A loop that is closed is left out from then on, and the collector
    keeps none alive. Any thread.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None = None, *, name: str | None = None
    ) -> None:
        """Begin with one loop, the running one if `loop` is None; see `add`."""
        self._loops = Loops()
        self._loops.add(loop, name)

    def add(self, loop: asyncio.AbstractEventLoop | None, *, name: str | None = None) -> None:
        """Report another loop too, the running one if `loop` is None.

        `name` is the value of the label `loop`; without one it is the name of the calling thread. Raises
        RuntimeError if no loop is running or the loop is closed, TypeError if it is not ferroloop's,
        ValueError if another loop of this collector has the name.
        """
        self._loops.add(loop, name)

    def remove(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop reporting a loop. Does nothing if the collector does not know it."""
        self._loops.discard(loop)

    def describe(self) -> Iterable[Metric]:
        """Name the figures to a registry, which refuses two collectors with the same names."""
        return self._families([])

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now; a registry calls it."""
        return self._families(self._loops.seen())

    def _families(self, loops: list[Seen]) -> Iterator[Metric]:
        for figure in FIGURES:
            yield _family(figure, loops)
        for distribution in DISTRIBUTIONS:
            yield _histogram(distribution, loops)


def _family(figure: Figure, loops: list[Seen]) -> Metric:
    label = figure.label[0]
    kind = CounterMetricFamily if figure.is_counter else GaugeMetricFamily
    labels = ["loop", label] if label else ["loop"]
    family = kind(f"ferroloop_{figure.prometheus}", figure.text, labels=labels)
    for seen in loops:
        for value, number in figure.values(seen):
            family.add_metric([seen.name, value] if label else [seen.name], number)
    return family


def _histogram(figure: DistributionFigure, loops: list[Seen]) -> Metric:
    family = HistogramMetricFamily(f"ferroloop_{figure.prometheus}", figure.text, labels=["loop"])
    for seen in loops:
        histogram = figure.histogram(seen)
        if histogram is not None:
            whole = histogram.sum
            buckets, count = cumulative(histogram)
            shown = [(str(bound), float(number)) for bound, number in buckets]
            family.add_metric([seen.name], [*shown, ("+Inf", float(count))], whole)
    return family
