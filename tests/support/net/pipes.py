"""Transports on pipes, and protocols that remember."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from .protocols import Recorder, Remembering


def opened(descriptor: int, mode: str) -> Any:
    return open(descriptor, mode, buffering=0)


async def reading(descriptor: int, protocol: Recorder | None = None) -> tuple[Any, Recorder]:
    recorder = protocol or Recorder()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: recorder, opened(descriptor, "rb"))
    return transport, recorder


async def writing(descriptor: int) -> tuple[Any, Remembering]:
    protocol = Remembering()
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
