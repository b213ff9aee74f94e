"""Running, closing and the debug switch of a loop.

Owns `old_agen_hooks` and `origin_tracking_depth` in LoopState. A loop runs in the thread that
calls; close() belongs to that thread too.
The surprise: the parts of run_forever are methods of their own on every version (asyncio has them
since 3.13), because loops that live inside a GUI loop override or call them.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ferroloop import _signals
from ferroloop._asyncio_private import (
    DEBUG_STACK_DEPTH,
    discard_destroyed_warning,
    future_loop,
    get_running_loop_or_none,
    logger,
    set_running_loop,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from ferroloop._base import LoopBase

__all__ = (
    "check_running",
    "close",
    "describe",
    "finalize",
    "run_forever",
    "run_forever_cleanup",
    "run_forever_setup",
    "run_until_complete",
    "set_coroutine_origin_tracking",
    "set_debug",
)

_T = TypeVar("_T")


def describe(loop: LoopBase) -> str:
    """Return asyncio's repr (class, running, closed, debug), the class with its module."""
    kind = type(loop)
    return (
        f"<{kind.__module__}.{kind.__qualname__} running={loop.is_running()} "
        f"closed={loop.is_closed()} debug={loop.get_debug()}>"
    )


def check_running(loop: LoopBase) -> None:
    """Raise RuntimeError if this loop, or another one in this thread, is running."""
    if loop.is_running():
        raise RuntimeError("This event loop is already running")
    if get_running_loop_or_none() is not None:
        raise RuntimeError("Cannot run the event loop while another loop is running")


def run_forever_setup(loop: LoopBase) -> None:
    """Make this thread the one that runs the loop; a failure leaves everything as it was.

    Raises RuntimeError if the loop is closed or a loop is running here.
    Mirrors asyncio's `_run_forever_setup` (3.13).
    """
    loop._check_closed()
    loop._check_running()
    loop._set_coroutine_origin_tracking(loop.get_debug())
    state = loop._state
    state.old_agen_hooks = sys.get_asyncgen_hooks()
    loop._thread_id = threading.get_ident()
    sys.set_asyncgen_hooks(
        firstiter=loop._asyncgen_firstiter_hook, finalizer=loop._asyncgen_finalizer_hook
    )
    set_running_loop(loop)
    _signals.hold_for_run(loop)


def run_forever_cleanup(loop: LoopBase) -> None:
    """Undo run_forever_setup. Mirrors asyncio's `_run_forever_cleanup` (3.13)."""
    loop._stopping = False
    loop._thread_id = None
    set_running_loop(None)
    _signals.release_after_run(loop)
    loop._set_coroutine_origin_tracking(False)
    state = loop._state
    hooks = state.old_agen_hooks
    if hooks is not None:
        state.old_agen_hooks = None
        sys.set_asyncgen_hooks(*hooks)


def run_forever(loop: LoopBase) -> None:
    """Run until stop() is called.

    Raises RuntimeError if the loop is closed or a loop is running in this thread;
    KeyboardInterrupt and SystemExit of any callback come out of it, and what was queued stays
    queued. Mirrors asyncio's `run_forever`; since 3.14 a failing start leaves a running loop alone,
    which holds here on every version.
    """
    loop._run_forever_setup()
    try:
        loop._run_turns()
    finally:
        loop._run_forever_cleanup()


def run_until_complete(loop: LoopBase, future: Generator[Any, None, _T] | Awaitable[_T]) -> _T:
    """Run until `future` (a coroutine becomes a task) is done; return its result or raise it.

    Raises RuntimeError if the loop is closed, a loop is running in this thread, or stop() came
    before the future was done. Mirrors asyncio's `run_until_complete`.
    """
    if isinstance(sys.exc_info()[1], (SystemExit, KeyboardInterrupt)) and loop._is_inherited():
        # A child that was forked in the middle of a run ends: what `asyncio.run` would do at the end
        # of that run is its parent's business.
        if asyncio.iscoroutine(future):
            future.close()
        return cast("_T", None)
    loop._check_closed()
    loop._check_running()
    is_new = not asyncio.isfuture(future)
    task = asyncio.ensure_future(cast("Awaitable[_T]", future), loop=loop)
    if is_new:
        # The caller is told by an exception if the task does not finish.
        discard_destroyed_warning(task)
    task.add_done_callback(_run_until_complete_cb)
    try:
        try:
            loop.run_forever()
        except BaseException:
            if (is_new or loop._is_inherited()) and task.done() and not task.cancelled():
                # Mark the exception as seen: the caller has no way to the task.
                task.exception()
            raise
        finally:
            task.remove_done_callback(_run_until_complete_cb)
        if not task.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return task.result()
    finally:
        # The exception's traceback holds this frame, and the task holds the exception.
        del task, future


def _run_until_complete_cb(future: asyncio.Future[Any]) -> None:
    """Stop the loop, unless KeyboardInterrupt or SystemExit has already left run_forever."""
    if not future.cancelled() and isinstance(future.exception(), (SystemExit, KeyboardInterrupt)):
        return
    future_loop(future).stop()


def close(loop: LoopBase) -> None:
    """Close the loop: drop what is queued, take signal handlers away, end the default executor.

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
    state.executor_shutdown_called = True
    executor, state.default_executor = state.default_executor, None
    try:
        # First, so that no signal is written to a descriptor that is closed.
        _signals.remove_all_handlers(loop)
    finally:
        loop._close()
        if executor is not None:
            executor.shutdown(wait=False)


def finalize(
    loop: LoopBase, _warn: Any = warnings.warn, _is_finalizing: Any = sys.is_finalizing
) -> None:
    """Warn with ResourceWarning about a loop that nobody closed, and close it.

    The functions are bound early because the interpreter may be ending, when modules have lost their
    names already; then descriptors are all that is left to close. Mirrors asyncio's `__del__`.
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


def set_coroutine_origin_tracking(loop: LoopBase, enabled: bool) -> None:
    """Have coroutines remember where they were made, or bring the former depth back."""
    state = loop._state
    if enabled:
        if state.origin_tracking_depth is None:
            state.origin_tracking_depth = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(DEBUG_STACK_DEPTH)
    elif state.origin_tracking_depth is not None:
        sys.set_coroutine_origin_tracking_depth(state.origin_tracking_depth)
        state.origin_tracking_depth = None
