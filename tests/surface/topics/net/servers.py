"""create_server and Server."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys

from surface.probe import Probe, case

P = asyncio.Protocol
LOCAL = "127.0.0.1"


@case
async def wrong_arguments(p: Probe) -> None:
    call = p.loop.create_server
    await p.wait(call)
    await p.wait(call, P)
    await p.wait(call, P, "h", 1, sock=p.open())
    await p.wait(call, P, LOCAL, 0, unknown=1)
    await p.wait(call, P, LOCAL, 0, ssl=True)
    await p.wait(call, P, LOCAL, 0, ssl=False)
    await p.wait(call, P, sock=p.open(socket.SOCK_DGRAM))
    await p.wait(call, P, sock=p.tls_socket())
    await p.wait(call, P, sock=5)
    await p.wait(call, P, sock=p.closed())
    for option in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
        await p.wait(call, P, LOCAL, 0, **{option: 1})
    for port in ("no service", -1, 1.5, object()):
        await p.wait(call, P, LOCAL, port)
    for host in (5, 1.5, object(), "bad\0host", [5], ["192.0.2.1"], "192.0.2.1"):
        await p.wait(call, P, host, 0)
    await p.wait(call, P, LOCAL, 0, family=99)
    await p.wait(call, P, LOCAL, 0, family=socket.AF_INET6)
    await p.wait(call, P, LOCAL, 0, flags=1 << 20)


@case
async def what_listens(p: Probe) -> None:
    call = p.loop.create_server
    for options in (
        {"host": LOCAL},
        {"host": [LOCAL]},
        {"host": [LOCAL, LOCAL]},
        {"host": b"127.0.0.1"},
        {"host": LOCAL, "backlog": 1},
        {"host": LOCAL, "reuse_address": False, "reuse_port": True},
        {"host": LOCAL, "family": socket.AF_INET},
        {"host": LOCAL, "start_serving": False},
        {"host": LOCAL, "ssl": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)},
        {"host": LOCAL, "ssl": 5},
        {"host": LOCAL, "backlog": "x"},
        {"host": LOCAL, "backlog": -1},
    ):
        server = await p.wait(call, P, port=0, **options)
        if server is None:
            continue
        p.note("sockets", (type(server.sockets), len(server.sockets), server.is_serving()))
        p.note("loop", server.get_loop() is p.loop)
        p.attempt(server.close)
        p.note("closed", (server.sockets, server.is_serving()))
        await p.wait(server.wait_closed)
    sock, port = p.listening()
    await p.wait(call, P, LOCAL, port)
    await p.wait(call, P, LOCAL, port, reuse_port=True)
    server = await p.wait(call, P, sock=sock)
    server.close()
    p.note("closed", sock.fileno())


@case
async def keeping_alive(p: Probe) -> None:
    if sys.version_info < (3, 13):
        return
    for value in (True, False, None):
        server = await p.wait(p.loop.create_server, P, LOCAL, 0, keep_alive=value)
        kept = server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        p.note("option", kept)
        server.close()


@case
async def life(p: Probe) -> None:
    server = await p.loop.create_server(P, LOCAL, 0, start_serving=False)
    p.note("repr", repr(server).partition(" sockets")[0])
    p.attempt(server.is_serving)
    p.attempt(server.get_loop)
    p.attempt(server.get_loop, 1)
    await p.wait(server.start_serving)
    await p.wait(server.start_serving)
    p.attempt(server.is_serving)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await p.loop.create_connection(P, LOCAL, port)
    task = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0.001)
    await p.wait(server.serve_forever)
    transport.close()
    await asyncio.sleep(0.001)
    task.cancel()
    await p.wait(lambda: task)
    p.note("sockets", server.sockets)
    await p.wait(server.serve_forever)
    await p.wait(server.start_serving)
    p.attempt(server.close)
    await p.wait(server.wait_closed)
    await p.wait(server.wait_closed)


@case
async def as_context(p: Probe) -> None:
    async with await p.loop.create_server(P, LOCAL, 0) as server:
        p.note("kind", isinstance(server, asyncio.AbstractServer))
        p.attempt(server.sockets[0].getsockname)
        for name in ("accept", "recv", "send", "settimeout", "setblocking"):
            p.note(name, hasattr(server.sockets[0], name))
        p.attempt(server.sockets[0].setblocking, True)
        p.attempt(server.sockets[0].settimeout, 1)
    p.note("sockets", server.sockets)


@case
async def connections(p: Probe) -> None:
    made = asyncio.Event()
    lost = asyncio.Event()

    class Served(P):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            p.note("made", transport)
            made.set()

        def connection_lost(self, exc: BaseException | None) -> None:
            p.note("lost", exc)
            lost.set()

    server = await p.loop.create_server(Served, LOCAL, 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await p.loop.create_connection(P, LOCAL, port)
    await made.wait()
    server.close()
    if sys.version_info >= (3, 13):
        p.attempt(server.close_clients)
        await lost.wait()
        p.attempt(server.abort_clients)
    else:
        transport.close()
        await lost.wait()
    await p.wait(server.wait_closed)
    transport.close()


@case
async def factories_that_fail(p: Probe) -> None:
    called = asyncio.Event()

    def broken() -> asyncio.Protocol:
        called.set()
        raise ValueError("no protocol")

    server = await p.loop.create_server(broken, LOCAL, 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(LOCAL, port)
    await called.wait()
    await p.wait(reader.read)
    writer.close()
    server.close()
    await server.wait_closed()
