"""Closing, the repr and the debug switch of a loop.

close() belongs to the thread that ran the loop. Runs are native (`src/event_loop/methods/running.rs`), so
that Ctrl-C cannot come between the steps of their start and end.
"""

from __future__ import annotations

import sys
import warnings

from ferroloop._compat import future_loop, logger
from ferroloop._loop import signals as _signals

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    import asyncio
    from typing import Any

    from ferroloop._loop.base import LoopBase

__all__ = (
    "close",
    "describe",
    "finalize",
    "set_debug",
)


def describe(loop: LoopBase) -> str:
    """Return asyncio's repr (class, running, closed, debug), the class with its module."""
    kind = type(loop)
    return (
        f"<{kind.__module__}.{kind.__qualname__} running={loop.is_running()} "
        f"closed={loop.is_closed()} debug={loop.get_debug()}>"
    )


def _run_until_complete_cb(future: asyncio.Future[Any]) -> None:
    """Stop the loop, unless KeyboardInterrupt or SystemExit has already left run_forever."""
    if not future.cancelled() and isinstance(future.exception(), (SystemExit, KeyboardInterrupt)):
        return
    future_loop(future).stop()


def close(loop: LoopBase) -> None:
    """Close the loop: drop queued callbacks, remove signal handlers, shut down the default executor.

    Does not wait for the executor's threads; closing twice does nothing.
    Raises RuntimeError if the loop is running. Mirrors asyncio's `close`.
    """
    if loop.is_running():
        raise RuntimeError("Cannot close a running event loop")
    if loop.is_closed():
        return
    if loop.get_debug():
        logger.debug("Close %r", loop)
    state = loop._state
    if state.monitor is not None:
        state.monitor.stop()
    state.executor_shutdown_called = True
    executor, state.default_executor = state.default_executor, None
    lookups, state.lookups = state.lookups, None
    selector, state.selector = state.selector, None
    try:
        _signals.remove_all_handlers(loop)
    except Exception:
        loop._close()
        raise
    finally:
        if lookups is not None:
            lookups.end()
        if selector is not None:
            selector.close()
        # After Ctrl-C, another call of close() closes the loop.
        if executor is not None:
            executor.shutdown(wait=False)
    loop._close()


def finalize(
    loop: LoopBase, _warn: Any = warnings.warn, _is_finalizing: Any = sys.is_finalizing
) -> None:
    """Warn with ResourceWarning about an unclosed loop, and close it.

    The functions are bound early because modules may have lost their names when the interpreter
    ends. Then only the descriptors are closed. Mirrors asyncio's `__del__`.
    """
    if loop.is_closed() or loop._state is None:
        return
    _warn(f"unclosed event loop {loop!r}", ResourceWarning, source=loop)
    if loop.is_running():
        return
    try:
        loop.close()
    except Exception:
        if not _is_finalizing():
            raise
        loop._close()


def set_debug(loop: LoopBase, enabled: bool) -> None:
    """Switch debug mode: thread and callback checks, source tracebacks, slow callbacks logged.

    Mirrors asyncio's `set_debug`; in a running loop coroutine origins follow in the next turn.
    """
    loop._set_debug(bool(enabled))
    if loop.is_running():
        loop.call_soon_threadsafe(loop._set_coroutine_origin_tracking, enabled)
