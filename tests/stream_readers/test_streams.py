"""Streams on the loop: asyncio's own, which most programs use, and ferroloop's."""

from __future__ import annotations

import asyncio
import socket
from types import ModuleType
from typing import Any

import pytest

from support.loops import PATIENCE, run, until
from support.net.sockets import Pair, reset, tcp_pair

Loop = asyncio.AbstractEventLoop


async def open_stream(
    streams: Any, near: socket.socket, limit: int = 1 << 16
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    unix = near.family == socket.AF_UNIX
    connect = streams.open_unix_connection if unix else streams.open_connection
    reader, writer = await connect(sock=near, limit=limit)
    assert type(reader) is streams.StreamReader
    assert type(writer) is streams.StreamWriter
    return reader, writer


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def test_every_way_to_read(loop: Loop, streams: ModuleType, pair: Pair) -> None:
    near, far = pair

    reader, writer = await open_stream(streams, near)
    far.send(b"line\nfour" + b"upto;rest")
    assert await reader.readline() == b"line\n"
    assert await reader.readexactly(4) == b"four"
    assert await reader.readuntil(b";") == b"upto;"
    assert await reader.read(2) == b"re"
    assert await reader.read(100) == b"st"
    assert not reader.at_eof()
    far.send(b"tail")
    far.shutdown(socket.SHUT_WR)
    assert await reader.read() == b"tail"
    assert reader.at_eof()
    assert await reader.readline() == b""
    await close(writer)


async def test_waiting_readers_are_woken_by_data_and_by_the_end(
    loop: Loop, streams: ModuleType, pair: Pair
) -> None:
    near, far = pair

    reader, writer = await open_stream(streams, near)
    waiting = loop.create_task(reader.readline())
    await asyncio.sleep(0)
    far.send(b"half")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    far.send(b" and half\n")
    assert await waiting == b"half and half\n"
    waiting = loop.create_task(reader.readline())
    await asyncio.sleep(0)
    far.shutdown(socket.SHUT_WR)
    assert await waiting == b""
    await close(writer)


async def test_the_readers_errors_are_asyncios(loop: Loop, streams: ModuleType, pair: Pair) -> None:
    near, far = pair

    reader, writer = await open_stream(streams, near, limit=16)
    far.send(b"x" * 60 + b"\n")
    with pytest.raises(ValueError, match="longer than limit|exceed"):
        await reader.readline()
    far.send(b"abc")
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await reader.readexactly(1000)
    assert caught.value.expected == 1000
    await close(writer)


async def test_two_readers_at_once_are_refused(loop: Loop, streams: ModuleType, pair: Pair) -> None:
    near, _ = pair

    reader, writer = await open_stream(streams, near)
    first = loop.create_task(reader.read(1))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="called while another coroutine is already waiting"):
        await reader.read(1)
    first.cancel()
    await close(writer)


async def test_the_reader_stops_the_sender_at_twice_its_limit(
    loop: Loop, streams: ModuleType, pair: Pair
) -> None:
    near, far = pair
    far.setblocking(True)
    size = 3_000_000

    reader, writer = await open_stream(streams, near, limit=1000)
    sending = loop.run_in_executor(None, far.sendall, bytes(size))
    await until(lambda: not transport_of(writer).is_reading())
    assert not sending.done()
    received = 0
    while received < size:
        received += len(await reader.read(100_000))
    await sending
    assert received == size
    await close(writer)


def transport_of(writer: asyncio.StreamWriter) -> Any:
    return writer.transport


def test_a_reset_reaches_the_reader(loop: Loop, streams: ModuleType) -> None:
    async def main(near: socket.socket, far: socket.socket) -> None:
        reader, writer = await open_stream(streams, near)
        waiting = loop.create_task(reader.read(1))
        await asyncio.sleep(0)
        reset(far)
        with pytest.raises(ConnectionResetError):
            await waiting
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        writer.close()
        with pytest.raises(ConnectionResetError):
            await writer.wait_closed()

    with tcp_pair() as (near, far):
        run(loop, main(near, far))


async def test_drain_after_the_end_says_so(loop: Loop, streams: ModuleType, pair: Pair) -> None:
    near, far = pair

    reader, writer = await open_stream(streams, near)
    far.close()
    assert await reader.read() == b""
    # The peer may have closed one direction only: that he is gone shows in writing.
    assert not writer.transport.is_closing()
    deadline = loop.time() + PATIENCE
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        while loop.time() < deadline:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0)
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass


async def test_an_echo_server_serves_many_clients(loop: Loop, streams: ModuleType) -> None:
    clients, lines = 40, 25

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def client(address: tuple[str, int], number: int) -> None:
        reader, writer = await streams.open_connection(*address)
        for line in range(lines):
            text = b"client %d line %d\n" % (number, line)
            writer.write(text)
            assert await reader.readline() == text
        await close(writer)

    server = await streams.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    await asyncio.gather(*(client(address, number) for number in range(clients)))
    server.close()
    await server.wait_closed()


async def test_a_servers_callback_that_fails_is_reported(
    loop: Loop, streams: ModuleType, reports: list[Any]
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)
            raise LookupError("in the callback")
        finally:
            writer.close()

    server = await streams.start_server(serve, "127.0.0.1", 0)
    reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x")
    assert await reader.read() == b""
    await close(writer)
    await until(lambda: reports)
    server.close()
    assert isinstance(reports.pop()["exception"], LookupError)


async def test_half_a_connection_can_be_closed(loop: Loop, streams: ModuleType) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read()
        writer.write(b"%d bytes" % len(everything))
        await close(writer)

    server = await streams.start_server(serve, "127.0.0.1", 0)
    reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
    writer.write(bytes(1_000_000))
    writer.write_eof()
    assert await reader.read() == b"1000000 bytes"
    await close(writer)
    server.close()


async def test_a_subclassed_reader_sees_feed_data_and_feed_eof(
    loop: Loop, streams: ModuleType, pair: Pair
) -> None:
    near, far = pair
    seen: list[object] = []

    class Reader(streams.StreamReader):  # type: ignore[name-defined,misc]  # a module of the test
        def feed_data(self, data: Any) -> None:
            seen.append(bytes(data))
            super().feed_data(data)

        def feed_eof(self) -> None:
            seen.append("eof")
            super().feed_eof()

    reader = Reader(loop=loop)
    protocol = streams.StreamReaderProtocol(reader, loop=loop)
    connect = (
        loop.create_unix_connection if near.family == socket.AF_UNIX else loop.create_connection
    )
    transport, _ = await connect(lambda: protocol, sock=near)
    far.send(b"data")
    assert await reader.readexactly(4) == b"data"
    far.close()
    assert await reader.read() == b""
    transport.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    # The end is fed when it is read and once more when the connection is lost.
    assert seen[:2] == [b"data", "eof"]
    assert set(seen[2:]) <= {"eof"}


async def test_cancelling_a_read_loses_no_data(loop: Loop, streams: ModuleType, pair: Pair) -> None:
    near, far = pair

    reader, writer = await open_stream(streams, near)
    for number in range(50):
        task = loop.create_task(reader.readexactly(4))
        await asyncio.sleep(0)
        far.send(b"%04d" % number)
        if number % 2:
            await asyncio.sleep(0)
        task.cancel()
        try:
            got = await task
        except asyncio.CancelledError:
            got = await reader.readexactly(4)
        assert got == b"%04d" % number
    await close(writer)
