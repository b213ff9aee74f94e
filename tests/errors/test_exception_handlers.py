"""The exception handler of a loop: setting it, the default one, and one that raises."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from typing import Any

import pytest

from support.loops import run_turns

Loop = asyncio.AbstractEventLoop


class Boom(Exception):
    """What the callbacks here raise."""


def boom(*_: object) -> None:
    raise Boom("in the callback")


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
