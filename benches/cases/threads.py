"""A loop a thread on free-threaded Python. Figures: thousands of operations a second, all threads together.

What a thread does stays within its own loop, both ends of each connection included, except in the last
case, in which every loop calls every loop.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import TYPE_CHECKING, cast

from cases.echo import EchoProtocol, own_streams
from cases.http import RESPONSE
from harness.case import Threaded, ThreadedHttp, Threads
from harness.results.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import ModuleType

    from harness.case import Case, ServerSocket, Work
    from harness.threads import Member

BURST = 1_000
PAIRS = 16
SIZE = 1024
FLYING = 100
#: The figure that two threads on two cores are meant to reach, by that of one.
GAIN = 1.9


def _own_noop() -> Callable[..., None]:
    """What is called: a function that the calling thread has made.

    Threads that share a function count their references to it in one word, and wait for each other.
    """

    def noop(*_: object) -> None:
        """Does nothing."""

    return noop


def _own_message() -> bytes:
    """A line that the calling thread has made, for the same reason."""
    return bytes(SIZE - 1) + b"\n"


def _turns(member: Member, run: Callable[[], None]) -> int:
    """`run()` once a turn, which is counted as a thousand operations."""
    loop, count = member.loop, 0

    def turn() -> None:
        nonlocal count
        if member.is_over():
            loop.stop()
            return
        run()
        count += BURST
        loop.call_soon(turn)

    loop.call_soon(turn)
    loop.run_forever()
    return count


def bursts(member: Member) -> int:
    """`call_soon`, a thousand a turn, with an argument each."""
    loop, noop = member.loop, _own_noop()

    def run() -> None:
        for number in range(BURST):
            loop.call_soon(noop, number)

    return _turns(member, run)


def cancelled(member: Member) -> int:
    """`call_later` far ahead, then `cancel`, a thousand a turn."""
    loop, noop = member.loop, _own_noop()

    def run() -> None:
        for _ in range(BURST):
            loop.call_later(30, noop).cancel()

    return _turns(member, run)


async def _nothing() -> None:
    """An empty coroutine."""


async def gather(member: Member) -> int:
    """`gather` of a thousand empty coroutines, again and again."""
    count = 0
    while not member.is_over():
        await asyncio.gather(*(_nothing() for _ in range(BURST)))
        count += BURST
    return count


async def queues(member: Member) -> int:
    """Two tasks that pass an item to and fro over two queues; an operation is both ways."""
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def answer() -> None:
        while (number := await there.get()) >= 0:
            back.put_nowait(number)

    task = asyncio.ensure_future(answer())
    count = 0
    while not member.is_over():
        for number in range(BURST):
            there.put_nowait(number)
            await back.get()
        count += BURST
    there.put_nowait(-1)
    await task
    return count


class _Client(asyncio.Protocol):
    """Sends a message whenever the one before has come back."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._message = _own_message()
        self._left = SIZE
        self.count = 0
        self.done = member.loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        """Sends the next message."""
        self._left -= len(data)
        if self._left:
            return
        self.count += 1
        self._left = SIZE
        if self._member.is_over():
            self._transport.close()
        else:
            self._transport.write(self._message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends."""
        if exc is not None:
            self.done.set_exception(exc)
        else:
            self.done.set_result(self.count)


async def _echo(
    member: Member, client: ssl.SSLContext | None = None, server: ssl.SSLContext | None = None
) -> int:
    loop = member.loop
    clients = []
    for _ in range(PAIRS):
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        accepting = asyncio.ensure_future(
            loop.connect_accepted_socket(EchoProtocol, there, ssl=server)
        )
        name = None if client is None else "localhost"
        _, protocol = await loop.create_connection(
            lambda: _Client(member), sock=here, ssl=client, server_hostname=name
        )
        await accepting
        clients.append(protocol)
    return sum(await asyncio.gather(*(protocol.done for protocol in clients)))


async def echo(member: Member) -> int:
    """Protocols at both ends of 16 socket pairs, 1 KiB to and fro."""
    return await _echo(member)


async def tls_echo(member: Member) -> int:
    """The same over TLS 1.3; contexts of the thread's own."""
    if member.certificate is None:
        raise RuntimeError("trustme is not installed: no certificate")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(member.certificate)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return await _echo(member, client, server)


async def _lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def _stream_echo(member: Member, package: ModuleType) -> int:
    server = await package.start_server(_lines, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()

    async def client() -> int:
        count, message = 0, _own_message()
        reader, writer = await package.open_connection(host, port)
        while not member.is_over():
            writer.write(message)
            if len(await reader.readline()) != SIZE:
                raise RuntimeError("a message was cut")
            count += 1
        writer.close()
        return count

    try:
        return sum(await asyncio.gather(*(client() for _ in range(PAIRS))))
    finally:
        server.close()


async def streams(member: Member) -> int:
    """Streams of asyncio over loopback, lines of 1 KiB on 16 connections."""
    return await _stream_echo(member, asyncio)


async def own(member: Member) -> int:
    """The same with the loop's own streams, if it has some."""
    return await _stream_echo(member, own_streams())


def _hop(here: Member, back: Member) -> None:
    """Runs in the thread of `here`, and goes back to the other."""
    here.count += 1
    if not here.count & 63 and here.is_over():
        here.loop.stop()
    back.loop.call_soon_threadsafe(_hop, back, here)


def crossing(member: Member) -> int:
    """`call_soon_threadsafe` from every loop to every loop: a hundred calls are under way between any two."""
    before = member.count
    # Calls that are queued when the time is over stay in a loop that does not run, and continue in the next run.
    if not before:
        for other in member.crew:
            for _ in range(FLYING):
                other.loop.call_soon_threadsafe(_hop, other, member)
    member.loop.run_forever()
    return member.count - before


async def serve_http(place: ServerSocket) -> object:
    """A Protocol that answers every request head with one write."""
    return await asyncio.get_running_loop().create_server(_Http, sock=place.listener)


class _Http(asyncio.Protocol):
    """Answers as often as a head ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answers."""
        for _ in range(data.count(b"\r\n\r\n")):
            self._transport.write(RESPONSE)


def _counts() -> list[int]:
    """1, 2, and on more cores 4, 8 and so on."""
    counts = [1, 2]
    while counts[-1] * 2 <= len(os.sched_getaffinity(0)):
        counts.append(counts[-1] * 2)
    return counts


def _threads(name: str, count: int, gain: float | None) -> Threads:
    return Threads(count, f"{name}_1", None if gain is None else gain * count / 2)


def _titled(title: str, count: int) -> str:
    return f"{title}, {count} thread{'s' if count > 1 else ''}"


def _until_complete(main: Callable[[Member], Coroutine[None, None, int]]) -> Work:
    return lambda member: member.loop.run_until_complete(main(member))


def _case(
    name: str,
    title: str,
    work: Work,
    gain: float | None = GAIN,
    *,
    tls: bool = False,
    floor: str | None = None,
) -> list[Case]:
    return [
        Threaded(
            f"threads_{name}_{count}",
            _titled(title, count),
            "threads",
            "k/s",
            Target(1.0),
            work=work,
            threads=_threads(f"threads_{name}", count, gain),
            tls=tls,
            floor=floor,
        )
        for count in _counts()
    ]


def _http(name: str, title: str) -> list[Case]:
    return [
        ThreadedHttp(
            f"threads_{name}_{count}",
            _titled(title, count),
            "threads",
            "k/s",
            Target(1.0),
            serve=serve_http,
            connections=64,
            threads=_threads(f"threads_{name}", count, None),
        )
        for count in _counts()
    ]


CASES: tuple[Case, ...] = (
    *_case("call_soon", "call_soon, queues of 1,000", bursts),
    *_case("gather", "gather of 1,000 empty coroutines", _until_complete(gather)),
    *_case("cancel", "call_later(30) then cancel", cancelled),
    *_case("queues", "two tasks over two asyncio.Queue", _until_complete(queues)),
    *_case("echo", "Protocol over 16 socket pairs", _until_complete(echo), floor="unix"),
    *_case(
        "streams", "streams over loopback, readline", _until_complete(streams), None, floor="tcp"
    ),
    *_case("own_streams", "the loop's own streams", _until_complete(own), None, floor="tcp"),
    *_http("http", "HTTP, SO_REUSEPORT"),
    *_case("tls", "TLS over 16 socket pairs", _until_complete(tls_echo), tls=True),
    *_case("crossing", "call_soon_threadsafe, all to all", crossing, 1.0),
)
