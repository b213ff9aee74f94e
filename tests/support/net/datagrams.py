"""Datagram endpoints that remember what they were told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

from support.loops import until

from .sockets import Pair


@contextlib.contextmanager
def datagram_pair() -> Iterator[Pair]:
    """Two connected Unix datagram sockets that do not block.

    Each has a name, since asyncio takes a socket whose peer has none for one that is not connected.
    """
    near, far = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    with near, far:
        for sock in (near, far):
            sock.setblocking(False)
            sock.bind("")
        near.connect(far.getsockname())
        far.connect(near.getsockname())
        yield near, far


def send_all(address: Any, *datagrams: bytes) -> None:
    """Send datagrams over UDP from a socket that is closed then."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for data in datagrams:
            sock.sendto(data, address)


class Endpoint(asyncio.DatagramProtocol):
    """Remembers events in order, datagrams and errors."""

    def __init__(self, on_datagram: Callable[[Endpoint], object] = lambda _: None) -> None:
        self.events: list[str] = []
        self.datagrams: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.transport: asyncio.DatagramTransport = cast("asyncio.DatagramTransport", None)
        self._on_datagram = on_datagram

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("connection_made")
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert type(data) is bytes
        self.datagrams.append((data, addr))
        self._on_datagram(self)

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def pause_writing(self) -> None:
        self.events.append("pause_writing")

    def resume_writing(self) -> None:
        self.events.append("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(f"connection_lost {exc!r}")

    @property
    def address(self) -> Any:
        return self.transport.get_extra_info("sockname")

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.datagrams]

    async def wait_count(self, count: int) -> None:
        await until(lambda: len(self.datagrams) == count)

    async def wait_data(self, *expected: bytes) -> None:
        await until(lambda: len(self.datagrams) >= len(expected))
        assert self.data == list(expected)

    async def close(self) -> None:
        self.transport.close()
        await until(lambda: self.events[-1].startswith("connection_lost"))


async def endpoint(protocol: Endpoint | None = None, **options: Any) -> Endpoint:
    """An endpoint of the running loop."""
    made = protocol or Endpoint()
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_datagram_endpoint(lambda: made, **options)
    return made
