"""Connections over sockets that a test holds the other end of."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from support.net.protocols import Recorder


async def attach(near: socket.socket, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
    """Hand a connected socket over to a transport."""
    loop = asyncio.get_running_loop()
    connect = (
        loop.create_unix_connection if near.family == socket.AF_UNIX else loop.create_connection
    )
    transport, made = await connect(lambda: protocol, sock=near)
    assert made is protocol
    return transport


@contextlib.asynccontextmanager
async def attached(near: socket.socket) -> AsyncIterator[tuple[asyncio.Transport, Recorder]]:
    """A socket's transport and its protocol, a recorder; aborted in the end, and then lost."""
    protocol = Recorder()
    transport = await attach(near, protocol)
    try:
        yield transport, protocol
    finally:
        transport.abort()
        await protocol.wait_lost()
