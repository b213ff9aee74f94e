"""What a program pays to begin and to end: loops that live for a moment. Figures: thousands a second."""

from __future__ import annotations

import asyncio
import socket
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from cases.operations import ENOUGH
from harness.case import InProcess
from harness.errors import NoFigureError
from harness.results.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.case import Measure

LOCALHOST = "127.0.0.1"


def _rate(operation: Callable[[], object], batch: int) -> float:
    """Thousands of calls a second, counted for as long as gives a steady figure."""
    count = 0
    start = perf_counter()
    while (seconds := perf_counter() - start) < ENOUGH:
        for _ in range(batch):
            operation()
        count += batch
    return count / seconds / 1e3


def loop_alone(loop: asyncio.AbstractEventLoop) -> float:
    """Makes a loop and closes it."""
    kind = type(loop)
    return _rate(lambda: kind().close(), 100)


async def _nothing() -> None:
    """An empty coroutine."""


def runner(loop: asyncio.AbstractEventLoop) -> float:
    """`asyncio.Runner` around an empty coroutine."""
    make: Any = getattr(asyncio, "Runner", None)
    if make is None:
        raise NoFigureError("asyncio.Runner came with Python 3.11")
    kind = type(loop)

    def operation() -> None:
        with make(loop_factory=kind) as one:
            one.run(_nothing())

    return _rate(operation, 50)


class _Echo(asyncio.Protocol):
    """Writes back what it receives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Writes it back."""
        self._transport.write(data)


class _Once(asyncio.Protocol):
    """Sends a word, and closes the connection when it has come back."""

    def __init__(self, lost: asyncio.Future[None]) -> None:
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"word")

    def data_received(self, data: bytes) -> None:
        """Closes."""
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends."""
        self._lost.set_result(None)


async def _serve_once() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Echo, LOCALHOST, 0, family=socket.AF_INET)
    lost: asyncio.Future[None] = loop.create_future()
    host, port = server.sockets[0].getsockname()
    await loop.create_connection(lambda: _Once(lost), host, port)
    await lost
    server.close()
    await server.wait_closed()


def server_and_client(loop: asyncio.AbstractEventLoop) -> float:
    """A server and a client in a fresh loop: one word goes to and fro, and everything is closed."""
    kind = type(loop)

    def operation() -> None:
        fresh = kind()
        try:
            fresh.run_until_complete(_serve_once())
        finally:
            fresh.close()

    return _rate(operation, 20)


def _case(name: str, title: str, measure: Measure) -> InProcess:
    return InProcess(name, title, "operations", "k/s", Target(2.0), measure=measure)


CASES = (
    _case("loop_alone", "a new loop, closed", loop_alone),
    _case("runner", "Runner around an empty coroutine", runner),
    _case("server_and_client", "a server and a client in a new loop", server_and_client),
)
