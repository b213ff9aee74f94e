"""Counted workloads of servers, whose client is another process that waits for each answer.

A client within the process would have to poll, and a failed `recv` costs as much as the echo; how often it
happens depends on the order in which a loop runs callbacks.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from cases import http
from cases.echo import own_streams as streams_of_the_loop
from harness.case import ServerSocket

MESSAGE = b"x" * 1023 + b"\n"
LARGE = 100 << 10
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n"
BODY = b"Hello, world!"
REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Echo(asyncio.Protocol):
    """Sends everything back, in the given pieces."""

    def __init__(self, *answer: bytes) -> None:
        """Answers with `answer`, or with what came."""
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the way back; not every loop's transports are asyncio's by inheritance."""
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        """Answers."""
        for piece in self._answer or (data,):
            self._write(piece)


class BufferedEcho(asyncio.BufferedProtocol):
    """Sends everything back out of one buffer."""

    def __init__(self) -> None:
        """Makes the buffer."""
        self._space = memoryview(bytearray(65536))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the way back; not every loop's transports are asyncio's by inheritance."""
        self._write = cast("asyncio.Transport", transport).write

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Lends the buffer."""
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        """Answers."""
        self._write(self._space[:nbytes])


def _start_client(near: socket.socket, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a client on `near`, the end of a connection that it gets."""
    descriptor = near.fileno()
    process = subprocess.Popen(
        [sys.executable, "-m", "cases.counted_client", str(descriptor), *arguments],
        pass_fds=[descriptor],
        stdout=subprocess.PIPE,
    )
    near.close()
    return process


async def _talk(near: socket.socket, count: int, answer: str, *arguments: str) -> None:
    """Run a client over `near` until it is done."""
    loop = asyncio.get_running_loop()
    process = _start_client(near, str(count), answer, *arguments)
    assert process.stdout is not None
    done = loop.create_future()
    output = process.stdout.fileno()

    def ended() -> None:
        if not done.done():
            done.set_result(None)

    loop.add_reader(output, ended)
    try:
        await done
    finally:
        loop.remove_reader(output)
        process.stdout.close()
    assert process.wait() == 0


async def _over_pair(
    loop: asyncio.AbstractEventLoop, count: int, factory: Callable[[], Any], answer: int
) -> None:
    ours, theirs = socket.socketpair()
    transport, _ = await loop.create_connection(factory, sock=ours)
    await _talk(theirs, count, str(answer))
    transport.abort()
    await asyncio.sleep(0)


async def protocol(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A `Protocol` that echoes a kilobyte."""
    await _over_pair(loop, count, Echo, len(MESSAGE))


async def buffered_protocol(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A `BufferedProtocol` that echoes a kilobyte."""
    await _over_pair(loop, count, BufferedEcho, len(MESSAGE))


async def head_and_body(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A response of two writes."""
    await _over_pair(loop, count, lambda: Echo(HEAD, BODY), len(HEAD) + len(BODY))


async def unix_echo(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A `Protocol` behind `create_unix_server` that echoes a kilobyte."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        server = await loop.create_unix_server(Echo, path)
        near = socket.socket(socket.AF_UNIX)
        near.connect(path)
        await _talk(near, count, str(len(MESSAGE)))
        server.close()


async def _echo_lines(streams: Any, count: int) -> None:
    ours, theirs = socket.socketpair()
    reading, writer = await streams.open_connection(sock=ours)

    async def echo() -> None:
        while line := await reading.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    echoing = asyncio.ensure_future(echo())
    await _talk(theirs, count, str(len(MESSAGE)))
    await echoing


async def streams(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A line read from and written to asyncio's streams."""
    await _echo_lines(asyncio, count)


async def own_streams(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A line read from and written to the loop's own streams, if it has some."""
    await _echo_lines(streams_of_the_loop(), count)


async def _serve(
    serve: Callable[[Any], Awaitable[Any]],
    count: int,
    answer: str,
    message: str,
    *,
    secure: bool = False,
) -> None:
    """Serve a client over TCP, or TLS."""
    with tempfile.TemporaryDirectory() as folder:
        context, trust = None, []
        if secure:
            trustme = importlib.import_module("trustme")
            authority = trustme.CA()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("localhost").configure_cert(context)
            path = Path(folder) / "authority.pem"
            authority.cert_pem.write_to_path(path)
            trust = ["--trust", str(path)]
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        kept = await serve(ServerSocket(listener, context))
        await _talk(
            socket.create_connection(listener.getsockname()), count, answer, message, *trust
        )
        if isinstance(kept, asyncio.AbstractServer):
            kept.close()


async def large_echo(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A `Protocol` behind `create_server` that echoes a hundred kilobytes, in the pieces in which they come."""

    async def serve(place: Any) -> object:
        return await loop.create_server(Echo, sock=place.listener)

    await _serve(serve, count, str(LARGE), "x" * LARGE)


async def tls(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A response of two writes to a kilobyte, over TLS."""

    async def serve(place: Any) -> object:
        return await loop.create_server(
            lambda: Echo(HEAD, BODY), sock=place.listener, ssl=place.context
        )

    await _serve(serve, count, "http", MESSAGE.decode(), secure=True)


async def http_protocol(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A request to httptools on a bare Protocol."""
    await _serve(http.serve_protocol, count, "http", REQUEST)


async def https_protocol(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """The same over TLS."""
    await _serve(http.serve_protocol, count, "http", REQUEST, secure=True)


async def uvicorn(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A request to an ASGI application on uvicorn's protocol for httptools."""

    async def serve(place: Any) -> object:
        config = importlib.import_module("uvicorn").Config(
            http._app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        config.load()
        state = importlib.import_module("uvicorn.server").ServerState()
        return await loop.create_server(
            lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),
            sock=place.listener,
        )

    await _serve(serve, count, "http", REQUEST)


async def aiohttp(_loop: asyncio.AbstractEventLoop, count: int) -> None:
    """A request to a handler on aiohttp's server."""
    await _serve(http.serve_aiohttp, count, "http", REQUEST)
