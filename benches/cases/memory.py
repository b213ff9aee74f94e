"""Idle connections. Figures: resident KiB of the server for each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from cases.echo import own_streams
from harness.case import Memory
from harness.results.targets import Target

if TYPE_CHECKING:
    from harness.case import Serve, ServerSocket


class IdleProtocol(asyncio.Protocol):
    """Keeps its transport, as every protocol does."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.transport = cast("asyncio.Transport", transport)


async def serve_protocol(place: ServerSocket) -> object:
    """A Protocol that is never called again."""
    return await asyncio.get_running_loop().create_server(
        IdleProtocol, sock=place.listener, ssl=place.context
    )


async def _wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


async def serve_streams(place: ServerSocket) -> object:
    """A task that waits in `read`."""
    return await asyncio.start_server(_wait, sock=place.listener)


async def serve_own_streams(place: ServerSocket) -> object:
    """The same with the loop's own streams, if it has some."""
    return await own_streams().start_server(_wait, sock=place.listener)


def _case(
    name: str, title: str, serve: Serve, target: Target, connections: int, *, tls: bool = False
) -> Memory:
    return Memory(
        name,
        title,
        "memory",
        "KiB",
        target,
        less_is_better=True,
        serve=serve,
        connections=connections,
        tls=tls,
    )


# The bounds are in KiB: memory hardly depends on the machine.
CASES = (
    _case("memory_protocol", "Protocol", serve_protocol, Target(1.2, absolute=True), 4000),
    _case("memory_streams", "streams", serve_streams, Target(4.6, absolute=True), 4000),
    _case("memory_own", "own streams", serve_own_streams, Target(4.6, absolute=True), 4000),
    _case(
        "memory_tls",
        "Protocol over TLS 1.3",
        serve_protocol,
        Target(30, absolute=True),
        1000,
        tls=True,
    ),
)
