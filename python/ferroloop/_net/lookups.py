"""Threads for name resolution, so that a busy default executor does not delay look-ups.

Owns `lookups` in LoopState: the threads of one loop, made when the first look-up needs them and ended
with the loop, and the look-ups in flight. Called in the loop's thread; only `_work` runs in a thread
of its own. The threads are daemons: neither closing the loop nor ending the interpreter waits for a
look-up that a program has cancelled.
"""

from __future__ import annotations

import copy
import os
import queue
import socket
import threading
from typing import TYPE_CHECKING, Any

from ferroloop._compat import logger
from ferroloop._loop.executor import check_callback, check_default_executor
from ferroloop._loop.jobs import run_in_executor

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ferroloop._loop.base import LoopBase

__all__ = ("Lookups", "look_up")

#: What arguments two look-ups may have in common: of these, equal ones mean the same.
_PLAIN: frozenset[type[Any]] = frozenset(
    {
        type(None),
        str,
        bytes,
        int,
        socket.AddressFamily,
        socket.SocketKind,
        socket.AddressInfo,
    }
)


class _Lookup:
    """A look-up and its waiters."""

    __slots__ = ("args", "dropped", "function", "key", "loop", "waiters")

    def __init__(
        self, loop: LoopBase, key: Any, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        """Make a look-up that has not begun, with its key among those in flight, or None."""
        self.loop = loop
        self.key = key
        self.function = function
        self.args = args
        #: Set if all waiters gave up: it does not begin any more.
        self.dropped = False
        self.waiters: list[asyncio.Future[Any]] = []


class Lookups:
    """The threads of one loop's look-ups, and the look-ups in flight."""

    __slots__ = ("idle", "in_flight", "lock", "queue", "threads")

    def __init__(self) -> None:
        """Make it without a thread."""
        #: What the threads take from; None ends one of them.
        self.queue: queue.SimpleQueue[_Lookup | None] = queue.SimpleQueue()
        self.threads = 0
        #: How many threads wait for a look-up, less those that are queued already.
        self.idle = 0
        self.lock = threading.Lock()
        self.in_flight: dict[Any, _Lookup] = {}

    def submit(self, lookup: _Lookup) -> None:
        """Have a thread run `lookup`. Raises RuntimeError if there is no thread and none starts."""
        with self.lock:
            has_idle = self.idle > 0
            if has_idle:
                self.idle -= 1
        # As many as a default executor has, so that no look-up waits longer than on asyncio.
        if not has_idle and self.threads < min(32, (os.cpu_count() or 1) + 4):
            thread = threading.Thread(
                target=_work,
                args=(self.queue, self),
                name=f"asyncio_lookup_{self.threads}",
                daemon=True,
            )
            try:
                thread.start()
                self.threads += 1
            except RuntimeError:
                if not self.threads:
                    raise
        self.queue.put(lookup)

    def end(self) -> None:
        """Drop what has not begun and end the threads, each when its look-up ends."""
        while True:
            try:
                self.queue.get_nowait()
            except queue.Empty:
                break
        self.in_flight.clear()
        for _ in range(self.threads):
            self.queue.put(None)


def look_up(loop: LoopBase, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
    """Run the look-up `function(*args)` in a thread; return a future of its result.

    A look-up that equals one in flight shares it. If a subclass or the program replaced
    `run_in_executor`, it is called instead. Raises RuntimeError if the loop is closed
    or its default executor was shut down.
    """
    if getattr(loop.run_in_executor, "__func__", None) is not run_in_executor:
        return loop.run_in_executor(None, function, *args)
    loop._check_closed()
    if loop.get_debug():
        check_callback(loop, function, "run_in_executor")
    check_default_executor(loop)
    lookups = loop._state.lookups
    if lookups is None:
        lookups = loop._state.lookups = Lookups()
    key = _key_of(function, args)
    lookup = None if key is None else lookups.in_flight.get(key)
    if lookup is None:
        lookup = _Lookup(loop, key, function, args)
        lookups.submit(lookup)
        if key is not None:
            lookups.in_flight[key] = lookup
    waiter: asyncio.Future[Any] = loop.create_future()
    lookup.waiters.append(waiter)
    waiter.add_done_callback(lambda waiter: _leave(lookups, lookup, waiter))
    return waiter


def _key_of(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Return a key that equal look-ups share; None if a look-up cannot be shared."""
    for arg in args:
        if type(arg) is tuple:  # the address of getnameinfo
            if not _PLAIN.issuperset(map(type, arg)):
                return None
        elif type(arg) not in _PLAIN:
            return None
    # In debug mode `function` is a method that calls what it finds.
    key = (function, socket.getaddrinfo, args)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _leave(lookups: Lookups, lookup: _Lookup, waiter: asyncio.Future[Any]) -> None:
    """Remove `waiter`; later look-ups do not join one without waiters."""
    if not waiter.cancelled():
        return
    if waiter in lookup.waiters:
        lookup.waiters.remove(waiter)
    if not lookup.waiters:
        # One that has begun may hang, where another query would be answered.
        lookup.dropped = True
        _forget(lookups, lookup)


def _forget(lookups: Lookups, lookup: _Lookup) -> None:
    """Prevent later calls from joining `lookup`."""
    if lookup.key is not None and lookups.in_flight.get(lookup.key) is lookup:
        del lookups.in_flight[lookup.key]


def _work(waiting: queue.SimpleQueue[_Lookup | None], lookups: Lookups) -> None:
    """Run look-ups until None comes; the body of a thread."""
    while True:
        lookup = waiting.get()
        if lookup is None:
            return
        try:
            if not lookup.dropped:
                _run(lookups, lookup)
        finally:
            del lookup  # it holds the loop
            with lookups.lock:
                lookups.idle += 1


def _run(lookups: Lookups, lookup: _Lookup) -> None:
    """Run `lookup` and deliver its outcome to the loop."""
    result: Any = None
    error: BaseException | None = None
    try:
        result = lookup.function(*lookup.args)
    except BaseException as exc:
        error = exc
    try:
        lookup.loop.call_soon_threadsafe(_deliver, lookups, lookup, result, error)
    except Exception as exc:
        # A closed loop has no waiters to tell. What else fails, such as memory, must not end the
        # thread, and no later look-up may wait for this one.
        if not lookup.loop.is_closed():
            _forget(lookups, lookup)
            logger.error("The outcome of a look-up was lost", exc_info=exc)
    finally:
        # The exception's traceback holds this frame.
        del error, result, lookup


def _deliver(lookups: Lookups, lookup: _Lookup, result: Any, error: BaseException | None) -> None:
    """Settle the waiters of `lookup`; each gets its own list or exception."""
    _forget(lookups, lookup)
    waiters, lookup.waiters = lookup.waiters, []
    try:
        for index, waiter in enumerate(waiters):
            if waiter.done():
                continue
            if error is not None:
                waiter.set_exception(error if index == 0 else _copied(error))
            elif index == 0 or type(result) is not list:
                waiter.set_result(result)
            else:
                waiter.set_result(list(result))
    finally:
        del error, waiters


def _copied(error: BaseException) -> BaseException:
    """An exception like `error`, or that itself if it cannot be copied."""
    try:
        return copy.copy(error).with_traceback(error.__traceback__)
    except Exception:
        return error
