"""Handlers of frameworks that send a part of a response and then block: the part has arrived before."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support.loops import PATIENCE, run
from support.net.responses import listening_without_delay

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.slow,
    # Their warnings are theirs.
    pytest.mark.filterwarnings("default"),
]

Loop = asyncio.AbstractEventLoop

PIECES = [b"<one>", b"<two>", b"<three>", b"<four>"]


def need(name: str) -> Any:
    """A package, or a skipped test."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return importlib.import_module(name)


class Reader(threading.Thread):
    """Asks for a response, and tells of each piece that has come of it."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.arrived = {piece: threading.Event() for piece in PIECES}
        self.done = threading.Event()
        self.start()

    def run(self) -> None:
        with socket.create_connection(self.address, timeout=PATIENCE) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = b""
            while part := sock.recv(1 << 16):
                data += part
                for piece, event in self.arrived.items():
                    if piece in data:
                        event.set()
        self.done.set()

    def has(self, piece: bytes) -> bool:
        """Block until the piece has come."""
        return self.arrived[piece].wait(PATIENCE / 3)


def length(known: bool) -> int | None:
    return sum(map(len, PIECES)) if known else None


async def uvicorn_serves(
    http: str, size: int | None, seen: list[bool], begin: Callable[[Any], Reader]
) -> None:
    uvicorn = need("uvicorn")
    need(http)
    reader: Reader

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = [] if size is None else [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in PIECES:
            message = {"type": "http.response.body", "body": piece, "more_body": True}
            await send(message)
            seen.append(reader.has(piece))
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(
        application, log_level="warning", http=http, loop="none", lifespan="off"
    )
    server = uvicorn.Server(config)
    listener = listening_without_delay()
    serving = asyncio.ensure_future(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0)
    reader = begin(listener.getsockname())
    while not reader.done.is_set():
        await asyncio.sleep(0.001)
    server.should_exit = True
    await serving
    reader.join()
    listener.close()


async def aiohttp_serves(
    size: int | None, seen: list[bool], begin: Callable[[Any], Reader]
) -> None:
    need("aiohttp")
    web = importlib.import_module("aiohttp.web")
    reader: Reader

    async def stream(request: Any) -> Any:
        response = web.StreamResponse()
        response.content_length = size
        await response.prepare(request)
        for piece in PIECES:
            await response.write(piece)
            seen.append(reader.has(piece))
        await response.write_eof()
        return response

    program = web.Application()
    program.router.add_get("/", stream)
    runner = web.AppRunner(program)
    await runner.setup()
    listener = listening_without_delay()
    site = web.SockSite(runner, listener)
    await site.start()
    reader = begin(listener.getsockname())
    while not reader.done.is_set():
        await asyncio.sleep(0.001)
    await runner.cleanup()
    reader.join()


@pytest.mark.parametrize("known", [False, True], ids=["chunked", "of known length"])
@pytest.mark.parametrize("server", ["uvicorn with h11", "uvicorn with httptools", "aiohttp"])
def test_each_piece_arrives_before_the_handler_goes_on(
    loop: Loop, server: str, known: bool
) -> None:
    seen: list[bool] = []

    async def main() -> None:
        name, _, http = server.partition(" with ")
        if name == "uvicorn":
            await uvicorn_serves(http, length(known), seen, Reader)
        else:
            await aiohttp_serves(length(known), seen, Reader)

    run(loop, main(), 2 * PATIENCE)
    assert seen == [True] * len(PIECES)
