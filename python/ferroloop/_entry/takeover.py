"""Makes ferroloop's loop the default of a process, for programs that name no other.

Main thread, before the program runs. `python -m ferroloop` calls it, and each child that
multiprocessing starts.
"""

from __future__ import annotations

import asyncio
import functools
import os
from typing import Any

from ferroloop._entry.children import reach_children
from ferroloop._entry.other_loops import mind_other_loops, say
from ferroloop._entry.restarts import Program, survive_restarts
from ferroloop._entry.servers import mind_servers
from ferroloop._loop.environment import follow_streams
from ferroloop._loop.loop import Loop, new_event_loop
from ferroloop._running.policy import install_policy

__all__ = ("take_over",)

_done: list[bool] = []
"""Not empty once this process was taken over."""


def take_over(*, option: str, value: str, which: bool = False) -> None:
    """Make asyncio, servers that choose a loop, and child processes use ferroloop's loop.

    `option` and `value` name the program, as for `Program`. With `which`, each process writes to
    stderr which loop it runs first. A second call does nothing.
    """
    if _done:
        return
    _done.append(True)
    if not install_policy():
        # Python 3.16 has no policies; these are its own factories.
        vars(asyncio)["new_event_loop"] = new_event_loop
        vars(asyncio.events)["new_event_loop"] = new_event_loop
    if hasattr(asyncio, "EventLoop"):
        vars(asyncio)["EventLoop"] = Loop
    follow_streams()
    mind_other_loops()
    mind_servers()
    reach_children({"option": option, "value": value, "which": which})
    survive_restarts(Program(option, value, ["--which"] if which else []))
    if which:
        _tell_which()


def _tell_which() -> None:
    """Report the first ferroloop loop that runs in each process; other loops are always reported."""
    run_forever = Loop.run_forever
    told: set[int] = set()

    @functools.wraps(run_forever)
    def telling(self: Loop) -> Any:
        if os.getpid() not in told:
            told.add(os.getpid())
            say(f"this process (pid {os.getpid()}) runs ferroloop.Loop")
        return run_forever(self)

    Loop.run_forever = telling  # type: ignore[assignment]
