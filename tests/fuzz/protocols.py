"""Protocols whose every method takes random actions."""

from __future__ import annotations

import asyncio
from typing import Any

from .world import World


class Wild(asyncio.Protocol, asyncio.DatagramProtocol, asyncio.SubprocessProtocol):
    """A protocol of every kind but the buffered."""

    def __init__(self, world: World) -> None:
        """Take the world to act in."""
        self.world = world

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.world.transports.append(transport)
        self.world.callback()

    def eof_received(self) -> Any:
        """Answer anything."""
        self.world.callback()
        return self.world.value()

    def __getattribute__(self, name: str) -> Any:
        if name in {
            "data_received",
            "datagram_received",
            "error_received",
            "connection_lost",
            "pause_writing",
            "resume_writing",
            "pipe_data_received",
            "pipe_connection_lost",
            "process_exited",
        }:
            return object.__getattribute__(self, "world").callback
        return object.__getattribute__(self, name)


class WildBuffered(asyncio.BufferedProtocol):
    """A buffered protocol that hands out anything."""

    def __init__(self, world: World) -> None:
        """Take the world to act in."""
        self.world = world
        self.kept = bytearray(50)

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.world.transports.append(transport)
        self.world.callback()

    def get_buffer(self, sizehint: int) -> Any:
        """Give a buffer, or what is none."""
        self.world.callback()
        choices = self.world.choices
        if choices.random() < 0.7:
            return choices.choice(
                [self.kept, bytearray(1), bytearray(100_000), memoryview(self.kept)]
            )
        return self.world.value()

    def buffer_updated(self, nbytes: int) -> None:
        """Change the size of the buffer."""
        self.world.callback()
        self.kept = bytearray(self.world.choices.choice([1, 50, 4000]))

    def eof_received(self) -> Any:
        """Answer anything."""
        self.world.callback()
        return self.world.value()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Act."""
        self.world.callback()

    def pause_writing(self) -> None:
        """Act."""
        self.world.callback()

    def resume_writing(self) -> None:
        """Act."""
        self.world.callback()


def protocol(world: World) -> Any:
    """A protocol of a random kind."""
    return world.choice_of(
        lambda: Wild(world),
        lambda: Wild(world),
        lambda: WildBuffered(world),
        lambda: asyncio.StreamReaderProtocol(
            asyncio.StreamReader(loop=world.loop), loop=world.loop
        ),
        lambda: world.value() if world.choices.random() < 0.3 else Wild(world),
    )
