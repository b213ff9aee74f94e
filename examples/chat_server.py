"""A chat room over TCP, one message a line, on `asyncio.start_server`.

    python3 -m ferroloop examples/chat_server.py --port 8888
    nc 127.0.0.1 8888          # in other terminals: give a name, then talk

A client that does not read for `PATIENCE` seconds is dropped instead of holding up the room, and so is one whose line is too long.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal

PATIENCE = 10.0
"""Seconds that one client may leave what it was sent unread."""


class Room:
    """Everyone who is connected, and those of them who have given a name."""

    def __init__(self) -> None:
        """Open the room, empty."""
        self._visits: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._members: dict[str, asyncio.StreamWriter] = {}

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Stay with one client until it leaves."""
        visit = asyncio.current_task()
        assert visit is not None
        self._visits[visit] = writer
        try:
            await self._converse(reader, writer)
        except (ConnectionError, ValueError):
            pass  # gone, or a line over the reader's limit
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            del self._visits[visit]

    async def close(self) -> None:
        """Show everyone out."""
        for writer in self._visits.values():
            writer.close()
        if self._visits:
            await asyncio.wait(list(self._visits), timeout=PATIENCE)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask for a name, then pass on what the client says."""
        writer.write(b"name? ")
        name = await self._register(reader, writer)
        if name is None:
            return
        try:
            while line := await reader.readline():
                await self._broadcast(f"{name}: {_text(line)}", but=name)
        finally:
            del self._members[name]
            await self._broadcast(f"* {name} left")

    async def _register(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> str | None:
        while line := await reader.readline():
            name = _text(line)
            if name.isidentifier() and name not in self._members:
                self._members[name] = writer
                await self._broadcast(f"* {name} is here")
                return name
            writer.write(b"taken or not a plain word; name? ")
        return None

    async def _broadcast(self, message: str, but: str | None = None) -> None:
        data = f"{message}\n".encode()
        for name, writer in list(self._members.items()):
            if name == but:
                continue
            writer.write(data)
            try:
                await asyncio.wait_for(writer.drain(), PATIENCE)
            except (ConnectionError, TimeoutError, asyncio.TimeoutError):
                writer.transport.abort()


def _text(line: bytes) -> str:
    return line.decode(errors="replace").strip()


async def serve(host: str, port: int) -> None:
    """Hold the room open until SIGINT or SIGTERM."""
    room, stop = Room(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(room.welcome, host, port)
    for listening in server.sockets:
        print("listening on", *listening.getsockname()[:2], flush=True)
    await stop.wait()
    server.close()
    await room.close()
    await server.wait_closed()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A chat room over TCP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
