"""The loops that an exporter reports, by name. Any thread.

They are held weakly: an exporter keeps no loop alive, and leaves out one that is closed or freed.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from ferroloop._insight.metrics import metrics
from ferroloop._insight.monitor import monitor_of
from ferroloop._loop.base import LoopBase

if TYPE_CHECKING:
    from ferroloop._insight.metrics import Metrics
    from ferroloop._insight.monitor import Monitor

__all__ = ("Loops", "Seen")


class Seen(NamedTuple):
    """One loop at one moment."""

    name: str
    metrics: Metrics
    #: The monitor that runs on it, if one does.
    monitor: Monitor | None


class Loops:
    """Loops with a name each."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._loops: dict[str, weakref.ref[Any]] = {}

    def add(self, loop: asyncio.AbstractEventLoop | None, name: str | None) -> None:
        """Add a loop, the running one if `loop` is None; without a `name` it gets its thread's.

        A loop that is known already gets the new name. Raises RuntimeError if there is no running loop
        or the loop is closed, TypeError if it is not ferroloop's, ValueError if another one that is
        open has the name.
        """
        if loop is None:
            loop = asyncio.get_running_loop()
        if not isinstance(loop, LoopBase):
            raise TypeError(f"a loop of ferroloop is needed, not {loop!r}")
        if loop.is_closed():
            raise RuntimeError("Event loop is closed")
        # Idle time is measured from the first call on.
        metrics(loop)
        with self._lock:
            loops = self._without(loop)
            loops[_free(loops, name)] = weakref.ref(loop)
            self._loops = loops

    def discard(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop reporting a loop. Does nothing if it is unknown."""
        with self._lock:
            self._loops = self._without(loop)

    def seen(self) -> list[Seen]:
        """Return the figures of each open loop, and forget the others."""
        with self._lock:
            loops = [(name, loop) for name, known in self._loops.items() if (loop := known())]
            self._loops = {name: self._loops[name] for name, loop in loops if not loop.is_closed()}
        return [
            Seen(name, metrics(loop), monitor_of(loop))
            for name, loop in loops
            if not loop.is_closed()
        ]

    def _without(self, loop: Any) -> dict[str, weakref.ref[Any]]:
        return {name: known for name, known in self._loops.items() if known() not in (None, loop)}


def _free(loops: dict[str, weakref.ref[Any]], name: str | None) -> str:
    """Return a name that none of `loops` has, `name` if it is given. Raises ValueError if that is taken."""
    if name is not None:
        known = loops.get(name)
        other = None if known is None else known()
        if other is not None and not other.is_closed():
            raise ValueError(f"another loop has the name {name!r}")
        return name
    thread = wanted = threading.current_thread().name
    number = 1
    while wanted in loops:
        number += 1
        wanted = f"{thread}-{number}"
    return wanted
