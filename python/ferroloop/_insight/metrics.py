"""`loop.metrics()`: counts of what a loop has done and has queued.

Any thread may call it, also while the loop waits. Its cost does not depend on how much the loop has
queued. Idle time is measured from the first call on, because it takes two clock readings for each wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ferroloop._native import EventLoop

__all__ = ("Metrics", "metrics")


class Metrics(NamedTuple):
    """A snapshot of a loop's counters and queues.

    If neither `callbacks` nor `idle` has grown between two snapshots, a callback blocked the loop in
    between: `idle` grows while a loop waits. `ferroloop.Monitor` says which callback.
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
        """Return the share of the time since `since` in which the loop was busy, from 0.0 to 1.0.

        `since` is an earlier snapshot of the same loop. 0.0 if no time has passed. Raises nothing.
        """
        passed = self.time - since.time
        if passed <= 0.0:
            return 0.0
        return min(max(1.0 - (self.idle - since.idle) / passed, 0.0), 1.0)


for _name, _doc in {
    "time": "When the snapshot was taken, in seconds of `time.monotonic()`.",
    "turns": "Turns that began since the loop was made.",
    "callbacks": "Callbacks, due timers, I/O events and internal steps that have begun to run.",
    "waits": "Polls that waited because nothing was ready to run.",
    "idle": "Seconds spent in such polls, including the present one, since the first call.",
    "ready": "Queued callbacks, including those that other threads queued.",
    "timers": "Timers that are neither cancelled nor queued to run.",
    "descriptors": "Watched descriptors: connections, endpoints, listeners, pipes, processes, "
    "`add_reader`. That of a `sock_*` call that had to wait counts until its number is used again.",
}.items():
    getattr(Metrics, _name).__doc__ = _doc


def metrics(loop: EventLoop) -> Metrics:
    """Return a snapshot of the loop's counters and queues.

    The queues of a closed loop are empty. Raises nothing. asyncio's loops have no such call.
    """
    return Metrics(*loop._snapshot())
