"""One loop of the report: its monitor, and what it told so far.

The monitor's thread samples and brings stalls, the loop's thread brings slow callbacks, whichever thread
closes the loop ends it, and the page may be written from another: all hold the recorder's lock.
"""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any

from ferroloop._insight.monitor import Monitor
from ferroloop._report.groups import SlowGroups, StallGroups
from ferroloop._report.record import LoopRecord, Open, Share
from ferroloop._report.sampling import Sampling, distribution

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ferroloop._insight.reports import SlowCallback, Stall
    from ferroloop._report.settings import Settings

__all__ = ("Follower",)

#: Rows of the tables.
_ROWS = 20
#: How often what is open is looked at, in samples: it goes through all tasks.
_OPEN_EVERY = 20

_logger = logging.getLogger("ferroloop.monitor")


class Follower:
    """Follows one loop from when it is made until it is closed."""

    def __init__(
        self,
        loop: Any,
        name: str,
        settings: Settings,
        moment: Callable[[float], float],
        lock: AbstractContextManager[Any],
        ended: Callable[[], None],
    ) -> None:
        """Start a monitor on `loop`; `ended()` is called when it stops. Raises what `Monitor` raises."""
        self._loop = weakref.ref(loop)
        self._name = name
        self._moment = moment
        self._lock = lock
        self._ended = ended
        self._stalls = StallGroups(moment)
        self._slow = SlowGroups()
        self._open: Open | None = None
        self._samples = 0
        self._final: LoopRecord | None = None
        self._settings = settings
        monitor = Monitor(
            loop,
            stall_after=settings.stall_after,
            on_stall=self._on_stall,
            slow_after=settings.slow_after,
            on_slow=self._on_slow,
            histograms=True,
            totals=True,
        )
        self._monitor = monitor
        with self._lock:
            monitor.at_stop(self._finish)
            monitor.start()
            loop._state.environment_monitor = monitor
            self._sampling = Sampling(loop, monitor, moment)
            self._cancel = monitor.every(self._sampling.seconds, self._tick)

    def _on_stall(self, stall: Stall) -> None:
        with self._lock:
            self._stalls.add(stall)
        if self._settings.stall is not None:
            _logger.warning("%s", stall)

    def _on_slow(self, slow: SlowCallback) -> None:
        with self._lock:
            self._slow.add(slow)
        if self._settings.slow is not None:
            _logger.warning("%s", slow)

    def _tick(self) -> None:
        """Take a sample; the monitor's thread calls it."""
        with self._lock:
            loop = self._loop()
            if self._final is not None or loop is None:
                return
            self._samples += 1
            if self._samples % _OPEN_EVERY == 1:
                self._look(loop)
            if self._sampling.sample(loop):
                self._cancel()
                self._cancel = self._monitor.every(self._sampling.seconds, self._tick)

    def _look(self, loop: Any) -> None:
        """Note what the loop has open, if it runs: after a run there is nothing left."""
        if loop.is_running():
            self._open = _look(loop, self._monitor, self._moment)

    def _finish(self) -> None:
        """Keep what is known now for good: the loop closes, or the process ends."""
        with self._lock:
            if self._final is None:
                self._final = self.record(last=True)
        self._ended()

    @property
    def is_over(self) -> bool:
        """Whether the loop is closed."""
        return self._final is not None

    def record(self, *, last: bool = False) -> LoopRecord:
        """Return what is known of the loop now."""
        with self._lock:
            if self._final is not None:
                return self._final
            loop = self._loop()
            if loop is not None:
                self._look(loop)
                self._sampling.sample(loop)
            return self._record(_state(loop, self._monitor, last=last))

    def _record(self, state: str) -> LoopRecord:
        sampling, monitor = self._sampling, self._monitor
        stalls, marks, more_stalls = self._stalls.until_now()
        return LoopRecord(
            name=self._name,
            began=sampling.began,
            ended=sampling.ended,
            state=state,
            turns=sampling.turns,
            callbacks=sampling.callbacks,
            busy=sampling.busy,
            stall_after=monitor.stall_after,
            slow_after=monitor.slow_after,
            points=tuple(sampling.points),
            marks=marks,
            stalls=stalls,
            more_stalls=more_stalls,
            slow=self._slow.groups(_ROWS),
            shares=tuple(
                Share(total.name, total.calls, total.seconds) for total in monitor.callbacks(_ROWS)
            ),
            turn=distribution(monitor.turns),
            delay=distribution(monitor.delays),
            open=self._open,
        )


def _state(loop: Any, monitor: Monitor, *, last: bool) -> str:
    """How it stands with the loop, in words."""
    if last:
        gave_way = loop is not None and loop._state.environment_monitor is not monitor
        return "then watched by the program's own monitor" if gave_way else "closed"
    return "running" if loop is not None and loop.is_running() else "not running"


def _look(loop: Any, monitor: Monitor, moment: Callable[[float], float]) -> Open:
    seen = loop.metrics()
    executor = monitor.executor()
    counts = [
        *monitor.descriptors().items(),
        ("timers", seen.timers),
        ("callbacks queued", seen.ready),
    ]
    if executor is not None:
        counts += [
            ("threads of the executor", executor.threads),
            ("jobs that wait for one", executor.queued),
        ]
    tasks = tuple(list(monitor.tasks().items())[:_ROWS])
    return Open(moment(seen.time), tuple(counts), tasks, tuple(monitor.lookups()[:_ROWS]))
