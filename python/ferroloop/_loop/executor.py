"""The default executor: setting it, and shutting it down.

Owns `default_executor` in LoopState, which `jobs` fills too. Called in the loop's thread.
Shutting down joins the workers in another thread, which handles a loop that is closed meanwhile.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import warnings

from ferroloop._compat import is_coroutine_callback

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from typing import Any

    from ferroloop._loop.base import LoopBase

__all__ = (
    "check_callback",
    "check_default_executor",
    "set_default_executor",
    "shutdown_default_executor",
)


def check_callback(loop: LoopBase, callback: object, method: str) -> None:
    """Raise TypeError if `callback` is a coroutine or cannot be called; `method` names the caller.

    Mirrors asyncio's debug-mode check of the same name.
    """
    if is_coroutine_callback(callback):
        raise TypeError(f"coroutines cannot be used with {method}()")
    if not callable(callback):
        raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")


def check_default_executor(loop: LoopBase) -> None:
    """Raise RuntimeError if the default executor was shut down."""
    if loop._state.executor_shutdown_called:
        raise RuntimeError("Executor shutdown has been called")


def set_default_executor(loop: LoopBase, executor: Any) -> None:
    """Make `executor` the default one; an earlier one is left as it is.

    Raises TypeError if it is no ThreadPoolExecutor; on 3.10 that is a DeprecationWarning.
    Mirrors asyncio's `set_default_executor`.
    """
    if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        if sys.version_info >= (3, 11):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        else:  # noqa: RET506 - a branch that mypy can skip
            warnings.warn(
                "Using the default executor that is not an instance of ThreadPoolExecutor "
                "is deprecated and will be prohibited in Python 3.9",
                DeprecationWarning,
                stacklevel=2,
            )
    loop._state.default_executor = executor


async def shutdown_default_executor(loop: LoopBase, timeout: float | None = None) -> None:
    """Wait until the default executor's threads have ended, at most `timeout` seconds.

    None waits without limit. When the time is up a RuntimeWarning is given and the threads are
    left to end by themselves. From the call on, run_in_executor(None, ...) raises RuntimeError.
    Mirrors asyncio's `shutdown_default_executor`; `timeout` is from 3.12, and taken on every
    version, with the behaviour that 3.13 gave it: a cancelled wait does not join.
    """
    state = loop._state
    state.executor_shutdown_called = True
    executor = state.default_executor
    if executor is None:
        return
    future: asyncio.Future[None] = loop.create_future()
    thread = threading.Thread(target=_join_workers, args=(loop, executor, future))
    thread.start()
    done, _ = await asyncio.tasks.wait([future], timeout=timeout)
    if done:
        thread.join()
        future.result()
        return
    future.cancel()
    warnings.warn(
        f"The executor did not finishing joining its threads within {timeout} seconds.",
        RuntimeWarning,
        stacklevel=2,
    )
    executor.shutdown(wait=False)


def _join_workers(
    loop: LoopBase, executor: concurrent.futures.Executor, future: asyncio.Future[None]
) -> None:
    """Join the workers, then settle `future`; runs in a new thread."""
    error: Exception | None = None
    try:
        executor.shutdown(wait=True)
    except Exception as exc:
        error = exc
    try:
        loop.call_soon_threadsafe(_finish, future, error)
    except RuntimeError:
        # The loop was closed meanwhile, so the result has no receiver.
        if not loop.is_closed():
            raise


def _finish(future: asyncio.Future[None], error: Exception | None) -> None:
    """Settle `future` unless its waiter gave up."""
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
