"""`Monitor`: what blocks a loop, what is slow in it, and where its time goes.

A monitor belongs to one loop, which holds it while it runs; any thread may use it. The loop's own
figures are native (`src/event_loop/observe/insight.rs`); this is what a program sees of them.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._insight import contents, intervals, names, stacks, watcher
from ferroloop._insight.reports import CallbackTotal, ExecutorState, SlowCallback, Stall
from ferroloop._loop.base import LoopBase

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

__all__ = ("Monitor", "monitor_of")

logger = logging.getLogger("ferroloop.monitor")

#: How many stalls, and how many slow callbacks, a monitor keeps.
_KEPT = 100

#: The running monitors, for forks and for the end of the interpreter.
_running: weakref.WeakSet[Monitor] = weakref.WeakSet()
_hooked: list[int] = []


class Monitor:
    """Observes a loop while it runs: stalls, slow callbacks, distributions, and what is open.

    `loop` is the running loop by default. `stall_after` and `slow_after` are seconds: a callback that
    takes longer than the one is reported while it lasts, one that takes as long as the other when it is
    over. `on_stall(stall)` is called in the monitor's thread, `on_slow(slow)` in the loop's; without
    them one warning each goes to the logger `ferroloop.monitor`. An exception of theirs is
    passed to the loop's exception handler, once for each of them.

    `histograms` says whether `turns` and `delays` count from the start on; by default they do if
    neither threshold is given, and else from the first time that one of them is read. `totals` says the
    same of `callbacks()`, which counts from its first call on by default.

    Raises RuntimeError without `loop` if none is running, TypeError if `loop` is not one of
    ferroloop's or a callback cannot be called, ValueError if a threshold is no positive number.
    A monitor is a context manager, and can be started again after it was stopped.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        stall_after: float | None = None,
        on_stall: Callable[[Stall], object] | None = None,
        slow_after: float | None = None,
        on_slow: Callable[[SlowCallback], object] | None = None,
        histograms: bool | None = None,
        totals: bool = False,
    ) -> None:
        """Make a monitor that is not started."""
        if loop is None:
            loop = asyncio.get_running_loop()
        if not isinstance(loop, LoopBase):
            raise TypeError(f"a ferroloop.Loop is expected, got {loop!r}")
        for name, callback in (("on_stall", on_stall), ("on_slow", on_slow)):
            if callback is not None and not callable(callback):
                raise TypeError(f"{name} must be callable, got {callback!r}")
        self._loop = loop
        self._stall_after = intervals.checked("stall_after", stall_after)
        self._slow_after = intervals.checked("slow_after", slow_after)
        self._on_stall: Callable[[Stall], object] = _log if on_stall is None else on_stall
        self._on_slow: Callable[[SlowCallback], object] = _log if on_slow is None else on_slow
        if histograms is None:
            histograms = stall_after is None and slow_after is None
        self._histograms = histograms
        self._totals = totals
        self._turns = _native.Histogram()
        self._delays = _native.Histogram()
        self._counted: list[tuple[Any, int, float, float]] = []
        #: Reentrant: a signal handler may run while it is held.
        self._lock = threading.RLock()
        self._number: int | None = None
        self._started: float | None = None
        self._is_running = False
        self._present: Stall | None = None
        self._stalls: collections.deque[Stall] = collections.deque(maxlen=_KEPT)
        self._stall_count = 0
        self._past_stalls = 0.0
        self._slow: collections.deque[SlowCallback] = collections.deque(maxlen=_KEPT)
        self._slow_count = 0
        self._slow_seconds = 0.0
        self._hooks: list[intervals.Hook] = []
        self._stop_hooks: list[Callable[[], object]] = []
        #: The callbacks whose failure was reported, by id(); 0 is the monitor's thread itself.
        self._failed: set[int] = set()

    # Starting and stopping

    def start(self) -> Self:
        """Begin to watch the loop, even if it does not run yet, and return the monitor.

        Raises RuntimeError if the loop is closed or has a monitor that was started, this one or
        another.
        """
        _register_hooks()
        loop = self._loop
        loop._check_closed()
        with self._lock:
            if not loop._state.set_monitor(self):
                raise RuntimeError(f"{loop!r} has a monitor already")
            loop._forget_totals()
            self._is_running = True
            try:
                # This comes first, so that the watching thread sees the loop's progress from its first check.
                self._tell_loop()
                if self._stall_after is not None or self._hooks:
                    self._number = watcher.watch(loop, self, self._stall_after)
            except BaseException:
                self._is_running = False
                loop._watch_calls(None, None, False, False)
                loop._state.monitor = None
                raise
            self._started = time.monotonic()
        _running.add(self)
        return self

    def stop(self) -> None:
        """Stop watching the loop, and keep what was found. Does nothing if the monitor does not run.

        A current stall counts as ended. The loop's close() calls this, and so does the end of the
        interpreter.
        """
        with self._lock:
            if not self._is_running:
                return
            self._is_running = False
            number, self._number = self._number, None
            present, self._present = self._present, None
            if present is not None:
                present._end(present.seconds)
                self._past_stalls += present.seconds
            self._loop._watch_calls(None, None, False, False)
            self._counted = self._loop._totals()
            self._loop._state.monitor = None
        _running.discard(self)
        if number is not None:
            watcher.unwatch(number)
        for hook in self._stop_hooks:
            self._call("a function of at_stop()", hook)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def __repr__(self) -> str:
        """The loop, the thresholds and whether the monitor runs."""
        return (
            f"<ferroloop.Monitor of {self._loop!r} stall_after={self._stall_after} "
            f"slow_after={self._slow_after} running={self._is_running}>"
        )

    def _tell_loop(self) -> None:
        """Tell the loop what to count and to time."""
        if self._is_running:
            times = (self._turns, self._delays) if self._histograms else None
            stalls = self._stall_after is not None
            self._loop._watch_calls(self._slow_after, times, self._totals, stalls)

    def _abandon(self) -> None:
        """Stop in a forked child, where neither the loop nor the thread exists."""
        self._lock = threading.RLock()
        self._is_running = False
        self._number = self._present = None
        self._stop_hooks.clear()
        self._loop._watch_calls(None, None, False, False)
        if self._loop._state is not None:
            self._loop._state.monitor = None

    # Settings

    @property
    def loop(self) -> LoopBase:
        """The loop that it watches."""
        return self._loop

    @property
    def stall_after(self) -> float | None:
        """A callback that takes longer than this many seconds is reported while it runs."""
        return self._stall_after

    @property
    def slow_after(self) -> float | None:
        """A callback that took at least this many seconds is reported when it is over."""
        return self._slow_after

    @property
    def is_running(self) -> bool:
        """Whether the monitor was started and not stopped."""
        return self._is_running

    @property
    def started(self) -> float | None:
        """When the monitor was last started, in seconds of `time.monotonic()`; None if never."""
        return self._started

    # Results

    @property
    def stalls(self) -> list[Stall]:
        """The last 100 stalls, oldest first, including a current one."""
        return _copied(self._stalls)

    @property
    def stall_count(self) -> int:
        """The number of stalls, including a current one."""
        return self._stall_count

    @property
    def stall_seconds(self) -> float:
        """The total length of the stalls in seconds, up to now."""
        with self._lock:
            present = self._present
            return self._past_stalls + (0.0 if present is None else present.seconds)

    @property
    def slow_callbacks(self) -> list[SlowCallback]:
        """The last 100 slow callbacks, oldest first."""
        return _copied(self._slow)

    @property
    def slow_count(self) -> int:
        """The number of slow callbacks."""
        return self._slow_count

    @property
    def slow_seconds(self) -> float:
        """How many seconds they took together."""
        return self._slow_seconds

    @property
    def turns(self) -> _native.Histogram:
        """How long turns that ran something took, in seconds, until the next turn or wait."""
        self._count_times()
        return self._turns

    @property
    def delays(self) -> _native.Histogram:
        """How late due timers and queued callbacks began, in seconds.

        Every timer counts, against its deadline. Of the callbacks of call_soon() the first that each
        turn queues counts: when it began, against the moment when it was queued.
        """
        self._count_times()
        return self._delays

    def _count_times(self) -> None:
        if not self._histograms:
            with self._lock:
                self._histograms = True
                self._tell_loop()

    def callbacks(self, n: int | None = 10) -> list[CallbackTotal]:
        """Return where the time went: the `n` names with the most seconds, or all if `n` is None.

        They are counted from the first call on, or from the start with `totals=True`. At most 1000
        callbacks are told apart; those that come later count as "(others)".
        """
        if not self._totals:
            with self._lock:
                self._totals = True
                self._tell_loop()
        found: dict[str, CallbackTotal] = {}
        for key, calls, seconds, longest in (
            self._loop._totals() if self._is_running else self._counted
        ):
            name = names.of_key(key)
            former = found.get(name, CallbackTotal(name, 0, 0.0, 0.0))
            found[name] = CallbackTotal(
                name,
                former.calls + calls,
                former.seconds + seconds,
                max(former.longest, longest),
            )
        ordered = sorted(found.values(), key=lambda total: total.seconds, reverse=True)
        return ordered if n is None else ordered[: max(n, 0)]

    def tasks(self) -> dict[str, int]:
        """Count the tasks that are not done, by the names of their coroutines, most first."""
        return contents.tasks(self._loop)

    def descriptors(self) -> dict[str, int]:
        """Count the descriptors that the loop watches, by kind, most first."""
        return contents.descriptors(self._loop)

    def executor(self) -> ExecutorState | None:
        """Describe the default executor's threads and its queue; None if there is no thread pool."""
        return contents.executor(self._loop)

    def lookups(self) -> list[str]:
        """List the names and addresses that are being looked up."""
        return contents.lookups(self._loop)

    # Hooks

    def every(self, seconds: float, function: Callable[[], object]) -> Callable[[], None]:
        """Call `function()` in the monitor's thread about every `seconds` while the monitor runs.

        Returns a function that cancels these calls. What `function` raises goes to the loop's exception handler
        once. Raises ValueError if `seconds` is no positive number, RuntimeError if no thread starts.
        """
        interval = intervals.checked("seconds", seconds)
        assert interval is not None
        hook = intervals.Hook(interval, function)
        with self._lock:
            self._hooks.append(hook)
            if self._is_running and self._number is None:
                self._number = watcher.watch(self._loop, self, self._stall_after)
        watcher.wake()

        def cancel() -> None:
            if hook in self._hooks:
                self._hooks.remove(hook)

        return cancel

    def at_stop(self, function: Callable[[], object]) -> None:
        """Call `function()` when the monitor stops, in the thread that stops it."""
        self._stop_hooks.append(function)

    # What the monitor's thread calls

    def _stall_began(self, since: float, seconds: float | None, stands: Callable[[], bool]) -> None:
        """Report a stall that began at a time of the monotonic clock and lasts, or took `seconds`."""
        thread = self._loop._thread_id
        stack, callback = ([], None) if thread is None else stacks.stack_of(thread)
        handle: Any = self._loop._current_handle
        task = asyncio.current_task(self._loop)
        if not stands():
            # It ended before the thread got the GIL: this stack belongs to a later callback.
            stack, callback, task = [], None, None
        elif handle is not None and callback is None:
            callback = names.of_function(handle._callback)
        stall = Stall(since, stack, callback, task)
        del task, handle
        with self._lock:
            if not self._is_running:
                return
            self._stalls.append(stall)
            self._stall_count += 1
            if seconds is None:
                self._present = stall
            else:
                stall._end(seconds)
                self._past_stalls += seconds
        self._call("on_stall", self._on_stall, stall)

    def _stall_ended(self, seconds: float) -> None:
        """Record the length of the last reported stall."""
        with self._lock:
            stall, self._present = self._present, None
            if stall is not None:
                stall._end(seconds)
                self._past_stalls += seconds

    def _run_hooks(self, now: float) -> float | None:
        """Call the functions that are due; return when the next one is due."""
        soonest: float | None = None
        for hook in list(self._hooks):
            if hook.due <= now:
                self._call("a function of every()", hook.function)
                hook.due = max(hook.due + hook.interval, time.monotonic())
            if soonest is None or hook.due < soonest:
                soonest = hook.due
        return soonest

    # What the loop's thread calls

    def _report_slow(self, seconds: float, subject: tuple[Any, ...]) -> None:
        """Report a callback that took `seconds`."""
        try:
            name, peer = names.of_subject(subject)
        except Exception:
            # For example a repr() of the program: its exception is no error of the loop.
            name, peer = names.of_class(subject), None
        slow = SlowCallback(seconds, name, peer, time.monotonic())
        self._slow.append(slow)
        self._slow_count += 1
        self._slow_seconds += seconds
        self._call("on_slow", self._on_slow, slow)

    def _call(self, what: str, function: Callable[..., object], *args: object) -> None:
        """Call a function of the program; its first failure goes to the loop's exception handler."""
        try:
            function(*args)
        except BaseException as exc:
            owner = self._loop._thread_id
            # A loop that does not run, such as one that is being closed, runs no callback soon.
            here = owner == threading.get_ident() or (owner is None and not watcher.is_here())
            if here and isinstance(exc, (SystemExit, KeyboardInterrupt)):
                raise
            self._report(what, id(function), exc, here)

    def _watch_failed(self, error: BaseException) -> None:
        """Report that a stall could not be described; the first one goes to the exception handler."""
        self._report("the thread", 0, error, False)

    def _report(self, what: str, which: int, error: BaseException, here: bool) -> None:
        """Report an error to the loop's exception handler, the first one of each `which`.

        `here` says whether the handler may be called now, in this thread.
        """
        if which in self._failed:
            logger.debug("%s of a monitor has failed again", what, exc_info=error)
            return
        self._failed.add(which)
        context = {"message": f"Exception in {what} of a monitor", "exception": error}
        if here:
            self._loop.call_exception_handler(context)
            return
        try:
            self._loop.call_soon_threadsafe(self._loop.call_exception_handler, context)
        except Exception:
            # The loop was closed meanwhile, for instance.
            logger.error("Exception in %s of a monitor", what, exc_info=error)


