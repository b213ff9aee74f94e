"""create_future, create_task and task factories, as each Python version has them."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any

import pytest

from support.loops import Factory, run, run_turns

Loop = asyncio.AbstractEventLoop
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
since_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="since 3.11")
since_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="since 3.12")
since_314 = pytest.mark.skipif(sys.version_info < (3, 14), reason="since 3.14")


async def value(result: object = None) -> object:
    """A coroutine with one wait."""
    await asyncio.sleep(0)
    return result


def test_futures_and_tasks_are_asyncios_own(loop: Loop) -> None:
    future = loop.create_future()
    assert type(future) is asyncio.Future
    assert future.get_loop() is loop
    task = loop.create_task(value(1))
    assert type(task) is asyncio.Task
    assert task.get_loop() is loop
    assert loop.run_until_complete(task) == 1
    future.cancel()


def test_classes_that_a_program_puts_in_their_place_are_made_from_then_on(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Future(asyncio.Future):  # type: ignore[type-arg]
        """A future of the program."""

    class Task(asyncio.Task):  # type: ignore[type-arg]
        """A task of the program."""

    def made() -> tuple[type, type]:
        task = loop.create_task(value())
        loop.run_until_complete(task)
        return type(loop.create_future()), type(task)

    own = made()
    assert own == made() == (asyncio.Future, asyncio.Task)
    with monkeypatch.context() as patch:
        patch.setattr("asyncio.futures.Future", Future)
        assert made() == (Future, own[1])
        patch.setattr("asyncio.tasks.Task", Task)
        assert made() == (Future, Task)
    assert made() == own


def test_a_task_has_the_name_that_it_was_given(loop: Loop) -> None:
    named = loop.create_task(value(), name="named")
    unnamed = loop.create_task(value())
    numbered = loop.create_task(value(), name=5)  # type: ignore[arg-type] # asyncio makes text of it
    assert named.get_name() == "named"
    assert unnamed.get_name().startswith("Task-")
    assert numbered.get_name() == "5"
    loop.run_until_complete(asyncio.wait([named, unnamed, numbered]))


@since_311
async def test_a_task_without_a_name_is_counted(loop: Loop) -> None:
    for task in (
        loop.create_task(value()),
        loop.create_task(value(), name=None),
        asyncio.create_task(value()),
        asyncio.create_task(value(), name=None),
    ):
        assert task.get_name().startswith("Task-")
        assert task.get_loop() is loop
        await task


def test_a_task_starts_in_the_next_turn(loop: Loop) -> None:
    seen: list[str] = []

    async def main() -> None:
        seen.append("task")

    task = loop.create_task(main())
    loop.call_soon(seen.append, "behind it")
    seen.append("before the run")
    run_turns(loop)
    assert seen == ["before the run", "task", "behind it"]
    assert task.done()


@since_311
def test_a_task_runs_in_the_context_that_it_was_given(loop: Loop) -> None:
    context = contextvars.copy_context()
    context.run(variable.set, "given")

    async def main() -> str:
        found = variable.get()
        variable.set("changed by the task")
        return found

    task = loop.create_task(main(), context=context)  # type: ignore[call-arg,unused-ignore] # since 3.11
    assert loop.run_until_complete(task) == "given"
    assert context[variable] == "changed by the task"
    assert variable.get() == "outside"


async def test_a_task_copies_the_context_of_its_maker(loop: Loop) -> None:
    async def child() -> str:
        found = variable.get()
        variable.set("the child's")
        return found

    variable.set("the parent's")
    assert await loop.create_task(child()) == "the parent's"
    assert variable.get() == "the parent's"


@pytest.mark.parametrize("keywords", [{}, {"name": "named"}])
def test_a_factory_makes_the_tasks(loop: Loop, keywords: dict[str, Any]) -> None:
    made: list[str] = []

    def factory(in_loop: Loop, coroutine: Any, **given: Any) -> asyncio.Task[Any]:
        made.append(coroutine.__name__)
        assert in_loop is loop
        return asyncio.Task(coroutine, loop=in_loop, **given)

    assert loop.get_task_factory() is None
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    task = loop.create_task(value(3), **keywords)
    assert loop.run_until_complete(task) == 3
    assert made == ["value"]
    if keywords:
        assert task.get_name() == "named"
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    loop.run_until_complete(value())
    assert made == ["value"]


@since_311
def test_a_factory_gets_the_context_only_when_one_is_given(loop: Loop) -> None:
    given: list[dict[str, Any]] = []

    def factory(in_loop: Loop, coroutine: Any, **keywords: Any) -> asyncio.Task[Any]:
        given.append(keywords)
        return asyncio.Task(coroutine, loop=in_loop, **keywords)

    loop.set_task_factory(factory)
    context = contextvars.copy_context()
    tasks = [
        loop.create_task(value()),
        loop.create_task(value(), context=context),  # type: ignore[call-arg,unused-ignore] # since 3.11
    ]
    loop.run_until_complete(asyncio.wait(tasks))
    assert given[1]["context"] is context
    assert given[0].get("context") is None


class Bare:
    """What a factory may return that is no task."""

    def __init__(self) -> None:
        self.names: list[object] = []


class Named(Bare):
    """Remembers the names that it is given."""

    def set_name(self, name: object) -> None:
        self.names.append(name)


@pytest.mark.parametrize("what", [Bare, Named])
@pytest.mark.parametrize(
    "keywords",
    [{}, {"name": "named"}, {"name": None}, {"context": None}, {"name": "n", "odd": 1}],
    ids=str,
)
def test_a_factory_is_told_what_asyncios_loop_tells_it(
    new_loop: Factory, keywords: dict[str, Any], what: type[Bare]
) -> None:
    """It changed with 3.13, with 3.13.3, mostly back with 3.13.4, and again with 3.14."""

    def attempt(make: Factory) -> object:
        loop: Any = make()
        given: list[dict[str, Any]] = []

        def factory(in_loop: Loop, coroutine: Any, **told: Any) -> Bare:
            given.append(told)
            return what()

        loop.set_task_factory(factory)
        coroutine = value()
        try:
            made = loop.create_task(coroutine, **keywords)
        except (TypeError, AttributeError, DeprecationWarning) as error:
            return type(error), given
        finally:
            coroutine.close()
            loop.close()
        return given, made.names

    assert attempt(new_loop) == attempt(asyncio.SelectorEventLoop)


def test_a_factory_may_make_another_kind_of_future(loop: Loop) -> None:
    class Own(asyncio.Future[Any]):
        def set_name(self, name: object) -> None:
            """3.13 calls it."""

    def factory(in_loop: Loop, coroutine: Any, **_: Any) -> Any:
        coroutine.close()
        return Own(loop=in_loop)

    loop.set_task_factory(factory)
    made: Any = loop.create_task(value())
    assert type(made) is Own
    loop.set_task_factory(None)


def test_a_factory_must_be_callable(loop: Loop) -> None:
    with pytest.raises(TypeError, match=r"^task factory must be a callable or None$"):
        loop.set_task_factory(5)  # type: ignore[arg-type] # what is tested


def test_no_task_is_made_on_a_closed_loop(loop: Loop) -> None:
    loop.close()
    coroutine = value()
    with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
        loop.create_task(coroutine)
    coroutine.close()


def test_create_task_wants_a_coroutine(loop: Loop) -> None:
    with pytest.raises(TypeError, match="a coroutine was expected, got 5"):
        loop.create_task(5)  # type: ignore[arg-type] # what is tested


@since_314
async def test_a_task_may_start_at_once(loop: Loop) -> None:
    seen: list[str] = []

    async def child() -> str:
        seen.append("child")
        return "done"

    task: Any = loop.create_task(child(), eager_start=True)  # type: ignore[call-arg,unused-ignore] # 3.14
    seen.append("maker")
    assert task.done() and task.result() == "done"
    assert seen == ["child", "maker"]


@since_314
def test_further_keywords_reach_the_factory(loop: Loop) -> None:
    given: list[dict[str, Any]] = []

    def factory(
        in_loop: Loop, coroutine: Any, *, odd: int = 0, **keywords: Any
    ) -> asyncio.Task[Any]:
        given.append({"odd": odd})
        return asyncio.Task(coroutine, loop=in_loop, **keywords)

    loop.set_task_factory(factory)
    loop.run_until_complete(loop.create_task(value(), odd=3))  # type: ignore[call-arg,unused-ignore] # 3.14
    assert given == [{"odd": 3}]


@since_312
def test_the_eager_factory_runs_a_task_to_its_first_wait(loop: Loop) -> None:
    factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined,unused-ignore] # since 3.12
    seen: list[str] = []

    async def child(wait: bool) -> None:
        seen.append("starts")
        assert asyncio.current_task() is not main_task
        if wait:
            await asyncio.sleep(0)
            seen.append("goes on")

    async def main() -> None:
        ready = loop.create_task(child(wait=False))
        assert ready.done()
        seen.append("between")
        waiting = loop.create_task(child(wait=True))
        assert not waiting.done()
        assert asyncio.current_task() is main_task
        await waiting

    main_task = loop.create_task(main())
    loop.set_task_factory(factory)
    loop.run_until_complete(main_task)
    assert seen == ["starts", "between", "starts", "goes on"]
    assert asyncio.all_tasks(loop) == set()


@since_312
def test_an_eager_tasks_exception_belongs_to_the_task(loop: Loop) -> None:
    factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined,unused-ignore] # since 3.12

    async def child() -> None:
        raise LookupError("child")

    async def main() -> None:
        task = loop.create_task(child())
        assert isinstance(task.exception(), LookupError)

    loop.set_task_factory(factory)
    run(loop, main())


@since_311
def test_a_task_group_cancels_the_others(loop: Loop) -> None:
    group_class: Any = asyncio.TaskGroup  # type: ignore[attr-defined,unused-ignore] # since 3.11
    ends: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError

    async def main() -> None:
        async with group_class() as group:
            group.create_task(waits())
            group.create_task(waits())
            group.create_task(fails())

    with pytest.raises(Exception) as caught:  # noqa: PT011 - ExceptionGroup is no name in 3.10
        run(loop, main())
    assert isinstance(caught.value.exceptions[0], LookupError)  # type: ignore[attr-defined]
    assert ends == ["cancelled", "cancelled"]


@since_311
def test_a_timeout_cancels_what_is_in_it(loop: Loop) -> None:
    timeout: Any = asyncio.timeout  # type: ignore[attr-defined,unused-ignore] # since 3.11

    async def main() -> str:
        try:
            async with timeout(0.002):
                await asyncio.sleep(1000)
        except TimeoutError:
            pass
        async with timeout(1000) as scope:
            await asyncio.sleep(0)
        assert not scope.expired()
        return "goes on"

    assert run(loop, main()) == "goes on"


def test_cancelling_a_task_that_waits_for_a_timer_drops_the_timer(loop: Loop) -> None:
    async def main() -> None:
        task = loop.create_task(asyncio.sleep(1000))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        timers = loop._scheduled  # type: ignore[attr-defined] # a look inside that both allow
        live = [timer for timer in timers if not timer.cancelled() and timer.when() > 900]
        assert not live

    loop.run_until_complete(main())
