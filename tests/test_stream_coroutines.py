"""What the native streams' coroutines are beside the bytes they return: asyncio's in every way."""

from __future__ import annotations

import asyncio
import collections.abc
import gc
import inspect
import weakref
from types import ModuleType
from typing import Any

import pytest

from support.loops import run

Loop = asyncio.AbstractEventLoop


def test_the_classes_are_asyncios(loop: Loop, streams: ModuleType) -> None:
    async def main() -> None:
        reader = streams.StreamReader(loop=loop)
        protocol = streams.StreamReaderProtocol(reader, loop=loop)
        assert isinstance(reader, asyncio.StreamReader)
        assert isinstance(protocol, asyncio.StreamReaderProtocol)
        assert issubclass(streams.StreamWriter, asyncio.StreamWriter)

    run(loop, main())


def test_a_reading_coroutine_is_taken_for_one(loop: Loop, streams: ModuleType) -> None:
    async def main() -> None:
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

    run(loop, main())


def test_nothing_happens_before_a_coroutine_is_awaited(loop: Loop, streams: ModuleType) -> None:
    async def main() -> None:
        reader = streams.StreamReader(loop=loop)
        first, second = reader.readexactly(1), reader.readexactly(1)
        reader.feed_data(b"12")
        assert await second == b"1"
        assert await first == b"2"

    run(loop, main())


def test_a_coroutine_runs_once(loop: Loop, streams: ModuleType) -> None:
    async def main() -> None:
        reader = streams.StreamReader(loop=loop)
        reader.feed_data(b"12")
        coroutine = reader.read(1)
        assert await coroutine == b"1"
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coroutine
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            coroutine.throw(LookupError())
        assert coroutine.close() is None

    run(loop, main())


def test_a_coroutine_can_be_driven_by_hand(loop: Loop, streams: ModuleType) -> None:
    async def main() -> None:
        reader = streams.StreamReader(loop=loop)
        coroutine = reader.read(9)
        with pytest.raises(
            TypeError, match="can't send non-None value to a just-started coroutine"
        ):
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

    run(loop, main())


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_what_is_thrown_may_be_a_class_or_an_instance(loop: Loop, streams: ModuleType) -> None:
    async def main() -> None:
        reader = streams.StreamReader(loop=loop)
        for thrown in (LookupError, LookupError("with a text")):
            coroutine = reader.readline()
            coroutine.send(None)
            with pytest.raises(LookupError):
                coroutine.throw(thrown)
            coroutine = reader.readline()
            with pytest.raises(LookupError):
                coroutine.throw(thrown)

    run(loop, main())


@pytest.mark.parametrize("name", ["readline", "drain"])
def test_a_coroutine_that_nobody_awaits_warns(loop: Loop, streams: ModuleType, name: str) -> None:
    async def main() -> None:
        reader = streams.StreamReader(loop=loop)
        if name == "drain":
            protocol = streams.StreamReaderProtocol(reader, loop=loop)
            holder = streams.StreamWriter(asyncio.Transport(), protocol, reader, loop)
            holder._transport = Closed()
        else:
            holder = reader
        with pytest.warns(RuntimeWarning, match=f"coroutine 'Stream.*{name}' was never awaited"):
            getattr(holder, name)()

    run(loop, main())


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


def test_an_overridden_method_is_called_by_the_others(loop: Loop, streams: ModuleType) -> None:
    class Reader(streams.StreamReader):  # type: ignore[name-defined,misc]  # a module of the test
        async def readuntil(self, separator: Any = b"\n") -> bytes:
            found: bytes = await super().readuntil(separator)
            return b"overridden " + found

    async def main() -> None:
        reader = Reader(loop=loop)
        reader.feed_data(b"line\n")
        assert await reader.readline() == b"overridden line\n"

    run(loop, main())


def test_arguments_are_refused_as_by_asyncio(loop: Loop, streams: ModuleType) -> None:
    async def main() -> None:
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

    run(loop, main())
