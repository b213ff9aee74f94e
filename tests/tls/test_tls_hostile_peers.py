"""What a hostile or broken peer sends to a TLS server or client: the right end, and the server goes on."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from typing import Any

import pytest

from support.loops import until
from support.net.certificates import client_context, server_context
from support.net.protocols import Recorder
from support.net.sockets import listening, reset
from support.net.tls import HEADER, Peer, peer_of, served

Loop = asyncio.AbstractEventLoop


class Servers(list[Recorder]):
    """The protocols that a server has made."""

    def make(self) -> Recorder:
        self.append(Recorder())
        return self[-1]


async def still_serves(loop: Loop, server: Any) -> None:
    """A proper client is answered as if nothing had happened."""
    client = Recorder()
    transport, _ = await loop.create_connection(
        lambda: client,
        *server.sockets[0].getsockname(),
        ssl=client_context(),
        server_hostname="localhost",
    )
    transport.close()
    await client.wait_lost()


@pytest.mark.usefixtures("refusals")
@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x00" * 64,
        b"\x16\x03\x01\xff\xff" + b"\x01" * 64,
        b"\x16\x03\x01\x00\x05hello",
        b"\x17\x03\x03\x00\x20" + b"x" * 32,
    ],
    ids=["plain http", "zeros", "too long a record", "no handshake message", "data at once"],
)
async def test_garbage_instead_of_a_handshake_ends_that_connection_only(
    loop: Loop, garbage: bytes
) -> None:
    servers = Servers()

    server = await loop.create_server(servers.make, sock=listening(), ssl=server_context())
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, server.sockets[0].getsockname())
        await loop.sock_sendall(sock, garbage)
        try:
            while await loop.sock_recv(sock, 4096):
                pass
        except ConnectionResetError:
            pass
    await still_serves(loop, server)
    server.close()
    assert servers[0].events == []


@pytest.mark.usefixtures("refusals")
@pytest.mark.parametrize("end", ["close", "reset", "half"])
async def test_a_peer_that_ends_in_the_handshake_is_forgotten(loop: Loop, end: str) -> None:
    servers = Servers()

    server = await loop.create_server(servers.make, sock=listening(), ssl=server_context())
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, server.sockets[0].getsockname())
    peer = Peer(sock)
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    hello = peer.outgoing.read()
    await peer.send_raw(hello[: len(hello) // 2])
    await until(lambda: servers)
    if end == "reset":
        reset(sock)
    elif end == "half":
        sock.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(sock, 100) == b""
    sock.close()
    await still_serves(loop, server)
    server.close()
    assert servers[0].events == []


@pytest.mark.usefixtures("refusals")
async def test_a_peer_that_stops_in_the_handshake_is_given_up(loop: Loop) -> None:
    servers = Servers()

    server = await loop.create_server(
        servers.make, sock=listening(), ssl=server_context(), ssl_handshake_timeout=0.05
    )
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, server.sockets[0].getsockname())
        await loop.sock_sendall(sock, b"\x16\x03\x01")
        try:
            assert await loop.sock_recv(sock, 100) == b""
        except ConnectionResetError:
            pass
    await still_serves(loop, server)
    server.close()
    assert servers[0].events == []


async def test_a_record_cut_in_two_is_delivered_when_it_is_whole(loop: Loop) -> None:
    protocol = Recorder()

    async with served(protocol) as peer:
        record = peer.records(b"in pieces")
        for at in range(len(record) - 1):
            await peer.send_raw(record[at : at + 1])
        await asyncio.sleep(0.01)
        assert not protocol.data
        await peer.send_raw(record[-1:])
        assert await protocol.wait_data(9) == b"in pieces"
        protocol.transport.abort()
        await protocol.wait_lost()


async def test_an_end_within_a_record_delivers_what_was_whole(loop: Loop) -> None:
    servers = Servers()

    async with peer_of(servers.make) as peer:
        await peer.handshake()
        whole, cut = peer.records(b"whole"), peer.records(b"never seen")
        await peer.send_raw(whole + cut[:-1])
        peer.sock.shutdown(socket.SHUT_WR)
        assert await servers[0].wait_lost() is None
    assert servers[0].data == b"whole"
    assert servers[0].events[-2:] == ["eof_received", "connection_lost"]


@pytest.mark.parametrize("together", [False, True])
async def test_garbage_in_the_middle_ends_the_connection_with_an_ssl_error(
    loop: Loop, together: bool, reports: list[Any], kind: str
) -> None:
    if together and kind == "asyncio":
        pytest.skip("asyncio drops what came before in the same batch")
    protocol = Recorder()

    async with served(protocol) as peer:
        good, bad = peer.records(b"good"), bytearray(peer.records(b"bad"))
        bad[HEADER + 3] ^= 0xFF
        if together:
            await peer.send_raw(good + bad)
        else:
            await peer.send_raw(good)
            await protocol.wait_data(4)
            await peer.send_raw(bytes(bad))
        lost = await protocol.wait_lost()
        assert isinstance(lost, ssl.SSLError)
        # The record's code is wrong; newer versions of OpenSSL say less.
        assert lost.reason in {"DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "RECORD_LAYER_FAILURE"}
    assert protocol.data == b"good"
    assert not reports, "an OSError is everyday life"


async def test_plain_text_after_the_handshake_is_an_ssl_error(loop: Loop) -> None:
    protocol = Recorder()

    async with served(protocol) as peer:
        await peer.send_raw(b"QUIT\r\n")
        assert isinstance(await protocol.wait_lost(), ssl.SSLError)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the time-out can be given since 3.11")
async def test_a_peer_that_never_answers_close_notify_is_aborted(loop: Loop) -> None:
    protocol = Recorder()

    async with served(protocol, ssl_shutdown_timeout=0.05):
        protocol.transport.close()
        lost = await protocol.wait_lost()
        assert isinstance(lost, asyncio.TimeoutError)
        assert str(lost) == "SSL shutdown timed out"
        assert protocol.transport.is_closing()


async def test_a_reset_is_reported(loop: Loop) -> None:
    protocol = Recorder()

    async with served(protocol) as peer:
        reset(peer.sock)
        assert isinstance(await protocol.wait_lost(), ConnectionResetError)
        # Writing to it is harmless.
        for _ in range(8):
            protocol.transport.write(b"x")


async def test_close_notify_from_the_peer_ends_both_sides(loop: Loop) -> None:
    protocol = Recorder()

    async with served(protocol) as peer:
        await peer.send_raw(peer.records(b"bye") + peer.close_notify())
        assert await protocol.wait_lost() is None
        # Ours comes back, and then the end.
        while await peer.receive():
            pass
        peer.tls.unwrap()
    assert protocol.data == b"bye"
    assert protocol.events == [
        "connection_made",
        "data_received",
        "eof_received",
        "connection_lost",
    ]


async def test_data_after_close_notify_is_not_delivered(loop: Loop) -> None:
    protocol = Recorder()

    async with served(protocol) as peer:
        late = peer.records(b"late")
        await peer.send_raw(peer.close_notify() + late)
        await protocol.wait_lost()
    assert not protocol.data


async def test_a_client_meets_a_server_that_closes_at_once(loop: Loop) -> None:
    with listening() as listener:
        connecting = loop.create_task(
            loop.create_connection(
                Recorder,
                *listener.getsockname(),
                ssl=client_context(),
                server_hostname="localhost",
            )
        )
        await asyncio.sleep(0.005)
        accepted, _ = listener.accept()
        accepted.recv(1 << 16)
        accepted.close()
        with pytest.raises(ConnectionResetError):
            await connecting
