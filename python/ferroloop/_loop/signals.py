"""Signals: the program's handlers, and the wake-up descriptor that ends a blocked poll.

Owns `signal_handlers` in LoopState. Handlers may be set in the main thread only; they run in the loop,
in the context in which they were set.
The wake-up descriptor is held through every run in the main thread, with or without handlers, so that
a `signal.signal` handler (Ctrl-C) also runs while the loop waits. Between runs it is held while there
are handlers, so that no signal is lost.
"""

from __future__ import annotations

import errno
import signal
import sys
import threading
import warnings

from ferroloop import _native
from ferroloop._compat import is_coroutine_callback, logger

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Unpack

    from ferroloop._loop.base import LoopBase, Ts

__all__ = (
    "add_signal_handler",
    "check_signal",
    "handle_signal",
    "handle_signals",
    "in_main_thread",
    "remove_all_handlers",
    "remove_signal_handler",
)


def add_signal_handler(
    loop: LoopBase, sig: int, callback: Callable[[Unpack[Ts]], object], *args: Unpack[Ts]
) -> None:
    """Call `callback(*args)` in the loop whenever the process receives the signal number `sig`.

    Raises TypeError for a coroutine or a `sig` that is no int, ValueError for an unknown number,
    RuntimeError for a closed loop, outside the main thread, or if `sig` cannot be caught.
    Mirrors asyncio's `add_signal_handler`.
    """
    if is_coroutine_callback(callback):
        raise TypeError("coroutines cannot be used with add_signal_handler()")
    check_signal(loop, sig)
    loop._check_closed()
    if not in_main_thread():
        raise RuntimeError("set_wakeup_fd only works in main thread of the main interpreter")
    try:
        # Also if it is held: other code may have set another one meanwhile.
        loop._hold_wakeup_fd()
    except (ValueError, OSError) as exc:
        raise RuntimeError(str(exc)) from exc

    handlers = loop._state.signal_handlers
    handle = loop._signal_handle(callback, args)
    if handle._source_traceback:
        # Without this frame, as asyncio's methods leave theirs out.
        del handle._source_traceback[-1]
    handlers[sig] = handle
    loop._watch_signal(sig)
    try:
        # The interpreter writes the number to the wake-up descriptor only for a caught signal.
        signal.signal(sig, _ignore)
        # SA_RESTART, to keep EINTR away from the program's own system calls.
        signal.siginterrupt(sig, False)
    except OSError as exc:
        del handlers[sig]
        loop._unwatch_signal(sig)
        loop._release_wakeup_fd()
        if exc.errno == errno.EINVAL:
            raise RuntimeError(f"sig {sig} cannot be caught")  # noqa: B904 - as asyncio chains it
        raise


def remove_signal_handler(loop: LoopBase, sig: int) -> bool:
    """Remove the handler of `sig` and restore the default; return False if there was none.

    Raises TypeError for a `sig` that is no int, ValueError for an unknown number or outside the
    main thread, RuntimeError if `sig` cannot be caught. Mirrors asyncio's `remove_signal_handler`.
    """
    check_signal(loop, sig)
    handlers = loop._state.signal_handlers
    if sig not in handlers:
        return False
    default: Any = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
    try:
        # This comes first, so that after an interrupt the handler can be removed once more.
        signal.signal(sig, default)
    except Exception as exc:
        _forget(loop, sig)
        if isinstance(exc, OSError) and exc.errno == errno.EINVAL:
            raise RuntimeError(f"sig {sig} cannot be caught")  # noqa: B904 - as asyncio chains it
        raise
    _forget(loop, sig)
    try:
        loop._release_wakeup_fd()
    except (ValueError, OSError) as exc:
        logger.info("set_wakeup_fd(-1) failed: %s", exc)
    return True


def _forget(loop: LoopBase, sig: int) -> None:
    """Remove the handle of `sig`."""
    loop._unwatch_signal(sig)
    loop._state.signal_handlers.pop(sig, None)


def remove_all_handlers(loop: LoopBase) -> None:
    """Remove every handler because the loop closes; only drop them if the interpreter ends.

    Mirrors what asyncio's `close` does with them.
    """
    handlers = loop._state.signal_handlers
    if not sys.is_finalizing():
        for sig in list(handlers):
            loop.remove_signal_handler(sig)
    elif handlers:
        warnings.warn(
            f"Closing the loop {loop!r} on interpreter shutdown stage, "
            "skipping signal handlers removal",
            ResourceWarning,
            source=loop,
            stacklevel=2,
        )
        handlers.clear()


def handle_signals(loop: LoopBase, data: bytes) -> None:
    """Deliver the signal numbers in `data`; native code calls it within a turn."""
    for sig in data:
        if sig:
            loop._handle_signal(sig)


def handle_signal(loop: LoopBase, sig: int) -> None:
    """Queue the handler of `sig` behind what is queued, or drop it if it was cancelled.

    Mirrors asyncio's method of the same purpose, `_handle_signal`.
    """
    handle = loop._state.signal_handlers.get(sig)
    if handle is None:
        return
    if handle.cancelled():
        loop.remove_signal_handler(sig)
    elif isinstance(handle, _native.Handle):
        loop._add_callback_signalsafe(handle)
    else:
        # A program has put one of asyncio's into `_signal_handlers`.
        loop.call_soon_threadsafe(_run, handle)


def in_main_thread() -> bool:
    """Whether this is the thread whose calls may touch signals."""
    # threading.current_thread() would make an object for a foreign thread.
    return threading.get_ident() == threading.main_thread().ident


def _run(handle: asyncio.Handle) -> None:
    """Run a signal's handle unless it was cancelled after the signal."""
    if not handle.cancelled():
        handle._run()


def _ignore(signum: int, frame: Any) -> None:
    """The interpreter's handler, which does nothing: the wake-up descriptor delivers the signal."""


def check_signal(loop: LoopBase, sig: object) -> None:
    """Raise TypeError or ValueError if `sig` is no signal's number."""
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")
