"""TLS transports: extra info, errors, and calls after closing."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from support.net.certificates import client_context, server_context
from surface.probe import KINDS, Probe, case

LOCAL = "127.0.0.1"


class _Notes(asyncio.Protocol):
    """Writes down what happens to it."""

    def __init__(self, p: Probe, side: str) -> None:
        self.p = p
        self.side = side
        self.transport: Any = None
        self.got = bytearray()
        self.made = asyncio.Event()
        self.lost = asyncio.Event()
        self.enough = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.made.set()

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.enough.set()

    def eof_received(self) -> None:
        self.p.note(f"{self.side} eof", None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.p.note(f"{self.side} lost", exc)
        self.lost.set()


async def _connected(p: Probe) -> tuple[Any, _Notes, _Notes, Any]:
    """A server, its connection's protocol, and the client's protocol and transport."""
    served = _Notes(p, "server")
    server = await p.loop.create_server(lambda: served, LOCAL, 0, ssl=server_context())
    port = server.sockets[0].getsockname()[1]
    transport, client = await p.loop.create_connection(
        lambda: _Notes(p, "client"), LOCAL, port, ssl=client_context(), server_hostname="localhost"
    )
    await served.made.wait()
    server.close()
    return server, served, client, transport


async def _ended(*protocols: _Notes) -> None:
    for protocol in protocols:
        await protocol.lost.wait()


@case
async def telling(p: Probe) -> None:
    _, served, client, transport = await _connected(p)
    for side, one in (("client", transport), ("server", served.transport)):
        for name in ("sslcontext", "ssl_object", "peercert", "cipher", "compression", "none"):
            p.note(f"{side} {name}", type(one.get_extra_info(name)))
        for name in ("socket", "peername", "sockname"):
            p.note(f"{side} {name}", one.get_extra_info(name))
    p.note("version", transport.get_extra_info("ssl_object").version())
    p.attempt(transport.get_extra_info)
    p.attempt(transport.get_extra_info, "none", "default")
    p.note("kinds", [isinstance(transport, kind) for kind in KINDS])
    p.attempt(transport.is_closing)
    p.attempt(transport.is_reading)
    p.attempt(transport.can_write_eof)
    p.attempt(transport.write_eof)
    p.note("protocol", transport.get_protocol() is client)
    transport.close()
    await _ended(served, client)


@case
async def wrong_writing(p: Probe) -> None:
    for wrong in (None, 5, "text", [1], object()):
        _, served, client, transport = await _connected(p)
        p.attempt(transport.write, wrong)
        # It is found out when it is encrypted, and ends the connection then.
        p.attempt(transport.writelines, wrong)
        transport.abort()
        await _ended(served, client)


@case
async def writing(p: Probe) -> None:
    _, served, client, transport = await _connected(p)
    p.attempt(transport.write)
    for data in (b"bytes", bytearray(b"array"), memoryview(b"view"), b""):
        p.attempt(transport.write, data)
    p.attempt(transport.writelines, [b"a", bytearray(b"b")])
    p.attempt(transport.writelines, [])
    while len(served.got) < len(b"bytesarrayviewab"):
        served.enough.clear()
        await served.enough.wait()
    p.note("arrived", bytes(served.got))
    p.attempt(transport.get_write_buffer_size)
    transport.close()
    await _ended(served, client)


@case
async def limits(p: Probe) -> None:
    _, served, client, transport = await _connected(p)
    pairs = [(transport.set_write_buffer_limits, transport.get_write_buffer_limits)]
    if sys.version_info >= (3, 11):
        pairs.append((transport.set_read_buffer_limits, transport.get_read_buffer_limits))
        p.attempt(transport.get_read_buffer_size)
    options: Any
    for setter, getter in pairs:
        p.attempt(getter)
        for options in ({}, {"high": 10}, {"low": 10}, {"high": 5, "low": 10}, {"high": "x"}):
            p.attempt(setter, **options)
            p.attempt(getter)
        p.attempt(setter, 100, 50)
    transport.close()
    await _ended(served, client)


@case
async def reading(p: Probe) -> None:
    _, served, client, transport = await _connected(p)
    p.attempt(transport.pause_reading)
    p.attempt(transport.pause_reading)
    p.attempt(transport.is_reading)
    p.attempt(transport.resume_reading)
    p.attempt(transport.resume_reading)
    other = _Notes(p, "other")
    p.attempt(transport.set_protocol, other)
    p.note("protocol", transport.get_protocol() is other)
    served.transport.write(b"data")
    await other.enough.wait()
    p.note("data", bytes(other.got))
    p.note("first", bytes(client.got))
    served.transport.close()
    await _ended(served, other)
    p.attempt(transport.pause_reading)
    p.attempt(transport.resume_reading)


@case
async def closing(p: Probe) -> None:
    for method in ("close", "abort"):
        _, served, client, transport = await _connected(p)
        p.attempt(getattr(transport, method))
        p.attempt(transport.is_closing)
        p.attempt(transport.write, b"dropped")
        p.attempt(transport.close)
        await _ended(served, client)
        p.attempt(transport.close)
        p.attempt(transport.abort)
        p.attempt(transport.is_closing)
        p.attempt(transport.get_write_buffer_size)


@case
async def upgrading(p: Probe) -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        p.note("asked", await reader.readline())
        writer.write(b"yes\n")
        if sys.version_info >= (3, 11):
            await p.wait(writer.start_tls, server_context())
        p.note("over TLS", await reader.readline())
        writer.close()
        ended.set()

    if sys.version_info < (3, 11):
        return
    server = await asyncio.start_server(serve, LOCAL, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"may I?\n")
    p.note("answer", await reader.readline())
    await p.wait(writer.start_tls, client_context(), server_hostname="localhost")
    p.note("upgraded", type(writer.get_extra_info("ssl_object")))
    writer.write(b"secret\n")
    await ended.wait()
    p.note("end", await reader.read())
    writer.close()
    server.close()
