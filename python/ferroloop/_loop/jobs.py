"""Running work in threads.

Called in the loop's thread; results come back from the workers through `call_soon_threadsafe`.
A plain `ThreadPoolExecutor` gets a native job in the place of the work item and the
`concurrent.futures.Future` that its `submit` makes. Its own queue, locks and threads are used, so its shutdown,
its limits and the names of its threads are what they always are. If a program has replaced one of the functions of
CPython's that take these steps, or CPython has changed them, `submit` is called.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import sys
from concurrent.futures import ThreadPoolExecutor, thread
from queue import SimpleQueue
from types import FunctionType, MethodType

from ferroloop import _native
from ferroloop._compat import CHAINS_AT_ONCE, get_running_loop_or_none
from ferroloop._loop.executor import check_callback, check_default_executor

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from typing_extensions import Unpack

    from ferroloop._loop.base import LoopBase, Ts

    _T = TypeVar("_T")

__all__ = ("run_in_executor", "takes_jobs")


_COUNTERPARTS: dict[type[BaseException], type[BaseException]] = {
    concurrent.futures.CancelledError: asyncio.CancelledError,
    concurrent.futures.InvalidStateError: asyncio.InvalidStateError,
}
if sys.version_info < (3, 11):
    _COUNTERPARTS[concurrent.futures.TimeoutError] = asyncio.TimeoutError


def _is_own(function: object) -> bool:
    """Whether `function` is one of the module `thread`, and not a wrapper, which may have the attributes of one."""
    return type(function) is FunctionType and function.__globals__ is vars(thread)


def _names(function: Any) -> set[str]:
    """What the code of a function of the module refers to; nothing if it is another function."""
    return set(function.__code__.co_names) if _is_own(function) else set()


# What `submit` of CPython 3.10 to 3.15 refers to, and what some of them do besides.
_CHECKS = {"_broken", "_shutdown", "_shutdown_lock", "_global_shutdown_lock", "RuntimeError"}
_STEPS = {"_base", "Future", "_WorkItem", "_work_queue", "put", "_adjust_thread_count"}
_SOME = {"BrokenThreadPool", "BROKEN", "_resolve_work_item_task"}

# What a job takes the place of, or relies on. Tools that follow work from thread to thread replace some of it, most of
# them `submit`.
_THREAD: Any = thread
_Item: Any = vars(thread).get("_WorkItem")
# From 3.14 the work item has it call the function.
_Context: Any = vars(thread).get("WorkerContext", _Item)
_SUBMIT: Any = ThreadPoolExecutor.submit
_INIT = getattr(_Item, "__init__", None)
_RUN = getattr(_Item, "run", None)
_CALL = getattr(_Context, "run", None)
_WORKER = vars(thread).get("_worker")
_KNOWN = (
    _names(_SUBMIT) - _SOME == _CHECKS | _STEPS
    and _names(_INIT) >= {"future"}
    and _names(_RUN) >= {"future", "set_running_or_notify_cancel", "set_result", "set_exception"}
    and _is_own(_CALL)
    and _names(_WORKER) >= {"run", "_idle_semaphore", "release"}
    and _names(vars(ThreadPoolExecutor).get("_adjust_thread_count"))
    >= {"_idle_semaphore", "acquire"}
)
_CODE = _SUBMIT.__code__ if _KNOWN else None


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
            executor = _make()
            loop._state.default_executor = executor
    future: asyncio.Future[_T]
    if takes_jobs(executor):
        future = loop.create_future()
        job = _native.Job(loop, future, _fail, func, args)
        future.add_done_callback(job.give_up)
        taken = False
        try:
            taken = _submit(executor, job)
        finally:
            if not taken:
                # Otherwise the job and the future would refer to each other.
                job.forget()
        if taken:
            return future
    work = executor.submit(func, *args)
    if type(work) is not concurrent.futures.Future:
        return asyncio.futures.wrap_future(work, loop=loop)
    # What asyncio.wrap_future does, in fewer steps.
    future = loop.create_future()
    future.add_done_callback(functools.partial(_cancel_work, work))
    work.add_done_callback(functools.partial(_deliver, loop, future))
    return future


def _make() -> Any:
    """A new default executor, a `ThreadPoolExecutor`."""
    executor: Any = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="asyncio")
    if takes_jobs(executor):
        # Every job takes from it and gives back; CPython's semaphore is a lock and a queue in Python.
        executor._idle_semaphore = _native.IdleWorkers()
    return executor


def takes_jobs(executor: Any) -> bool:
    """Whether `_submit` may be called; otherwise only the executor's own may."""
    if not _KNOWN or type(executor) is not ThreadPoolExecutor:
        return False
    submit = executor.submit
    return (
        type(submit) is MethodType
        and submit.__func__ is _SUBMIT
        and submit.__self__ is executor
        and _SUBMIT.__code__ is _CODE
        and _THREAD._WorkItem is _Item
        and _Item.__init__ is _INIT
        and _Item.run is _RUN
        and _Context.run is _CALL
        and _THREAD._worker is _WORKER
        # A queue that a program has put in its place may look at the items.
        and type(executor._work_queue) is SimpleQueue
    )


def _submit(executor: Any, job: _native.Job) -> bool:
    """Have a thread of `executor` run `job`; False if `executor` is shut down or broken."""
    with executor._shutdown_lock, thread._global_shutdown_lock:
        if executor._broken or executor._shutdown or thread._shutdown:
            return False
        executor._work_queue.put(job)
        executor._adjust_thread_count()
    return True


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
    else:
        _fail(future, error)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """Set the exception that a function raised in another thread."""
    # Some exceptions that the function itself may raise have a counterpart of asyncio's.
    counterpart = _COUNTERPARTS.get(type(error))
    if counterpart is not None:
        error = counterpart(*error.args).with_traceback(error.__traceback__)
    future.set_exception(error)
