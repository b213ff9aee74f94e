"""create_connection, connect_accepted_socket, start_tls; the checks of TLS arguments."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import sys
from typing import Any

from surface.probe import Probe, case

P = asyncio.Protocol
TLS = ssl.create_default_context()
LOCAL = "127.0.0.1"


def _broken() -> Any:
    raise ValueError("no protocol")


@case
async def wrong_arguments(p: Probe) -> None:
    call = p.loop.create_connection
    await p.wait(call)
    await p.wait(call, P)
    await p.wait(call, P, "h", 1, sock=p.open())
    await p.wait(call, P, "h")
    await p.wait(call, P, "h", 1, unknown=1)
    await p.wait(call, P, sock=p.open(socket.SOCK_DGRAM))
    await p.wait(call, P, sock=p.tls_socket())
    await p.wait(call, P, sock=5)
    await p.wait(call, P, sock="text")
    await p.wait(call, P, LOCAL, 9, server_hostname="h")
    await p.wait(call, P, sock=p.open(), ssl=TLS)
    await p.wait(call, P, None, 9, ssl=TLS)
    for wrong in (5, "text", object(), ssl.SSLContext):
        await p.wait(call, P, LOCAL, 9, ssl=wrong)
    for option in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
        for value in (0, 1, -1, "x"):
            await p.wait(call, P, LOCAL, 9, **{option: value})
    await p.wait(call, None, LOCAL, 9)
    await p.wait(call, 5, LOCAL, 9)


@case
async def wrong_addresses(p: Probe) -> None:
    call = p.loop.create_connection
    for host in (5, 1.5, object(), b"bytes", "", "bad\0host", ("127.0.0.1",)):
        await p.wait(call, P, host, 1)
    for port in ("no service", "", -1, 1 << 20, 1.5, object(), None):
        await p.wait(call, P, LOCAL, port)
    await p.wait(call, P, LOCAL, 1, family=socket.AF_INET6)
    await p.wait(call, P, LOCAL, 1, family=99)
    await p.wait(call, P, LOCAL, 1, family="x")
    await p.wait(call, P, LOCAL, 1, proto=99)
    await p.wait(call, P, LOCAL, 1, proto="x")
    await p.wait(call, P, LOCAL, 1, flags="x")
    await p.wait(call, P, "localhost", 1, flags=socket.AI_NUMERICHOST)
    for local in (("::1", 0), ("192.0.2.1", 0), (LOCAL, -1), (LOCAL,), 5, "x", (LOCAL, 0), (5, 5)):
        await p.wait(call, P, LOCAL, 1, local_addr=local)


@case
async def refused(p: Probe) -> None:
    call = p.loop.create_connection
    sock, port = p.listening()
    sock.close()
    await p.wait(call, P, LOCAL, port)
    await p.wait(call, P, LOCAL, port, happy_eyeballs_delay=0.01)
    await p.wait(call, P, "::1", port)
    await p.wait(call, P, LOCAL, port, happy_eyeballs_delay=-1, interleave=2)
    await p.wait(call, P, LOCAL, port, interleave="x")
    await p.wait(call, P, LOCAL, port, happy_eyeballs_delay="x")
    await p.wait(call, P, LOCAL, port, ssl=True)
    await p.wait(asyncio.open_connection, LOCAL, port)
    await p.wait(asyncio.wait_for, call(P, LOCAL, port), 1)


@case
async def several_errors(p: Probe) -> None:
    if sys.version_info >= (3, 12):
        sock, port = p.listening()
        sock.close()
        await p.wait(p.loop.create_connection, P, LOCAL, port, all_errors=True)
        await p.wait(p.loop.create_connection, P, LOCAL, port, all_errors=False)


@case
async def established(p: Probe) -> None:
    call = p.loop.create_connection
    _sock, port = p.listening()
    for options in (
        {},
        {"local_addr": (LOCAL, 0)},
        {"happy_eyeballs_delay": 0.2},
        {"interleave": 1},
    ):
        made = await p.wait(call, P, LOCAL, port, **options)
        transport, protocol = made
        p.extra(transport)
        p.note("names", (transport.get_extra_info("peername"), type(protocol)))
        transport.close()
    await p.wait(call, _broken, LOCAL, port)
    await p.wait(call, object, LOCAL, port)
    gc.collect()  # since 3.14 asyncio has failed transports own their number until then
    await p.wait(call, lambda: None, LOCAL, port)
    await asyncio.sleep(0.001)


@case
async def given_sockets(p: Probe) -> None:
    call = p.loop.create_connection
    await p.wait(call, P, sock=p.open())
    await p.wait(call, P, sock=p.closed())
    left, _right = socket.socketpair()
    p.stack.enter_context(_right)
    transport, _ = await p.wait(call, P, sock=left)
    p.note("blocking", left.getblocking())
    transport.close()
    await asyncio.sleep(0.001)
    p.note("closed", left.fileno())


@case
async def accepted_sockets(p: Probe) -> None:
    call = p.loop.connect_accepted_socket
    await p.wait(call)
    await p.wait(call, P)
    await p.wait(call, P, p.open(socket.SOCK_DGRAM))
    await p.wait(call, P, p.tls_socket())
    await p.wait(call, P, 5)
    await p.wait(call, P, None)
    await p.wait(call, P, p.open(), ssl_handshake_timeout=1)
    await p.wait(call, P, p.open(), ssl_shutdown_timeout=1)
    await p.wait(call, P, p.open(), ssl=5)
    await p.wait(call, P, p.open(), ssl=True)
    left, right = p.pair()
    await p.wait(call, _broken, right)
    transport, _ = await p.wait(call, P, left)
    p.note("kind", (isinstance(transport, asyncio.Transport), transport.is_reading()))
    transport.abort()
    await asyncio.sleep(0.001)


@case
async def start_tls(p: Probe) -> None:
    call = p.loop.start_tls
    left, _ = p.pair()
    transport, protocol = await p.loop.create_connection(P, sock=left)
    await p.wait(call)
    wrong: Any
    for wrong in (None, 5, True, "x", ssl.SSLContext):
        await p.wait(call, transport, protocol, wrong)
    for wrong in (None, 5, object()):
        await p.wait(call, wrong, protocol, TLS)
    for value in (0, -1):
        await p.wait(
            call, transport, protocol, TLS, server_hostname="h", ssl_handshake_timeout=value
        )
    # A failed start closes the transport, and another on a closed one waits for ever.
    await p.wait(call, transport, protocol, TLS, ssl_handshake_timeout=0.01)
    transport.abort()
    left, _ = p.pair()
    transport, protocol = await p.loop.create_connection(P, sock=left)
    await p.wait(*(call, transport, protocol, TLS), server_hostname="h", ssl_handshake_timeout=0.01)
    transport.abort()
    await asyncio.sleep(0.001)


@case
async def tls_handshakes_that_fail(p: Probe) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"this is no TLS record, certainly not")
        await asyncio.sleep(0)
        writer.close()

    async def mute(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    for behaviour in (rude, mute):
        server = await asyncio.start_server(behaviour, LOCAL, 0)
        port = server.sockets[0].getsockname()[1]
        await p.wait(p.loop.create_connection, P, LOCAL, port, ssl=TLS, server_hostname="h")
        server.close()
    _sock, port = p.listening()
    await p.wait(
        p.loop.create_connection,
        P,
        LOCAL,
        port,
        ssl=TLS,
        server_hostname="h",
        ssl_handshake_timeout=0.01,
    )
    for value in (0, -1):
        await p.wait(p.loop.create_connection, P, LOCAL, port, ssl=TLS, ssl_handshake_timeout=value)
    for name in (5, "", "bad\0name", "x" * 300):
        await p.wait(
            *(p.loop.create_connection, P, LOCAL, port),
            ssl=TLS,
            server_hostname=name,
            ssl_handshake_timeout=0.01,
        )
    await asyncio.sleep(0.005)


@case
async def reading(p: Probe) -> None:
    """Streams over a connection, with bad arguments too."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await p.wait(asyncio.start_server, echo, LOCAL, 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await p.wait(asyncio.open_connection, LOCAL, port, limit=64)
    p.attempt(writer.write, "text")
    p.attempt(writer.write, None)
    p.attempt(writer.write, b"line\n")
    p.attempt(writer.can_write_eof)
    await p.wait(reader.readexactly, -1)
    await p.wait(reader.readline)
    await p.wait(reader.read)
    p.attempt(reader.at_eof)
    p.attempt(writer.close)
    await p.wait(writer.wait_closed)
    server.close()
    await p.wait(server.wait_closed)
