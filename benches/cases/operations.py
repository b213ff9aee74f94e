"""What a loop does for others: threads, name resolution, processes; and loops that live for a moment.

Figures: thousands a second.
"""

from __future__ import annotations

import asyncio
import socket
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from cases.echo import EchoProtocol
from harness.case import InProcess
from harness.errors import NoFigureError
from harness.results.targets import Target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.case import Measure

ENOUGH = 0.4
LOCALHOST = "127.0.0.1"


async def rate(operation: Callable[[], Awaitable[object]], batch: int) -> float:
    """Thousands of operations a second, counted for as long as gives a steady figure."""
    count = 0
    start = perf_counter()
    while (seconds := perf_counter() - start) < ENOUGH:
        for _ in range(batch):
            await operation()
        count += batch
    return count / seconds / 1e3


def rate_until_stopped(
    loop: asyncio.AbstractEventLoop, count: int, first: Callable[..., object], *arguments: object
) -> float:
    """Thousands of operations a second, of the `count` that follow from `first` until it stops the loop."""
    start = perf_counter()
    loop.call_soon(first, *arguments)
    loop.run_forever()
    return count / (perf_counter() - start) / 1e3


class Accepted(asyncio.Protocol):
    """The server's side of a connection: adds an item to a queue when it is made."""

    def __init__(self, made: asyncio.Queue[None]) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lets the client continue."""
        self._made.put_nowait(None)


def _noop() -> None:
    """What the executor runs."""


def executor(loop: asyncio.AbstractEventLoop) -> float:
    """`run_in_executor`, one call after the other."""
    return loop.run_until_complete(rate(lambda: loop.run_in_executor(None, _noop), 100))


def resolve(loop: asyncio.AbstractEventLoop) -> float:
    """`getaddrinfo` of a numeric host."""

    def operation() -> Awaitable[object]:
        return loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)

    return loop.run_until_complete(rate(operation, 200))


def spawn(loop: asyncio.AbstractEventLoop) -> float:
    """Starts `/bin/true` and waits for its end."""

    async def operation() -> None:
        process = await asyncio.create_subprocess_exec("/bin/true")
        if await process.wait() != 0:
            raise RuntimeError("/bin/true failed")

    return loop.run_until_complete(rate(operation, 10))


#: How much goes through `cat`, and in pieces of which size.
PIPED, PIECE = 64 << 20, 64 << 10


def pipe(loop: asyncio.AbstractEventLoop) -> float:
    """Bytes through `cat` and back by streams; thousands of pieces a second."""

    async def operation() -> float:
        process = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20
        )
        sink, source = process.stdin, process.stdout
        if sink is None or source is None:
            raise RuntimeError("cat has no pipes")

        async def feed() -> None:
            for _ in range(PIPED // PIECE):
                sink.write(piece)
                await sink.drain()
            sink.close()

        piece = bytes(PIECE)
        start = perf_counter()
        feeding = asyncio.ensure_future(feed())
        size = 0
        while data := await source.read(1 << 18):
            size += len(data)
        seconds = perf_counter() - start
        await feeding
        if size != PIPED or await process.wait() != 0:
            raise RuntimeError(f"{size} of {PIPED} bytes came back")
        return PIPED / PIECE / seconds / 1e3

    return loop.run_until_complete(operation())


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
    server = await loop.create_server(EchoProtocol, LOCALHOST, 0, family=socket.AF_INET)
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


def _case(name: str, title: str, measure: Measure, target: Target) -> InProcess:
    return InProcess(name, title, "operations", "k/s", target, measure=measure)


CASES = (
    _case("executor", "run_in_executor round trip", executor, Target(1.1)),
    _case("getaddrinfo", "getaddrinfo of a numeric host", resolve, Target(1.0)),
    _case("spawn", "spawn /bin/true and wait", spawn, Target(1.15)),
    _case("pipe", "64 KiB pieces through cat", pipe, Target(1.0)),
    _case("loop_alone", "a new loop, closed", loop_alone, Target(2.0)),
    _case("runner", "Runner around an empty coroutine", runner, Target(2.0)),
    _case(
        "server_and_client", "a server and a client in a new loop", server_and_client, Target(2.0)
    ),
)
