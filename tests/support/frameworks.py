"""Third-party packages on ferroloop's loop: required ones, their runs, and exchanges that several tests make."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from typing import Any

import pytest

import ferroloop
from support.loops import PATIENCE


def need(name: str) -> Any:
    """Import a package, or skip the test."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return importlib.import_module(name)


def run(main: Any, patience: float = PATIENCE) -> Any:
    """Run a coroutine on ferroloop, for so many seconds at most."""

    async def limited() -> Any:
        assert type(asyncio.get_running_loop()) is ferroloop.Loop
        return await asyncio.wait_for(main, patience)

    return ferroloop.run(limited())


async def exchange_over_websockets(scheme: str, *, server_tls: Any = None, **client: Any) -> None:
    """Serve with websockets, and send it messages of several sizes."""
    server_module = importlib.import_module("websockets.asyncio.server")
    client_module = importlib.import_module("websockets.asyncio.client")

    async def handler(connection: Any) -> None:
        async for message in connection:
            await connection.send(message * 2)

    async with server_module.serve(handler, "127.0.0.1", 0, ssl=server_tls) as server:
        address = f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}"
        async with client_module.connect(address, **client) as connection:
            for size in (0, 1, 1000, 300_000):
                await connection.send("x" * size)
                assert len(await connection.recv()) == size * 2
            await connection.send(b"bytes")
            assert await connection.recv() == b"bytesbytes"


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """A small ASGI program: tells the scheme, the path and the length of the body."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    text = f"{scope['scheme']} {scope['path']} {len(body)}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text})


async def exchange_over_http(
    http: str, scheme: str = "http", *, verify: Any = True, **tls: Any
) -> None:
    """Serve with uvicorn, and send it requests of several sizes with httpx, all at once."""
    uvicorn, httpx = need("uvicorn"), need("httpx")
    need(http)
    config = uvicorn.Config(application, port=0, log_level="warning", http=http, loop="none", **tls)
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    sizes = range(0, 100_000, 5000)
    async with httpx.AsyncClient(base_url=f"{scheme}://localhost:{port}", verify=verify) as client:
        answers = await asyncio.gather(
            *(client.post(f"/{size}", content=bytes(size)) for size in sizes)
        )
    assert [answer.text for answer in answers] == [f"{scheme} /{size} {size}" for size in sizes]
    server.should_exit = True
    await serving
