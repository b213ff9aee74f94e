"""HTTP servers under wrk, 32 connections. Figures: the server's CPU microseconds a request."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, cast

from cases.echo import own_streams
from harness.case import Http
from harness.results.targets import Target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.case import Serve, ServerSocket

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

BODY = b"Hello, world!"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


class HttpProtocol(asyncio.Protocol):
    """A server of one answer: httptools parses, one write a request."""

    transport: asyncio.Transport

    def __init__(self, parser: Callable[[object], Any]) -> None:
        """Makes the parser, which calls back into this object."""
        self._parser = parser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answers."""
        self.transport.write(RESPONSE)


async def serve_protocol(place: ServerSocket) -> object:
    """httptools on a bare Protocol."""
    parser = importlib.import_module("httptools").HttpRequestParser
    return await asyncio.get_running_loop().create_server(
        lambda: HttpProtocol(parser), sock=place.listener, ssl=place.context
    )


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(RESPONSE)
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


async def serve_streams(place: ServerSocket) -> object:
    """Streams: `readuntil` the end of the head."""
    return await asyncio.start_server(_answer, sock=place.listener)


async def serve_own_streams(place: ServerSocket) -> object:
    """The same with the loop's own streams, if it has some."""
    return await own_streams().start_server(_answer, sock=place.listener)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    del receive
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def serve_uvicorn(place: ServerSocket, *, keep_alive: int = 5) -> object:
    """An ASGI application on uvicorn with httptools; `keep_alive` is how long a connection may be idle."""
    uvicorn = importlib.import_module("uvicorn")
    config = uvicorn.Config(
        _app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=keep_alive,
    )
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server.serve(sockets=[place.listener]))
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.01)
    return server, task


async def serve_aiohttp(place: ServerSocket) -> object:
    """A handler on aiohttp's server."""
    web = importlib.import_module("aiohttp.web")

    async def handle(_request: object) -> object:
        return web.Response(body=BODY, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, place.listener).start()
    return runner


def _case(name: str, title: str, serve: Serve, target: Target, *, tls: bool = False) -> Http:
    return Http(
        name, title, "http", "us", target, less_is_better=True, serve=serve, connections=32, tls=tls
    )


# A bound is the promised figure divided by that of its yardstick, both on the machine of the promise.
CASES = (
    _case("http", "httptools on a bare Protocol", serve_protocol, Target(0.96, "zuvloop")),
    _case("http_streams", "streams, readuntil", serve_streams, Target(0.91, "rsloop")),
    _case("http_own", "the loop's own streams", serve_own_streams, Target(0.91, "rsloop")),
    _case(
        "http_tls",
        "the bare Protocol over TLS 1.3",
        serve_protocol,
        Target(0.955, "uvloop+aiofastnet"),
        tls=True,
    ),
    _case("uvicorn", "uvicorn + httptools", serve_uvicorn, Target(0.955, "zuvloop")),
    _case("aiohttp", "aiohttp server", serve_aiohttp, Target(0.95, "zuvloop")),
)
