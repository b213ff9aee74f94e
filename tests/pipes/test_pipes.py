"""connect_read_pipe and connect_write_pipe: data, flow control, closing, errors."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from typing import Any

import pytest

from support.loops import Factory, run, turns, until
from support.net.pipes import emptied, opened, reading, writing
from support.net.protocols import Recorder

Loop = asyncio.AbstractEventLoop


async def test_a_reader_gets_data_then_the_end(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await reading(r)
    assert isinstance(transport, asyncio.ReadTransport)
    assert transport.get_protocol() is protocol
    os.write(w, b"one")
    await protocol.wait_data(3)
    os.write(w, b"two")
    os.close(w)
    assert await protocol.wait_lost() is None
    assert bytes(protocol.data) == b"onetwo"
    assert protocol.events[0] == "connection_made"
    assert protocol.events[-2:] == ["eof_received", "connection_lost"]
    assert transport.is_closing()


async def test_more_than_one_read_arrives_whole(loop: Loop) -> None:
    r, w = os.pipe()
    _, protocol = await reading(r)
    writer, _ = await writing(w)
    data = os.urandom(1 << 20)
    writer.write(data)
    writer.close()
    assert await protocol.wait_lost() is None
    assert bytes(protocol.data) == data


async def test_what_was_written_before_the_writer_left_is_delivered(loop: Loop) -> None:
    r, w = os.pipe()
    os.write(w, b"x" * 5000)
    os.close(w)
    _, protocol = await reading(r)
    assert await protocol.wait_lost() is None
    assert len(protocol.data) == 5000


async def test_a_paused_reader_gets_nothing_until_it_resumes(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await reading(r)
    transport.pause_reading()
    transport.pause_reading()
    os.write(w, b"later")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not protocol.data
    transport.resume_reading()
    transport.resume_reading()
    assert await protocol.wait_data(5) == b"later"
    transport.pause_reading()
    os.write(w, b"!")
    os.close(w)
    await turns()
    assert not protocol.is_lost
    transport.resume_reading()
    await protocol.wait_lost()
    assert bytes(protocol.data) == b"later!"


async def test_pausing_inside_data_received_holds_the_rest_back(loop: Loop) -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    r, w = os.pipe()
    os.write(w, b"first")
    transport, protocol = await reading(r, Pausing())
    await protocol.wait_data(5)
    os.write(w, b"second")
    await turns()
    assert bytes(protocol.data) == b"first"
    transport.resume_reading()
    await protocol.wait_data(11)
    transport.close()
    await protocol.wait_lost()
    os.close(w)


async def test_closing_a_reader_closes_the_pipe_once(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await reading(r)
    pipe = transport.get_extra_info("pipe")
    assert pipe.fileno() == r
    transport.close()
    transport.close()
    assert not pipe.closed, "connection_lost comes through the queue"
    await protocol.wait_lost()
    await asyncio.sleep(0)
    assert pipe.closed
    assert transport.get_extra_info("pipe") is pipe
    assert transport.get_extra_info("nothing", 7) == 7
    assert protocol.events.count("connection_lost") == 1
    os.close(w)


async def test_a_writer_writes_at_once(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await writing(w)
    assert isinstance(transport, asyncio.WriteTransport)
    transport.write(b"ab")
    assert emptied(r) == b"ab"
    transport.write(bytearray(b"cd"))
    transport.write(memoryview(b"ef"))
    transport.write(b"")
    transport.writelines([b"g", bytearray(b"h")])
    assert emptied(r) == b"cdefgh"
    assert transport.get_write_buffer_size() == 0
    assert transport.can_write_eof()
    transport.write_eof()
    assert transport.is_closing()
    assert await protocol.wait_lost() is None
    os.close(r)


async def test_a_full_pipe_pauses_and_an_empty_one_resumes(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await writing(w)
    transport.set_write_buffer_limits(high=1000)
    assert transport.get_write_buffer_limits() == (250, 1000)
    data = bytearray(os.urandom(300_000))
    transport.write(data)
    sent = bytes(data)
    data.clear()
    assert transport.get_write_buffer_size() > 1000
    assert protocol.events == ["connection_made", "pause_writing"]
    got = b""
    while len(got) < len(sent):
        got += emptied(r)
        await asyncio.sleep(0)
    assert got == sent
    await until(lambda: protocol.events[-1] == "resume_writing")
    assert transport.get_write_buffer_size() == 0
    transport.close()
    await protocol.wait_lost()
    assert protocol.events.count("pause_writing") == 1
    os.close(r)


async def test_closing_a_writer_sends_what_is_left_first(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await writing(w)
    transport.write(b"x" * 200_000)
    transport.close()
    transport.write(b"ignored")
    _, reader = await reading(r)
    assert await protocol.wait_lost() is None
    await reader.wait_lost()
    assert len(reader.data) == 200_000


async def test_aborting_a_writer_drops_what_is_left(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await writing(w)
    transport.write(b"x" * 200_000)
    transport.abort()
    assert transport.get_write_buffer_size() == 0
    assert await protocol.wait_lost() is None
    assert len(emptied(r)) < 200_000
    os.close(r)


async def test_a_writer_learns_that_its_reader_went(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await writing(w)
    os.close(r)
    assert await protocol.wait_lost() is None
    assert transport.is_closing()


async def test_a_cancelled_connect_closes_the_pipe(loop: Loop) -> None:
    r, w = os.pipe()
    pipe = opened(r, "rb")
    task = asyncio.ensure_future(loop.connect_read_pipe(Recorder, pipe))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: pipe.closed)
    os.close(w)


def test_an_unclosed_transport_warns_and_closes(new_loop: Factory) -> None:
    r, w = os.pipe()
    loop = new_loop()
    transport, _ = run(loop, reading_of(r))
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed transport <.*ReadPipeTransport"):
        del transport
        gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(r)
    os.close(w)


async def reading_of(descriptor: int) -> tuple[Any, Any]:
    loop = asyncio.get_running_loop()
    return await loop.connect_read_pipe(asyncio.Protocol, opened(descriptor, "rb"))


async def test_a_reader_shows_its_state(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await reading(r)
    assert f"ReadPipeTransport fd={r} polling>" in repr(transport)
    transport.pause_reading()
    assert f"ReadPipeTransport fd={r} idle>" in repr(transport)
    transport.close()
    assert f"ReadPipeTransport closing fd={r} " in repr(transport)
    await protocol.wait_lost()
    await asyncio.sleep(0)
    assert f"ReadPipeTransport closed fd={r} closed>" in repr(transport)
    os.close(w)


async def test_a_writer_shows_its_state(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await writing(w)
    assert f"WritePipeTransport fd={w} idle bufsize=0>" in repr(transport)
    transport.write(b"x" * 100_000)
    size = transport.get_write_buffer_size()
    assert f"WritePipeTransport fd={w} polling bufsize={size}>" in repr(transport)
    transport.abort()
    await protocol.wait_lost()
    os.close(r)


def test_closing_on_a_closed_loop_leaves_nothing_open(new_loop: Factory, kind: str) -> None:
    r, w = os.pipe()
    loop = new_loop()
    transport, _ = run(loop, reading_of(r))
    loop.close()
    if kind == "asyncio":
        with pytest.raises(RuntimeError, match="Event loop is closed"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            transport.close()
        transport.get_extra_info("pipe").close()
        transport._pipe = None
    else:
        transport.close()
    os.close(w)
