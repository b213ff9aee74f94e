"""TLS inside one process: both ends of each connection on the loop that is measured."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from time import perf_counter
from typing import TYPE_CHECKING, cast

from cases.operations import Accepted, rate
from harness.case import InProcess
from harness.results.targets import Target

if TYPE_CHECKING:
    from harness.case import Measure

PIECE = bytes(64 * 1024)
PIECES = 4096


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What the server presents itself with, and what the client trusts."""
    trustme = importlib.import_module("trustme")
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


class _Sink(asyncio.Protocol):
    """Counts what arrives."""

    def __init__(self, done: asyncio.Future[None]) -> None:
        self._done = done
        self._left = len(PIECE) * PIECES

    def data_received(self, data: bytes) -> None:
        """Counts, to the end."""
        self._left -= len(data)
        if self._left == 0:
            self._done.set_result(None)


class _Source(asyncio.Protocol):
    """Writes pieces for as long as it may."""

    def __init__(self) -> None:
        self._left = PIECES
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast("asyncio.Transport", transport)
        self._write()

    def _write(self) -> None:
        while self._left and not self._paused:
            self._left -= 1
            self._transport.write(PIECE)

    def pause_writing(self) -> None:
        """Waits."""
        self._paused = True

    def resume_writing(self) -> None:
        """Goes on."""
        self._paused = False
        self._write()


def bulk(loop: asyncio.AbstractEventLoop) -> float:
    """256 MiB in writes of 64 KiB, as MiB a second."""

    async def main() -> float:
        server_context, client_context = contexts()
        done: asyncio.Future[None] = loop.create_future()
        server = await loop.create_server(lambda: _Sink(done), "127.0.0.1", 0, ssl=server_context)
        host, port = server.sockets[0].getsockname()
        start = perf_counter()
        transport, _ = await loop.create_connection(
            _Source, host, port, ssl=client_context, server_hostname="localhost"
        )
        await done
        seconds = perf_counter() - start
        transport.abort()
        server.close()
        return len(PIECE) * PIECES / 2**20 / seconds

    return loop.run_until_complete(main())


def handshakes(loop: asyncio.AbstractEventLoop) -> float:
    """Full handshakes, one after the other, done on both ends before the connection is aborted."""

    async def main() -> float:
        made: asyncio.Queue[None] = asyncio.Queue()
        server_context, client_context = contexts()
        server = await loop.create_server(
            lambda: Accepted(made), "127.0.0.1", 0, ssl=server_context
        )
        host, port = server.sockets[0].getsockname()

        async def operation() -> None:
            transport, _ = await loop.create_connection(
                asyncio.Protocol, host, port, ssl=client_context, server_hostname="localhost"
            )
            await made.get()
            transport.abort()

        try:
            return await rate(operation, 10) * 1e3
        finally:
            server.close()

    return loop.run_until_complete(main())


def _case(name: str, title: str, unit: str, measure: Measure) -> InProcess:
    return InProcess(name, title, "operations", unit, Target(1.0), measure=measure, tls=True)


CASES = (
    _case("tls_bulk", "TLS, 256 MiB in writes of 64 KiB", "MiB/s", bulk),
    _case("tls_handshakes", "TLS, full handshakes", "1/s", handshakes),
)
