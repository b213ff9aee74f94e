"""Accepting: errors of accept(2), and closing the listener."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from support.descriptors import open_descriptors
from support.errors import Reports
from support.loops import run, until
from support.net.protocols import Recorder
from support.net.sockets import listening, reset

Loop = asyncio.AbstractEventLoop


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """The process cannot open one more: all numbers below its limit are taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_descriptors()) + 10, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def refused_for_want_of_descriptors(
    address: tuple[str, int], reports: Reports
) -> socket.socket:
    """A client that waits for a server which cannot accept it, and has said so."""
    client = socket.socket()
    client.setblocking(False)
    with no_more_descriptors():
        with suppress(BlockingIOError):
            client.connect(address)
        await until(lambda: reports)
    return client


@pytest.mark.slow
@pytest.mark.ours_only("asyncio reports it once for each place in the backlog")
async def test_out_of_descriptors_it_reports_and_goes_on_a_second_later(
    loop: Loop, reports: Reports
) -> None:
    accepted: list[Recorder] = []

    def factory() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    server = await loop.create_server(factory, sock=listening())
    address = server.sockets[0].getsockname()
    client = socket.socket()
    client.setblocking(False)
    with no_more_descriptors():
        began = loop.time()
        try:
            client.connect(address)
        except BlockingIOError:
            pass
        await until(lambda: reports)
        # Parked, not spinning: no second report comes in the meantime.
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert len(reports) == 1
    await until(lambda: accepted)
    assert loop.time() - began >= 1
    client.close()
    await accepted[0].wait_lost()
    server.close()
    context = reports.take()
    assert context["message"] == "socket.accept() out of system resource"
    assert isinstance(context["exception"], OSError)
    assert context["exception"].errno == errno.EMFILE
    assert type(context["socket"]).__name__ == "TransportSocket"


@pytest.mark.slow
@pytest.mark.ours_only("asyncio reports it once for each place in the backlog")
async def test_a_server_that_is_closed_while_it_backs_off_stays_closed(
    loop: Loop, reports: Reports
) -> None:
    server = await loop.create_server(Recorder, sock=listening())
    address = server.sockets[0].getsockname()
    client = await refused_for_want_of_descriptors(address, reports)
    server.close()
    assert reports.take()["exception"].errno == errno.EMFILE
    # The server would accept again after a second: this timer is due after that one.
    await asyncio.sleep(1.1)
    assert not reports
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    client.close()


@pytest.mark.slow
@pytest.mark.ours_only("asyncio reports it once for each place in the backlog")
async def test_a_listener_closed_while_it_backs_off_does_not_take_over_a_reused_descriptor(
    loop: Loop, reports: Reports
) -> None:
    listener = listening()
    await loop.create_server(Recorder, sock=listener)
    client = await refused_for_want_of_descriptors(listener.getsockname(), reports)
    with listening() as other:
        # The transport's descriptor gets the number of the listener.
        listener.close()
        protocol = Recorder()
        await loop.create_connection(lambda: protocol, *other.getsockname())
        peer, _ = other.accept()
        await until(lambda: len(reports) == 2)
        peer.sendall(b"heard")
        assert await protocol.wait_data(5) == b"heard"
        peer.close()
        await protocol.wait_lost()
    client.close()
    assert isinstance(reports.pop()["exception"], ValueError)
    assert reports.take()["exception"].errno == errno.EMFILE


async def test_a_connection_that_is_reset_before_it_is_accepted_does_no_harm(loop: Loop) -> None:
    accepted: list[Recorder] = []

    def factory() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    listener = listening()
    for _ in range(5):
        reset(socket.create_connection(listener.getsockname()))
    server = await loop.create_server(factory, sock=listener)
    client = Recorder()
    await loop.create_connection(lambda: client, *listener.getsockname())
    await until(lambda: accepted and not accepted[-1].is_lost and accepted[-1].events)
    client.transport.abort()
    await until(lambda: all(protocol.is_lost for protocol in accepted))
    server.close()


async def test_an_accepted_socket_can_be_handed_over(loop: Loop) -> None:
    protocol = Recorder()

    with listening() as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        transport, made = await loop.connect_accepted_socket(lambda: protocol, accepted)
        assert made is protocol
        client.sendall(b"hello")
        assert await protocol.wait_data(5) == b"hello"
        transport.close()
        await protocol.wait_lost()
        assert accepted.fileno() == -1


