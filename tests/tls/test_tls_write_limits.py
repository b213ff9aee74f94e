"""The write buffer's size over TLS counts only data that the transport below has not taken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.loops import run, until
from support.net.certificates import client_context, server_context
from support.net.protocols import Recorder, returning
from support.net.sockets import drain_socket, socket_pair
from support.net.tls import Peer

Loop = asyncio.AbstractEventLoop

#: More than the kernel and all marks together.
LARGE = 3_000_000
#: More than asyncio's high-water mark of TLS, 512 KiB.
MUCH = 600_000


@pytest.fixture(autouse=True)
def _since_3_11(kind: str) -> None:
    """asyncio's TLS has flow control since 3.11."""
    if kind == "asyncio" and sys.version_info < (3, 11):
        pytest.skip("asyncio has flow control over TLS since 3.11")


@contextlib.asynccontextmanager
async def writer(**options: Any) -> AsyncIterator[tuple[Recorder, Any, Peer]]:
    """A protocol, its TLS transport over a socket that holds little, and the raw peer."""
    loop = asyncio.get_running_loop()
    protocol = Recorder()
    with socket_pair() as (near, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5000)
        accepting = loop.create_task(
            loop.connect_accepted_socket(returning(protocol), far, ssl=server_context(), **options)
        )
        peer = Peer(near)
        await peer.handshake()
        await accepting
        protocol.events.clear()
        yield protocol, protocol.transport, peer
        protocol.transport.abort()
        await protocol.wait_lost()


def test_two_peers_that_write_before_they_read_do_not_wait_for_each_other(loop: Loop) -> None:
    size = 10_000_000
    received: list[int] = []

    async def talk(reader: asyncio.StreamReader, stream: asyncio.StreamWriter) -> None:
        stream.write(bytes(size))
        await stream.drain()
        received.append(len(await reader.readexactly(size)))
        stream.close()

    async def main() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=server_context())
        streams = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
        )
        await talk(*streams)
        await until(lambda: len(received) == 2)
        with contextlib.suppress(OSError):
            await streams[1].wait_closed()
        server.close()

    run(loop, main(), patience=30)
    assert received == [size, size]


async def test_what_the_transport_below_was_given_does_not_count(loop: Loop) -> None:
    async with writer() as (protocol, transport, _):
        transport.write(bytes(LARGE))
        assert transport.get_write_buffer_size() == 0
        transport.writelines([b"a", b"b"])
        # As two records of TLS 1.3.
        assert transport.get_write_buffer_size() == 2 * (1 + 22)
        assert not protocol.events
        transport.write(bytes(MUCH))
        assert transport.get_write_buffer_size() > MUCH
        assert protocol.events == ["pause_writing"]


async def test_the_program_goes_on_when_what_was_written_first_is_sent(loop: Loop) -> None:
    async with writer() as (protocol, transport, peer):
        for size in (LARGE, MUCH, MUCH):
            transport.write(bytes(size))
        # Some is in the kernel, and asyncio goes on at 16 KiB.
        taken = 0
        while taken < LARGE - 100_000:
            taken += await drain_socket(peer.sock, 1)
            assert protocol.events == ["pause_writing"]
        while "resume_writing" not in protocol.events:
            taken += await drain_socket(peer.sock, 1)
            assert taken < LARGE + 100_000
        assert transport.get_write_buffer_size() == 0
        assert await drain_socket(peer.sock, LARGE + 2 * MUCH - taken)
        assert protocol.events == ["pause_writing", "resume_writing"]


async def test_without_a_mark_each_write_and_each_read_tells_the_program(loop: Loop) -> None:
    async with writer() as (protocol, transport, peer):
        transport.set_write_buffer_limits(high=0)
        expected = ["pause_writing"]
        assert protocol.events == expected
        transport.write(b"one")
        transport.write(b"two")
        expected += ["resume_writing", "pause_writing"]
        assert protocol.events == expected
        await peer.send(b"go on")
        await protocol.wait_data(5)
        expected += ["data_received", "resume_writing"]
        assert protocol.events == expected
        assert await peer.read(6) == b"onetwo"
        transport.close()
        expected += ["pause_writing", "resume_writing"]
        assert protocol.events == expected


async def test_closing_behind_a_large_write_does_not_pause_writing(loop: Loop) -> None:
    async with writer() as (protocol, transport, peer):
        transport.write(bytes(LARGE))
        transport.write(b"end")
        transport.close()
        assert 0 < transport.get_write_buffer_size() < 200
        assert len(await peer.read(LARGE + 4)) == LARGE + 3
        await peer.send_raw(peer.close_notify())
        assert await protocol.wait_lost() is None
        assert protocol.events == ["eof_received", "connection_lost"]


async def test_a_large_write_through_two_layers_of_tls_pauses_no_protocol(loop: Loop) -> None:
    protocol = Recorder()

    if sys.version_info < (3, 11):
        pytest.skip("asyncio has TLS over TLS since 3.11")
    with socket_pair() as (near, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5000)
        options: dict[str, Any] = {"server_hostname": "localhost"}
        (below, _), (other, _) = await asyncio.gather(
            loop.create_connection(asyncio.Protocol, sock=near, ssl=client_context(), **options),
            loop.connect_accepted_socket(asyncio.Protocol, far, ssl=server_context()),
        )
        reader, transport = await asyncio.gather(
            loop.start_tls(below, Recorder(), client_context(), **options),
            loop.start_tls(other, protocol, server_context(), server_side=True),
        )
        assert reader is not None
        assert transport is not None
        reader.pause_reading()
        transport.write(bytes(LARGE))
        assert transport.get_write_buffer_size() == 0
        # Now the layer below has more than it likes, and this one has not.
        transport.write(bytes(MUCH))
        transport.write(bytes(MUCH // 2))
        assert MUCH > transport.get_write_buffer_size() > MUCH // 2
        assert not protocol.events
        transport.write(bytes(MUCH))
        assert protocol.events == ["pause_writing"]
        reader.resume_reading()
        received: Any = reader.get_protocol()
        await received.wait_data(LARGE + 2 * MUCH + MUCH // 2)
        assert protocol.events == ["pause_writing", "resume_writing"]
        reader.abort()
        await received.wait_lost()
        await protocol.wait_lost()
