"""Connections of each kind between a protocol of the loop and a far end that the test holds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.attaching import attach
from support.loops import turns, until

from .certificates import client_context, server_context
from .datagrams import datagram_pair
from .pipes import emptied, opened
from .sockets import socket_pair, tcp_pair
from .tls import Peer, calling_openssl

TLS = ["tls", "tls, openssl not called directly"]
#: The kinds of stream connections.
STREAMS = ["tcp", "unix", *TLS]
#: Connections that can be written to.
WRITABLE = [*STREAMS, "write pipe", "datagrams"]
#: Connections that data is received from.
READABLE = [*STREAMS, "read pipe", "datagrams"]


class FarEnd:
    """The far end of a connection, on a socket that does not block."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def end(self) -> None:
        """Send no more."""
        self.sock.shutdown(socket.SHUT_WR)

    async def receive(self, size: int) -> bytes:
        """So many bytes; fewer when the near end sends no more."""
        loop = asyncio.get_running_loop()
        data = bytearray()
        while len(data) < size:
            part = await loop.sock_recv(self.sock, size - len(data))
            if not part:
                break
            data += part
        return bytes(data)

    def close(self) -> None:
        self.sock.close()


class TLSEnd(FarEnd):
    """The far end of a TLS connection."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.peer = Peer(sock, server_context(), server_side=True)

    async def send(self, data: bytes) -> None:
        await self.peer.send(data)

    async def end(self) -> None:
        await self.peer.send_raw(self.peer.close_notify())

    async def receive(self, size: int) -> bytes:
        return await self.peer.read(size)


class PipeEnd(FarEnd):
    """The far end of a pipe."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    async def send(self, data: bytes) -> None:
        os.write(self.descriptor, data)

    async def end(self) -> None:
        self.close()

    async def receive(self, size: int) -> bytes:
        data = bytearray()

        def has_come() -> bool:
            data.extend(emptied(self.descriptor))
            return len(data) >= size

        await until(has_come)
        return bytes(data)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


async def _connect_tls(sock: socket.socket, far: TLSEnd, protocol: Any) -> None:
    """Connect a protocol, as the client."""
    connecting = asyncio.ensure_future(
        asyncio.get_running_loop().create_unix_connection(
            lambda: protocol, sock=sock, ssl=client_context(), server_hostname="localhost"
        )
    )
    await asyncio.sleep(0)
    await far.peer.receive()
    await far.peer.handshake()
    await connecting


def skip_what_asyncio_lacks(kind: str, loop: asyncio.AbstractEventLoop) -> None:
    """Skip a test of a kind of connection that this loop does not have."""
    if kind in TLS and type(loop).__module__.startswith("asyncio"):
        if kind != TLS[0]:
            pytest.skip("asyncio calls OpenSSL in one way only")
        if sys.version_info < (3, 11):
            pytest.skip("asyncio's TLS of 3.10 is another one")


@contextlib.asynccontextmanager
async def connected(kind: str, protocol: Any) -> AsyncIterator[FarEnd]:
    """A connection of the protocol, a recorder; it is aborted in the end and must then be lost."""
    loop = asyncio.get_running_loop()
    skip_what_asyncio_lacks(kind, loop)
    far: FarEnd
    with contextlib.ExitStack() as stack:
        if kind in ("read pipe", "write pipe"):
            r, w = os.pipe()
            far = PipeEnd(w if kind == "read pipe" else r)
            stack.callback(far.close)
            if kind == "read pipe":
                await loop.connect_read_pipe(lambda: protocol, opened(r, "rb"))
            else:
                await loop.connect_write_pipe(lambda: protocol, opened(w, "wb"))
        elif kind == "datagrams":
            near, sock = stack.enter_context(datagram_pair())
            far = FarEnd(sock)
            await loop.create_datagram_endpoint(lambda: protocol, sock=near)
        else:
            near, sock = stack.enter_context(tcp_pair() if kind == "tcp" else socket_pair())
            if kind in TLS:
                stack.enter_context(calling_openssl(directly=kind == TLS[0]))
                far = TLSEnd(sock)
                await _connect_tls(near, far, protocol)
            else:
                far = FarEnd(sock)
                await attach(near, protocol)
        await turns(2)
        try:
            yield far
        finally:
            if not protocol.is_lost:
                # A transport that reads a pipe has no abort.
                getattr(protocol.transport, "abort", protocol.transport.close)()
                await protocol.wait_lost()
