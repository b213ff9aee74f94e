"""Written data is sent at once: code that runs later in the same callback finds it sent.

The one exception is the head of a response whose body is to come, which waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.attaching import attach
from support.loops import PATIENCE, run
from support.net.certificates import client_context, server_context
from support.net.connections import STREAMS, TLS, skip_what_asyncio_lacks
from support.net.protocols import Recorder
from support.net.responses import (
    BODY,
    HEAD,
    HISTORIES,
    RESPONSES,
    STEP,
    Client,
    client_in_the_loop,
    client_of,
    listening_without_delay,
    sends_of,
    serve,
)
from support.net.sockets import Pair, listening, receive_exactly
from support.net.tls import calling_openssl
from support.programs import code, finish, start

Loop = asyncio.AbstractEventLoop

LARGE = bytes(range(256)) * 200


@pytest.fixture(params=HISTORIES)
def history(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def listener_of(transport: str, folder: Path) -> socket.socket:
    """A listening socket."""
    if transport != "unix":
        return listening_without_delay()
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(folder / "listener"))
    sock.listen(16)
    return sock


@pytest.fixture(params=["tcp", "unix"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A listening socket."""
    with listener_of(request.param, tmp_path) as sock:
        yield sock


Step = Callable[[Any, Client], Any]


@pytest.fixture(params=STREAMS)
def over(request: pytest.FixtureRequest) -> str:
    """The kind of connection."""
    kind: str = request.param
    return kind


@pytest.fixture
def on_a_connection(over: str, loop: Loop, tmp_path: Path) -> Iterator[Callable[[str, Step], Any]]:
    """Do a step on a connection with a history, in the callback of its request: the step's result."""
    skip_what_asyncio_lacks(over, loop)
    contexts = {}
    if over in TLS:
        contexts = {"server_context": server_context(), "client_context": client_context()}
    with (
        calling_openssl(directly=over != TLS[1]),
        listener_of(over, tmp_path) as sock,
    ):
        yield lambda history, step: serve(loop, sock, history, step, **contexts)


