"""Protocols that remember what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

from support.loops import until

P = TypeVar("P", bound=asyncio.BaseProtocol)


def returning(protocol: P) -> Callable[[], P]:
    """A factory that gives this one protocol."""
    return lambda: protocol


class Remembering(asyncio.BaseProtocol):
    """Remembers events in order. Holds no transport, so that the test decides who does."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.lost: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("connection_made")

    def pause_writing(self) -> None:
        self.events.append("pause_writing")

    def resume_writing(self) -> None:
        self.events.append("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("connection_lost")
        self.lost = exc

    @property
    def is_lost(self) -> bool:
        return "connection_lost" in self.events

    async def wait_lost(self) -> Exception | None:
        await until(lambda: self.is_lost)
        return self.lost


class _Receiving(Remembering):
    """Remembers its transport, and the bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", transport)

    def eof_received(self) -> bool | None:
        self.events.append("eof_received")
        return None

    async def wait_data(self, size: int) -> bytes:
        await until(lambda: len(self.data) >= size)
        return bytes(self.data)


class Recorder(_Receiving, asyncio.Protocol):
    """Remembers events in order, and the bytes."""

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.events.append("data_received")
        self.data += data


class DatagramRecorder(_Receiving, asyncio.DatagramProtocol):
    """Remembers events in order, and the bytes of all datagrams."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert type(data) is bytes
        self.events.append("datagram_received")
        self.data += data


class Lenient(Recorder):
    """Keeps its own side open after the peer's end."""

    def eof_received(self) -> bool | None:
        super().eof_received()
        return True


class BufferedRecorder(_Receiving, asyncio.BufferedProtocol):
    """The same for a protocol that lends its buffer."""

    def __init__(self, size: int = 1024) -> None:
        super().__init__()
        self.buffer = bytearray(size)
        self.hints: list[int] = []

    def get_buffer(self, sizehint: int) -> Any:
        self.hints.append(sizehint)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.events.append("buffer_updated")
        self.data += self.buffer[:nbytes]
