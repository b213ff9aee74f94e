"""What a loop has open: tasks, descriptors, the threads of its executor, look-ups of names.

Owns nothing; any thread may ask. Everything is counted when it is asked for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import Counter
from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._insight.reports import ExecutorState

if TYPE_CHECKING:
    from ferroloop._loop.base import LoopBase

__all__ = ("descriptors", "executor", "lookups", "tasks")

_KINDS: tuple[tuple[type[Any], str], ...] = (
    (_native.StreamTransport, "connections"),
    (_native.Listener, "listeners"),
    (_native.DatagramTransport, "datagram endpoints"),
    (_native.PipeTransport, "pipes"),
    (_native.ProcessWatch, "processes"),
)


def tasks(loop: LoopBase) -> dict[str, int]:
    """Count the tasks of `loop` that are not done, by the names of their coroutines, most first."""
    found: Counter[str] = Counter()
    for task in asyncio.all_tasks(loop):
        coroutine = task.get_coro()
        name = getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__
        found[name] += 1
    return dict(found.most_common())


def descriptors(loop: LoopBase) -> dict[str, int]:
    """Count the descriptors that `loop` watches, by kind, most first."""
    if loop.is_closed():
        return {}
    sources, watches = loop._watched()
    found: Counter[str] = Counter(_kind(source) for source in sources)
    if watches:
        found["add_reader and add_writer"] = watches
    return dict(found.most_common())


def _kind(source: Any) -> str:
    for kind, word in _KINDS:
        # Not isinstance, which takes ferroloop's classes for asyncio's.
        if kind in type(source).__mro__:
            return word
    return type(source).__qualname__


def executor(loop: LoopBase) -> ExecutorState | None:
    """Describe the threads of the default executor; None if there is none, or it is of another kind."""
    pool = loop._state.default_executor
    if not isinstance(pool, concurrent.futures.ThreadPoolExecutor):
        return None
    return ExecutorState(len(pool._threads), pool._max_workers, pool._work_queue.qsize())


def lookups(loop: LoopBase) -> list[str]:
    """List the names and addresses that are being looked up."""
    found = loop._state.lookups
    if found is None:
        return []
    return [_asked(lookup.args) for lookup in list(found.in_flight.values())]


def _asked(args: tuple[Any, ...]) -> str:
    first = args[0] if args else None
    # getnameinfo is given an address.
    if isinstance(first, tuple) and first:
        first = first[0]
    return first.decode("ascii", "replace") if isinstance(first, bytes) else str(first)
