"""Transports on pipes, and protocols that remember."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from support.loops import until

from .protocols import Recorder


class Writing(asyncio.BaseProtocol):
    """What a writing end is told."""

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

    async def wait_lost(self) -> Exception | None:
        await until(lambda: "connection_lost" in self.events)
        return self.lost


def opened(descriptor: int, mode: str) -> Any:
    return open(descriptor, mode, buffering=0)


async def reading(descriptor: int, protocol: Recorder | None = None) -> tuple[Any, Recorder]:
    recorder = protocol or Recorder()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: recorder, opened(descriptor, "rb"))
    return transport, recorder


async def writing(descriptor: int) -> tuple[Any, Writing]:
    protocol = Writing()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_write_pipe(lambda: protocol, opened(descriptor, "wb"))
    return transport, protocol


def emptied(descriptor: int) -> bytes:
    """Everything that can be read now without waiting."""
    os.set_blocking(descriptor, False)
    data = b""
    try:
        while part := os.read(descriptor, 1 << 20):
            data += part
    except BlockingIOError:
        pass
    return data
