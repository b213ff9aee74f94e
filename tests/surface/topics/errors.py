"""Exception handlers, what is reported to them, executors."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import sys
from typing import Any

from surface.probe import Probe, case, debug_case


class _Boom(Exception):
    """Raised by callbacks."""


def _boom(*_args: Any) -> None:
    raise _Boom("callback")


@case
def handlers(p: Probe) -> None:
    loop = p.loop
    p.note("ours", loop.get_exception_handler() == p.report)
    for wrong in (5, "text", object()):
        p.attempt(loop.set_exception_handler, wrong)
    p.attempt(loop.set_exception_handler)
    p.attempt(loop.set_exception_handler, None)
    p.attempt(loop.get_exception_handler)
    context = {"message": "something", "exception": _Boom("x"), "other": 5}
    p.attempt(loop.call_exception_handler, context)
    p.attempt(loop.default_exception_handler, context)
    p.attempt(loop.call_exception_handler, {})
    p.attempt(loop.default_exception_handler, {})
    p.attempt(loop.call_exception_handler, {"message": "", "source_traceback": []})
    p.attempt(loop.call_exception_handler)
    p.attempt(loop.call_exception_handler, None)
    p.attempt(loop.call_exception_handler, 5)
    p.attempt(loop.default_exception_handler)
    p.attempt(loop.default_exception_handler, 5)

    def broken(*_args: Any) -> None:
        raise _Boom("in the handler")

    loop.set_exception_handler(broken)
    p.attempt(loop.call_exception_handler, context)
    loop.set_exception_handler(lambda: None)
    p.attempt(loop.call_exception_handler, context)
    loop.set_exception_handler(p.report)
    p.attempt(loop.call_exception_handler, context)


def _fail_with_the_default_handler(p: Probe) -> None:
    p.loop.set_exception_handler(None)
    p.loop.call_soon(_boom)
    p.loop.call_soon(p.loop.stop)
    p.loop.run_forever()


@case
def callbacks(p: Probe) -> None:
    p.loop.call_soon(_boom)
    p.loop.call_soon(_boom, 1, "two")
    p.loop.call_later(0, _boom)
    p.loop.call_soon_threadsafe(_boom)
    p.loop.call_soon(len)
    p.loop.call_later(0.001, p.loop.stop)
    p.loop.run_forever()
    _fail_with_the_default_handler(p)


@debug_case
def callbacks_in_debug_mode(p: Probe) -> None:
    p.loop.call_soon(_boom, 1)
    p.loop.call_soon(p.loop.stop)
    p.loop.run_forever()
    _fail_with_the_default_handler(p)


@debug_case
def slow_callbacks(p: Probe) -> None:
    p.loop.slow_callback_duration = -1.0

    def slow() -> None:
        """Slow by definition."""

    p.loop.call_soon(slow)
    p.loop.call_soon(p.loop.stop)
    p.loop.run_forever()
    p.loop.slow_callback_duration = 100


@case
def never_retrieved(p: Probe) -> None:
    async def main() -> None:
        future = p.loop.create_future()
        future.set_exception(_Boom("nobody asks"))
        del future
        gc.collect()

        async def fail() -> None:
            raise _Boom("in a task")

        task = p.loop.create_task(fail())
        await asyncio.sleep(0.001)
        del task
        gc.collect()

    p.attempt(p.loop.run_until_complete, main())


@case
def subclasses(p: Probe) -> None:
    """A default handler that a subclass overrides, and that fails."""
    kind: Any = type(p.loop)

    class Mine(kind):  # type: ignore[misc] # a class found at run time
        def default_exception_handler(self, context: Any) -> None:
            p.note("mine", context["message"])
            raise _Boom("default")

    loop = Mine()
    p.attempt(loop.call_exception_handler, {"message": "one"})
    loop.close()


@case
async def executors(p: Probe) -> None:
    loop = p.loop
    await p.wait(loop.run_in_executor, None, len, "abc")
    await p.wait(loop.run_in_executor, None, int, "x")
    await p.wait(loop.run_in_executor, None, None)
    p.attempt(loop.run_in_executor)
    p.attempt(loop.run_in_executor, None)
    p.attempt(loop.run_in_executor, 5, len, "abc")
    for wrong in (None, 5, object(), concurrent.futures.Executor()):
        p.attempt(loop.set_default_executor, wrong)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        await p.wait(loop.run_in_executor, pool, len, "ab")
        p.attempt(loop.set_default_executor, pool)
        await p.wait(loop.run_in_executor, None, len, "abcd")
    await p.wait(loop.run_in_executor, None, len, "after its end")


@debug_case
async def executors_in_debug_mode(p: Probe) -> None:
    async def coroutine() -> None:
        """No function."""

    p.attempt(p.loop.run_in_executor, None, coroutine)
    p.attempt(p.loop.run_in_executor, None, 5)
    await p.wait(p.loop.run_in_executor, None, len, "abc")


@case
def shutting_executors_down(p: Probe) -> None:
    p.finish(p.loop.shutdown_default_executor)
    p.finish(p.loop.run_in_executor, None, len, "abc")
    p.finish(p.loop.shutdown_default_executor)
    if sys.version_info >= (3, 12):
        p.finish(p.loop.shutdown_default_executor, 1)
        p.finish(p.loop.shutdown_default_executor, timeout=None)
        loop = p.new_loop()
        loop.run_until_complete(loop.run_in_executor(None, len, ""))
        p.attempt(loop.run_until_complete, loop.shutdown_default_executor("text"))
        loop.close()
    p.attempt(p.loop.shutdown_default_executor, 1, 2, 3)
