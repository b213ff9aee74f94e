"""Responses whose head and body are two writes, and connections that have served many of them."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

from support.counting import sends, strace
from support.loops import PATIENCE, run

from .sockets import listening, wait_readable

T = TypeVar("T")

HEAD = b"HTTP/1.1 200 OK\r\nserver: a test\r\nContent-Length: 13\r\n\r\n"
BODY = b"Hello, world!"
#: What asks for such a response, and what asks for the test's own step.
ASK, STEP = b"?", b"!"
#: How many responses a connection has served that is not fresh.
MANY = 1000

#: How many requests a counted server answers.
RESPONSES = 2000

#: What went before on the connection that a test uses: nothing; many responses; nothing, but many on
#: another connection of the same listener.
HISTORIES = ("fresh", "used", "sibling")


class Serving(asyncio.Protocol):
    """Answers in two writes; does the test's own step when asked for that."""

    def __init__(self, step: Callable[[Any], object]) -> None:
        self.step = step
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for asked in data:
            if asked == STEP[0]:
                self.step(self.transport)
            else:
                self.transport.write(HEAD)
                self.transport.write(BODY)


class Client:
    """A client that blocks, or lets the loop run, until what it waits for has come."""

    def __init__(self, address: Any, context: ssl.SSLContext | None = None) -> None:
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.sock.connect(address)
        self.sock.setblocking(False)
        self.tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        if context is not None:
            self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    # Generators that stop where the peer has to say something first.

    def _handshake(self) -> Generator[None, None, None]:
        while self.tls is not None:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                yield
                self._incoming.write(self.sock.recv(1 << 16))
            else:
                self._flush()
                return

    def _receive(self, size: int) -> Generator[None, None, bytes]:
        data = b""
        while len(data) < size:
            try:
                if self.tls is not None:
                    data += self.tls.read(size - len(data))
                    continue
            except ssl.SSLWantReadError:
                pass
            yield
            try:
                part = self.sock.recv(1 << 16 if self.tls else size - len(data))
            except ConnectionResetError:
                part = b""
            if not part:
                break
            if self.tls is None:
                data += part
            else:
                self._incoming.write(part)
        return data

    def _ask(self, count: int) -> Generator[None, None, None]:
        for _ in range(count):
            self.send(ASK)
            answer = yield from self._receive(len(HEAD + BODY))
            assert answer == HEAD + BODY

    def _history(self, count: int) -> Generator[None, None, None]:
        yield from self._handshake()
        yield from self._ask(count)

    # What they are for.

    def send(self, data: bytes) -> None:
        """Send a little."""
        if self.tls is None:
            self.sock.send(data)
        else:
            self.tls.write(data)
            self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.sock.send(self._outgoing.read())

    def receive(self, size: int) -> bytes:
        """Block until so many bytes have come; fewer if the other side ends."""
        return self._block(self._receive(size))

    def begin(self, count: int = 0) -> None:
        """Block until so many responses were served, one after the other."""
        self._block(self._history(count))

    async def begin_in_the_loop(self, count: int = 0) -> None:
        """The same, while the loop runs."""
        for _ in self._history(count):
            while not select.select([self.sock], [], [], 0)[0]:
                await asyncio.sleep(0)

    def _block(self, steps: Generator[None, None, T]) -> T:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            wait_readable(self.sock)

    def close(self) -> None:
        self.sock.close()


@contextlib.contextmanager
def client_of(
    history: str, address: Any, context: ssl.SSLContext | None = None
) -> Iterator[Client]:
    """A client with that history, for a server in another process."""
    with contextlib.ExitStack() as made:
        client = Client(address, context)
        made.callback(client.close)
        client.begin(0 if history == "fresh" else MANY)
        if history == "sibling":
            client = Client(address, context)
            made.callback(client.close)
            client.begin()
        yield client


@contextlib.asynccontextmanager
async def client_in_the_loop(
    history: str, address: Any, context: ssl.SSLContext | None = None
) -> AsyncIterator[Client]:
    """A client with that history, for a server of the running loop."""
    with contextlib.ExitStack() as made:
        client = Client(address, context)
        made.callback(client.close)
        await client.begin_in_the_loop(0 if history == "fresh" else MANY)
        if history == "sibling":
            client = Client(address, context)
            made.callback(client.close)
            await client.begin_in_the_loop()
        yield client


def listening_without_delay() -> socket.socket:
    """A TCP socket that listens, and whose connections send every write at once.

    asyncio asks for that itself only if the socket was made with the number of TCP.
    """
    sock = listening()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def serve(
    loop: asyncio.AbstractEventLoop,
    listener: socket.socket,
    history: str,
    step: Callable[[Any, Client], T],
    *,
    server_context: ssl.SSLContext | None = None,
    client_context: ssl.SSLContext | None = None,
) -> T:
    """Do a step on a connection with that history, in the callback of its request.

    The step gets the transport and the client; what it returns or raises is the test's.
    """

    async def main() -> T:
        outcome: asyncio.Future[T] = loop.create_future()

        def stepping(transport: Any) -> None:
            try:
                outcome.set_result(step(transport, client))
            except BaseException as error:
                outcome.set_exception(error)

        def factory() -> Serving:
            return Serving(stepping)

        server: asyncio.AbstractServer
        if listener.family == socket.AF_UNIX:
            options: Any = {"sock": listener.dup(), "ssl": server_context}
            server = await loop.create_unix_server(factory, **options)
        else:
            server = await loop.create_server(factory, sock=listener.dup(), ssl=server_context)
        address = listener.getsockname()
        async with client_in_the_loop(history, address, client_context) as client:
            client.send(STEP)
            result = await outcome
        server.close()
        await server.wait_closed()
        return result

    return run(loop, main())


def sends_of(
    folder: Path,
    arguments: list[str],
    listener: socket.socket,
    context: ssl.SSLContext | None = None,
) -> int:
    """How often a server program calls send(2) while it answers `RESPONSES` requests and ends."""
    counting = strace(folder)
    process = subprocess.Popen(
        [*counting, sys.executable, *arguments],
        pass_fds=(listener.fileno(),),
        start_new_session=True,
    )
    client = Client(listener.getsockname(), context)
    try:
        client.begin(RESPONSES)
        client.send(STEP)
        assert client.receive(3) == b"bye"
        client.close()
        assert process.wait(PATIENCE) == 0
    finally:
        client.close()
        process.kill()
        process.wait()
    return sends(folder)
