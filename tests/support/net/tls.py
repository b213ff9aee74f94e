"""A TLS peer whose every record the test decides about, and which way our own TLS takes to OpenSSL."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from ferroloop import _native
from support.loops import until

from .certificates import client_context, server_context
from .protocols import Remembering, returning
from .sockets import listening

#: The length of a record's header.
HEADER = 5
#: The kind of loop whose TLS goes through the methods of `ssl`'s objects.
INDIRECT = "ferroloop-indirect"


@contextlib.contextmanager
def calling_openssl(*, directly: bool) -> Iterator[bool]:
    """Let ferroloop's connections call OpenSSL directly or not; whether they do."""
    try:
        yield _native._call_openssl(directly)
    finally:
        _native._call_openssl(True)


def context_of(cls: type[ssl.SSLObject]) -> ssl.SSLContext:
    """A server's context that makes objects of that class."""
    context = server_context()
    context.sslobject_class = cls
    return context


class Peer:
    """One end of a TLS connection over a socket that does not block."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = "localhost",
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        if context is None:
            context = server_context() if server_side else client_context()
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_side,
            server_hostname=None if server_side else server_hostname,
        )

    async def send_raw(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def flush(self) -> None:
        await self.send_raw(self.outgoing.read())

    async def receive(self) -> bool:
        """Take what comes next; False at the end."""
        data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 18)
        self.incoming.write(data)
        return bool(data)

    async def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                assert await self.receive(), "the other side ended in the handshake"
            else:
                await self.flush()
                return

    def records(self, *messages: bytes) -> bytes:
        """The records of messages, not sent yet."""
        for message in messages:
            self.tls.write(message)
        return self.outgoing.read()

    async def send(self, *messages: bytes) -> None:
        await self.send_raw(self.records(*messages))

    async def read(self, size: int) -> bytes:
        """So many bytes; fewer if the other side sends close_notify."""
        data = b""
        while len(data) < size:
            try:
                part = self.tls.read(size - len(data))
            except ssl.SSLWantReadError:
                assert await self.receive(), f"the other side ended after {data!r}"
                continue
            except ssl.SSLZeroReturnError:
                part = b""
            if not part:
                break
            data += part
        return data

    def close_notify(self) -> bytes:
        """Our close_notify, not sent yet."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()


@contextlib.asynccontextmanager
async def peer_of(
    factory: Callable[[], asyncio.BaseProtocol],
    context: ssl.SSLContext | None = None,
    **options: Any,
) -> AsyncIterator[Peer]:
    """A TLS server of the loop with the factory's protocols, and one connected raw peer."""
    loop = asyncio.get_running_loop()
    options["ssl"] = context or server_context()
    server = await loop.create_server(factory, sock=listening(), **options)
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, server.sockets[0].getsockname())
        yield Peer(sock)
    server.close()


@contextlib.asynccontextmanager
async def served(
    protocol: Remembering, context: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[Peer]:
    """A peer of the protocol on a TLS server, after the handshake; `connection_made` was called."""
    async with peer_of(returning(protocol), context, **options) as peer:
        await peer.handshake()
        await until(lambda: protocol.events)
        yield peer