def monitor_of(loop: asyncio.AbstractEventLoop) -> Monitor | None:
    """Return the monitor of `loop` that was started; None if there is none."""
    state = getattr(loop, "_state", None)
    return getattr(state, "monitor", None)


def _log(found: Stall | SlowCallback) -> None:
    """Log what was found as a warning."""
    # A handler may format it later: keep the present values.
    logger.warning("%s", str(found))


def _copied(found: collections.deque[Any]) -> list[Any]:
    """The items of a queue that another thread may append to meanwhile."""
    while True:
        try:
            return list(found)
        except RuntimeError:
            continue


def _register_hooks() -> None:
    """Stop monitors when the interpreter ends, and in forked children."""
    if not _hooked:
        # Two threads that start their first monitors at once register twice, which does no harm.
        _hooked.append(os.getpid())
        atexit.register(_end)
        os.register_at_fork(after_in_child=_abandon)


def _end() -> None:
    """Stop all monitors and their thread before the interpreter ends."""
    try:
        for monitor in _copied_set():
            monitor.stop()
    finally:
        watcher.end()


def _abandon() -> None:
    """Drop the parent's monitors in a forked child."""
    watcher.abandon()
    for monitor in _copied_set():
        monitor._abandon()
    _running.clear()


def _copied_set() -> list[Monitor]:
    while True:
        try:
            return list(_running)
        except RuntimeError:
            # Another thread has started or stopped one meanwhile.
            continue
