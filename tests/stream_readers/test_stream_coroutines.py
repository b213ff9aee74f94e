"""The coroutines of native streams behave as asyncio's: send, throw, close, repr, warnings."""

from __future__ import annotations

import asyncio
import collections.abc
import gc
import inspect
import sys
import warnings
import weakref
from types import ModuleType
from typing import Any

import pytest

from support.loops import run

Loop = asyncio.AbstractEventLoop


async def test_the_classes_are_asyncios(loop: Loop, streams: ModuleType) -> None:
    reader = streams.StreamReader(loop=loop)
    protocol = streams.StreamReaderProtocol(reader, loop=loop)
    assert isinstance(reader, asyncio.StreamReader)
    assert isinstance(protocol, asyncio.StreamReaderProtocol)
    assert issubclass(streams.StreamWriter, asyncio.StreamWriter)


async def test_a_reading_coroutine_is_taken_for_one(loop: Loop, streams: ModuleType) -> None:
    reader = streams.StreamReader(loop=loop)
    reader.feed_data(b"one\ntwo\nthree\nfour\n")
    coroutine: Any = reader.readline()
    assert asyncio.iscoroutine(coroutine)
    assert inspect.isawaitable(coroutine)
    assert isinstance(coroutine, collections.abc.Coroutine)
    named: Any = coroutine
    assert named.__name__ == "readline"
    assert named.__qualname__ == "StreamReader.readline"
    assert repr(coroutine).startswith("<coroutine object StreamReader.readline at 0x")
    assert await coroutine == b"one\n"
    assert await asyncio.wait_for(reader.readline(), 10) == b"two\n"
    assert await loop.create_task(reader.readline()) == b"three\n"
    assert (await asyncio.gather(reader.readline()))[0] == b"four\n"


async def test_nothing_happens_before_a_coroutine_is_awaited(
    loop: Loop, streams: ModuleType
) -> None:
    reader = streams.StreamReader(loop=loop)
    first, second = reader.readexactly(1), reader.readexactly(1)
    reader.feed_data(b"12")
    assert await second == b"1"
    assert await first == b"2"


async def test_a_coroutine_runs_once(loop: Loop, streams: ModuleType) -> None:
    reader = streams.StreamReader(loop=loop)
    reader.feed_data(b"12")
    coroutine = reader.read(1)
    assert await coroutine == b"1"
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await coroutine
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        coroutine.throw(LookupError())
    assert coroutine.close() is None


async def test_a_coroutine_can_be_driven_by_hand(loop: Loop, streams: ModuleType) -> None:
    reader = streams.StreamReader(loop=loop)
    coroutine = reader.read(9)
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        coroutine.send(1)
    waiter = coroutine.send(None)
    assert asyncio.isfuture(waiter)
    assert not waiter.done()
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        coroutine.send(None)

    coroutine = reader.read(9)
    coroutine.send(None)
    with pytest.raises(LookupError, match="thrown"):
        coroutine.throw(LookupError("thrown"))

    coroutine = reader.read(9)
    coroutine.send(None)
    coroutine.close()

    reader.feed_data(b"data")
    with pytest.raises(StopIteration) as caught:
        reader.read(9).send(None)
    assert caught.value.value == b"data"


@pytest.mark.filterwarnings("error::DeprecationWarning")
async def test_what_is_thrown_may_be_a_class_or_an_instance(
    loop: Loop, streams: ModuleType
) -> None:
    reader = streams.StreamReader(loop=loop)
    for thrown in (LookupError, LookupError("with a text")):
        coroutine = reader.readline()
        coroutine.send(None)
        with pytest.raises(LookupError):
            coroutine.throw(thrown)
        coroutine = reader.readline()
        with pytest.raises(LookupError):
            coroutine.throw(thrown)


@pytest.mark.parametrize("name", ["readline", "drain"])
async def test_a_coroutine_that_is_never_awaited_warns(
    loop: Loop, streams: ModuleType, name: str
) -> None:
    reader = streams.StreamReader(loop=loop)
    if name == "drain":
        protocol = streams.StreamReaderProtocol(reader, loop=loop)
        holder = streams.StreamWriter(asyncio.Transport(), protocol, reader, loop)
        holder._transport = Closed()
    else:
        holder = reader
    with pytest.warns(RuntimeWarning, match=f"coroutine 'Stream.*{name}' was never awaited"):
        getattr(holder, name)()


