"""What debug mode logs of connections, pipes, processes and the loop: asyncio's lines."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.loops import Factory, run, until
from support.net.certificates import client_context, server_context
from support.net.pipes import opened, reading
from support.net.protocols import Recorder, returning
from support.net.sockets import Pair, fill, socket_pair

Loop = asyncio.AbstractEventLoop
ADDRESS = r"\('127\.0\.0\.1', \d+\)"


class Lines(logging.Handler):
    """What the logger `asyncio` was told, with its level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")

    def has(self, pattern: str) -> bool:
        return any(re.fullmatch(pattern, line, re.DOTALL) for line in self.lines)

    def check(self, *patterns: str) -> None:
        for pattern in patterns:
            assert self.has(pattern), (pattern, self.lines)


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger = logging.getLogger("asyncio")
    handler, level = Lines(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


@pytest.fixture
def debug_loop(loop: Loop) -> Loop:
    loop.set_debug(True)
    loop.slow_callback_duration = 1000
    return loop


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_both_sides_of_a_connection(kind: str, debug_loop: Loop, lines: Lines, tls: bool) -> None:
    if tls and kind == "asyncio" and sys.version_info < (3, 11):
        pytest.skip("asyncio of 3.10 leaves a transport unclosed")

    async def main() -> None:
        protocol, client = Recorder(), Recorder()
        server = await debug_loop.create_server(
            returning(protocol), "127.0.0.1", 0, ssl=server_context() if tls else None
        )
        port = server.sockets[0].getsockname()[1]
        transport, _ = await debug_loop.create_connection(
            returning(client),
            "127.0.0.1",
            port,
            ssl=client_context() if tls else None,
            server_hostname="localhost" if tls else None,
        )
        await until(lambda: protocol.transport)
        if not tls:
            protocol.transport.pause_reading()
            protocol.transport.resume_reading()
            lines.check(r"DEBUG <.*> pauses reading", r"DEBUG <.*> resumes reading")
        transport.close()
        await protocol.wait_lost()
        await client.wait_lost()
        server.close()
        await server.wait_closed()
        family, kind = "(2|AddressFamily.AF_INET)", "(1|SocketKind.SOCK_STREAM)"
        lines.check(
            r"INFO <Server sockets=.*> is serving",
            rf"DEBUG <Server sockets=.*> got a new connection from {ADDRESS}: "
            rf"<socket\.socket fd=\d+, family={family}, type={kind}, proto=\d+, "
            rf"laddr={ADDRESS}, raddr={ADDRESS}>",
            rf"DEBUG <.*> connected to 127\.0\.0\.1:{port}: \(<.*>, <.*>\)",
        )
        if not tls:
            lines.check(r"DEBUG <.*> received EOF")
        else:
            lines.check(
                r"DEBUG <.*> starts SSL handshake", r"DEBUG <.*>: SSL handshake took \d+\.\d ms"
            )

    run(debug_loop, main())


async def test_a_unix_server(debug_loop: Loop, lines: Lines, tmp_path: Any) -> None:
    path = str(tmp_path / "socket")

    protocol = Recorder()
    server = await debug_loop.create_unix_server(returning(protocol), path)
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        await debug_loop.sock_connect(client, path)
        await until(lambda: protocol.transport)
    await protocol.wait_lost()
    server.close()
    await server.wait_closed()
    # The peer has no name: some versions of Python show nothing for it.
    lines.check(
        r"DEBUG <Server sockets=.*> got a new connection from (''|b''): "
        r"<socket\.socket fd=\d+, .*laddr='?.*socket.*>"
    )


async def test_an_accepted_socket(debug_loop: Loop, lines: Lines, pair: Pair) -> None:
    protocol = Recorder()
    transport, _ = await debug_loop.connect_accepted_socket(returning(protocol), pair[0])
    transport.close()
    await protocol.wait_lost()
    lines.check(r"DEBUG <.*> handled: \(<.*>, <.*>\)")


async def test_datagram_endpoints(debug_loop: Loop, lines: Lines) -> None:
    protocol = asyncio.DatagramProtocol()
    ways: Any = ({"local_addr": ("127.0.0.1", 0)}, {"remote_addr": ("127.0.0.1", 9)})
    for options in ways:
        transport, _ = await debug_loop.create_datagram_endpoint(returning(protocol), **options)
        transport.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lines.check(
        r"INFO Datagram endpoint local_addr=\('127.0.0.1', 0\) remote_addr=None created: "
        r"\(<.*>, <.*>\)",
        r"DEBUG Datagram endpoint remote_addr=\('127.0.0.1', 9\) created: \(<.*>, <.*>\)",
    )


async def test_a_reading_pipe(debug_loop: Loop, lines: Lines) -> None:
    reader, writer = os.pipe()
    transport, protocol = await reading(reader)
    transport.pause_reading()
    transport.resume_reading()
    os.close(writer)
    await protocol.wait_lost()
    lines.check(
        rf"DEBUG Read pipe {reader} connected: \(<.*>, <.*>\)",
        r"DEBUG <.*> pauses reading",
        r"DEBUG <.*> resumes reading",
        r"INFO <.*> was closed by peer",
    )


async def test_a_writing_pipe(debug_loop: Loop, lines: Lines) -> None:
    reader, writer = os.pipe()
    protocol = Recorder()
    await debug_loop.connect_write_pipe(returning(protocol), opened(writer, "wb"))
    os.close(reader)
    await protocol.wait_lost()
    lines.check(
        rf"DEBUG Write pipe {writer} connected: \(<.*>, <.*>\)",
        r"INFO <.*> was closed by peer",
    )


@pytest.mark.parametrize("shell", [False, True], ids=["exec", "shell"])
async def test_a_process(debug_loop: Loop, lines: Lines, shell: bool) -> None:
    if shell:
        transport, _ = await debug_loop.subprocess_shell(
            asyncio.SubprocessProtocol, "exit 3", stdin=None, stderr=None
        )
        title = "run shell command 'exit 3'"
    else:
        transport, _ = await debug_loop.subprocess_exec(
            asyncio.SubprocessProtocol, "false", stdin=None, stderr=None
        )
        title = "execute program 'false'"
    await until(lambda: transport.get_returncode() is not None)
    program = "exit 3" if shell else "false"
    pid = transport.get_pid()
    transport.close()
    await until(lambda: lines.has(r"INFO <.*> exited with return code \d"))
    lines.check(
        rf"DEBUG {title} stdout=<pipe>",
        rf"DEBUG process '{program}' created: pid {pid}",
        rf"INFO {title}: <.*>",
    )


async def test_streams_pause_writing(debug_loop: Loop, lines: Lines, streams: Any) -> None:
    with socket_pair() as (near, far):
        reader, writer = await streams.open_connection(sock=near)
        fill(near)
        writer.write(bytes(1 << 17))
        waiting = asyncio.ensure_future(writer.drain())
        await until(lambda: lines.has(r"DEBUG <.*> pauses writing"))
        await until(lambda: _drained(far) and waiting.done())
        lines.check(r"DEBUG <.*> resumes writing")
        writer.close()
        await writer.wait_closed()
        assert reader.at_eof() or not reader._buffer


def _drained(sock: socket.socket) -> bool:
    """Take what is there; always true."""
    with contextlib.suppress(BlockingIOError):
        while sock.recv(1 << 20):
            pass
    return True


async def test_a_lookup(debug_loop: Loop, lines: Lines) -> None:
    await debug_loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    text = r"127\.0\.0\.1:80, type=.*"
    lines.check(
        rf"DEBUG Get address info {text}",
        rf"DEBUG Getting address info {text} took \d+\.\d+ms: \[.*\]",
    )
    debug_loop.slow_callback_duration = 0
    await debug_loop.getaddrinfo("127.0.0.1", 81)
    lines.check(r"INFO Getting address info 127\.0\.0\.1:81.* took \d+\.\d+ms: \[.*\]")


def test_the_end_of_the_loop(new_loop: Factory, lines: Lines) -> None:
    loop = new_loop()
    loop.set_debug(True)
    loop.close()
    loop.close()
    closed = [line for line in lines.lines if line.startswith("DEBUG Close ")]
    assert len(closed) == 1
    assert re.fullmatch(r"DEBUG Close <[\w.]+ running=False closed=False debug=True>", closed[0])


def test_nothing_is_logged_outside_of_debug_mode(loop: Loop, lines: Lines) -> None:
    loop.set_debug(False)
    lines.lines.clear()

    async def main() -> None:
        protocol, client = Recorder(), Recorder()
        server = await loop.create_server(returning(protocol), "127.0.0.1", 0)
        transport, _ = await loop.create_connection(
            returning(client), *server.sockets[0].getsockname()
        )
        transport.close()
        await client.wait_lost()
        await protocol.wait_lost()
        server.close()
        await server.wait_closed()
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        await process.wait()

    run(loop, main())
    loop.close()
    assert lines.lines == []
