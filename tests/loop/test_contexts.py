"""Context variables: which context a callback runs in, and what others see of it."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support.loops import run_turns, until
from support.net.protocols import Recorder
from support.net.sockets import listening, socket_pair

Loop = asyncio.AbstractEventLoop
variable: contextvars.ContextVar[object] = contextvars.ContextVar("variable")


def value() -> object:
    return variable.get("unset")


def in_context(name: str) -> contextvars.Context:
    context = contextvars.copy_context()
    context.run(variable.set, name)
    return context


Scheduler = Callable[..., asyncio.Handle]


@pytest.fixture(params=["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def schedule(loop: Loop, request: pytest.FixtureRequest) -> Scheduler:
    method: Scheduler = getattr(loop, request.param)
    if request.param in {"call_later", "call_at"}:
        return lambda *args, **keywords: method(0, *args, **keywords)
    return method


def test_a_callback_sees_the_variables_of_the_moment_of_its_call(
    loop: Loop, schedule: Scheduler
) -> None:
    seen: list[object] = []

    def main() -> None:
        variable.set("first")
        schedule(lambda: seen.append(value()))
        variable.set("second")
        schedule(lambda: seen.append(value()))

    contextvars.copy_context().run(main)
    schedule(lambda: seen.append(value()))
    run_turns(loop)
    assert seen == ["first", "second", "unset"]


def test_a_callback_that_sets_a_variable_does_not_leak_it_into_others(
    loop: Loop, schedule: Scheduler
) -> None:
    seen: list[object] = []

    def setter(name: str) -> None:
        seen.append(value())
        variable.set(name)
        seen.append(value())

    for name in "abc":
        schedule(setter, name)
    run_turns(loop)
    assert seen == ["unset", "a", "unset", "b", "unset", "c"]
    assert value() == "unset"


def test_callbacks_of_one_given_context_share_it(loop: Loop, schedule: Scheduler) -> None:
    seen: list[object] = []
    context = in_context("given")

    def setter(name: str) -> None:
        seen.append(value())
        variable.set(name)

    schedule(setter, "a", context=context)
    schedule(setter, "b", context=context)
    run_turns(loop)
    assert seen == ["given", "a"]
    assert context[variable] == "b"


def test_an_empty_context_is_a_context(loop: Loop, schedule: Scheduler) -> None:
    seen: list[object] = []
    empty = contextvars.Context()

    def callback() -> None:
        seen.append(value())
        variable.set("in the empty one")

    def main() -> None:
        variable.set("outside")
        schedule(callback, context=empty)

    contextvars.copy_context().run(main)
    run_turns(loop)
    assert seen == ["unset"]
    assert empty[variable] == "in the empty one"


def test_none_is_no_context(loop: Loop, schedule: Scheduler) -> None:
    seen: list[object] = []

    def main() -> None:
        variable.set("current")
        schedule(lambda: seen.append(value()), context=None)

    contextvars.copy_context().run(main)
    run_turns(loop)
    assert seen == ["current"]


@pytest.mark.parametrize("bad", [5, "text", object()])
def test_what_is_no_context_does_no_harm(loop: Loop, bad: object, reports: list[Any]) -> None:
    """asyncio notices when it runs the handle; noticing at the call is as good."""
    try:
        loop.call_soon(print, context=bad)  # type: ignore[arg-type] # what is tested
    except TypeError:
        return
    try:
        run_turns(loop)
    except (AttributeError, TypeError):
        run_turns(loop)
    reports.clear()


def test_a_context_that_is_entered_already_is_reported(
    loop: Loop, reports: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    context = contextvars.copy_context()
    seen: list[int] = []

    def main() -> None:
        loop.call_soon(seen.append, 1, context=context)
        run_turns(loop)

    context.run(main)
    assert not seen
    if sys.version_info >= (3, 12):
        # The handler is to run in the same context, cannot either, and the log tells so.
        assert "Unhandled error in exception handler" in caplog.text
        assert "is already entered" in caplog.text
    else:
        assert isinstance(reports.pop()["exception"], RuntimeError)


def test_a_callback_scheduled_within_a_context_inherits_from_it(loop: Loop) -> None:
    seen: list[object] = []

    def first() -> None:
        variable.set("of the first")
        loop.call_soon(second)

    def second() -> None:
        seen.append(value())
        variable.set("of the second")
        loop.call_soon(lambda: seen.append(value()))

    loop.call_soon(first)
    run_turns(loop, 3)
    assert seen == ["of the first", "of the second"]
    assert value() == "unset"


def test_many_callbacks_of_one_context_each_have_their_own(loop: Loop) -> None:
    """What lets a loop copy a context late must not show."""
    seen: list[object] = []

    def callback(number: int) -> None:
        assert value() == "of the maker"
        if number % 3 == 0:
            variable.set(number)
        copy = contextvars.copy_context()
        seen.append(copy[variable])

    def main() -> None:
        variable.set("of the maker")
        for number in range(300):
            loop.call_soon(callback, number)
        variable.set("changed after")

    contextvars.copy_context().run(main)
    run_turns(loop)
    assert seen == [n if n % 3 == 0 else "of the maker" for n in range(300)]


def test_a_variable_set_between_two_calls_shows_in_the_second_only(loop: Loop) -> None:
    seen: list[object] = []

    def main() -> None:
        loop.call_soon(lambda: seen.append(value()))
        token = variable.set("set")
        loop.call_soon(lambda: seen.append(value()))
        variable.reset(token)
        loop.call_soon(lambda: seen.append(value()))

    contextvars.copy_context().run(main)
    run_turns(loop)
    assert seen == ["unset", "set", "unset"]


def test_a_reader_keeps_the_context_in_which_it_was_added(loop: Loop) -> None:
    seen: list[object] = []

    def readable() -> None:
        near.recv(1)
        seen.append(value())
        variable.set(len(seen))

    with socket_pair() as (near, far):
        in_context("of add_reader").run(loop.add_reader, near, readable)
        for _ in range(3):
            far.send(b"x")
            run_turns(loop)
        loop.remove_reader(near)
    # One handle, one context: what it sets stays for its next run.
    assert seen == ["of add_reader", 1, 2]


async def test_the_callbacks_of_one_connection_share_the_context_of_its_making(loop: Loop) -> None:
    seen: list[tuple[str, object]] = []

    class Protocol(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            seen.append(("made", value()))

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            seen.append(("data", value()))
            variable.set(data)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            seen.append(("lost", value()))

    with socket_pair() as (near, far):
        variable.set("of the maker")
        protocol = Protocol()
        await loop.create_unix_connection(lambda: protocol, sock=near)
        variable.set("changed after")
        far.send(b"1")
        await protocol.wait_data(1)
        far.send(b"2")
        await protocol.wait_data(2)
        far.close()
        await protocol.wait_lost()
    assert seen[0] == ("made", "of the maker")
    assert seen[1] == ("data", "of the maker")
    # The reader is one handle; what it set, it sees again.
    assert seen[2] == ("data", b"1")
    assert seen[3][0] == "lost"


async def test_a_server_accepts_in_the_context_in_which_it_was_started(loop: Loop) -> None:
    seen: list[object] = []

    class Protocol(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            seen.append(value())
            variable.set("of one connection")
            self.transport.write(b"x")

    variable.set("of the server")
    server = await loop.create_server(Protocol, sock=listening())
    variable.set("changed after")
    address = server.sockets[0].getsockname()
    for _ in range(2):
        _, client = await loop.create_connection(Recorder, *address)
        await client.wait_data(1)
        client.transport.abort()
    server.close()
    await until(lambda: len(seen) == 2)
    assert seen[0] == "of the server"


def test_a_task_of_a_thread_has_the_threads_context(loop: Loop) -> None:
    seen: list[object] = []

    async def main() -> None:
        seen.append(value())

    def work() -> None:
        variable.set("of the thread")
        asyncio.run_coroutine_threadsafe(main(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=work)
    thread.start()
    loop.run_forever()
    thread.join()
    assert seen == ["of the thread"]


async def test_an_executors_function_is_not_in_the_callers_context(loop: Loop) -> None:
    variable.set("of the caller")
    # The executor's thread begins with the context of the thread that starts it, if Python is configured so.
    inherits = getattr(sys.flags, "thread_inherit_context", 0)
    seen = await loop.run_in_executor(None, value)
    assert seen == ("of the caller" if inherits else "unset")
    assert await asyncio.to_thread(value) == "of the caller"


class Farewell:
    """Does something when it is destroyed."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def __del__(self) -> None:
        self._act()


@pytest.mark.parametrize("how", ["call_soon", "call_later", "future", "stop"])
def test_what_the_last_owner_of_a_context_queues_ends_the_wait(loop: Loop, how: str) -> None:
    seen: list[str] = []
    woken = loop.create_future()

    def act() -> None:
        if how == "call_soon":
            loop.call_soon(loop.stop)
        elif how == "call_later":
            loop.call_later(0.001, loop.stop)
        elif how == "future":
            woken.set_result(None)
        else:
            loop.stop()

    def begin() -> None:
        variable.set(Farewell(act))
        loop.call_soon(seen.append, "ran")

    woken.add_done_callback(lambda _: loop.stop())
    loop.call_soon(contextvars.Context().run, begin)
    rescue = loop.call_later(20, seen.append, "too late")
    loop.call_later(20, loop.stop)
    loop.run_forever()
    assert seen == ["ran"]
    rescue.cancel()


def test_a_loop_that_was_stopped_keeps_no_context_alive(loop: Loop) -> None:
    destroyed: list[bool] = []

    def begin() -> None:
        variable.set(Farewell(lambda: destroyed.append(True)))
        loop.call_soon(loop.stop)

    loop.call_soon(contextvars.Context().run, begin)
    loop.run_forever()
    assert destroyed
