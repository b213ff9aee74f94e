"""Exceptions of protocols: reported with asyncio's words, fatal to their own connection only."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from support.attaching import attach
from support.errors import Reports
from support.loops import run, run_turns, until
from support.net.protocols import Recorder
from support.net.sockets import Pair, drain_socket, listening, tcp_pair

Loop = asyncio.AbstractEventLoop


class Boom(Exception):
    """What the protocols here raise."""


def failing(method: str) -> Recorder:
    """A protocol one of whose methods raises."""
    protocol = Recorder()
    original = getattr(protocol, method)

    def raises(*arguments: object) -> None:
        original(*arguments)
        raise Boom(method)

    setattr(protocol, method, raises)
    return protocol


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("data_received", "Fatal error: protocol.data_received() call failed."),
        ("eof_received", "Fatal error: protocol.eof_received() call failed."),
    ],
)
async def test_an_error_in_a_read_callback_ends_the_connection(
    loop: Loop, pair: Pair, reports: Reports, method: str, message: str
) -> None:
    near, far = pair
    protocol = failing(method)

    await attach(near, protocol)
    far.send(b"x")
    far.shutdown(socket.SHUT_WR)
    await protocol.wait_lost()
    context = reports.take()
    assert context["message"] == message
    assert isinstance(context["exception"], Boom)
    assert context["transport"] is protocol.transport
    assert context["protocol"] is protocol
    assert isinstance(protocol.lost, Boom)


async def test_an_error_in_connection_made_is_reported(
    loop: Loop, pair: Pair, reports: Reports
) -> None:
    near, far = pair
    protocol = failing("connection_made")

    await attach(near, protocol)
    # asyncio reports it and goes on: the connection is made all the same.
    far.send(b"x")
    await protocol.wait_data(1)
    protocol.transport.abort()
    await protocol.wait_lost()
    context = reports.take()
    assert isinstance(context["exception"], Boom)
    assert context["message"].startswith("Exception in callback ")


async def test_an_error_in_connection_lost_is_reported_and_the_socket_closed(
    loop: Loop, pair: Pair, reports: Reports
) -> None:
    near, far = pair
    protocol = failing("connection_lost")

    transport = await attach(near, protocol)
    transport.close()
    await protocol.wait_lost()
    assert near.fileno() == -1
    assert far.recv(1) == b""
    assert isinstance(reports.take()["exception"], Boom)


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
async def test_an_error_in_flow_control_is_reported_and_the_connection_stays_open(
    loop: Loop, pair: Pair, reports: Reports, method: str
) -> None:
    near, far = pair
    protocol = failing(method)

    transport = await attach(near, protocol)
    transport.write(bytes(2_000_000))
    assert await drain_socket(far, 2_000_000) == 2_000_000
    await until(lambda: "resume_writing" in protocol.events)
    far.send(b"still there")
    await protocol.wait_data(11)
    transport.abort()
    await protocol.wait_lost()
    context = reports.take()
    assert context["message"] == f"protocol.{method}() failed"
    assert isinstance(context["exception"], Boom)
    assert context["transport"] is protocol.transport
    assert context["protocol"] is protocol


def test_one_connections_error_leaves_the_others_alone(loop: Loop, reports: Reports) -> None:
    bad, good = failing("data_received"), Recorder()

    async def main(one: Pair, two: Pair) -> None:
        await attach(one[0], bad)
        await attach(two[0], good)
        one[1].send(b"x")
        two[1].send(b"y")
        await bad.wait_lost()
        await good.wait_data(1)
        two[1].send(b"z")
        await good.wait_data(2)
        good.transport.abort()
        await good.wait_lost()

    with tcp_pair() as one, tcp_pair() as two:
        run(loop, main(one, two))
    reports.take()


@pytest.mark.ours_only("asyncio leaves the accepted socket to the collector")
def test_a_factory_that_fails_costs_one_connection(loop: Loop, reports: Reports) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        if not made:
            made.append(Recorder())
            raise Boom("factory")
        made.append(Recorder())
        return made[-1]

    async def main() -> None:
        server = await loop.create_server(factory, sock=listening())
        address = server.sockets[0].getsockname()
        first, second = Recorder(), Recorder()
        await loop.create_connection(lambda: first, *address)
        await first.wait_lost()
        await loop.create_connection(lambda: second, *address)
        await until(lambda: len(made) == 2 and made[1].events)
        second.transport.abort()
        await made[1].wait_lost()
        server.close()
        await server.wait_closed()

    run(loop, main())
    # As asyncio's, the loop speaks of it in debug mode only.
    if loop.get_debug():
        context = reports.take()
        assert isinstance(context["exception"], Boom)
        assert context["message"] == "Error on transport creation for incoming connection"


@pytest.mark.ours_only("asyncio leaves the connected socket to the collector")
async def test_a_factory_that_fails_in_connecting_is_the_callers_error(loop: Loop) -> None:
    def factory() -> Recorder:
        raise Boom("factory")

    with listening() as listener:
        with pytest.raises(Boom, match="factory"):
            await loop.create_connection(factory, *listener.getsockname())


class Bare:
    """No protocol at all: none of its methods exist."""


@pytest.mark.ours_only("asyncio leaves the transport to the collector")
def test_a_protocol_without_methods_is_reported_and_does_no_harm(
    loop: Loop, pair: Pair, reports: Reports
) -> None:
    near, far = pair
    transports: list[Any] = []

    async def main() -> None:
        try:
            transports.append(await attach(near, Bare()))  # type: ignore[arg-type] # on purpose
        except (AttributeError, TypeError):
            near.close()
            return
        far.send(b"x")
        await asyncio.sleep(0)
        transports[0].abort()
        await asyncio.sleep(0)

    run(loop, main())
    run_turns(loop, 5)
    near.close()
    assert reports or not transports
    reports.clear()


@pytest.mark.parametrize("result", [1, "yes", object()])
async def test_any_true_answer_keeps_the_connection_open(
    loop: Loop, pair: Pair, result: object
) -> None:
    near, far = pair
    protocol: Any = Recorder()

    def eof_received() -> object:
        protocol.events.append("eof_received")
        return result

    protocol.eof_received = eof_received

    transport = await attach(near, protocol)
    far.shutdown(socket.SHUT_WR)
    await until(lambda: "eof_received" in protocol.events)
    await asyncio.sleep(0)
    assert not transport.is_closing()
    transport.abort()
    await protocol.wait_lost()


async def test_methods_set_on_the_instance_or_later_on_the_class_are_called(
    loop: Loop, pair: Pair
) -> None:
    near, far = pair

    class Protocol(Recorder):
        pass

    protocol = Protocol()
    seen: list[str] = []

    await attach(near, protocol)
    far.send(b"1")
    await protocol.wait_data(1)

    def of_the_class(self: Recorder, data: bytes) -> None:
        seen.append(f"class {data!r}")

    Protocol.data_received = of_the_class  # type: ignore[method-assign] # what is tested
    protocol.transport.set_protocol(protocol)
    far.send(b"2")
    await until(lambda: seen)
    protocol.transport.abort()
    await protocol.wait_lost()
    assert seen == ["class b'2'"]
