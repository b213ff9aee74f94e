"""A chat room over TCP, one line a message, on `asyncio.start_server`.

    python3 -m ferroloop examples/chat_server.py --port 8888
    nc 127.0.0.1 8888          # in other terminals: give a name, then talk

A client that does not read for `PATIENCE` seconds is dropped instead of holding up the room, and so is one whose line is too long.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib

PATIENCE = 10.0
"""Seconds that one client may leave what it was sent unread."""


class Room:
    """Everyone who has given a name."""

    def __init__(self) -> None:
        """Open the room, empty."""
        self._members: dict[str, asyncio.StreamWriter] = {}

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask for a name, then pass on what the client says until it leaves."""
        name = None
        try:
            writer.write(b"name? ")
            name = await self._register(reader, writer)
            while name is not None and (line := await reader.readline()):
                await self._broadcast(f"{name}: {_text(line)}", but=name)
        except (ConnectionError, TimeoutError, asyncio.TimeoutError, ValueError):
            pass  # gone, or deaf, or a line over the reader's limit
        finally:
            if name is not None:
                del self._members[name]
                await self._broadcast(f"* {name} left")
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

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
    """Hold the room open until cancelled."""
    server = await asyncio.start_server(Room().welcome, host, port)
    for listening in server.sockets:
        print("listening on", *listening.getsockname()[:2], flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A chat room over TCP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
