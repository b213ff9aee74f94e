"""Connections over sockets that a test holds the other end of."""

from __future__ import annotations

import asyncio
import socket


async def attach(near: socket.socket, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
    """Hand a connected socket over to a transport."""
    loop = asyncio.get_running_loop()
    connect = (
        loop.create_unix_connection if near.family == socket.AF_UNIX else loop.create_connection
    )
    transport, made = await connect(lambda: protocol, sock=near)
    assert made is protocol
    return transport
