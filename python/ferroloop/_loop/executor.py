"""The default executor: running work in threads, and shutting the executor down.

Owns `default_executor` in LoopState. Called in the loop's thread; results come back from the
workers through `call_soon_threadsafe`.
Shutting down joins the workers in another thread, which handles a loop that is closed meanwhile.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import sys
import threading
import warnings

from ferroloop._compat import (
    CHAINS_AT_ONCE,
    get_running_loop_or_none,
    is_coroutine_callback,
)

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from typing_extensions import Unpack

    from ferroloop._loop.base import LoopBase, Ts

    _T = TypeVar("_T")

__all__ = (
    "check_callback",
    "check_default_executor",
    "run_in_executor",
    "set_default_executor",
    "shutdown_default_executor",
)


_COUNTERPARTS: dict[type[BaseException], type[BaseException]] = {
    concurrent.futures.CancelledError: asyncio.CancelledError,
    concurrent.futures.InvalidStateError: asyncio.InvalidStateError,
}
if sys.version_info < (3, 11):
    _COUNTERPARTS[concurrent.futures.TimeoutError] = asyncio.TimeoutError


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


def run_in_executor(
    loop: LoopBase,
    executor: concurrent.futures.Executor | None,
    func: Callable[[Unpack[Ts]], _T],
    *args: Unpack[Ts],
) -> asyncio.Future[_T]:
    """Run `func(*args)` in `executor` (None: the default one) and return a future of its result.

    Raises RuntimeError if the loop is closed or the default executor is wanted after its shutdown,
    and in debug mode TypeError if `func` cannot be called. Mirrors asyncio's `run_in_executor`.
    """
    loop._check_closed()
    if loop.get_debug():
        check_callback(loop, func, "run_in_executor")
    if executor is None:
        check_default_executor(loop)
        executor = loop._state.default_executor
        if executor is None:
            executor = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="asyncio")
            loop._state.default_executor = executor
    work = executor.submit(func, *args)
    if type(work) is not concurrent.futures.Future:
        return asyncio.futures.wrap_future(work, loop=loop)
    # What asyncio.wrap_future does, in fewer steps: this is most of what a short job costs.
    future: asyncio.Future[_T] = loop.create_future()
    future.add_done_callback(functools.partial(_cancel_work, work))
    work.add_done_callback(functools.partial(_deliver, loop, future))
    return future


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


def _cancel_work(work: concurrent.futures.Future[Any], future: asyncio.Future[Any]) -> None:
    """Cancel `work` that has not begun if its waiter was cancelled."""
    if future.cancelled():
        work.cancel()


def _deliver(
    loop: LoopBase, future: asyncio.Future[Any], work: concurrent.futures.Future[Any]
) -> None:
    """Deliver the outcome of `work` to the loop; usually called in the worker's thread."""
    if CHAINS_AT_ONCE and get_running_loop_or_none() is loop:
        # An executor that runs at once in the caller's thread, or work that was done or cancelled.
        _copy_outcome(future, work)
        return
    try:
        loop.call_soon_threadsafe(_copy_outcome, future, work)
    except RuntimeError:
        # The result of a closed loop has no receiver.
        if not loop.is_closed():
            raise


def _copy_outcome(future: asyncio.Future[Any], work: concurrent.futures.Future[Any]) -> None:
    """Copy the outcome of `work` to `future`, unless the waiter gave up."""
    if future.done():
        return
    try:
        error = work.exception()
    except concurrent.futures.CancelledError:
        future.cancel()
        return
    if error is None:
        future.set_result(work.result())
        return
    # Some exceptions that the function itself may raise have a counterpart of asyncio's.
    counterpart = _COUNTERPARTS.get(type(error))
    if counterpart is not None:
        error = counterpart(*error.args).with_traceback(error.__traceback__)
    future.set_exception(error)


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
