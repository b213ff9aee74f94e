"""Small workloads whose machine instructions are counted: `python -m cases.counted NAME COUNT`.

Each runs alone in its process, with real sockets, so that two runs execute nearly the same
instructions. They are not benchmarks: they show what an operation costs
the processor, not how long it takes.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

from cases import counted_served as served
from cases.operations import Accepted
from cases.tls import contexts
from harness.loops import new_loop

Workload = Callable[[asyncio.AbstractEventLoop, int], Awaitable[None]]

MESSAGE = served.MESSAGE


def _nothing(*_args: object) -> None:
    pass


async def call_soon(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """Queues of a hundred callbacks with one argument."""
    for _ in range(count // 100):
        for number in range(100):
            loop.call_soon(_nothing, number)
        await asyncio.sleep(0)


async def call_soon_arguments(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """Queues of a hundred callbacks with three arguments."""
    for _ in range(count // 100):
        for number in range(100):
            loop.call_soon(_nothing, number, loop, count)
        await asyncio.sleep(0)


async def call_soon_queue(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """One long queue, longer than the pool of handles."""
    for _ in range(count):
        loop.call_soon(_nothing)
    await asyncio.sleep(0)


async def call_soon_threadsafe(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """From the loop's own thread: what the call itself costs."""
    for _ in range(count // 100):
        for number in range(100):
            loop.call_soon_threadsafe(_nothing, number)
        await asyncio.sleep(0)


async def sleep_zero(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A turn for each operation."""
    for _ in range(count):
        await asyncio.sleep(0)


async def future(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A future that a callback completes."""
    for _ in range(count):
        waiter = loop.create_future()
        loop.call_soon(waiter.set_result, None)
        await waiter


async def task(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A task that ends at once."""

    async def empty() -> None:
        pass

    for _ in range(count):
        await loop.create_task(empty())


async def gather(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A hundred empty coroutines at a time."""

    async def empty() -> None:
        pass

    for _ in range(count // 100):
        await asyncio.gather(*(empty() for _ in range(100)))


async def sleepers(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """Tasks that sleep at the same time, with 97 different delays of up to 10 ms."""
    await asyncio.gather(*(asyncio.sleep(number % 97 / 9700) for number in range(count)))


async def timer_cancelled(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A timer that is set and cancelled, beside another."""
    other = loop.call_later(3600, _nothing)
    for _ in range(count):
        first = loop.call_later(30, _nothing)
        second = loop.call_later(31, _nothing)
        first.cancel()
        second.cancel()
    other.cancel()


async def timer_due(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """Timers that are due at once."""
    for _ in range(count // 100):
        for number in range(100):
            loop.call_later(0, _nothing, number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def timer_unordered(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """Timers that are due within 10 ms, in no order."""
    chance = random.Random(1)
    for _ in range(count):
        loop.call_later(chance.random() / 100, _nothing)
    await asyncio.sleep(0.02)


async def timeout(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """`wait_for` around something that is nearly ready."""
    for _ in range(count):
        await asyncio.wait_for(asyncio.sleep(0), 30)


async def queue(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """An item to another task and back."""
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def answer() -> None:
        for _ in range(count):
            await back.put(await there.get())

    answering = asyncio.ensure_future(answer())
    for number in range(count):
        await there.put(number)
        await back.get()
    await answering


async def reader(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A pipe that is watched."""
    here, there = os.pipe()
    done = loop.create_future()
    seen = 0

    def ready() -> None:
        nonlocal seen
        os.read(here, 1)
        seen += 1
        if seen == count:
            done.set_result(None)
        else:
            os.write(there, b"x")

    loop.add_reader(here, ready)
    os.write(there, b"x")
    await done
    loop.remove_reader(here)
    os.close(here)
    os.close(there)


async def sock_calls(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """`sock_sendall` and `sock_recv` over a socket pair."""
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    for _ in range(count):
        await loop.sock_sendall(here, MESSAGE)
        await loop.sock_recv(there, 65536)
    here.close()
    there.close()


class _Datagrams(asyncio.DatagramProtocol):
    """Sends every datagram back until the last."""

    def __init__(self, count: int, done: asyncio.Future[None]) -> None:
        self._left = count
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._left -= 1
        if self._left:
            self._transport.sendto(data, addr)
        else:
            self._done.set_result(None)


async def datagrams(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """An endpoint that talks to itself."""
    done = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(count, done), local_addr=("127.0.0.1", 0)
    )
    transport.sendto(MESSAGE, transport.get_extra_info("sockname"))
    await done
    transport.abort()


async def connections(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """`create_connection` to a server of the same loop, and `abort`."""
    server = await loop.create_server(served.Echo, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    for _ in range(count):
        transport, _ = await loop.create_connection(served.Echo, host, port)
        transport.abort()
    server.close()
    await server.wait_closed()


async def handshake(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A connection with a full TLS handshake, both ends of it, and `abort`."""
    ours, theirs = contexts()
    made: asyncio.Queue[None] = asyncio.Queue()
    server = await loop.create_server(lambda: Accepted(made), "127.0.0.1", 0, ssl=ours)
    host, port = server.sockets[0].getsockname()
    for _ in range(count):
        transport, _ = await loop.create_connection(
            asyncio.Protocol, host, port, ssl=theirs, server_hostname="localhost"
        )
        await made.get()
        transport.abort()
    server.close()


async def getaddrinfo(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A look-up of a host that is a number."""
    for _ in range(count):
        await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)


async def run_in_executor(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A call in another thread, and the result; the thread is counted too."""
    for _ in range(count):
        await loop.run_in_executor(None, _nothing)


async def spawn(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A process that ends at once; it is not counted itself."""
    for _ in range(count):
        process = await asyncio.create_subprocess_exec("/bin/true")
        await process.wait()


async def loop_creation(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """Making a loop and closing it."""
    for _ in range(count):
        type(loop)().close()


# The two counts between which the difference is taken.
WORKLOADS: dict[str, tuple[Workload, int, int]] = {
    workload.__name__: (workload, small, 3 * small)
    for workload, small in (
        (call_soon, 10_000),
        (call_soon_arguments, 10_000),
        (call_soon_queue, 5000),
        (call_soon_threadsafe, 10_000),
        (sleep_zero, 2000),
        (future, 2000),
        (task, 2000),
        (gather, 10_000),
        (sleepers, 2000),
        (timer_cancelled, 2000),
        (timer_due, 10_000),
        (timer_unordered, 5000),
        (timeout, 1000),
        (queue, 1000),
        (reader, 2000),
        (served.protocol, 1000),
        (served.buffered_protocol, 1000),
        (served.unix_echo, 1000),
        (served.head_and_body, 1000),
        (served.streams, 1000),
        (served.own_streams, 1000),
        (served.large_echo, 1000),
        (served.tls, 1000),
        (served.http_protocol, 500),
        (served.https_protocol, 500),
        (served.uvicorn, 500),
        (served.aiohttp, 500),
        (sock_calls, 1000),
        (datagrams, 1000),
        (connections, 200),
        (handshake, 200),
        (getaddrinfo, 1000),
        (run_in_executor, 500),
        (spawn, 400),
        (loop_creation, 100),
    )
}


MONITORS: dict[str, dict[str, Any] | None] = {
    "none": None,
    # Nothing takes a minute here, so nothing is reported.
    "stalls": {"stall_after": 60.0},
    "histograms": {"histograms": True},
    "slow": {"slow_after": 60.0},
    "totals": {"histograms": False, "totals": True},
}
"""What a `ferroloop.Monitor` of the loop is asked for meanwhile."""


def main() -> None:
    """Runs one workload on one loop: NAME LOOP COUNT [MONITOR]."""
    name, loop_name, count, *monitor = sys.argv[1:]
    loop = new_loop(loop_name)
    options = MONITORS[monitor[0]] if monitor else None
    if options is not None:
        importlib.import_module("ferroloop").Monitor(loop, **options).start()
    loop.run_until_complete(WORKLOADS[name][0](loop, int(count)))
    loop.close()


if __name__ == "__main__":
    main()