async def test_a_datagram_socket_cannot_be_handed_over(loop: Loop) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            await loop.connect_accepted_socket(Recorder, sock)
        except ValueError as error:
            assert str(error).startswith("A Stream Socket was expected, got")  # noqa: PT017
        else:
            raise AssertionError("accepted")


async def test_a_server_closed_in_connection_made_refuses_later_connections(loop: Loop) -> None:
    accepted: list[Recorder] = []

    class Protocol(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted.append(self)
            server.close()
            self.transport.abort()

    server = await loop.create_server(Protocol, sock=listening())
    address = server.sockets[0].getsockname()
    clients = [socket.create_connection(address) for _ in range(3)]
    await until(lambda: accepted)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    await until(lambda: all(protocol.is_lost for protocol in accepted))
    for client in clients:
        client.close()


@pytest.mark.parametrize("number", [3, 40])
async def test_all_that_wait_are_accepted_in_one_turn(loop: Loop, number: int) -> None:
    order: list[str] = []

    def factory() -> asyncio.Protocol:
        order.append("accepted")
        loop.call_soon(order.append, "next turn")
        return asyncio.Protocol()

    listener = listening(backlog=50)
    server = await loop.create_server(factory, sock=listener, backlog=50)
    clients = [socket.create_connection(listener.getsockname()) for _ in range(number)]
    await until(lambda: len(order) == 2 * number)
    for client in clients:
        client.close()
    server.close()
    await server.wait_closed()
    assert order == ["accepted"] * number + ["next turn"] * number


def number_of(transport: asyncio.BaseTransport) -> int:
    """The descriptor of a transport, which nothing but its text was asked for."""
    found = re.search(r"fd=(\d+)", repr(transport))
    assert found
    return int(found[1])


def test_a_duplicate_of_a_closed_connection_does_not_reach_its_number_again(loop: Loop) -> None:
    """The kernel watches a file until the last of its numbers is closed."""
    accepted: list[Recorder] = []

    def factory() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    async def connected(client: socket.socket) -> tuple[Recorder, int]:
        client.connect(server.sockets[0].getsockname())  # type: ignore[attr-defined] # a Server
        count = len(accepted) + 1
        await until(lambda: len(accepted) == count and accepted[-1].events)
        await asyncio.sleep(0)
        return accepted[-1], number_of(accepted[-1].transport)

    async def start() -> asyncio.AbstractServer:
        return await loop.create_server(factory, sock=listening())

    server = run(loop, start())

    async def main() -> None:
        client, other_client = socket.socket(), socket.socket()
        closed, number = await connected(client)
        duplicate = os.dup(number)
        closed.transport.abort()
        await closed.wait_lost()

        # Another connection under that number, and data for what the duplicate keeps.
        other, again = await connected(other_client)
        assert again == number
        client.send(b"late")
        other_client.send(b"mine")
        assert await other.wait_data(4) == b"mine"
        assert closed.events == ["connection_made", "connection_lost"]
        other.transport.abort()
        await other.wait_lost()

        # The old file under its old number.
        os.dup2(duplicate, number)
        os.close(duplicate)
        heard: list[bytes] = []
        loop.add_reader(number, lambda: heard.append(os.read(number, 10)))
        await until(lambda: heard == [b"late"])
        loop.remove_reader(number)
        client.send(b"more")
        reader = Recorder()
        await loop.connect_accepted_socket(lambda: reader, socket.socket(fileno=number))
        assert await reader.wait_data(4) == b"more"
        reader.transport.abort()
        await reader.wait_lost()
        client.close()
        other_client.close()
        server.close()

    run(loop, main())


async def test_a_duplicate_that_talks_on_does_not_keep_the_loop_busy(loop: Loop) -> None:
    accepted: list[Recorder] = []

    def factory() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    server = await loop.create_server(factory, sock=listening())
    client = socket.create_connection(server.sockets[0].getsockname())
    await until(lambda: accepted and accepted[-1].events)
    await asyncio.sleep(0)
    duplicate = os.dup(number_of(accepted[0].transport))
    accepted[0].transport.abort()
    await accepted[0].wait_lost()
    client.send(b"never read")
    # While nothing is to be done, a loop that spins uses the processor.
    before = time.thread_time()
    await asyncio.sleep(0.2)
    assert time.thread_time() - before < 0.1
    os.close(duplicate)
    client.close()
    server.close()
