"""What can be a pipe: FIFOs, terminals, devices and sockets; what cannot: regular files."""

from __future__ import annotations

import asyncio
import errno
import os
import pty
import socket
import tty
from pathlib import Path
from typing import Any

import pytest

from support.errors import Reports
from support.loops import run, run_turns, turns
from support.net.pipes import emptied, opened, reading, writing
from support.net.protocols import Recorder, Remembering
from support.net.sockets import tcp_pair

Loop = asyncio.AbstractEventLoop


async def test_a_fifo_with_a_name_works_in_both_directions(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    _, reader = await reading(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    writer, protocol = await writing(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    await turns()
    assert not reader.is_lost
    writer.write(b"through the fifo")
    await reader.wait_data(16)
    await turns()
    assert not writer.is_closing()
    writer.close()
    await protocol.wait_lost()
    await reader.wait_lost()
    assert bytes(reader.data) == b"through the fifo"


async def test_a_terminal_is_read_and_written_through_one_descriptor(loop: Loop) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    reader_pipe = opened(slave, "rb")
    writer_pipe: Any = open(slave, "wb", 0, closefd=False)  # noqa: SIM115 - the transport closes it
    protocol, sender = Recorder(), Remembering()
    await loop.connect_read_pipe(lambda: protocol, reader_pipe)
    transport, _ = await loop.connect_write_pipe(lambda: sender, writer_pipe)
    os.write(master, b"in")
    await protocol.wait_data(2)
    transport.write(b"out")
    assert os.read(master, 10) == b"out"
    transport.write(b"x" * 100_000)
    got = 0
    while got < 100_000:
        got += len(emptied(master))
        await asyncio.sleep(0)
    os.write(master, b"more")
    assert await protocol.wait_data(6) == b"inmore"
    os.close(master)
    await protocol.wait_lost()
    transport.close()
    await sender.wait_lost()


async def test_every_line_of_a_terminal_arrives(loop: Loop) -> None:
    master, slave = pty.openpty()
    os.write(master, b"one\ntwo\nthree\n")
    _, protocol = await reading(slave)
    assert await protocol.wait_data(14) == b"one\ntwo\nthree\n"
    protocol.transport.close()
    await protocol.wait_lost()
    os.close(master)


async def test_the_end_of_a_terminal_is_an_input_output_error(loop: Loop) -> None:
    master, slave = pty.openpty()
    _, protocol = await reading(master)
    os.close(slave)
    error = await protocol.wait_lost()
    assert isinstance(error, OSError)
    assert error.errno == errno.EIO


async def test_a_socket_is_a_pipe_too(loop: Loop) -> None:
    near, far = socket.socketpair()
    protocol, sender = Recorder(), Remembering()
    await loop.connect_read_pipe(lambda: protocol, near)
    transport, _ = await loop.connect_write_pipe(lambda: sender, far)
    transport.write(b"x" * 500_000)
    transport.close()
    await protocol.wait_lost()
    assert len(protocol.data) == 500_000
    assert near.fileno() == far.fileno() == -1


async def test_every_message_of_a_datagram_socket_arrives(loop: Loop) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        far.send(b"one")
        far.send(b"two")
        protocol = Recorder()
        await loop.connect_read_pipe(lambda: protocol, near)
        assert await protocol.wait_data(6) == b"onetwo"
        protocol.transport.close()
        await protocol.wait_lost()


async def test_the_null_device_can_be_written(loop: Loop) -> None:
    transport, protocol = await writing(os.open("/dev/null", os.O_WRONLY))
    transport.write(b"x" * 1_000_000)
    assert transport.get_write_buffer_size() == 0
    transport.close()
    assert await protocol.wait_lost() is None


async def test_the_null_device_cannot_be_watched(loop: Loop, reports: Reports) -> None:
    transport, protocol = await reading(os.open("/dev/null", os.O_RDONLY))
    transport.close()
    await protocol.wait_lost()
    context = reports.take()
    assert isinstance(context["exception"], PermissionError)


async def test_regular_files_are_refused_and_stay_open(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        with pytest.raises(ValueError, match=r"^Pipe transport is only for pipes, sockets and c"):
            await loop.connect_write_pipe(Remembering, file)
        assert not file.closed
    with path.open("rb") as file:
        with pytest.raises(ValueError, match=r"^Pipe transport is for pipes/sockets only\.$"):
            await loop.connect_read_pipe(Recorder, file)
        assert not file.closed


@pytest.mark.ours_only("asyncio loses the first when the second asks for the same number")
async def test_the_descriptor_of_a_pipe_is_not_for_add_reader(loop: Loop) -> None:
    r, w = os.pipe()
    transport, protocol = await reading(r)
    with pytest.raises(RuntimeError, match="is used by transport"):
        loop.add_reader(r, print)
    transport.close()
    await protocol.wait_lost()
    os.close(w)


def test_streams_run_over_pipes(loop: Loop) -> None:
    async def main() -> None:
        r, w = os.pipe()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), opened(r, "rb"))
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, opened(w, "wb")
        )
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        writer.write(b"line one\nline two\n")
        await writer.drain()
        assert await reader.readline() == b"line one\n"
        assert await reader.readline() == b"line two\n"
        writer.close()
        assert await reader.read() == b""

    run(loop, main())
    run_turns(loop, 2)


@pytest.mark.skipif(not hasattr(os, "pipe2"), reason="only Linux has pipes of packets")
async def test_each_packet_of_a_pipe_is_read(loop: Loop) -> None:
    """Only its writing end shows that a pipe gives one packet a read."""
    packets = [b"one", b"two", b"three"]

    source, sink = os.pipe2(os.O_DIRECT)
    _, protocol = await reading(source)
    for packet in packets:
        os.write(sink, packet)
    await protocol.wait_data(len(b"".join(packets)))
    assert protocol.events[1:] == ["data_received"] * 3
    os.close(sink)
    await protocol.wait_lost()


def test_urgent_data_does_not_end_a_pipe_that_writes(loop: Loop) -> None:
    async def main(ours: socket.socket, peer: socket.socket) -> None:
        protocol = Remembering()
        transport, _ = await loop.connect_write_pipe(lambda: protocol, ours)
        peer.send(b"!", socket.MSG_OOB)
        for _ in range(10):
            transport.write(b"x")
            assert peer.recv(1) == b"x"
            await asyncio.sleep(0)
        assert not transport.is_closing()
        transport.abort()
        await protocol.wait_lost()

    with tcp_pair() as pair:
        run(loop, main(*pair))
