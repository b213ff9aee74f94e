"""Programs that act on a transport while it makes its Python socket."""

from __future__ import annotations

import asyncio
import os
import socket
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from typing import Any

import pytest

from support.loops import turns, until
from support.net.protocols import Recorder, returning
from support.net.sockets import listening
from support.programs import run_code

Loop = asyncio.AbstractEventLoop
Act = Callable[[Any], object]

pytestmark = pytest.mark.ours_only("its transports have a Python socket from the start")


class Interruption(Exception):
    """What a signal handler may raise anywhere."""


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has something done while the next socket is made, as a signal handler may do it."""

    def arm(act: Act, transport: Any, *, before: bool = True) -> None:
        own = socket.socket.__init__

        def init(self: socket.socket, *args: Any, **kwargs: Any) -> None:
            monkeypatch.setattr(socket.socket, "__init__", own)
            if before:
                act(transport)
            own(self, *args, **kwargs)
            if not before:
                act(transport)

        monkeypatch.setattr(socket.socket, "__init__", init)

    return arm


async def connected() -> tuple[Recorder, socket.socket]:
    """A connection without a Python socket on this side, and its peer."""
    loop = asyncio.get_running_loop()
    protocol = Recorder()
    server = await loop.create_server(returning(protocol), sock=listening())
    peer = socket.create_connection(server.sockets[0].getsockname())
    peer.setblocking(False)
    await until(lambda: protocol.events)
    await turns()
    server.close()
    return protocol, peer


def writes(transport: Any) -> None:
    transport.write(b"meanwhile")
    assert transport.get_write_buffer_size() == 0
    assert not transport.is_closing()


def asks(transport: Any) -> None:
    transport.inner = transport.get_extra_info("socket")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_a_write_while_the_socket_is_made_is_sent(
    loop: Loop, meanwhile: Any, before: bool
) -> None:
    protocol, peer = await connected()
    transport = protocol.transport
    meanwhile(writes, transport, before=before)
    sock = transport.get_extra_info("socket")
    transport.write(b" and after")
    assert transport.get_extra_info("socket") is sock
    data = b""
    while len(data) < len(b"meanwhile and after"):
        data += await loop.sock_recv(peer, 100)
    assert data == b"meanwhile and after"
    peer.send(b"x")
    await protocol.wait_data(1)
    transport.close()
    assert await protocol.wait_lost() is None
    peer.close()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_asking_while_the_socket_is_made_gives_the_same_socket(
    loop: Loop, meanwhile: Any, before: bool
) -> None:
    """There is one owner of the descriptor in the end."""

    protocol, peer = await connected()
    transport: Any = protocol.transport
    meanwhile(asks, transport, before=before)
    sock = transport.get_extra_info("socket")
    assert sock is transport.inner
    number = sock.fileno()
    assert os.fstat(number)
    transport.write(b"x")
    assert await loop.sock_recv(peer, 10) == b"x"
    transport.close()
    assert await protocol.wait_lost() is None
    assert sock.fileno() == -1
    peer.close()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_an_end_while_the_socket_is_made_closes_the_descriptor_once(
    loop: Loop, meanwhile: Any, before: bool
) -> None:
    """Another file may get the number at once, and must stay open."""
    others: list[int] = []

    def ends(transport: Any) -> None:
        transport.abort()
        transport._call_connection_lost(None)
        others.append(os.open(os.devnull, os.O_RDONLY))

    protocol, peer = await connected()
    transport: Any = protocol.transport
    meanwhile(ends, transport, before=before)
    sock = transport.get_extra_info("socket")
    assert sock.fileno() == -1
    del sock
    await turns()
    assert os.fstat(others[0])
    os.close(others.pop())
    peer.close()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_an_exception_while_the_socket_is_made_leaves_the_connection_open(
    loop: Loop, meanwhile: Any, before: bool
) -> None:
    def raises(transport: Any) -> None:
        raise Interruption

    protocol, peer = await connected()
    transport = protocol.transport
    meanwhile(raises, transport, before=before)
    with pytest.raises(Interruption):
        transport.get_extra_info("socket")
    transport.write(b"x")
    assert await loop.sock_recv(peer, 10) == b"x"
    assert transport.get_extra_info("socket").fileno() > 0
    transport.close()
    assert await protocol.wait_lost() is None
    peer.close()


async def test_a_write_while_the_view_is_made_is_sent(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol, peer = await connected()
    transport: Any = protocol.transport
    own = TransportSocket.__init__

    def init(self: Any, sock: Any) -> None:
        monkeypatch.setattr(TransportSocket, "__init__", own)
        writes(transport)
        asks(transport)
        own(self, sock)

    monkeypatch.setattr(TransportSocket, "__init__", init)
    assert transport.get_extra_info("socket") is transport.inner
    assert await loop.sock_recv(peer, 100) == b"meanwhile"
    transport.close()
    await protocol.wait_lost()
    peer.close()


def test_a_write_of_an_audit_hook_is_sent() -> None:
    source = """
        import socket, sys

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                made.append(transport)

            def connection_lost(self, exc):
                lost.append(exc)

        made, lost, heard = [], [], []

        def hook(event, args):
            if event == "socket.__new__" and made and not heard:
                heard.append(event)
                made[0].write(b"heard")
                made[0].get_write_buffer_size()

        async def main():
            loop = asyncio.get_running_loop()
            server = await loop.create_server(Protocol, "127.0.0.1", 0)
            peer = socket.create_connection(server.sockets[0].getsockname())
            peer.setblocking(False)
            while not made:
                await asyncio.sleep(0.001)
            sys.addaudithook(hook)
            made[0].get_extra_info("socket")
            assert heard
            print(await loop.sock_recv(peer, 10), lost, made[0].is_closing())
            made[0].abort()
            server.close()
            peer.close()

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
        """
    assert run_code("ferroloop", source) == (0, "b'heard' [] False\n", "")
