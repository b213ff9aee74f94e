"""One loop of the report: its monitor, and what the monitor has reported so far.

The monitor's thread takes samples and reports stalls, the loop's thread reports slow callbacks, any thread
may close the loop, and another may write the page: all hold the recorder's lock.

The page lives as long as the process, so nothing here holds the loop or its monitor, which holds the loop.
The loop holds its monitor, and that holds what it calls.
"""

from __future__ import annotations

import functools
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
        settings: Settings,
        moment: Callable[[float], float],
        lock: AbstractContextManager[Any],
        ended: Callable[[], None],
    ) -> None:
        """Start a monitor on `loop`; `ended()` is called when it stops. Raises what `Monitor` raises."""
        #: The name of the loop on the page.
        self.name = ""
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
        self._monitor = weakref.ref(monitor)
        self._turns, self._delays = monitor.turns, monitor.delays
        self._sampling = Sampling(loop, self._turns, self._delays, moment)
        monitor.at_stop(functools.partial(self._finish, monitor))
        _Ticks(self, monitor)
        # Without the lock: `start` takes another one, within which the collector may run and close a
        # loop of this page.
        monitor.start()
        loop._state.environment_monitor = monitor

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

    def tick(self, monitor: Monitor) -> bool:
        """Take a sample in the monitor's thread; True if the next ones are wanted less often."""
        with self._lock:
            if self._final is not None:
                return False
            self._samples += 1
            if self._samples % _OPEN_EVERY == 1:
                self._look(monitor)
            return self._sampling.sample(monitor.loop)

    @property
    def seconds(self) -> float:
        """How often a sample is wanted."""
        return self._sampling.seconds

    def _look(self, monitor: Monitor) -> None:
        """Record what the loop has open, if it runs: after a run nothing is left."""
        if monitor.loop.is_running():
            self._open = _look(monitor.loop, monitor, self._moment)

    def _finish(self, monitor: Monitor) -> None:
        """Take the last record: the loop closes, is collected, or the process ends."""
        with self._lock:
            if self._final is None:
                self._final = self._until_now(monitor, _last_state(monitor))
        self._ended()

    @property
    def is_over(self) -> bool:
        """Whether the loop is closed."""
        return self._final is not None

    def record(self) -> LoopRecord:
        """Return what is known of the loop now."""
        with self._lock:
            if self._final is not None:
                return self._final
            monitor = self._monitor()
            if monitor is None:
                # The loop was collected without being closed.
                return self._record("not running", ())
            state = "running" if monitor.loop.is_running() else "not running"
            return self._until_now(monitor, state)

    def _until_now(self, monitor: Monitor, state: str) -> LoopRecord:
        self._look(monitor)
        self._sampling.sample(monitor.loop)
        totals = monitor.callbacks(_ROWS)
        return self._record(
            state, tuple(Share(total.name, total.calls, total.seconds) for total in totals)
        )

    def _record(self, state: str, shares: tuple[Share, ...]) -> LoopRecord:
        sampling, settings = self._sampling, self._settings
        stalls, marks, more_stalls = self._stalls.until_now()
        return LoopRecord(
            name=self.name,
            began=sampling.began,
            ended=sampling.ended,
            state=state,
            turns=sampling.turns,
            callbacks=sampling.callbacks,
            busy=sampling.busy,
            stall_after=settings.stall_after,
            slow_after=settings.slow_after,
            points=tuple(sampling.points),
            marks=marks,
            stalls=stalls,
            more_stalls=more_stalls,
            slow=self._slow.groups(_ROWS),
            shares=shares,
            turn=distribution(self._turns),
            delay=distribution(self._delays),
            open=self._open,
        )


class _Ticks:
    """Takes samples in the monitor's thread. The monitor holds it and its cancel function."""

    def __init__(self, follower: Follower, monitor: Monitor) -> None:
        self._follower = follower
        self._monitor = monitor
        self._cancel = monitor.every(follower.seconds, self._tick)

    def _tick(self) -> None:
        if self._follower.tick(self._monitor):
            self._cancel()
            self._cancel = self._monitor.every(self._follower.seconds, self._tick)


def _last_state(monitor: Monitor) -> str:
    """Why the monitor stops, in words."""
    gave_way = monitor.loop._state.environment_monitor is not monitor
    return "then watched by the program's own monitor" if gave_way else "closed"


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
