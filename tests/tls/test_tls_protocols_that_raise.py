"""Protocols that raise over TLS: what they wrote before is sent, and the connection ends."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

import pytest

from support.errors import Reports
from support.loops import until
from support.net.protocols import BufferedRecorder, Recorder, returning
from support.net.sockets import drain_socket
from support.net.tls import Peer, peer_of, served

Loop = asyncio.AbstractEventLoop

# More than a few records.
LONG = 100_000


class Boom(Exception):
    """What the callbacks raise."""


class Stop(BaseException):
    """What no TLS layer catches."""


class Failing(Recorder):
    """Answers in one callback, and fails in it."""

    def __init__(self, where: str, answer: bytes, error: type[BaseException] = Boom) -> None:
        super().__init__()
        self.where, self.answer, self.error = where, answer, error

    def fail(self, where: str) -> None:
        if where == self.where:
            self.transport.write(self.answer[:3])
            self.transport.write(self.answer[3:])
            raise self.error(where)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.fail("connection_made")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.fail("data_received")

    def eof_received(self) -> bool | None:
        super().eof_received()
        self.fail("eof_received")
        return None


class FailingBuffered(BufferedRecorder):
    def __init__(self, where: str, answer: bytes) -> None:
        super().__init__()
        self.answer = answer

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        self.transport.write(self.answer)
        raise Boom("buffer_updated")


async def everything(peer: Peer) -> bytes:
    """What is sent before the connection is cut."""
    while await peer.receive():
        pass
    data = b""
    with contextlib.suppress(ssl.SSLWantReadError):
        while part := peer.tls.read(1 << 20):
            data += part
    return data


def the_failure(reports: Reports, message: str, error: type[BaseException] = Boom) -> None:
    """Take the one report, which is of the callback's exception."""
    # In debug mode a server tells of a failed handshake too.
    told = [report for report in reports if "incoming connection" in report["message"]]
    for report in told:
        reports.remove(report)
    report = reports.take()
    assert report["message"] == message
    assert isinstance(report["exception"], error)


@pytest.mark.parametrize("factory", [Failing, FailingBuffered])
@pytest.mark.parametrize("close_notify", [False, True])
@pytest.mark.parametrize("size", [8, LONG])
async def test_what_was_written_before_a_failure_is_sent(
    loop: Loop, reports: Reports, factory: Any, close_notify: bool, size: int
) -> None:
    protocol = factory("data_received", bytes(size))

    async with served(protocol) as peer:
        end = peer.close_notify if close_notify else bytes
        await peer.send_raw(peer.records(b"request") + end())
        # A peer that has sent close_notify reads no more.
        assert await drain_socket(peer.sock, 1 << 20) > size + 16
        assert isinstance(await protocol.wait_lost(), Boom)
    the_failure(reports, "Fatal error on SSL protocol")


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ("data_received", Boom, "Fatal error on SSL protocol"),
        ("data_received", Stop, "Fatal error: protocol.buffer_updated() call failed."),
        ("connection_made", Boom, "Fatal error: protocol.buffer_updated() call failed."),
    ],
)
async def test_what_was_written_before_a_failure_can_be_read(
    loop: Loop, reports: Reports, where: str, error: type[BaseException], message: str
) -> None:
    protocol = Failing(where, b"HTTP 500", error)

    async with peer_of(returning(protocol)) as peer:
        await peer.handshake()
        if where == "data_received":
            await until(lambda: protocol.events)
            await peer.send(b"request")
        assert await everything(peer) == b"HTTP 500"
        assert isinstance(await protocol.wait_lost(), error)
    the_failure(reports, message, error)


async def test_what_was_written_before_a_failing_end_is_sent(loop: Loop, reports: Reports) -> None:
    protocol = Failing("eof_received", b"HTTP 500")

    async with served(protocol) as peer:
        await peer.send_raw(peer.close_notify())
        assert await drain_socket(peer.sock, 1 << 20) > len(b"HTTP 500") + 16
        assert isinstance(await protocol.wait_lost(), Boom)
    the_failure(reports, "Error calling eof_received()")
