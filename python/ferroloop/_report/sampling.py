"""The pieces of a loop's time line while it is recorded. The caller lets one thread at a time use it.

A loop may run for milliseconds or for months. Pieces begin short. When there are too many, each two neighbours
are joined and later pieces are twice as long, so memory and the page stay small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ferroloop._report.record import Distribution, Point

if TYPE_CHECKING:
    from collections.abc import Callable

    from ferroloop._insight.metrics import Metrics

__all__ = ("Sampling", "distribution")

#: How many pieces a time line has at most, and what the first ones last.
_MOST = 240
_FIRST = 0.05
_PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Sampling:
    """The time line of one loop."""

    def __init__(
        self, loop: Any, turns: Any, delays: Any, moment: Callable[[float], float]
    ) -> None:
        """Follow `loop` with its monitor's histograms; `moment` makes of a `time.monotonic()` the report's."""
        self.points: list[Point] = []
        self.seconds = _FIRST
        self._moment = moment
        self._first: Metrics = loop.metrics()
        self._last: Metrics = self._first
        self._turns = _Growth(turns)
        self._delays = _Growth(delays)
        self._busy_seconds = 0.0

    @property
    def began(self) -> float:
        """When the time line began."""
        return self._moment(self._first.time)

    @property
    def ended(self) -> float:
        """When the last piece ended."""
        return self._moment(self._last.time)

    @property
    def turns(self) -> int:
        """Turns of the whole time line."""
        return self._last.turns - self._first.turns

    @property
    def callbacks(self) -> int:
        """Callbacks of the whole time line."""
        return self._last.callbacks - self._first.callbacks

    @property
    def busy(self) -> float:
        """The share of the whole time in which the loop had something to do."""
        passed = self._last.time - self._first.time
        return self._busy_seconds / passed if passed > 0.0 else 0.0

    def sample(self, loop: Any) -> bool:
        """End a piece of `loop`'s time now; True if the pieces to come last longer than those before."""
        seen: Metrics = loop.metrics()
        turns = seen.turns - self._last.turns
        # A loop that does not run is not idle: it does not wait.
        resting = not turns and not loop.is_running()
        busy = 0.0 if resting else seen.utilization(self._last)
        self._busy_seconds += busy * (seen.time - self._last.time)
        self._last = seen
        longest_turn = self._turns.longest()
        longest_delay = self._delays.longest()
        self.points.append(Point(self._moment(seen.time), busy, turns, longest_turn, longest_delay))
        if len(self.points) < _MOST:
            return False
        self._merge()
        return True

    def _merge(self) -> None:
        """Make one piece of each two neighbours."""
        merged = []
        began = self.began
        for place in range(0, len(self.points) - 1, 2):
            one, two = self.points[place : place + 2]
            first, second = one.at - began, two.at - one.at
            share = first / (first + second) if first + second > 0.0 else 0.5
            merged.append(
                Point(
                    two.at,
                    one.busy * share + two.busy * (1.0 - share),
                    one.turns + two.turns,
                    max(one.longest_turn, two.longest_turn),
                    max(one.longest_delay, two.longest_delay),
                )
            )
            began = two.at
        merged += self.points[len(merged) * 2 :]
        self.points = merged
        self.seconds *= 2.0


class _Growth:
    """What a histogram has counted since the last look."""

    def __init__(self, histogram: Any) -> None:
        self._histogram = histogram
        self._counts: list[int] = []
        self._longest = 0.0

    def longest(self) -> float:
        """The longest time counted since the last call.

        It is exact if it is the longest of all, and else the bound of its bucket.
        """
        buckets: list[tuple[float, int]] = self._histogram.buckets()
        longest: float = self._histogram.max
        before = self._counts or [0] * len(buckets)
        grown = [bound for (bound, count), old in zip(buckets, before, strict=True) if count > old]
        self._counts = [count for _, count in buckets]
        if longest > self._longest:
            self._longest = longest
            return longest
        return min(grown[-1], longest) if grown else 0.0


def distribution(histogram: Any) -> Distribution:
    """Return a histogram's figures."""
    number: int = histogram.count
    return Distribution(
        number,
        histogram.sum / number if number else 0.0,
        tuple((place, histogram.percentile(place)) for place in _PERCENTILES),
        histogram.max,
    )
