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