WRITES: dict[str, tuple[Callable[[Any], object], bytes]] = {
    "write": (lambda transport: transport.write(b"x"), b"x"),
    "a bytearray": (lambda transport: transport.write(bytearray(b"xy")), b"xy"),
    "two writes": (lambda transport: [transport.write(b"x"), transport.write(b"y")], b"xy"),
    "writelines": (lambda transport: transport.writelines([b"x", b"y", b"", b"z"]), b"xyz"),
    "a large write": (lambda transport: transport.write(LARGE), LARGE),
    "head and body": (
        lambda transport: [transport.write(HEAD), transport.write(b"x")],
        HEAD + b"x",
    ),
    "head with body": (lambda transport: transport.write(HEAD + BODY), HEAD + BODY),
    "head with body by writelines": (
        lambda transport: transport.writelines([HEAD, BODY]),
        HEAD + BODY,
    ),
    "a head of unknown length": (
        lambda transport: transport.write(HEAD.replace(b"Content-Length: 13", b"x: y")),
        HEAD.replace(b"Content-Length: 13", b"x: y"),
    ),
    "a head without a body": (
        lambda transport: transport.write(HEAD.replace(b": 13", b": 0")),
        HEAD.replace(b": 13", b": 0"),
    ),
    "two heads": (lambda transport: [transport.write(HEAD), transport.write(HEAD)], HEAD + HEAD),
    "a request": (
        lambda transport: transport.write(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"),
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
    ),
}


def test_the_peer_has_it_while_the_callback_blocks(
    on_a_connection: Callable[[str, Step], Any], history: str
) -> None:
    def step(transport: Any, client: Client) -> None:
        for what, (write, expected) in WRITES.items():
            write(transport)
            assert client.receive(len(expected)) == expected, what

    on_a_connection(history, step)


def test_the_end_of_the_socket_comes_behind_it(
    on_a_connection: Callable[[str, Step], Any], history: str
) -> None:
    def step(transport: Any, client: Client) -> bytes:
        sock = transport.get_extra_info("socket")
        transport.write(b"bye")
        sock.shutdown(socket.SHUT_WR)
        return client.receive(100)

    assert on_a_connection(history, step) == b"bye"


def test_what_goes_to_the_descriptor_comes_behind_it(
    loop: Loop, listener: socket.socket, history: str
) -> None:
    def step(transport: Any, client: Client) -> bytes:
        number = transport.get_extra_info("socket").fileno()
        transport.write(b"first ")
        os.write(number, b"second ")
        transport.writelines([b"third ", b"fourth "])
        os.write(number, b"fifth")
        return client.receive(31)

    expected = b"first second third fourth fifth"
    assert serve(loop, listener, history, step) == expected


SHOWS: dict[str, Callable[[Any], object]] = {
    "the size of the buffer": lambda transport: transport.get_write_buffer_size(),
    "the socket": lambda transport: transport.get_extra_info("socket"),
    "whether it closes": lambda transport: transport.is_closing(),
    "limits": lambda transport: transport.set_write_buffer_limits(0),
    "write_eof": lambda transport: transport.write_eof(),
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "another write": lambda transport: transport.write(b"z"),
    "a write by pieces": lambda transport: transport.writelines([b"z", b"z"]),
    "the transport below": lambda transport: transport._ssl_protocol._transport.is_closing(),
}


@pytest.mark.parametrize("how", SHOWS)
def test_a_head_has_left_before_anything_that_would_show_it(
    over: str, on_a_connection: Callable[[str, Step], Any], how: str
) -> None:
    if how == ("write_eof" if over in TLS else "the transport below"):
        pytest.skip("such a connection has none")

    def step(transport: Any, client: Client) -> bytes:
        transport.write(HEAD)
        SHOWS[how](transport)
        return client.receive(len(HEAD))

    assert on_a_connection("fresh", step) == HEAD


# pytest's `faulthandler_timeout` is a thread, which 3.15 notices at a fork.
@pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
def test_a_fork_sends_a_head_once(loop: Loop, listener: socket.socket) -> None:
    def step(transport: Any, client: Client) -> bytes:
        transport.write(HEAD)
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        return client.receive(len(HEAD))

    assert serve(loop, listener, "fresh", step) == HEAD


PIECES: dict[str, Callable[[Any], object]] = {
    "write": lambda transport: transport.write(HEAD),
    "a bytearray": lambda transport: transport.write(bytearray(HEAD)),
    "one piece": lambda transport: transport.writelines([b"", HEAD, b""]),
    "many pieces": lambda transport: transport.writelines(HEAD.splitlines(keepends=True)),
}


@pytest.mark.ours_only("asyncio sends every write at once")
@pytest.mark.parametrize("how", PIECES)
def test_a_head_alone_waits_for_the_end_of_the_callback(
    loop: Loop, listener: socket.socket, how: str
) -> None:
    behind: list[bytes] = []

    def step(transport: Any, client: Client) -> None:
        PIECES[how](transport)
        with pytest.raises(BlockingIOError):
            client.sock.recv(1)
        loop.call_soon(lambda: behind.append(client.receive(len(HEAD))))

    serve(loop, listener, "fresh", step)
    assert behind == [HEAD]


def test_a_head_from_outside_any_callback_is_sent_at_once(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()
    transport = run(loop, attach(near, protocol))
    transport.write(HEAD)
    assert far.recv(1000) == HEAD
    transport.abort()
    run(loop, protocol.wait_lost())


def test_heads_of_several_connections_leave_in_their_order(loop: Loop) -> None:
    async def main() -> list[bytes]:
        pairs = [socket.socketpair() for _ in range(5)]
        protocols = [Recorder() for _ in pairs]
        for (near, far), protocol in zip(pairs, protocols, strict=True):
            near.setblocking(False)
            far.settimeout(PATIENCE)
            await attach(near, protocol)

        def write() -> None:
            for protocol in protocols:
                protocol.transport.write(HEAD)
            protocols[1].transport.write(BODY)
            protocols[1].transport.write(HEAD)
            protocols[3].transport.close()

        loop.call_soon(write)
        await asyncio.sleep(0)
        seen = [far.recv(1000) for _, far in pairs]
        for protocol in protocols:
            protocol.transport.abort()
            await protocol.wait_lost()
        for _, far in pairs:
            far.close()
        return seen

    assert run(loop, main()) == [HEAD, HEAD + BODY + HEAD, HEAD, HEAD, HEAD]


def test_a_head_behind_what_the_kernel_has_not_taken_comes_in_its_place(
    loop: Loop, pair: Pair
) -> None:
    near, far = pair
    size = 2_000_000

    async def main() -> bytes:
        protocol = Recorder()
        transport = await attach(near, protocol)
        transport.write(bytes(size))
        transport.write(HEAD)
        transport.write(BODY)
        received = bytearray()
        while len(received) < size + len(HEAD + BODY):
            try:
                received += far.recv(1 << 18)
            except BlockingIOError:
                await asyncio.sleep(0)
        transport.abort()
        await protocol.wait_lost()
        return bytes(received[size:])

    assert run(loop, main()) == HEAD + BODY


@pytest.mark.parametrize("then", ["nothing", "close", "body"])
def test_a_head_that_cannot_be_sent_ends_the_connection(loop: Loop, then: str) -> None:
    async def main() -> Exception | None:
        near, far = socket.socketpair()
        near.setblocking(False)
        protocol = Recorder()
        transport = await attach(near, protocol)
        transport.pause_reading()
        far.close()

        def write() -> None:
            transport.write(HEAD)
            if then == "close":
                transport.close()
            elif then == "body":
                transport.write(BODY)

        loop.call_soon(write)
        return await protocol.wait_lost()

    assert isinstance(run(loop, main()), (BrokenPipeError, ConnectionResetError))


async def test_streams_of_either_side_send_at_once(loop: Loop, streams: ModuleType) -> None:
    seen: list[bytes] = []

    done = loop.create_future()

    async def serve(reader: Any, writer: Any) -> None:
        while (asked := await reader.read(1)) == b"?":
            writer.write(HEAD)
            writer.write(BODY)
        assert asked == b"!"
        writer.write(b"served")
        seen.append(client.receive(6))
        writer.writelines([b"by", b"pieces"])
        seen.append(client.receive(8))
        await writer.drain()
        writer.close()
        done.set_result(None)

    server = await streams.start_server(serve, sock=listening_without_delay())
    address = server.sockets[0].getsockname()
    async with client_in_the_loop("used", address) as client:
        client.send(STEP)
        await done
    server.close()
    with listening() as listener:
        _, writer = await streams.open_connection(*listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            writer.write(b"connected")
            seen.append(receive_exactly(peer, 9))
            writer.write(HEAD)
            await writer.drain()
            seen.append(receive_exactly(peer, len(HEAD)))
            writer.close()
            await writer.wait_closed()
    assert seen == [b"served", b"bypieces", b"connected", HEAD]


# Ends of the process, in the callback that wrote.
ENDS = {
    "_exit": "os._exit(0)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "execv": "os.execv(sys.executable, [sys.executable, '-c', ''])",
    "abort": "os.abort()",
}

SERVER = """
    import faulthandler, os, resource, signal, socket, sys
    sys.path.insert(0, {tests!r})
    from support.net.responses import Serving
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    def step(transport):
        {step}
    loop = new_loop()
    listener = socket.socket(fileno={number})
    loop.run_until_complete(loop.create_server(lambda: Serving(step), sock=listener))
    loop.run_forever()
"""


@contextlib.contextmanager
def served_by(arguments: list[str], number: int) -> Iterator[subprocess.Popen[str]]:
    """A program that serves; killed at the latest when the block ends."""
    process = start(arguments, pass_fds=(number,))
    try:
        yield process
    finally:
        process.kill()
        finish(process)


def program(kind: str, number: int, step: str) -> list[str]:
    tests = str(Path(__file__).parents[1])
    return code(kind, SERVER.format(tests=tests, number=number, step=step))


@pytest.mark.parametrize(
    "write", ["transport.write(b'bye')", "transport.writelines([b'b', b'ye'])"]
)
@pytest.mark.parametrize("end", ENDS)
def test_it_is_not_lost_with_the_process(kind: str, history: str, end: str, write: str) -> None:
    with listening_without_delay() as listener:
        arguments = program(kind, listener.fileno(), f"{write}; {ENDS[end]}")
        with served_by(arguments, listener.fileno()) as process:
            with client_of(history, listener.getsockname()) as client:
                client.send(STEP)
                assert client.receive(100) == b"bye"
            expected = {"SIGKILL": -signal.SIGKILL, "abort": -signal.SIGABRT}.get(end, 0)
            assert process.wait(PATIENCE) == expected


@pytest.mark.slow
@pytest.mark.ours_only("asyncio sends head and body by themselves")
def test_head_and_body_of_a_response_are_one_system_call(kind: str, tmp_path: Path) -> None:
    with listening_without_delay() as listener:
        step = "transport.write(b'bye'); loop.stop()"
        arguments = program(kind, listener.fileno(), step)
        assert RESPONSES < sends_of(tmp_path, arguments, listener) <= RESPONSES + 10
