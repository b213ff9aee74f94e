"""When the head of a response leaves over TLS, and what a client writes; see also streams/test_writing_at_once."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.net.certificates import client_context, server_context
from support.net.protocols import Recorder
from support.net.responses import (
    BODY,
    HEAD,
    RESPONSES,
    Client,
    listening_without_delay,
    sends_of,
    serve,
)
from support.net.tls import Peer
from support.programs import code

Loop = asyncio.AbstractEventLoop
Action = Callable[[Any], object]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket."""
    with listening_without_delay() as sock:
        yield sock


def serve_tls(
    loop: Loop, listener: socket.socket, history: str, step: Callable[[Any, Client], Any]
) -> Any:
    contexts = {"server_context": server_context(), "client_context": client_context()}
    return serve(loop, listener, history, step, **contexts)


@pytest.mark.ours_only("asyncio sends every write at once")
@pytest.mark.parametrize(
    "write",
    [
        lambda transport: transport.write(HEAD),
        lambda transport: transport.writelines(HEAD.splitlines(keepends=True)),
    ],
    ids=["write", "writelines"],
)
def test_a_head_alone_waits_for_the_end_of_the_callback(
    loop: Loop, listener: socket.socket, write: Action
) -> None:
    behind: list[bytes] = []

    def step(transport: Any, client: Client) -> None:
        # The tickets of the handshake are read first.
        transport.write(b"x")
        assert client.receive(1) == b"x"
        write(transport)
        with pytest.raises(BlockingIOError):
            client.sock.recv(1)
        loop.call_soon(lambda: behind.append(client.receive(len(HEAD))))

    serve_tls(loop, listener, "fresh", step)
    assert behind == [HEAD]


def test_without_a_mark_the_program_is_told_of_a_head(loop: Loop, listener: socket.socket) -> None:
    def step(transport: Any, client: Client) -> bytes:
        transport.set_write_buffer_limits(0)
        transport.write(HEAD)
        return client.receive(len(HEAD))

    assert serve_tls(loop, listener, "fresh", step) == HEAD


async def test_a_client_sends_at_once_too(loop: Loop) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    peer = Peer(far, server_side=True)
    protocol = Recorder()
    connecting = asyncio.ensure_future(
        loop.create_connection(
            lambda: protocol, sock=near, ssl=client_context(), server_hostname="localhost"
        )
    )
    await peer.handshake()
    transport, _ = await connecting

    def received() -> bytes:
        peer.incoming.write(far.recv(1 << 16))
        return peer.tls.read(1 << 14)

    transport.write(b"x")
    assert received() == b"x"
    transport.write(HEAD)
    transport.write(BODY)
    assert received() == HEAD + BODY if type(loop).__module__ == "ferroloop._loop.loop" else HEAD
    transport.abort()
    await protocol.wait_lost()
    far.close()


SERVER = """
    import socket, sys
    sys.path.insert(0, {tests!r})
    from support.net.certificates import server_context
    from support.net.responses import Serving
    def step(transport):
        transport.write(b"bye")
        loop.stop()
    loop = new_loop()
    listener = socket.socket(fileno={number})
    serving = loop.create_server(lambda: Serving(step), sock=listener, ssl=server_context())
    loop.run_until_complete(serving)
    loop.run_forever()
"""


@pytest.mark.slow
@pytest.mark.ours_only("asyncio sends head and body by themselves")
def test_head_and_body_of_a_response_are_one_system_call(
    kind: str, listener: socket.socket, tmp_path: Path
) -> None:
    if kind != "ferroloop":
        pytest.skip("the program in a process of its own calls OpenSSL as it can")
    tests = str(Path(__file__).parents[1])
    arguments = code(kind, SERVER.format(tests=tests, number=listener.fileno()))
    # The other process has certificates of its own.
    context = client_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # The handshake is a few.
    assert RESPONSES < sends_of(tmp_path, arguments, listener, context) <= RESPONSES + 10