class Keeper:
    """Has its finalizer keep what is garbage too."""

    coroutine: Any
    itself: Any

    def __init__(self, kept: list[Any]) -> None:
        self.kept = kept

    def __del__(self) -> None:
        self.kept.append(self.coroutine)


def test_the_collector_tells_of_it_though_a_finalizer_keeps_it(
    loop: Loop, streams: ModuleType
) -> None:
    kept: list[Any] = []

    async def main() -> bytes:
        reader = streams.StreamReader(loop=loop)
        reader.feed_data(b"line\n")
        keeper = Keeper(kept)
        keeper.coroutine = reader.readline()
        keeper.itself = keeper
        del keeper
        with pytest.warns(RuntimeWarning, match="readline' was never awaited"):
            gc.collect()
        # It can still be awaited, and is told of once.
        line: bytes = await kept.pop()
        return line

    assert run(loop, main()) == b"line\n"
    gc.collect()


async def test_the_hook_is_told_which_coroutine_warned(
    loop: Loop, streams: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def hook(unraisable: Any) -> None:
        told.append(f"{unraisable.exc_value!r} {unraisable.err_msg} {unraisable.object!r}")

    reader = streams.StreamReader(loop=loop)
    monkeypatch.setattr(sys, "unraisablehook", hook)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for _ in range(3):
            reader.readline()
    monkeypatch.undo()
    assert len(told) == 3
    for text in told:
        assert "never awaited" in text
        assert "<coroutine object StreamReader.readline at" in text


class Closed(asyncio.Transport):
    """A transport that a writer has nothing to do for at its end."""

    def is_closing(self) -> bool:
        return True


def test_a_reader_and_its_task_are_freed_without_the_collector(
    loop: Loop, streams: ModuleType
) -> None:
    async def main() -> weakref.ref[Any]:
        reader = streams.StreamReader(loop=loop)
        task = loop.create_task(reader.readline())
        await asyncio.sleep(0)
        reader.feed_data(b"line\n")
        assert await task == b"line\n"
        return weakref.ref(reader)

    gc.disable()
    try:
        assert run(loop, main())() is None
    finally:
        gc.enable()


def test_a_cycle_through_a_waiting_coroutine_is_collected(loop: Loop, streams: ModuleType) -> None:
    async def main() -> weakref.ref[Any]:
        reader = streams.StreamReader(loop=loop)
        reader.owner = reader.readline()
        reader.owner.send(None)
        return weakref.ref(reader)

    reference = run(loop, main())
    gc.collect()
    assert reference() is None


async def test_an_overridden_method_is_called_by_the_others(
    loop: Loop, streams: ModuleType
) -> None:
    class Reader(streams.StreamReader):  # type: ignore[name-defined,misc]  # a module of the test
        async def readuntil(self, separator: Any = b"\n") -> bytes:
            found: bytes = await super().readuntil(separator)
            return b"overridden " + found

    reader = Reader(loop=loop)
    reader.feed_data(b"line\n")
    assert await reader.readline() == b"overridden line\n"


async def test_arguments_are_refused_as_by_asyncio(loop: Loop, streams: ModuleType) -> None:
    reader = streams.StreamReader(loop=loop)
    calls: tuple[tuple[Any, tuple[int, ...], dict[str, int]], ...] = (
        (reader.readexactly, (), {}),
        (reader.readline, (1,), {}),
        (reader.read, (1, 2), {}),
        (reader.read, (), {"m": 1}),
        (reader.feed_data, (), {}),
        (streams.StreamReader, (0,), {}),
    )
    for call, args, kwargs in calls:
        with pytest.raises((TypeError, ValueError)) as caught:
            call(*args, **kwargs)
        assert str(caught.value)
    with pytest.raises(ValueError, match="readexactly size can not be less than zero"):
        await reader.readexactly(-1)
    with pytest.raises(ValueError, match="Separator should be at least one-byte string"):
        await reader.readuntil(b"")


async def test_a_finished_coroutine_keeps_nothing_alive(loop: Loop, streams: ModuleType) -> None:
    reader = streams.StreamReader(loop=loop)
    reader.feed_data(b"some\nbytes")
    task = loop.create_task(reader.readline())
    await task
    closed = reader.readexactly(100)
    closed.send(None)
    closed.close()
    thrown = reader.read(1)
    with pytest.raises(LookupError):
        thrown.throw(LookupError)
    reference = weakref.ref(reader)
    del reader
    assert reference() is None
    assert task.result() == b"some\n"


async def test_a_waiting_coroutine_that_is_dropped_gives_its_place_up(
    loop: Loop, streams: ModuleType
) -> None:
    reader = streams.StreamReader(loop=loop)
    waiting = reader.readline()
    waiting.send(None)
    del waiting
    task = loop.create_task(reader.read(5))
    await asyncio.sleep(0)
    reader.feed_data(b"data")
    assert await task == b"data"


@pytest.mark.parametrize("method", ["readexactly", "readuntil", "readline"])
@pytest.mark.parametrize("event", ["end", "limit"])
async def test_an_exception_set_after_the_wait_does_not_hide_what_came_before(
    loop: Loop, streams: ModuleType, method: str, event: str
) -> None:
    arguments: dict[str, tuple[Any, ...]] = {"readexactly": (9,), "readuntil": (b"z",)}

    async def outcome(module: Any) -> tuple[object, bytes]:
        reader = module.StreamReader(limit=4, loop=loop)
        task = loop.create_task(getattr(reader, method)(*arguments.get(method, ())))
        await asyncio.sleep(0)
        reader.feed_data(b"abc" if event == "end" else b"abcdefghijkl")
        if event == "end":
            reader.feed_eof()
        reader.set_exception(ArithmeticError("too late"))
        try:
            result: object = await task
        except Exception as exc:
            result = repr(exc)
        return result, bytes(reader._buffer)

    assert await outcome(streams) == await outcome(asyncio)


async def test_who_has_the_buffer_sees_what_comes(loop: Loop, streams: ModuleType) -> None:
    reader = streams.StreamReader(loop=loop)
    buffer = reader._buffer
    reader.feed_data(b"hello")
    assert bytes(buffer) == b"hello"
    assert await reader.read(9) == b"hello"
    view = memoryview(buffer)
    with pytest.raises(BufferError):
        reader.feed_data(b"more")
    view.release()
    reader.feed_data(b"again")
    assert await reader.read(9) == b"again"


async def test_a_set_invalid_state_error_stays_one(loop: Loop, streams: ModuleType) -> None:
    reader = streams.StreamReader(loop=loop)
    task = loop.create_task(reader.read(5))
    await asyncio.sleep(0)
    reader.set_exception(asyncio.InvalidStateError("mine"))
    with pytest.raises(asyncio.InvalidStateError, match="mine"):
        await task


async def test_a_waiter_that_another_read_replaced_tells_its_own_end(
    loop: Loop, streams: ModuleType
) -> None:
    reader = streams.StreamReader(loop=loop)
    first = reader.read(5)
    first.send(None).cancel()
    reader.feed_data(b"x")
    reader._buffer.clear()
    second = reader.read(5)
    second.send(None)
    reader.feed_data(b"y")
    with pytest.raises(asyncio.CancelledError):
        first.send(None)
    second.close()


async def test_a_coroutine_is_awaited_by_one(loop: Loop, streams: ModuleType) -> None:
    reader = streams.StreamReader(loop=loop)
    shared = reader.read(5)

    async def wait() -> bytes:
        result: bytes = await shared
        return result

    first, second = loop.create_task(wait()), loop.create_task(wait())
    await asyncio.sleep(0)
    reader.feed_data(b"x")
    with pytest.raises(RuntimeError, match="coroutine is being awaited already"):
        await second
    assert await first == b"x"


async def test_an_odd_limit_pauses_and_resumes(loop: Loop, streams: ModuleType) -> None:
    seen: list[str] = []

    class Transport(asyncio.Transport):
        def pause_reading(self) -> None:
            seen.append("pause")

        def resume_reading(self) -> None:
            seen.append("resume")

    reader = streams.StreamReader(limit=2.5, loop=loop)
    reader.set_transport(Transport())
    reader.feed_data(bytes(10))
    assert await reader.read(9) == bytes(9)
    assert seen == ["pause", "resume"]


async def test_a_derived_protocol_decides_about_draining(loop: Loop, streams: ModuleType) -> None:
    class Protocol(streams.StreamReaderProtocol):  # type: ignore[name-defined,misc]  # a module of the test
        async def _drain_helper(self) -> None:
            raise LookupError("asked")

    class Transport(asyncio.Transport):
        closing = False

        def is_closing(self) -> bool:
            return self.closing

    reader = streams.StreamReader(loop=loop)
    transport = Transport()
    writer = streams.StreamWriter(transport, Protocol(reader, loop=loop), reader, loop)
    with pytest.raises(LookupError, match="asked"):
        await writer.drain()
    transport.closing = True
