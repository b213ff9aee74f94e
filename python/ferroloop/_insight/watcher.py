"""The one thread that reports for all monitors what their loops do, while there are any.

Owns the thread and who is watched; any thread may call, `_run` is the thread's own. It waits in
native code, without the GIL, until there is something to report. A native thread checks the loops
(`src/event_loop/observe/watcher.rs`), and continues to do so while this one waits for the GIL.
It is a daemon: it keeps no process alive, and `end` ends it before the interpreter does.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from ferroloop import _native

if TYPE_CHECKING:
    from collections.abc import Callable

    from ferroloop._loop.base import LoopBase

__all__ = ("Client", "abandon", "end", "is_here", "unwatch", "wake", "watch")

#: How long the thread pauses when there is no memory, in seconds.
_REST = 0.02

#: How long the end of the interpreter waits for a callback that the thread runs, in seconds.
_PATIENCE = 1.0


class Client(Protocol):
    """A monitor, as the watching thread sees it."""

    def _stall_began(
        self, since: float, seconds: float | None, stands: Callable[[], bool]
    ) -> None: ...

    def _stall_ended(self, seconds: float) -> None: ...

    def _run_hooks(self, now: float) -> float | None: ...

    def _watch_failed(self, error: BaseException) -> None: ...


class _Watching:
    """The watching thread and its clients."""

    __slots__ = ("clients", "native", "thread")

    def __init__(self) -> None:
        self.native = _native.Watcher()
        self.clients: dict[int, weakref.ref[Any]] = {}
        self.thread = threading.Thread(
            target=_run, args=(self,), name="ferroloop-monitor", daemon=True
        )

    def client(self, number: int) -> Client | None:
        """The client of that number, None if it is freed."""
        reference = self.clients.get(number)
        return None if reference is None else reference()


#: Reentrant: the collector may run while it is held, and close a loop whose monitor then stops.
_lock = threading.RLock()
_present: _Watching | None = None
_numbers = itertools.count(1)


def watch(loop: LoopBase, client: Client, stall_after: float | None) -> int:
    """Watch `loop` for `client`, which is held weakly; return its number.

    Stalls are looked for if `stall_after` is not None, hooks are run in any case. Raises RuntimeError
    if there can be no new thread.
    """
    global _present  # noqa: PLW0603 - there is one thread for the process
    with _lock:
        watching = _present
        if watching is None:
            watching = _Watching()
        number = next(_numbers)
        watching.clients[number] = weakref.ref(client, lambda _: _lost(watching, number))
        if _present is None:
            watching.thread.start()
            _present = watching
    if stall_after is not None:
        try:
            watching.native.watch(loop, number, stall_after)
        except BaseException:
            unwatch(number)
            raise
    return number


def unwatch(number: int) -> None:
    """Stop watching for the client of that number; the thread ends after the last one."""
    with _lock:
        watching = _present
        if watching is None:
            return
        watching.clients.pop(number, None)
        watching.native.forget(number)
        watching.native.wake()


def wake() -> None:
    """Have the thread ask the clients again when their next hook is due."""
    watching = _present
    if watching is not None:
        watching.native.wake()


def end() -> None:
    """End the thread, and wait at most a second for that."""
    with _lock:
        watching = _present
        if watching is None:
            return
        watching.clients.clear()
        watching.native.wake()
    if watching.thread is not threading.current_thread():
        watching.thread.join(_PATIENCE)


def is_here() -> bool:
    """Whether this is the thread."""
    watching = _present
    return watching is not None and watching.thread is threading.current_thread()


def abandon() -> None:
    """Forget the thread, which does not exist in a forked child."""
    global _lock, _present  # noqa: PLW0603 - what the parent's threads hold is held for ever here
    _lock = threading.RLock()
    _present = None


def _lost(watching: _Watching, number: int) -> None:
    """Note that a client was collected. Takes no lock of Python's: it may be held in this thread."""
    if watching is _present:
        watching.native.forget(number)
        watching.native.wake()


def _run(watching: _Watching) -> None:
    """Watch until there is no client; the thread's own."""
    global _present  # noqa: PLW0603
    try:
        while True:
            timeout = _run_hooks(watching)
            try:
                found = watching.native.wait(timeout)
            except MemoryError:
                # Memory may become free again; the other loops are still watched.
                time.sleep(_REST)
                continue
            for number, since, seconds in found:
                _tell(watching, number, since, seconds)
            with _lock:
                for number, reference in list(watching.clients.items()):
                    if reference() is None:
                        del watching.clients[number]
                if not watching.clients:
                    _present = None
                    return
    finally:
        watching.native.stop()
        with _lock:
            if _present is watching:
                _present = None


def _tell(watching: _Watching, number: int, since: float | None, seconds: float | None) -> None:
    """Tell a client what was found. The names in it come from the program."""
    client = watching.client(number)
    if client is None:
        return
    try:
        if since is not None:
            stands = functools.partial(watching.native.stands, number, since)
            client._stall_began(since, seconds, stands)
        elif seconds is not None:
            client._stall_ended(seconds)
    except BaseException as exc:
        client._watch_failed(exc)


def _run_hooks(watching: _Watching) -> float | None:
    """Run the hooks that are due; return the seconds until the next one, None without one."""
    soonest: float | None = None
    for number in list(watching.clients):
        client = watching.client(number)
        due = None if client is None else client._run_hooks(time.monotonic())
        del client
        if due is not None and (soonest is None or due < soonest):
            soonest = due
    return None if soonest is None else max(soonest - time.monotonic(), 0.0)
