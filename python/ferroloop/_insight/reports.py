"""What a monitor reports to the program: stalls, slow callbacks, totals.

The monitor's thread makes stalls, the loop's thread makes slow callbacks; any thread may read them.
"""

from __future__ import annotations

import time
import traceback
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import asyncio

__all__ = ("CallbackTotal", "ExecutorState", "SlowCallback", "Stall")


class Stall:
    """A callback that blocked its loop for longer than `stall_after`."""

    __slots__ = (
        "__weakref__",
        "_seconds",
        "_task",
        "callback",
        "stack",
        "started",
        "started_wall",
        "task_name",
    )

    def __init__(
        self,
        started: float,
        stack: list[traceback.FrameSummary],
        callback: str | None,
        task: asyncio.Task[Any] | None,
    ) -> None:
        """Make the report of a stall that began at `started`, in seconds of `time.monotonic()`."""
        #: When the callback was first seen to run, in seconds of `time.monotonic()`. It began up to
        #: a tenth of `stall_after` before that: at least 0.001 and at most 0.02 seconds, and more where
        #: the machine was too busy to look in time.
        self.started: float = started
        #: The same moment in seconds of `time.time()`.
        self.started_wall: float = time.time() - (time.monotonic() - started)
        #: The stack of the loop's thread, innermost last. Empty if the stall was over before it
        #: could be taken, which code that holds the GIL may cause.
        self.stack: list[traceback.FrameSummary] = stack
        #: The outermost function of the callback; None if it has no Python function.
        self.callback: str | None = callback
        #: The name of `task`.
        self.task_name: str | None = None if task is None else task.get_name()
        self._task = None if task is None else weakref.ref(task)
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """The length of the stall in seconds, up to now while it lasts."""
        if self._seconds is None:
            return time.monotonic() - self.started
        return self._seconds

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._seconds is not None

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task that ran; None if there was none, or if it was freed."""
        return None if self._task is None else self._task()

    def _end(self, seconds: float) -> None:
        """Record that it is over and took `seconds`."""
        if self._seconds is None:
            self._seconds = seconds

    def __str__(self) -> str:
        """What blocked the loop, how long, and the stack, in several lines."""
        what = self.callback or "A callback"
        if self.task_name is not None:
            what += f" in task {self.task_name!r}"
        has = "blocked" if self.ended else "has blocked"
        text = f"{what} {has} the event loop for {self.seconds:.3f} seconds"
        if not self.stack:
            return f"{text}; it was over before its stack could be taken"
        return f"{text}:\n{''.join(traceback.format_list(self.stack)).rstrip()}"

    def __repr__(self) -> str:
        """The stall in one line, without its stack."""
        return f"<Stall {self.callback} seconds={self.seconds:.3f} ended={self.ended}>"


class SlowCallback(NamedTuple):
    """A callback that took `slow_after` seconds or more."""

    #: How long it took.
    seconds: float
    #: What ran: task and coroutine, protocol class and method, or callback.
    name: str
    #: The address of the peer, where there is one.
    peer: Any
    #: When it ended, in seconds of `time.monotonic()`.
    ended: float

    def __str__(self) -> str:
        """The same in one line."""
        peer = "" if self.peer is None else f" for {self.peer!r}"
        return f"{self.name}{peer} took {self.seconds:.3f} seconds"


class CallbackTotal(NamedTuple):
    """The time that the callbacks of one name took together."""

    #: As in SlowCallback.
    name: str
    #: How many there were.
    calls: int
    #: How many seconds they took, without what is counted under other names.
    seconds: float
    #: The longest of them, in seconds.
    longest: float


class ExecutorState(NamedTuple):
    """The state of a loop's default executor."""

    #: Threads that it has started.
    threads: int
    #: How many it starts at most.
    max_threads: int
    #: Calls that wait for a thread.
    queued: int
