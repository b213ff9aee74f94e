"""Exceptions of protocols, on connections of each kind: what is reported, and what becomes of the connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.attaching import attach
from support.errors import Reports
from support.loops import run, run_turns, until
from support.net.connections import READABLE, STREAMS, TLS, WRITABLE, connected
from support.net.protocols import BufferedRecorder, DatagramRecorder, Recorder
from support.net.sockets import Pair

Loop = asyncio.AbstractEventLoop
LAST_WORDS = b"HTTP/1.1 500 Internal Server Error\r\n\r\n"
HAVE_A_DESCRIPTOR = ["tcp", "unix", "read pipe", "write pipe", "datagrams"]


class Boom(Exception):
    """What the protocols here raise."""


def failing(method: str, kind: str = "tcp", *, always: bool = True) -> Any:
    """A protocol one of whose methods does its work, writes on a stream, and raises; always or once."""
    base: Any = Recorder
    if kind == "datagrams":
        base = DatagramRecorder
    elif method in ("get_buffer", "buffer_updated"):
        base = BufferedRecorder
    own = getattr(base, method)
    raised: list[Boom] = []

    def raises(self: Any, *arguments: object) -> Any:
        result = own(self, *arguments)
        if always or not raised:
            raised.append(Boom(method))
            raise raised[-1]
        return result

    return type("Failing", (base,), {method: raises})()


def the_failure(reports: Reports, protocol: Any, message: str) -> None:
    """Take the one report, which names the connection."""
    context = reports.take()
    assert context["message"] == message
    assert isinstance(context["exception"], Boom)
    assert context["transport"] is protocol.transport
    assert context["protocol"] is protocol


@pytest.mark.parametrize("transport", STREAMS)
@pytest.mark.parametrize(
    "method", ["data_received", "eof_received", "get_buffer", "buffer_updated"]
)
async def test_an_exception_of_a_receiving_method_ends_a_stream(
    kind: str, loop: Loop, reports: Reports, transport: str, method: str
) -> None:
    if (kind, transport, method) == ("asyncio", "tls", "get_buffer"):
        pytest.skip("asyncio asks for a buffer before there is data")
    protocol = failing(method)

    async with connected(transport, protocol) as far:
        await far.send(b"x")
        if method == "eof_received":
            await far.end()
        assert isinstance(await protocol.wait_lost(), Boom)
    if transport not in TLS:
        the_failure(reports, protocol, f"Fatal error: protocol.{method}() call failed.")
        return
    context = reports.take()
    assert isinstance(context["exception"], Boom)
    at_the_end = method == "eof_received"
    assert context["message"] == (
        "Error calling eof_received()" if at_the_end else "Fatal error on SSL protocol"
    )
    assert {"transport", "protocol"} <= set(context)


@pytest.mark.parametrize("transport", ["read pipe", "datagrams"])
async def test_an_exception_of_a_receiving_method_leaves_a_pipe_or_an_endpoint_open(
    loop: Loop, reports: Reports, transport: str
) -> None:
    method = "datagram_received" if transport == "datagrams" else "data_received"
    protocol = failing(method, transport, always=False)

    async with connected(transport, protocol) as far:
        await far.send(b"bad,")
        await protocol.wait_data(4)
        await far.send(b"good")
        assert await protocol.wait_data(8) == b"bad,good"
        assert not protocol.transport.is_closing()
        context = reports.take()
    assert isinstance(context["exception"], Boom)
    assert context["message"].startswith("Exception in callback ")
    assert "_read_ready" in context["message"]


@pytest.mark.parametrize("transport", [kind for kind in READABLE if kind not in TLS])
async def test_an_exception_of_connection_made_is_reported_and_the_connection_stays_open(
    loop: Loop, reports: Reports, transport: str
) -> None:
    protocol = failing("connection_made", transport)

    async with connected(transport, protocol) as far:
        await far.send(b"x")
        await protocol.wait_data(1)
        context = reports.take()
    assert isinstance(context["exception"], Boom)
    assert context["message"].startswith("Exception in callback ")


@pytest.mark.parametrize("transport", HAVE_A_DESCRIPTOR + TLS)
async def test_an_exception_of_connection_lost_is_reported_and_the_descriptor_closed(
    loop: Loop, reports: Reports, transport: str
) -> None:
    protocol = failing("connection_lost", transport)

    async with connected(transport, protocol):
        name = "pipe" if "pipe" in transport else "socket"
        opened = protocol.transport.get_extra_info(name)
        assert opened.fileno() >= 0
        getattr(protocol.transport, "abort", protocol.transport.close)()
        await protocol.wait_lost()
        await until(lambda: opened.closed if name == "pipe" else opened.fileno() == -1)
        assert isinstance(reports.take()["exception"], Boom)


@pytest.mark.parametrize("transport", WRITABLE)
@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
async def test_an_exception_about_flow_control_is_reported_and_the_connection_stays_open(
    loop: Loop, reports: Reports, transport: str, method: str
) -> None:
    protocol = failing(method, transport)
    size = 0

    async with connected(transport, protocol) as far:
        near = protocol.transport
        near.set_write_buffer_limits(high=100)
        write = near.sendto if transport == "datagrams" else near.write
        # The endpoint's datagrams, and more than the kernel takes of a stream.
        part = bytes(1000 if transport == "datagrams" else 2_000_000)
        while "pause_writing" not in protocol.events:
            write(part)
            size += len(part)
        received = 0
        while received < size:
            received += len(await far.receive(min(len(part), size - received)))
        await until(lambda: "resume_writing" in protocol.events)
        assert not near.is_closing()
        write(b"still open")
        assert await far.receive(10) == b"still open"
        if transport in TLS:
            # It names the layer between the two.
            assert reports[0].pop("protocol")
            reports[0]["protocol"] = protocol
        the_failure(reports, protocol, f"protocol.{method}() failed")


@pytest.mark.parametrize("transport", STREAMS)
async def test_an_exception_on_one_connection_leaves_another_alone(
    loop: Loop, reports: Reports, transport: str
) -> None:
    bad, good = failing("data_received"), Recorder()

    async with connected(transport, bad) as one, connected(transport, good) as two:
        await one.send(b"x")
        await two.send(b"y")
        await bad.wait_lost()
        await good.wait_data(1)
        await two.send(b"z")
        await good.wait_data(2)
    reports.take()


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("method", ["data_received", "eof_received", "buffer_updated"])
async def test_what_a_method_wrote_before_it_raised_is_sent(
    loop: Loop, reports: Reports, transport: str, method: str
) -> None:
    base: Any = BufferedRecorder if method == "buffer_updated" else Recorder

    def writes_and_raises(self: Any, *_: object) -> None:
        self.transport.write(LAST_WORDS)
        raise Boom(method)

    protocol = type("Writing", (base,), {method: writes_and_raises})()

    async with connected(transport, protocol) as far:
        await (far.end() if method == "eof_received" else far.send(b"GET"))
        assert isinstance(await protocol.wait_lost(), Boom)
        assert await far.receive(1000) == LAST_WORDS
    the_failure(reports, protocol, f"Fatal error: protocol.{method}() call failed.")


class Bare:
    """No protocol at all: none of its methods exist."""


@pytest.mark.ours_only("asyncio leaves the transport to the collector")
def test_a_protocol_without_methods_is_reported_or_refused(
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
