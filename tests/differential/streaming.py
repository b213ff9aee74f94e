"""Streams in a program: both ends of a connection, each with a reader and a writer.

Steps that wait belong to coroutines.  What a read returns depends on what had been written by then,
so these traces compare the order of the two ends' tasks as well as the bytes.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from .program import Step
from .writelines import writelines

if TYPE_CHECKING:
    from .machine import Machine

LIMIT = 64

# Which of the two ends the task that runs works with.
END: contextvars.ContextVar[int] = contextvars.ContextVar("END")


class StreamEnds:
    """A connection whose two ends are streams of the loop; opened when the first task wants it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._ends: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._sockets: list[socket.socket] = []
        self._opening: asyncio.Future[None] | None = None

    def abort(self) -> None:
        for _, writer in self._ends:
            writer.transport.abort()

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()

    def handler(self, kind: str) -> Callable[[Step], None] | None:
        handler: Callable[[Step], None] | None = getattr(self, f"do_{kind}", None)
        return handler

    def waiting_handler(self, kind: str) -> Callable[[Step], Coroutine[Any, Any, None]] | None:
        handler: Callable[[Step], Coroutine[Any, Any, None]] | None
        handler = getattr(self, f"wait_{kind}", None)
        return handler

    def do_stream_task(self, step: Step) -> None:
        """A task that works with one of the two ends."""
        self._machine.tasks.append(self._machine.loop.create_task(self._work(step)))

    async def _work(self, step: Step) -> None:
        END.set(step.numbers[0] % 2)
        await self._opened()
        await self._machine.coroutine(step, step.body)

    async def _opened(self) -> None:
        if self._opening is None:
            self._opening = self._machine.loop.create_future()
            for sock in socket.socketpair():
                sock.setblocking(False)
                self._sockets.append(sock)
                self._ends.append(await asyncio.open_unix_connection(sock=sock, limit=LIMIT))
            self._opening.set_result(None)
        else:
            await asyncio.shield(self._opening)

    def _end(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return self._ends[END.get()]

    async def _try(self, step: Step, act: Callable[[], Coroutine[Any, Any, object]]) -> None:
        try:
            self._machine.say(step, repr(await act()))
        except (OSError, ValueError, EOFError, RuntimeError) as error:
            self._machine.say(step, f"raises {error!r}")

    async def wait_stream_write(self, step: Step) -> None:
        _, writer = self._end()
        writer.write(b"<%d>" % step.serial)

    async def wait_stream_line(self, step: Step) -> None:
        _, writer = self._end()
        writelines(writer.transport, [b"line %d" % step.serial, b"\n"])

    async def wait_stream_drain(self, step: Step) -> None:
        _, writer = self._end()
        await self._try(step, writer.drain)

    async def wait_stream_read(self, step: Step) -> None:
        reader, _ = self._end()
        await self._try(step, lambda: reader.read(step.numbers[1] % 20 + 1))

    async def wait_stream_readline(self, step: Step) -> None:
        reader, _ = self._end()
        await self._try(step, reader.readline)

    async def wait_stream_exactly(self, step: Step) -> None:
        reader, _ = self._end()
        await self._try(step, lambda: reader.readexactly(step.numbers[1] % 8 + 1))

    async def wait_stream_eof(self, step: Step) -> None:
        _, writer = self._end()

        async def act() -> None:
            writer.write_eof()

        await self._try(step, act)

    async def wait_stream_close(self, step: Step) -> None:
        _, writer = self._end()
        writer.close()
        await self._try(step, writer.wait_closed)
