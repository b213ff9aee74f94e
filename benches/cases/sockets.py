"""Descriptors and sockets inside one process. Figures: thousands of operations a second."""

from __future__ import annotations

import asyncio
import os
import socket
from time import perf_counter
from typing import TYPE_CHECKING

from cases.operations import ENOUGH, Accepted, rate
from harness.case import InProcess
from harness.results.targets import Target

if TYPE_CHECKING:
    from harness.case import Measure

READY = 100_000
MESSAGE = bytes(1024)
DATAGRAM = bytes(512)
FLYING = 16


def sock_calls(loop: asyncio.AbstractEventLoop) -> float:
    """Two tasks that pass 1 KiB to and fro over a socketpair with `sock_sendall` and `sock_recv`."""
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)

    async def answer() -> None:
        while data := await loop.sock_recv(there, 65536):
            await loop.sock_sendall(there, data)

    async def operation() -> None:
        await loop.sock_sendall(here, MESSAGE)
        if len(await loop.sock_recv(here, 65536)) != len(MESSAGE):
            raise RuntimeError("a message was cut")

    async def main() -> float:
        task = asyncio.ensure_future(answer())
        found = await rate(operation, 200)
        here.shutdown(socket.SHUT_WR)
        await task
        return found

    with here, there:
        return loop.run_until_complete(main())


class _Echo(asyncio.DatagramProtocol):
    """Sends every datagram back to where it came from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._sendto = transport.sendto  # type: ignore[attr-defined]  # a datagram transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Answers."""
        self._sendto(data, addr)


class _Caller(asyncio.DatagramProtocol):
    """Keeps datagrams in flight and counts the answers, until told to stop."""

    def __init__(self, done: asyncio.Future[float]) -> None:
        self._done = done
        self._count = 0
        self._start = perf_counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first datagrams."""
        self._sendto = transport.sendto  # type: ignore[attr-defined]  # a datagram transport
        for _ in range(FLYING):
            self._sendto(DATAGRAM)

    def datagram_received(self, data: bytes, _addr: object) -> None:
        """Sends the next one."""
        if len(data) != len(DATAGRAM):
            raise RuntimeError("a datagram was cut")
        self._count += 1
        if self._count % 512 == 0 and perf_counter() - self._start > ENOUGH:
            if not self._done.done():
                self._done.set_result(self._count / (perf_counter() - self._start) / 1e3)
            return
        self._sendto(DATAGRAM)


def datagrams(loop: asyncio.AbstractEventLoop) -> float:
    """Two UDP endpoints of one loop: 16 datagrams of 512 bytes fly to and fro."""

    async def main() -> float:
        done: asyncio.Future[float] = loop.create_future()
        local = ("127.0.0.1", 0)
        server, _ = await loop.create_datagram_endpoint(_Echo, local_addr=local)
        address = server.get_extra_info("sockname")
        client, _ = await loop.create_datagram_endpoint(lambda: _Caller(done), remote_addr=address)
        try:
            return await done
        finally:
            client.close()
            server.close()

    return loop.run_until_complete(main())


def reader(loop: asyncio.AbstractEventLoop) -> float:
    """A reader that takes a byte out of its pipe and puts one in: it is called once a turn."""
    here, there = os.pipe()
    os.set_blocking(here, False)
    left = READY

    def ready() -> None:
        nonlocal left
        os.read(here, 1)
        left -= 1
        if left:
            os.write(there, b"x")
        else:
            loop.stop()

    os.write(there, b"x")
    start = perf_counter()
    loop.add_reader(here, ready)
    try:
        loop.run_forever()
        return READY / (perf_counter() - start) / 1e3
    finally:
        loop.remove_reader(here)
        os.close(here)
        os.close(there)


def connections(loop: asyncio.AbstractEventLoop) -> float:
    """`create_connection` to a server of the same loop, accepted, then `abort`."""

    async def main() -> float:
        made: asyncio.Queue[None] = asyncio.Queue()
        server = await loop.create_server(lambda: Accepted(made), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()

        async def operation() -> None:
            transport, _ = await loop.create_connection(asyncio.Protocol, host, port)
            await made.get()
            transport.abort()

        try:
            return await rate(operation, 50)
        finally:
            server.close()

    return loop.run_until_complete(main())


def _case(name: str, title: str, measure: Measure, target: Target) -> InProcess:
    return InProcess(name, title, "operations", "k/s", target, measure=measure)


CASES = (
    _case(
        "sock_calls", "sock_sendall / sock_recv(65536) over a socketpair", sock_calls, Target(1.3)
    ),
    _case("udp_echo", "UDP echo, 512 bytes, 16 in flight", datagrams, Target(1.0)),
    _case("add_reader", "add_reader on a pipe", reader, Target(1.0)),
    _case("connect", "connect, accept, abort", connections, Target(1.1)),
)
