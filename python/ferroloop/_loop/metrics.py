"""`loop.metrics()`: what a loop has done and has to do, in numbers.

Any thread may call it, also while the loop waits. It costs the same however much the loop has to do.
Idle time is measured from the first call on, since it costs two readings of the clock a wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ferroloop._native import EventLoop

__all__ = ("Metrics", "metrics")


class Metrics(NamedTuple):
    """What a loop had done, and had to do, at one moment.

    A stall shows as two snapshots, some seconds apart, between which neither `callbacks` nor `idle`
    has grown: `idle` grows while a loop waits. What blocks it, `ferroloop.Monitor` says.
    """

    time: float
    turns: int
    callbacks: int
    waits: int
    idle: float
    ready: int
    timers: int
    descriptors: int

    def utilization(self, since: Metrics) -> float:
        """The share of the time after `since` in which the loop had something to do: 0.0 to 1.0.

        `since` is an earlier snapshot of the same loop. 0.0 if no time has passed. Raises nothing.
        """
        passed = self.time - since.time
        if passed <= 0.0:
            return 0.0
        return min(max(1.0 - (self.idle - since.idle) / passed, 0.0), 1.0)


for _name, _doc in {
    "time": "The moment, in seconds of `time.monotonic()`.",
    "turns": "Turns begun since the loop was made. Each polls once.",
    "callbacks": "What turns have begun to run: callbacks, due timers, I/O events, the loop's own steps.",
    "waits": "Polls that waited because nothing was to be run.",
    "idle": "Seconds spent in these, the present one included, since the loop was first asked.",
    "ready": "What is queued to be run, by other threads too.",
    "timers": "Timers that were not cancelled and are not queued to run yet.",
    "descriptors": "Descriptors that the loop watches: connections, endpoints, listeners, pipes, "
    "processes, `add_reader`; those of `sock_*` calls that had to wait until their number is used again.",
}.items():
    getattr(Metrics, _name).__doc__ = _doc


def metrics(loop: EventLoop) -> Metrics:
    """What the loop has done since it was made, and what it has to do now.

    Raises nothing; a closed loop has nothing to do. asyncio's loops have no such call.
    """
    return Metrics(*loop._snapshot())
