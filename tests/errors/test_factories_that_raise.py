"""Protocol factories that raise: who is told, and what becomes of the socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from support.errors import Reports
from support.loops import run, until
from support.net.datagrams import datagram_pair
from support.net.protocols import Recorder
from support.net.sockets import listening

Loop = asyncio.AbstractEventLoop


class Boom(Exception):
    """What the factories here raise."""


def raises() -> Any:
    raise Boom("factory")


async def connect(loop: Loop, place: Path) -> None:
    with listening() as listener:
        await loop.create_connection(raises, *listener.getsockname())


async def connect_unix(loop: Loop, place: Path) -> None:
    path = str(place / "listener")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        await loop.create_unix_connection(raises, path)


async def bind_datagrams(loop: Loop, place: Path) -> None:
    await loop.create_datagram_endpoint(raises, local_addr=("127.0.0.1", 0))


@pytest.mark.ours_only("asyncio leaves the socket to the collector before 3.14")
@pytest.mark.parametrize("create", [connect, connect_unix, bind_datagrams])
async def test_a_factory_that_raises_is_the_callers_error_and_leaves_no_socket_open(
    loop: Loop, tmp_path: Path, create: Callable[[Loop, Path], Awaitable[None]]
) -> None:
    with pytest.raises(Boom, match="factory"):
        await create(loop, tmp_path)


async def test_a_factory_that_raises_leaves_the_callers_datagram_socket_open(loop: Loop) -> None:
    with datagram_pair() as (near, _):
        with pytest.raises(Boom):
            await loop.create_datagram_endpoint(raises, sock=near)
        assert near.fileno() >= 0


@pytest.mark.ours_only("asyncio leaves the accepted socket to the collector")
def test_a_servers_factory_that_raises_costs_one_connection(loop: Loop, reports: Reports) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        if len(made) == 1:
            raise Boom("factory")
        return made[-1]

    async def main() -> None:
        server = await loop.create_server(factory, sock=listening())
        address = server.sockets[0].getsockname()
        first, second = Recorder(), Recorder()
        await loop.create_connection(lambda: first, *address)
        await first.wait_lost()
        await loop.create_connection(lambda: second, *address)
        await until(lambda: len(made) == 2 and made[1].events)
        second.transport.abort()
        await made[1].wait_lost()
        server.close()
        await server.wait_closed()

    run(loop, main())
    # As asyncio's, the loop speaks of it in debug mode only.
    if loop.get_debug():
        context = reports.take()
        assert isinstance(context["exception"], Boom)
        assert context["message"] == "Error on transport creation for incoming connection"
