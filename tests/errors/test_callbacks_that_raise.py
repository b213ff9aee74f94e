"""Callbacks and tasks that raise: what the loop reports of them, and that it goes on."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable
from functools import partial

import pytest

from support.errors import Reports
from support.loops import run_turns
from support.net.sockets import socket_pair

Loop = asyncio.AbstractEventLoop


class Boom(Exception):
    """What the callbacks here raise."""


def boom(*_: object) -> None:
    raise Boom("in the callback")


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
def test_a_callbacks_exception_is_reported_and_the_loop_goes_on(
    loop: Loop, reports: Reports, method: str
) -> None:
    seen: list[int] = []
    delay = (0,) if method == "call_later" else ()
    handle = getattr(loop, method)(*delay, boom, 1)
    getattr(loop, method)(*delay, seen.append, 1)
    run_turns(loop)
    assert seen == [1]
    context = reports.take()
    assert isinstance(context["exception"], Boom)
    assert context["handle"] is handle
    assert context["message"].startswith("Exception in callback boom(")
    expected = {"message", "exception", "handle"}
    if loop.get_debug():
        expected.add("source_traceback")
    assert set(context) == expected


def test_the_message_is_letter_by_letter_asyncios(loop: Loop, reports: Reports) -> None:
    reference = asyncio.SelectorEventLoop()
    reference.set_debug(loop.get_debug())
    theirs = Reports()
    reference.set_exception_handler(theirs.handle)
    try:
        for target in (loop, reference):
            target.call_soon(boom, 1, "two")
            target.call_later(0, boom)
            run_turns(target)
        assert [c["message"] for c in reports] == [c["message"] for c in theirs]
    finally:
        reference.close()
    reports.clear()


def test_a_readers_exception_is_reported(loop: Loop, reports: Reports) -> None:
    def readable() -> None:
        near.recv(1)
        boom()

    with socket_pair() as (near, far):
        far.send(b"x")
        loop.add_reader(near, readable)
        run_turns(loop)
        loop.remove_reader(near)
    context = reports.take()
    assert isinstance(context["exception"], Boom)
    assert "readable" in context["message"]
    assert isinstance(context["handle"], asyncio.Handle)


def test_an_exception_that_was_never_retrieved_is_reported(loop: Loop, reports: Reports) -> None:
    async def main() -> None:
        raise Boom

    loop.create_task(main())  # forgotten on purpose
    run_turns(loop, 2)
    gc.collect()
    context = reports.take()
    assert context["message"] == "Task exception was never retrieved"
    assert isinstance(context["exception"], Boom)


def test_a_pending_task_that_is_forgotten_is_reported(loop: Loop, reports: Reports) -> None:
    async def main() -> None:
        await loop.create_future()

    task = loop.create_task(main())
    run_turns(loop, 2)
    task._log_destroy_pending = True  # type: ignore[attr-defined]
    del task
    gc.collect()
    assert reports.take()["message"] == "Task was destroyed but it is pending!"


def test_a_done_callbacks_exception_is_reported(loop: Loop, reports: Reports) -> None:
    future: asyncio.Future[None] = loop.create_future()
    future.add_done_callback(boom)
    future.set_result(None)
    run_turns(loop)
    assert isinstance(reports.take()["exception"], Boom)


def test_an_exceptions_traceback_begins_in_the_callback(loop: Loop, reports: Reports) -> None:
    loop.call_soon(boom)
    run_turns(loop)
    traceback = reports.take()["exception"].__traceback__
    names = []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-1] == "boom"


def test_a_failing_callback_is_let_go(loop: Loop, reports: Reports) -> None:
    """Neither the loop nor its last report keeps what the callback held."""

    class Payload:
        pass

    payload = Payload()
    gone = weakref.ref(payload)
    loop.call_soon(boom, payload)
    del payload
    run_turns(loop)
    reports.clear()
    run_turns(loop)
    gc.collect()
    assert gone() is None


async def test_gather_hands_the_first_exception_to_its_awaiter(loop: Loop) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise Boom

    with pytest.raises(Boom):
        await asyncio.gather(fails(), asyncio.sleep(0), fails())


@pytest.mark.parametrize("how", ["call_soon", "call_later", "add_writer"])
def test_a_callback_that_cancels_itself_and_raises_is_reported(
    loop: Loop, reports: Reports, how: str
) -> None:
    def callback() -> None:
        cancel()
        boom()

    with socket_pair() as (near, _):
        if how == "add_writer":
            loop.add_writer(near, callback)
            cancel: Callable[[], object] = partial(loop.remove_writer, near)
        else:
            delay = (0,) if how == "call_later" else ()
            cancel = getattr(loop, how)(*delay, callback).cancel
        run_turns(loop, 3)
        loop.remove_writer(near)
    assert isinstance(reports.take()["exception"], Boom)


@pytest.mark.parametrize("how", ["call_soon", "call_soon_threadsafe"])
def test_a_failed_callback_is_reported_with_a_handle_that_was_not_kept(
    loop: Loop, reports: Reports, how: str
) -> None:
    call = getattr(loop, how)
    variable = contextvars.ContextVar("variable", default="unset")
    context = contextvars.copy_context()
    context.run(variable.set, "set")

    def fail(*args: object) -> None:
        raise ValueError(variable.get(), *args)

    call(fail, 1, 2, context=context)
    call(fail, 3)
    kept = call(int)
    run_turns(loop)
    assert [report["exception"].args for report in reports] == [("set", 1, 2), ("unset", 3)]
    for report, args in zip(reports, [(1, 2), (3,)], strict=True):
        handle = report["handle"]
        assert isinstance(handle, asyncio.Handle)
        assert handle.__class__ is kept.__class__
        assert not handle.cancelled()
        assert handle._callback is fail  # type: ignore[attr-defined]
        assert handle._args == args
        assert "fail(" in report["message"]
        assert "fail(" in repr(handle)
    reports.clear()


def raiser(exception: type[BaseException]) -> Callable[..., None]:
    def callback(*_: object) -> None:
        raise exception("from a callback")

    return callback


def test_other_base_exceptions_are_reported_and_the_loop_goes_on(
    loop: Loop, reports: Reports
) -> None:
    class Odd(BaseException):
        pass

    seen: list[int] = []
    loop.call_soon(raiser(Odd))
    loop.call_soon(seen.append, 1)
    run_turns(loop)
    assert seen == [1]
    assert isinstance(reports.take()["exception"], Odd)


def test_generator_exit_and_cancelled_error_are_reported_too(loop: Loop, reports: Reports) -> None:
    for exception in (GeneratorExit, asyncio.CancelledError, StopIteration):
        loop.call_soon(raiser(exception))
        run_turns(loop)
        assert isinstance(reports.take()["exception"], exception)
