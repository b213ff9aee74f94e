"""The servers of the soak: `python -m scale.soak_servers WORKLOAD LOOP ADDRESS [CERTIFICATE]`."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cases.echo import serve_protocol
from cases.http import serve_uvicorn
from harness.child import serve_by

if TYPE_CHECKING:
    from harness.case import Serve, ServerSocket


async def _websocket(connection: Any) -> None:
    # What the library raises for a reset, which the client does on purpose.
    closed = importlib.import_module("websockets").ConnectionClosedError
    with suppress(closed):
        async for message in connection:
            await connection.send(message)


async def serve_websockets(place: ServerSocket) -> object:
    """Websockets that send back what they receive."""
    serve = importlib.import_module("websockets.asyncio.server").serve
    return await serve(_websocket, sock=place.listener, open_timeout=60)


async def _through_cat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A process for each connection: every line goes through it. A reset kills it."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        while line := await reader.readline():
            process.stdin.write(line)
            writer.write(await process.stdout.readline())
            await writer.drain()
        process.stdin.close()
    except ConnectionError:
        process.kill()
    await process.wait()
    writer.close()


async def serve_processes(place: ServerSocket) -> object:
    """A `cat` for each connection."""
    return await asyncio.start_server(_through_cat, sock=place.listener)


SERVERS: dict[str, Serve] = {
    # A burst lasts longer than uvicorn lets a connection be idle.
    "uvicorn": functools.partial(serve_uvicorn, keep_alive=120),
    "tls": serve_protocol,
    "websockets": serve_websockets,
    "processes": serve_processes,
}


def _collect() -> None:
    gc.collect()
    print("collected", flush=True)


async def serve(workload: str, place: ServerSocket) -> object:
    """Serves; SIGUSR1 runs Python's collector, and a line tells when that is done."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _collect)
    return await SERVERS[workload](place)


if __name__ == "__main__":
    serve_by(functools.partial(serve, sys.argv[1]), *sys.argv[2:])
