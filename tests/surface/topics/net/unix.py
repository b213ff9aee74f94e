"""Unix connections and servers."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surface.probe import Probe, case

P = asyncio.Protocol
TLS = ssl.create_default_context()


async def _wrong_sockets(p: Probe, call: Callable[..., Any]) -> None:
    """Neither a path nor a socket, both, and sockets of the wrong kind."""
    await p.wait(call)
    await p.wait(call, P)
    await p.wait(call, P, "/p", sock=p.open(family=socket.AF_UNIX))
    await p.wait(call, P, sock=p.open())
    await p.wait(call, P, sock=p.open(socket.SOCK_DGRAM, socket.AF_UNIX))


@case
async def wrong_connections(p: Probe) -> None:
    call, folder = p.loop.create_unix_connection, p.folder()
    await _wrong_sockets(p, call)
    await p.wait(call, P, sock=5)
    await p.wait(call, P, "/p", unknown=1)
    await p.wait(call, P, "/p", ssl=TLS)
    await p.wait(call, P, "/p", server_hostname="h")
    await p.wait(call, P, "/p", ssl_handshake_timeout=1)
    await p.wait(call, P, "/p", ssl_shutdown_timeout=1)
    for path in (5, 1.5, object(), "", b"", "bad\0path", "x" * 200, folder / "none", str(folder)):
        await p.wait(call, P, path)
    (folder / "file").touch()
    await p.wait(call, P, folder / "file")
    await p.wait(asyncio.open_unix_connection, folder / "none")


@case
async def wrong_servers(p: Probe) -> None:
    call, folder = p.loop.create_unix_server, p.folder()
    await _wrong_sockets(p, call)
    await p.wait(call, P, "/p", ssl=True)
    await p.wait(call, P, "/p", ssl_handshake_timeout=1)
    await p.wait(call, P, "/p", ssl_shutdown_timeout=1)
    for path in (5, 1.5, object(), "bad\0path", "x" * 200, folder, folder / "no" / "socket"):
        await p.wait(call, P, path)
    (folder / "file").touch()
    await p.wait(call, P, folder / "file")


@case
async def served(p: Probe) -> None:
    call, folder = p.loop.create_unix_server, p.folder()
    path = folder / "s"
    for form in (str(path), path, os.fsencode(path)):
        server = await p.wait(call, P, form)
        if server is None:
            continue
        p.note("address", server.sockets[0].getsockname())
        made = await p.wait(p.loop.create_unix_connection, P, form)
        if made:
            p.extra(made[0])
            made[0].close()
        await p.wait(call, P, str(path) + "2", start_serving=False)
        server.close()
        await p.wait(server.wait_closed)
        p.note("left", sorted(os.listdir(folder)))
    server = await p.wait(call, P, path)
    await p.wait(call, P, path)
    server.close()


@case
async def abstract_names(p: Probe) -> None:
    name = f"\0ferroloop-surface-{os.getpid()}"
    for form in (name, name.encode()):
        server = await p.wait(p.loop.create_unix_server, P, form)
        if server is None:
            continue
        made = await p.wait(p.loop.create_unix_connection, P, form)
        if made:
            made[0].close()
        server.close()
        await p.wait(server.wait_closed)


@case
async def cleaning_up(p: Probe) -> None:
    if sys.version_info < (3, 13):
        return
    path = Path(p.folder()) / "s"
    for value in (True, False):
        server = await p.wait(p.loop.create_unix_server, P, path, cleanup_socket=value)
        server.close()
        p.note("there", path.exists())
    server = await p.loop.create_unix_server(P, path, cleanup_socket=True)
    path.unlink()
    path.touch()
    server.close()
    p.note("not ours", path.exists())
