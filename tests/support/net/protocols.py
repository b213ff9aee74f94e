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


class Recorder(asyncio.Protocol):
    """Remembers events in order, and the bytes."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data = bytearray()
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.lost: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("connection_made")
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.events.append("data_received")
        self.data += data

    def eof_received(self) -> bool | None:
        self.events.append("eof_received")
        return None

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

    async def wait_data(self, size: int) -> bytes:
        await until(lambda: len(self.data) >= size)
        return bytes(self.data)


class Lenient(Recorder):
    """Keeps its own side open after the peer's end."""

    def eof_received(self) -> bool | None:
        super().eof_received()
        return True


class BufferedRecorder(asyncio.BufferedProtocol):
    """The same for a protocol that lends its buffer."""

    def __init__(self, size: int = 1024) -> None:
        self.buffer = bytearray(size)
        self.hints: list[int] = []
        self.events: list[str] = []
        self.data = bytearray()
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.lost: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("connection_made")
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> Any:
        self.hints.append(sizehint)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.events.append("buffer_updated")
        self.data += self.buffer[:nbytes]

    def eof_received(self) -> bool | None:
        self.events.append("eof_received")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("connection_lost")
        self.lost = exc

    async def wait_lost(self) -> Exception | None:
        await until(lambda: "connection_lost" in self.events)
        return self.lost
