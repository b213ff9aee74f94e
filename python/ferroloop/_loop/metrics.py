"""`loop.metrics()`: what a loop has done and has to do, in numbers.

Any thread may call it, also while the loop waits. Idle time is measured from the first
call on, since it costs two readings of the clock a wait; the call itself goes through all timers and
descriptors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ferroloop._native import EventLoop

__all__ = ("Metrics", "metrics")


class Metrics(NamedTuple):
    """What a loop had done, and had to do, at one moment."""

    #: The moment, in seconds of `time.monotonic()`.
    time: float
    #: Turns begun since the loop was made. Each polls once.
    turns: int
    #: What turns that are over have run: callbacks, due timers, I/O events, the loop's own steps.
    callbacks: int
    #: Polls that waited because nothing was to be run.
    waits: int
    #: Seconds spent in these, the present one included, since the loop was first asked.
    idle: float
    #: What is queued to be run, by other threads too.
    ready: int
    #: Timers that were not cancelled and are not queued to run yet.
    timers: int
    #: Descriptors that the loop watches: connections, endpoints, listeners, pipes, processes,
    #: `add_reader`; those of `sock_*` calls that had to wait until their number is used again.
    descriptors: int

    def utilization(self, since: Metrics) -> float:
        """The share of the time after `since` in which the loop had something to do: 0.0 to 1.0.

        `since` is an earlier snapshot of the same loop. 0.0 if no time has passed. Raises nothing.
        """
        passed = self.time - since.time
        if passed <= 0.0:
            return 0.0
        return min(max(1.0 - (self.idle - since.idle) / passed, 0.0), 1.0)


def metrics(loop: EventLoop) -> Metrics:
    """What the loop has done since it was made, and what it has to do now.

    Raises nothing; a closed loop has nothing to do. asyncio's loops have no such call.
    """
    return Metrics(*loop._snapshot())
