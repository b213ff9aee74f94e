"""The load of the soak, at a fixed rate: `python -m scale.soak_load WORKLOAD ADDRESS`.

Some connections are kept and used again and again, others are made, used once and ended, every third by a
reset. Each line of input is an order, and is answered by a line of JSON with the counts so far:

    rest        ends what is under way and makes nothing new; the kept connections stay
    go          goes on
    burst N     makes N more connections at once, uses each and keeps them
    release     ends those
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import itertools
import json
import socket
import ssl
import struct
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cases.http import BODY
from harness.idle import unchecked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: How long one exchange, or one connection attempt, may take.
PATIENCE = 60.0
MESSAGE = b"m" * 1023 + b"\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: Attempts that a burst has under way at the same time.
AT_ONCE = 250
#: `SO_LINGER` of zero: closing resets the connection.
RESET = struct.pack("ii", 1, 0)


class Client(ABC):
    """One connection of a workload."""

    @abstractmethod
    async def open(self, host: str, port: int) -> None:
        """Connects."""

    @abstractmethod
    async def exchange(self) -> None:
        """Sends something and checks the answer."""

    @abstractmethod
    async def close(self, *, reset: bool) -> None:
        """Ends the connection, by a reset or as the protocol has it."""


class Streams(Client):
    """A client that writes bytes and knows how many come back.

    Attributes:
        tls: how the server is checked, None for a connection without TLS.
    """

    tls: ssl.SSLContext | None = None
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    async def open(self, host: str, port: int) -> None:
        """Connects."""
        self._reader, self._writer = await asyncio.open_connection(host, port, ssl=self.tls)

    async def exchange(self) -> None:
        """A message, which comes back."""
        self._writer.write(MESSAGE)
        if await self._reader.readexactly(len(MESSAGE)) != MESSAGE:
            raise ValueError("another message came back")

    async def close(self, *, reset: bool) -> None:
        """Ends the connection and waits for the other end to do so."""
        if reset:
            raw: socket.socket = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._writer.transport.abort()
            return
        self._writer.close()
        await self._writer.wait_closed()


class Http(Streams):
    """HTTP/1.1 with keep-alive."""

    async def exchange(self) -> None:
        """A request."""
        self._writer.write(REQUEST)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200") or await self._reader.readexactly(13) != BODY:
            raise ValueError(f"another response came back: {head!r}")


class Tls(Streams):
    """TLS echo."""

    tls: ssl.SSLContext | None = unchecked()


class Process(Streams):
    """A line through a process of the server."""

    async def close(self, *, reset: bool) -> None:
        """Waits for the end of the process, after which the server closes."""
        if not reset:
            self._writer.write_eof()
            await self._reader.read()
        await super().close(reset=reset)


class Websocket(Client):
    """A websocket."""

    _connection: Any

    async def open(self, host: str, port: int) -> None:
        """Connects."""
        connect = importlib.import_module("websockets.asyncio.client").connect
        self._connection = await connect(f"ws://{host}:{port}", proxy=None, open_timeout=PATIENCE)

    async def exchange(self) -> None:
        """A message, which comes back."""
        await self._connection.send(MESSAGE)
        if await self._connection.recv() != MESSAGE:
            raise ValueError("another message came back")

    async def close(self, *, reset: bool) -> None:
        """Ends the connection."""
        if reset:
            self._connection.transport.abort()
        else:
            await self._connection.close()


@dataclass(frozen=True)
class Rates:
    """How a workload is loaded.

    Attributes:
        client: makes one client.
        kept: connections that are used again and again.
        exchanges: a second, over all of them.
        connections: made and ended, a second.
    """

    client: Callable[[], Client]
    kept: int
    exchanges: float
    connections: float


RATES = {
    "uvicorn": Rates(Http, 8, 60, 20),
    "tls": Rates(Tls, 8, 80, 5),
    "websockets": Rates(Websocket, 8, 60, 5),
    "processes": Rates(Process, 4, 20, 4),
}


class Load:
    """The clients of one server."""

    def __init__(self, rates: Rates, host: str, port: int) -> None:
        """Makes nothing yet: `start` does."""
        self._rates, self._place = rates, (host, port)
        self._allowed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._under_way = 0
        self._counts = {"exchanges": 0, "connections": 0, "errors": 0}
        self._first_error: str | None = None
        self._burst: list[Client] = []
        self._numbers = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Opens the connections that are kept and begins."""
        rates = self._rates
        interval = rates.kept / rates.exchanges
        for number in range(rates.kept):
            client = await self._opened()
            offset = interval * number / rates.kept
            self._repeat(functools.partial(self._exchange, client), interval, offset)
        self._repeat(self._short, 1 / rates.connections, 0)
        self._allowed.set()

    def _repeat(self, operation: Callable[[], Awaitable[None]], every: float, after: float) -> None:
        async def body() -> None:
            await asyncio.sleep(after)
            while True:
                await self._allowed.wait()
                self._under_way += 1
                self._idle.clear()
                try:
                    await asyncio.wait_for(operation(), PATIENCE)
                except Exception as error:
                    self._fail(error)
                finally:
                    self._under_way -= 1
                    if not self._under_way:
                        self._idle.set()
                await asyncio.sleep(every)

        self._tasks.append(asyncio.ensure_future(body()))

    def _fail(self, error: Exception) -> None:
        self._counts["errors"] += 1
        self._first_error = self._first_error or repr(error)

    async def _opened(self) -> Client:
        client = self._rates.client()
        await asyncio.wait_for(client.open(*self._place), PATIENCE)
        self._counts["connections"] += 1
        return client

    async def _exchange(self, client: Client) -> None:
        await client.exchange()
        self._counts["exchanges"] += 1

    async def _close(self, client: Client) -> None:
        await client.close(reset=next(self._numbers) % 3 == 0)

    async def _short(self) -> None:
        client = await self._opened()
        await self._exchange(client)
        await self._close(client)

    async def rest(self) -> None:
        """Waits for the end of everything that is under way."""
        self._allowed.clear()
        await self._idle.wait()

    async def go(self) -> None:
        """Goes on."""
        self._allowed.set()

    async def burst(self, count: int) -> None:
        """So many connections, used once and kept."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with turns:
                await attempt()

        async def attempt() -> None:
            try:
                client = await self._opened()
                self._burst.append(client)
                await asyncio.wait_for(self._exchange(client), PATIENCE)
            except Exception as error:
                self._fail(error)

        await asyncio.gather(*(one() for _ in range(count)))

    async def release(self) -> None:
        """Ends the connections of the burst."""
        burst, self._burst = self._burst, []
        ended = (asyncio.wait_for(self._close(client), PATIENCE) for client in burst)
        for outcome in await asyncio.gather(*ended, return_exceptions=True):
            if isinstance(outcome, Exception):
                self._fail(outcome)

    async def obey(self, order: str) -> str:
        """Follows one order; returns the counts as JSON."""
        verb, *numbers = order.split()
        await getattr(self, verb)(*map(int, numbers))
        return json.dumps({**self._counts, "first_error": self._first_error})


async def main(workload: str, address: str) -> None:
    """Loads the server until the input ends."""
    host, _, port = address.rpartition(":")
    load = Load(RATES[workload], host, int(port))
    await load.start()
    loop = asyncio.get_running_loop()
    while order := await loop.run_in_executor(None, sys.stdin.readline):
        print(await load.obey(order), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
