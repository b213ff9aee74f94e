"""What programs, mocks and tracing packages see of streams, and replace in them: as on asyncio's."""

from __future__ import annotations

import asyncio
import inspect
import socket
import sys
import types
import unittest.mock
import warnings
from types import ModuleType
from typing import Any

import pytest

import ferroloop
from support.loops import run, until
from support.net.sockets import Pair

Loop = asyncio.AbstractEventLoop

METHODS = ("read", "readexactly", "readline", "readuntil")


async def opened(streams: Any, near: socket.socket) -> tuple[Any, Any]:
    unix = near.family == socket.AF_UNIX
    connect = streams.open_unix_connection if unix else streams.open_connection
    pair: tuple[Any, Any] = await connect(sock=near)
    return pair


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


def needs_functions(streams: ModuleType) -> None:
    if sys.version_info[:2] == (3, 11) and streams is not asyncio:
        pytest.skip("3.11 runs the code of a function whatever stands behind it")


def test_methods_are_coroutine_functions(streams: ModuleType) -> None:
    needs_functions(streams)
    found = [getattr(streams.StreamReader, name) for name in METHODS]
    found.append(streams.StreamWriter.drain)
    for method in found:
        assert inspect.iscoroutinefunction(method)
        assert inspect.isfunction(method)
        assert method.__doc__
        theirs = getattr(asyncio, method.__qualname__.partition(".")[0])
        assert inspect.signature(method) == inspect.signature(getattr(theirs, method.__name__))


def test_bound_methods_are_coroutine_functions(loop: Loop, streams: ModuleType) -> None:
    needs_functions(streams)

    async def main() -> None:
        reader = streams.StreamReader(loop=loop)
        assert all(inspect.iscoroutinefunction(getattr(reader, name)) for name in METHODS)

    run(loop, main())


def test_a_mock_of_a_reader_is_awaited(loop: Loop, streams: ModuleType) -> None:
    needs_functions(streams)
    mock = unittest.mock.create_autospec(streams.StreamReader, instance=True)
    mock.readline.return_value = b"a line\n"
    assert isinstance(unittest.mock.Mock(spec=streams.StreamReader).read, unittest.mock.AsyncMock)

    async def main() -> None:
        assert await mock.readline() == b"a line\n"

    run(loop, main())


def test_functions_take_a_reader_of_another_class(loop: Loop, streams: ModuleType) -> None:
    needs_functions(streams)

    async def main() -> None:
        reader = asyncio.StreamReader(loop=loop)
        reader.feed_data(b"one\ntwo\n3three;")
        reading: Any = streams.StreamReader
        assert await reading.readline(reader) == b"one\n"
        assert await reading.readuntil(reader, b"\n") == b"two\n"
        assert await reading.readexactly(reader, n=1) == b"3"
        assert await reading.readuntil(self=reader, separator=b";") == b"three;"
        with pytest.raises(TypeError):
            reading.read()

    run(loop, main())


def test_a_replaced_feed_data_is_called(loop: Loop, streams: ModuleType, pair: Pair) -> None:
    near, far = pair

    async def main() -> None:
        reader, writer = await opened(streams, near)
        original, seen = reader.feed_data, []

        def feed_data(data: bytes) -> None:
            seen.append(bytes(data))
            original(data.upper())

        reader.feed_data = feed_data
        far.send(b"one\n")
        assert await reader.readline() == b"ONE\n"
        waiting = asyncio.ensure_future(reader.readexactly(3))
        await asyncio.sleep(0)
        far.send(b"two")
        assert await waiting == b"TWO"
        del reader.feed_data
        far.send(b"rest")
        assert await reader.readexactly(4) == b"rest"
        assert seen == [b"one\n", b"two"]
        await close(writer)

    run(loop, main())


def test_a_replaced_data_received_is_called(loop: Loop, streams: ModuleType, pair: Pair) -> None:
    near, far = pair

    async def main() -> None:
        reader, writer = await opened(streams, near)
        protocol = writer.transport.get_protocol()
        original, seen = protocol.data_received, []

        def data_received(data: bytes) -> None:
            seen.append(bytes(data))
            original(data)

        protocol.data_received = data_received
        far.send(b"one\n")
        assert await reader.readline() == b"one\n"
        assert seen == [b"one\n"]
        await close(writer)

    run(loop, main())


def test_a_mocked_feed_data_is_called_and_put_back(
    loop: Loop, streams: ModuleType, pair: Pair
) -> None:
    near, far = pair

    async def main() -> None:
        reader, writer = await opened(streams, near)
        with unittest.mock.patch.object(reader, "feed_data") as mock:
            far.send(b"lost")
            await until(lambda: mock.called)
        mock.assert_called_once_with(b"lost")
        far.send(b"kept")
        assert await reader.readexactly(4) == b"kept"
        await close(writer)

    run(loop, main())


def test_a_replaced_readuntil_is_what_readline_calls(loop: Loop, streams: ModuleType) -> None:
    async def main() -> None:
        reader = streams.StreamReader(loop=loop)
        reader.feed_data(b"one\n")
        seen = []

        async def readuntil(separator: bytes = b"\n") -> bytes:
            seen.append(separator)
            return b"replaced"

        reader.readuntil = readuntil
        assert await reader.readline() == b"replaced"
        assert seen == [b"\n"]

    run(loop, main())


def test_a_replaced_drain_helper_is_called(loop: Loop, streams: ModuleType, pair: Pair) -> None:
    near, _ = pair

    async def main() -> None:
        _, writer = await opened(streams, near)
        called = []

        async def drain_helper() -> None:
            called.append(True)

        writer.transport.get_protocol()._drain_helper = drain_helper
        await writer.drain()
        assert called == [True]
        await close(writer)

    run(loop, main())


def test_debug_mode_tells_where_a_forgotten_coroutine_was_made(
    loop: Loop, streams: ModuleType
) -> None:
    if streams is not asyncio and not isinstance(loop, ferroloop.Loop):
        pytest.skip("native streams do not ask a loop of another kind whether it is in debug mode")
    loop.set_debug(True)

    async def main() -> None:
        reader = streams.StreamReader(loop=loop)
        coroutine = reader.readline()
        assert type(coroutine) is types.CoroutineType
        assert coroutine.cr_frame is not None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del coroutine
        text = str(caught[0].message)
        assert "StreamReader.readline' was never awaited" in text
        assert "Coroutine created at" in text
        assert __file__ in text
        reader.feed_data(b"a line\n")
        assert await reader.readline() == b"a line\n"

    run(loop, main())


class Kept:
    """Has attributes set by the method of `object`, as a class with a `__setattr__` of its own does."""

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def test_attributes_can_be_set_by_the_method_of_object(loop: Loop, streams: ModuleType) -> None:
    async def main() -> None:
        derived = type("Reader", (Kept, streams.StreamReader), {})(loop=loop)
        derived.feed_data(b"a line\n")
        assert await derived.readline() == b"a line\n"
        reader = streams.StreamReader(loop=loop)
        protocol = streams.StreamReaderProtocol(reader, loop=loop)
        for one in (reader, protocol):
            object.__setattr__(one, "own", 1)
            assert one.own == 1
            object.__delattr__(one, "own")
            assert not hasattr(one, "own")
            with pytest.raises(AttributeError):
                del one.own

    run(loop, main())
