"""Exceptions of callbacks and what the exception handler is told."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

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


def test_the_handler_can_be_set_and_taken_away(loop: Loop) -> None:
    seen: list[tuple[Loop, dict[str, Any]]] = []
    assert loop.get_exception_handler() is not None
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None

    def handler(in_loop: Loop, context: dict[str, Any]) -> None:
        seen.append((in_loop, context))

    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    loop.call_exception_handler({"message": "hello"})
    assert seen == [(loop, {"message": "hello"})]


@pytest.mark.parametrize("bad", [5, "text"])
def test_a_handler_must_be_callable(loop: Loop, bad: object) -> None:
    with pytest.raises(TypeError, match="A callable object or None is expected, got "):
        loop.set_exception_handler(bad)  # type: ignore[arg-type] # what is tested


def test_without_a_handler_it_is_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_exception_handler(None)
    loop.call_soon(boom)
    with caplog.at_level(logging.ERROR, "asyncio"):
        run_turns(loop)
    (record,) = caplog.records
    assert record.name == "asyncio"
    assert record.getMessage().startswith("Exception in callback boom(")
    assert record.exc_info is not None and record.exc_info[0] is Boom


def test_the_default_handler_logs_every_key(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "asyncio"):
        loop.default_exception_handler({"message": "the message", "one": 1, "another": "two"})
        loop.default_exception_handler({})
    assert caplog.records[0].getMessage() == "the message\nanother: 'two'\none: 1"
    assert caplog.records[1].getMessage() == "Unhandled exception in event loop"


def test_a_handler_that_raises_is_reported_by_the_default_one(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(_: Loop, __: dict[str, Any]) -> None:
        raise LookupError("in the handler")

    loop.set_exception_handler(handler)
    loop.call_soon(boom)
    with caplog.at_level(logging.ERROR, "asyncio"):
        run_turns(loop)
    (record,) = caplog.records
    assert "Unhandled error in exception handler" in record.getMessage()
    assert record.exc_info is not None and record.exc_info[0] is LookupError


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_handler_leaves_the_loop(
    loop: Loop, exception: type[BaseException]
) -> None:
    def handler(_: Loop, __: dict[str, Any]) -> None:
        raise exception

    loop.set_exception_handler(handler)
    loop.call_soon(boom)
    with pytest.raises(exception):
        run_turns(loop)
    run_turns(loop)


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


@pytest.mark.skipif(sys.version_info < (3, 12), reason="since 3.12")
def test_the_handler_runs_in_the_context_of_what_failed(loop: Loop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []
    loop.set_exception_handler(lambda _, __: seen.append(variable.get()))

    def callback() -> None:
        variable.set("of the callback")
        boom()

    loop.call_soon(callback)
    run_turns(loop)
    assert seen == ["of the callback"]
    assert variable.get() == "unset"


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
