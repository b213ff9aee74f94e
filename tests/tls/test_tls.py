"""TLS over the loop's transports: ssl= arguments, start_tls, and endings."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from types import ModuleType
from typing import Any

import pytest

from support.descriptors import arrived, open_descriptors
from support.loops import run, turns, until
from support.net.certificates import client_context, server_context
from support.net.protocols import BufferedRecorder, Recorder
from support.net.sockets import listening
from support.places import short_folder

Loop = asyncio.AbstractEventLoop


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back until the peer ends."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()
    try:
        await writer.wait_closed()
    except (ConnectionError, ssl.SSLError):
        pass


async def tls_server(**options: Any) -> asyncio.AbstractServer:
    return await asyncio.start_server(echo, sock=listening(), ssl=server_context(), **options)


def address_of(server: Any) -> tuple[str, int]:
    address: tuple[str, int] = server.sockets[0].getsockname()
    return address


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


async def wait_lost(protocol: Recorder) -> None:
    """Wait for the peer to end the connection; asyncio 3.10 warns of an end that is not closed."""
    await protocol.wait_lost()
    protocol.transport.close()


async def test_streams_over_tls(loop: Loop, streams: ModuleType) -> None:
    server = await streams.start_server(echo, sock=listening(), ssl=server_context())
    reader, writer = await streams.open_connection(
        *address_of(server), ssl=client_context(), server_hostname="localhost"
    )
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    size = 1_000_000
    writer.write(bytes(size))
    assert len(await reader.readexactly(size)) == size
    await close(writer)
    server.close()
    await server.wait_closed()


async def test_the_transport_tells_about_the_encryption(loop: Loop) -> None:
    server = await tls_server()
    _, writer = await asyncio.open_connection(
        *address_of(server), ssl=client_context(), server_hostname="localhost"
    )
    info = writer.get_extra_info
    assert isinstance(info("sslcontext"), ssl.SSLContext)
    assert isinstance(info("ssl_object"), ssl.SSLObject)
    assert info("cipher")[1].startswith("TLS")
    assert info("peercert")["subjectAltName"][0] == ("DNS", "localhost")
    assert info("peername") == address_of(server)
    assert info("socket").family == socket.AF_INET
    assert writer.can_write_eof() is False
    assert isinstance(writer.transport, asyncio.Transport)
    await close(writer)
    server.close()


async def test_a_certificate_that_is_not_trusted_is_an_error(
    loop: Loop, reports: list[Any]
) -> None:
    server = await tls_server()
    before = open_descriptors()
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection(
            *address_of(server), ssl=ssl.create_default_context(), server_hostname="localhost"
        )
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection(
            *address_of(server), ssl=client_context(), server_hostname="another.name"
        )
    await until(lambda: open_descriptors() == before)
    # The refused ones are reported by then, in debug mode a moment later.
    await turns()
    server.close()
    reports.clear()


async def test_a_peer_that_speaks_no_tls_is_an_error(loop: Loop) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 no tls here\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(plain, sock=listening())
    before = open_descriptors()
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection(
            *address_of(server), ssl=client_context(), server_hostname="localhost"
        )
    await until(lambda: open_descriptors() == before)
    server.close()


async def test_a_silent_peer_ends_in_the_handshakes_timeout(loop: Loop) -> None:
    with listening() as listener:
        with pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer than"):
            await asyncio.open_connection(
                *listener.getsockname(),
                ssl=client_context(),
                server_hostname="localhost",
                ssl_handshake_timeout=0.02,
            )


async def test_a_cancelled_handshake_leaks_nothing(loop: Loop) -> None:
    with listening() as listener:
        listener.setblocking(False)
        before = open_descriptors()
        task = loop.create_task(
            asyncio.open_connection(
                *listener.getsockname(), ssl=client_context(), server_hostname="localhost"
            )
        )
        peer, _ = await loop.sock_accept(listener)
        with peer:
            await until(lambda: arrived(peer.fileno()))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await until(lambda: open_descriptors() == before)


async def test_start_tls_upgrades_both_ends(loop: Loop) -> None:
    protocols: list[Recorder] = []

    class Server(Recorder):
        def __init__(self) -> None:
            super().__init__()
            protocols.append(self)

        def data_received(self, data: bytes) -> None:
            if data == b"STARTTLS":
                self.transport.write(b"OK")
                self.task = loop.create_task(self.upgrade())
            else:
                super().data_received(data)

        async def upgrade(self) -> None:
            upgraded = await loop.start_tls(
                self.transport, self, server_context(), server_side=True
            )
            # The first data may come before this task goes on.
            await self.wait_data(6)
            assert upgraded is not None
            self.transport = upgraded
            upgraded.write(self.data.upper())

    server = await loop.create_server(Server, sock=listening())
    client = Recorder()
    transport, _ = await loop.create_connection(lambda: client, *address_of(server))
    transport.write(b"STARTTLS")
    await client.wait_data(2)
    upgraded = await loop.start_tls(
        transport, client, client_context(), server_hostname="localhost"
    )
    assert upgraded is not None
    upgraded.write(b"secret")
    assert await client.wait_data(8) == b"OKSECRET"
    upgraded.close()
    await client.wait_lost()
    await wait_lost(protocols[0])
    server.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="since 3.11")
async def test_a_stream_writer_can_be_upgraded(loop: Loop, streams: ModuleType) -> None:
    async def serve(reader: asyncio.StreamReader, writer: Any) -> None:
        assert await reader.readline() == b"upgrade\n"
        writer.write(b"ready\n")
        await writer.start_tls(server_context())
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await streams.start_server(serve, sock=listening())
    reader, writer = await streams.open_connection(*address_of(server))
    untyped: Any = writer
    writer.write(b"upgrade\n")
    assert await reader.readline() == b"ready\n"
    await untyped.start_tls(client_context(), server_hostname="localhost")
    writer.write(b"secret\n")
    assert await reader.readline() == b"SECRET\n"
    await close(writer)
    server.close()


async def recording_server(loop: Loop) -> tuple[asyncio.Server, list[Recorder]]:
    """A TLS server, and the protocols of its connections."""
    protocols: list[Recorder] = []

    class Server(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            protocols.append(self)

    server = await loop.create_server(Server, sock=listening(), ssl=server_context())
    return server, protocols


async def test_tls_with_protocols_and_flow_control(loop: Loop) -> None:
    server, protocols = await recording_server(loop)
    client = BufferedRecorder(100_000)
    await loop.create_connection(
        lambda: client, *address_of(server), ssl=client_context(), server_hostname="localhost"
    )
    client.transport.pause_reading()
    await until(lambda: protocols and protocols[0].events)
    size = 0
    while "pause_writing" not in protocols[0].events:
        protocols[0].transport.write(bytes(1_000_000))
        size += 1_000_000
        await asyncio.sleep(0)
    client.transport.resume_reading()
    await until(lambda: len(client.data) == size)
    await until(lambda: "resume_writing" in protocols[0].events)
    client.transport.close()
    await client.wait_lost()
    await wait_lost(protocols[0])
    server.close()


async def test_an_end_without_close_notify_still_delivers_the_data(loop: Loop) -> None:
    server, protocols = await recording_server(loop)
    client = Recorder()
    transport, _ = await loop.create_connection(
        lambda: client, *address_of(server), ssl=client_context(), server_hostname="localhost"
    )
    await until(lambda: protocols and protocols[0].events)
    transport.write(b"last words")
    raw = transport.get_extra_info("socket")
    await protocols[0].wait_data(10)
    raw.shutdown(socket.SHUT_WR)
    await wait_lost(protocols[0])
    transport.abort()
    await client.wait_lost()
    server.close()
    assert protocols[0].data == b"last words"


def test_tls_over_a_unix_socket(loop: Loop) -> None:
    async def main(path: str) -> None:
        server = await asyncio.start_unix_server(echo, path, ssl=server_context())
        reader, writer = await asyncio.open_unix_connection(
            path, ssl=client_context(), server_hostname="localhost"
        )
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        await close(writer)
        server.close()

    with short_folder() as folder:
        run(loop, main(f"{folder}/s"))


async def test_alpn_is_negotiated(loop: Loop) -> None:
    context = server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = await asyncio.start_server(echo, sock=listening(), ssl=context)
    trusted = client_context()
    trusted.set_alpn_protocols(["http/1.1"])
    _, writer = await asyncio.open_connection(
        *address_of(server), ssl=trusted, server_hostname="localhost"
    )
    ssl_object = writer.get_extra_info("ssl_object")
    assert ssl_object.selected_alpn_protocol() == "http/1.1"
    await close(writer)
    server.close()


async def test_an_accepted_socket_can_be_given_to_tls(loop: Loop) -> None:
    with listening() as listener:
        server, client = Recorder(), Recorder()
        connecting = loop.create_task(
            loop.create_connection(
                lambda: client,
                *listener.getsockname(),
                ssl=client_context(),
                server_hostname="localhost",
            )
        )
        await asyncio.sleep(0.005)
        accepted, _ = listener.accept()
        transport, made = await loop.connect_accepted_socket(
            lambda: server, accepted, ssl=server_context()
        )
        assert made is server
        await connecting
        transport.write(b"from the server")
        assert await client.wait_data(15) == b"from the server"
        transport.close()
        await server.wait_lost()
        await wait_lost(client)
