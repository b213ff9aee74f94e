"""create_future, create_task, task factories."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any

from surface.probe import Probe, case


async def _value(value: Any = 1) -> Any:
    await asyncio.sleep(0)
    return value


class _Awaitable:
    def __await__(self) -> Any:
        yield
        return "awaited"


@case
async def futures(p: Probe) -> None:
    future = p.loop.create_future()
    p.note("kind", (type(future) is asyncio.Future, future.get_loop() is p.loop))
    p.note("repr", repr(future))
    p.attempt(p.loop.create_future, 1)
    future.set_result(1)
    p.attempt(future.set_result, 2)


@case
async def arguments(p: Probe) -> None:
    create = p.loop.create_task
    task = create(_value())
    p.note("kind", (type(task) is asyncio.Task, task.get_loop() is p.loop))
    await p.wait(lambda: task)
    p.note("named", create(_value(), name="mine").get_name())
    p.note("no name", create(_value(), name=None).get_name())
    p.note("number", create(_value(), name=5).get_name())
    wrong: Any
    for wrong in (None, 5, "text", _value, _Awaitable(), asyncio.Future(), print):
        p.attempt(create, wrong)
    p.attempt(create)
    made = _value()
    p.attempt(create, made, unknown=1)
    p.attempt(create, made, "positional")
    made.close()
    if sys.version_info >= (3, 11):
        context = contextvars.copy_context()
        await p.wait(lambda: create(_value(2), context=context))
        await p.wait(lambda: create(_value(3), context=None))
        made = _value()
        p.attempt(create, made, context=5)
        made.close()
    if sys.version_info >= (3, 14):
        await p.wait(lambda: create(_value(4), eager_start=True))
        await p.wait(lambda: create(_value(5), eager_start=False))
        await p.wait(lambda: create(_value(6), eager_start=None))
    await asyncio.sleep(0.001)


@case
async def factories(p: Probe) -> None:
    loop = p.loop
    p.attempt(loop.get_task_factory)
    for wrong in (5, "text", object()):
        p.attempt(loop.set_task_factory, wrong)

    def factory(loop: Any, coro: Any, **kwargs: Any) -> Any:
        given = sorted(kwargs)
        p.note("factory", given)
        name = kwargs.pop("name", None)
        task = asyncio.Task(coro, loop=loop, **kwargs)
        if name is not None:
            task.set_name(name)
        return task

    p.attempt(loop.set_task_factory, factory)
    p.note("same", loop.get_task_factory() is factory)
    await p.wait(lambda: loop.create_task(_value()))
    p.note("name", loop.create_task(_value(), name="mine").get_name())
    if sys.version_info >= (3, 11):
        await p.wait(lambda: loop.create_task(_value(), context=contextvars.copy_context()))
    if sys.version_info >= (3, 14):
        await p.wait(lambda: loop.create_task(_value(), eager_start=True))
    await p.wait(lambda: asyncio.ensure_future(_value()))

    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise ValueError("no task")

    loop.set_task_factory(broken)
    made = _value()
    p.attempt(loop.create_task, made)
    made.close()
    loop.set_task_factory(lambda *_args, **_kwargs: "no task")
    made = _value()
    p.attempt(loop.create_task, made)
    made.close()
    p.attempt(loop.set_task_factory, None)
    p.attempt(loop.get_task_factory)
    p.attempt(loop.set_task_factory)


@case
async def eager(p: Probe) -> None:
    if sys.version_info < (3, 12):
        return
    p.loop.set_task_factory(asyncio.eager_task_factory)

    async def at_once() -> str:
        p.note("current", asyncio.current_task() is not None)
        return "at once"

    task = p.loop.create_task(at_once(), name="eager")
    p.note("done", (task.done(), task.get_name()))
    await p.wait(lambda: task)
    await p.wait(lambda: p.loop.create_task(_value()))
    p.note("current", asyncio.current_task() is not None)


@case
async def cancelling(p: Probe) -> None:
    task = p.loop.create_task(asyncio.sleep(100))
    await asyncio.sleep(0)
    p.attempt(task.cancel, "message")
    await p.wait(lambda: task)
    p.attempt(task.cancel)
    p.note("all", len(asyncio.all_tasks()))


@case
async def results(p: Probe) -> None:
    await p.wait(asyncio.gather, _value(1), _value(2))
    await p.wait(asyncio.wait_for, asyncio.sleep(100), 0.001)
    await p.wait(asyncio.shield, _value(3))
    await p.wait(asyncio.sleep, 0, "slept")
    await p.wait(asyncio.sleep, -1, "slept")
    await p.wait(asyncio.sleep, None)
    await p.wait(asyncio.sleep, "1")
    if sys.version_info >= (3, 13):
        await p.wait(asyncio.sleep, float("nan"))
    other = p.new_loop()
    p.attempt(asyncio.ensure_future, other.create_future(), loop=p.loop)

    async def foreign() -> None:
        await other.create_future()

    await p.wait(foreign)
    other.close()
    await p.wait(lambda: asyncio.wrap_future(p.loop.run_in_executor(None, len, "abc")))

    def from_thread() -> Any:
        return asyncio.run_coroutine_threadsafe(_value("there"), p.loop).result(10)

    await p.wait(asyncio.to_thread, from_thread)
