"""call_soon, call_later, call_at, time; handles."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import math
import sys
from typing import Any

from surface.probe import Probe, case, debug_case


def _callback(*_args: Any) -> None:
    """Something to call."""


class _Callable:
    def __call__(self) -> None:
        """Something without a name."""

    def __repr__(self) -> str:
        return "<a callable>"

    def method(self) -> None:
        """Something bound."""


async def _coroutine() -> None:
    """Something that is no callback."""


@case
def arguments(p: Probe) -> None:
    for call in (p.loop.call_soon, p.loop.call_soon_threadsafe):
        p.attempt(call)
        p.attempt(call, _callback)
        p.attempt(call, _callback, 1, 2, 3, 4)
        p.attempt(call, _callback, context=contextvars.copy_context())
        p.attempt(call, _callback, context=None)
        p.attempt(call, _callback, unknown=1)
        p.attempt(call, callback=_callback)
    for timed in (p.loop.call_later, p.loop.call_at):
        p.attempt(timed)
        p.attempt(timed, 0)
        p.attempt(timed, 0, _callback)
        p.attempt(timed, -5, _callback)
        p.attempt(timed, None, _callback)
        p.attempt(timed, True, _callback, 1)
        p.attempt(timed, 0, _callback, context=contextvars.Context())
        p.attempt(timed, 0, _callback, unknown=1)
        p.attempt(timed, math.inf, _callback)
        p.attempt(timed, 1 << 40, _callback)
    # asyncio's call_at keeps anything until another timer is compared with it.
    p.attempt(p.loop.call_later, "1", _callback)
    p.attempt(p.loop.call_later, b"1", _callback)
    p.attempt(p.loop.call_later, object(), _callback)
    p.attempt(p.loop.time, 1)
    p.note("time", type(p.loop.time()))


@case
def what_is_not_callable(p: Probe) -> None:
    for wrong in (None, 5, "text"):
        p.attempt(p.loop.call_soon, wrong)
        p.attempt(p.loop.call_later, 0, wrong)
        p.attempt(p.loop.call_soon_threadsafe, wrong)
    p.loop.call_later(0.001, p.loop.stop)
    p.attempt(p.loop.run_forever)


@debug_case
def what_debug_mode_refuses(p: Probe) -> None:
    made = _coroutine()
    for wrong in (None, 5, _coroutine, made):
        p.attempt(p.loop.call_soon, wrong)
        p.attempt(p.loop.call_soon_threadsafe, wrong)
        p.attempt(p.loop.call_later, 0, wrong)
        p.attempt(p.loop.call_at, 0, wrong)
    made.close()

    async def main() -> None:
        await p.wait(asyncio.to_thread, p.loop.call_soon, _callback)
        await p.wait(asyncio.to_thread, p.loop.call_later, 0, _callback)
        await p.wait(asyncio.to_thread, p.loop.call_at, 0, _callback)
        await p.wait(asyncio.to_thread, p.loop.call_soon_threadsafe, _callback)

    p.loop.run_until_complete(main())


@case
def handles(p: Probe) -> None:
    handle = p.loop.call_soon(_callback, 1)
    p.note("kind", (isinstance(handle, asyncio.Handle), isinstance(handle, asyncio.TimerHandle)))
    p.note("repr", repr(handle))
    p.attempt(handle.cancelled)
    p.attempt(handle.cancel)
    p.attempt(handle.cancel)
    p.attempt(handle.cancelled)
    p.note("repr", repr(handle))
    if sys.version_info >= (3, 12):
        context = contextvars.copy_context()
        made = p.loop.call_soon(_callback, context=context)
        p.note("context", made.get_context() is context)
        p.attempt(made.get_context)
        p.attempt(p.loop.call_later(0, _callback).get_context)
    for callback in (_Callable(), _Callable().method, functools.partial(_callback, 1), print, len):
        p.note("repr", repr(p.loop.call_soon(callback)))
    p.note("repr", repr(p.loop.call_soon_threadsafe(_callback)))


@case
def timer_handles(p: Probe) -> None:
    loop = p.loop
    one, two = loop.call_at(1e6, _callback), loop.call_at(2e6, _callback)
    same = loop.call_at(1e6, _callback)
    p.note("kind", (isinstance(one, asyncio.TimerHandle), isinstance(one, asyncio.Handle)))
    p.attempt(one.when)
    p.note("order", (one < two, one <= two, one > two, one >= two, one == two, one != two))
    twin = one
    p.note("same", (one < same, one <= same, one == same, one == twin, hash(one) == hash(same)))
    p.attempt(lambda: one < 5)
    p.attempt(lambda: one == 5)
    p.note("repr", repr(one))
    p.attempt(one.cancel)
    p.attempt(one.cancel)
    p.attempt(one.cancelled)
    p.note("repr", repr(one))
    p.note("equal", one == same)
    after = loop.call_later(1000, _callback)
    p.note("when", 999 < after.when() - loop.time() <= 1000)
    handle = loop.call_soon(_callback)
    other: Any = loop.call_soon(_callback)
    p.attempt(lambda: handle < other)
    p.note("no order", (handle == other, handle == one))


@debug_case
def handles_in_debug_mode(p: Probe) -> None:
    for handle in (p.loop.call_soon(_callback, 1), p.loop.call_at(1e6, _callback, "argument")):
        p.note("repr", repr(handle))
        handle.cancel()
        p.note("repr", repr(handle))


@case
def order(p: Probe) -> None:
    def later(name: str) -> None:
        p.note("ran", name)
        if name == "a":
            p.loop.call_soon(later, "from a")

    p.loop.call_soon(later, "a")
    p.loop.call_soon_threadsafe(later, "b")
    p.loop.call_later(-1, later, "late")
    cancelled = p.loop.call_soon(later, "never")
    cancelled.cancel()
    p.loop.call_later(0.01, later, "second")
    p.loop.call_later(0.005, later, "first")
    p.loop.call_later(0.02, p.loop.stop)
    p.loop.run_forever()


@case
def contexts(p: Probe) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    other = contextvars.copy_context()
    other.run(variable.set, "other")
    variable.set("mine")

    def show() -> None:
        p.note("sees", variable.get())
        variable.set("changed")

    p.loop.call_soon(show)
    p.loop.call_soon(show, context=other)
    p.loop.call_soon(show, context=contextvars.Context())
    p.loop.call_later(0, show, context=other)
    p.loop.call_soon_threadsafe(show)
    p.loop.call_later(0.01, p.loop.stop)
    p.loop.run_forever()
    p.note("after", variable.get())

    class Runs:
        """Something that asyncio takes for a context."""

        def run(self, function: Any, *args: Any) -> None:
            p.note("run", args)
            function(*args)

    p.loop.call_soon(p.note, "given", 1, context=Runs())
    for wrong in (5, "text", object()):
        p.attempt(p.loop.call_soon, show, context=wrong)
        p.loop.call_soon(p.loop.stop)
        p.attempt(p.loop.run_forever)
