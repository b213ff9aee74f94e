"""The sockets of a program: descriptors with readers and writers, and transports.

Every pair has a near end, which the loop works with, and a far end, which the program itself reads
and writes without the loop.  Whatever the far end does is therefore done at once and in one place.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .program import PAIRS, Step
from .writelines import writelines

if TYPE_CHECKING:
    from .machine import Machine


class Notes(asyncio.Protocol):
    """A protocol that writes down everything that it is told."""

    def __init__(self, machine: Machine, name: str, reactions: dict[str, Step]) -> None:
        self._machine = machine
        self._name = name
        self._reactions = reactions

    def _happens(self, event: str, text: str = "") -> None:
        """Write it down, and do what the program wants to be done then."""
        self._machine.note(f"{self._name}: {event} {text}")
        reaction = self._reactions.get(event)
        if reaction is not None:
            self._machine.body(reaction)()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._happens("connection_made")

    def data_received(self, data: bytes) -> None:
        self._happens("data_received", repr(data))

    def eof_received(self) -> bool:
        self._happens("eof_received")
        # Some of the endpoints stay open for writing.
        return self._name.endswith(("0", "2"))

    def pause_writing(self) -> None:
        self._happens("pause_writing")

    def resume_writing(self) -> None:
        self._happens("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self._happens("connection_lost", repr(exc))


def pause(transport: asyncio.Transport) -> bool:
    transport.pause_reading()
    return transport.is_reading()


def resume(transport: asyncio.Transport) -> bool:
    transport.resume_reading()
    return transport.is_reading()


EVENTS = (
    "data_received",
    "connection_made",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
)


class Pair:
    """One pair of sockets and what the loop does with the near end."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.transport: asyncio.Transport | None = None
        self.attached = False
        self.reactions: dict[str, Step] = {}
        # Bytes of big writes that the far end has not read yet.
        self.owed = 0


class Endpoints:
    """The pairs of one run and the steps that concern them."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._pairs: list[Pair] = []
        self._draining = 0

    def open(self, attached: int) -> None:
        """Make the pairs; give some of them a transport before anything is written down."""
        self._pairs = [Pair() for _ in range(PAIRS)]
        for index, pair in enumerate(self._pairs[:attached]):
            self._machine.loop.run_until_complete(self._attach(index, pair))
        self._machine.trace.clear()

    def abort(self) -> None:
        """Take everything from the loop."""
        for pair in self._pairs:
            if pair.transport is not None:
                # asyncio's transport raises AttributeError when it is lost already.
                with contextlib.suppress(AttributeError):
                    pair.transport.abort()
            elif pair.near.fileno() >= 0 and not pair.attached:
                self._machine.loop.remove_reader(pair.near)
                self._machine.loop.remove_writer(pair.near)

    def close(self) -> None:
        for pair in self._pairs:
            pair.near.close()
            pair.far.close()

    def handler(self, kind: str) -> Callable[[Step], None] | None:
        handler: Callable[[Step], None] | None = getattr(self, f"do_{kind}", None)
        return handler

    def _pair(self, step: Step) -> Pair:
        return self._pairs[step.numbers[0] % len(self._pairs)]

    def _say(self, step: Step, text: str) -> None:
        self._machine.say(step, text)

    def _payload(self, step: Step) -> bytes:
        return b"%d." % step.serial * (step.numbers[1] % 4 + 1)

    # The far end.

    def do_raw_send(self, step: Step) -> None:
        pair = self._pair(step)
        try:
            pair.far.send(self._payload(step))
        except OSError as error:
            self._say(step, type(error).__name__)

    def do_raw_close(self, step: Step) -> None:
        pair = self._pair(step)
        if step.numbers[1] % 2:
            pair.far.close()
        elif pair.far.fileno() >= 0:
            try:
                pair.far.shutdown(socket.SHUT_WR)
            except OSError as error:
                self._say(step, type(error).__name__)

    def do_raw_read(self, step: Step) -> None:
        """The far end reads in the same callback: what was written before has come already.

        Of a Unix pair that is so without waiting; a read that blocks would see the same.
        """
        self._far_end_reads(step, self._pair(step))

    # Readers and writers.

    def _bare(self, step: Step) -> Pair | None:
        pair = self._pair(step)
        return None if pair.attached else pair

    def do_add_reader(self, step: Step) -> None:
        pair = self._bare(step)
        if pair is None:
            return
        run = self._machine.body(step)
        size = step.numbers[1] % 5 + 1

        def readable() -> None:
            try:
                data = pair.near.recv(size)
            except OSError as error:
                self._say(step, f"recv {type(error).__name__}")
                data = b""
            self._say(step, f"read {data!r}")
            if not data:
                self._machine.loop.remove_reader(pair.near)
            run()

        self._machine.loop.add_reader(pair.near, readable)

    def do_remove_reader(self, step: Step) -> None:
        pair = self._bare(step)
        if pair is not None:
            self._say(step, str(self._machine.loop.remove_reader(pair.near)))

    def do_add_writer(self, step: Step) -> None:
        pair = self._bare(step)
        if pair is None:
            return
        run = self._machine.body(step)
        left = [step.numbers[1] % 3 + 1]

        def writable() -> None:
            left[0] -= 1
            self._say(step, f"writable, {left[0]} left")
            if left[0] <= 0:
                self._machine.loop.remove_writer(pair.near)
            run()

        self._machine.loop.add_writer(pair.near, writable)

    def do_remove_writer(self, step: Step) -> None:
        pair = self._bare(step)
        if pair is not None:
            self._say(step, str(self._machine.loop.remove_writer(pair.near)))

    # Transports.

    def do_attach(self, step: Step) -> None:
        """Hand the near end over to a transport."""
        index = step.numbers[0] % len(self._pairs)
        pair = self._pairs[index]
        if pair.attached:
            return
        self._machine.loop.remove_reader(pair.near)
        self._machine.loop.remove_writer(pair.near)

        async def attach() -> None:
            await self._attach(index, pair)
            self._say(step, "attached")

        pair.attached = True
        self._machine.tasks.append(self._machine.loop.create_task(attach()))

    async def _attach(self, index: int, pair: Pair) -> None:
        pair.attached = True
        transport, _ = await self._machine.loop.create_unix_connection(
            lambda: Notes(self._machine, f"protocol {index}", pair.reactions), sock=pair.near
        )
        pair.transport = transport

    def do_on_event(self, step: Step) -> None:
        """From now on the protocol does something when it is told something."""
        self._pair(step).reactions[EVENTS[step.numbers[1] % len(EVENTS)]] = step

    def _attached(self, step: Step) -> tuple[Pair, asyncio.Transport] | None:
        pair = self._pair(step)
        return None if pair.transport is None else (pair, pair.transport)

    def _far_end_reads(self, step: Step, pair: Pair) -> None:
        """What has been written so far, as the peer sees it."""
        try:
            self._say(step, f"peer sees {pair.far.recv(1 << 16)!r}")
        except OSError as error:
            self._say(step, f"peer sees {type(error).__name__}")

    def _on_transport(self, step: Step, act: Callable[[asyncio.Transport], Any]) -> None:
        """Do something to a transport, and see later, when it has had its effect, what arrived."""
        found = self._attached(step)
        if found is None:
            return
        pair, transport = found
        try:
            result = act(transport)
            closing = transport.is_closing()
            unsent = transport.get_write_buffer_size()
            self._say(step, f"{result!r}, unsent {unsent}, closing {closing}")
        except Exception as error:
            self._say(step, f"raises {error!r}")
        self._machine.loop.call_soon(self._far_end_reads, step, pair)

    def do_write(self, step: Step) -> None:
        kinds: tuple[Callable[[bytes], Any], ...] = (bytes, bytearray, memoryview)
        data = kinds[step.numbers[2] % 3](self._payload(step))
        self._on_transport(step, lambda transport: transport.write(data))

    def do_writelines(self, step: Step) -> None:
        lines = [self._payload(step)] * (step.numbers[2] % 3)
        self._on_transport(step, lambda transport: writelines(transport, lines))

    def do_respond(self, step: Step) -> None:
        """A head and its body in two writes."""
        body = self._payload(step)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)

        def act(transport: asyncio.Transport) -> None:
            transport.write(head)
            transport.write(body)

        self._on_transport(step, act)

    def do_write_then_read(self, step: Step) -> None:
        """A write, and a read of the far end, with nothing in between."""
        found = self._attached(step)
        if found is None:
            return
        pair, transport = found
        with contextlib.suppress(RuntimeError):
            transport.write(self._payload(step))
        self._far_end_reads(step, pair)

    def do_write_eof(self, step: Step) -> None:
        self._on_transport(step, lambda transport: transport.write_eof())

    def do_close(self, step: Step) -> None:
        self._on_transport(step, lambda transport: transport.close())

    def do_abort(self, step: Step) -> None:
        self._on_transport(step, lambda transport: transport.abort())

    def do_pause(self, step: Step) -> None:
        self._on_transport(step, pause)

    def do_resume(self, step: Step) -> None:
        self._on_transport(step, resume)

    def do_set_protocol(self, step: Step) -> None:
        name = f"protocol {step.numbers[0] % len(self._pairs)} after {step.serial}"
        protocol = Notes(self._machine, name, self._pair(step).reactions)
        self._on_transport(step, lambda t: t.set_protocol(protocol))

    # More than the kernel takes at once.

    def do_set_limits(self, step: Step) -> None:
        high = step.numbers[1] % 3 * 100_000
        self._on_transport(step, lambda t: t.set_write_buffer_limits(high))

    def do_write_big(self, step: Step) -> None:
        found = self._attached(step)
        if found is None:
            return
        pair, transport = found
        size = 400_000 * (step.numbers[1] % 3 + 1)
        if transport.is_closing():
            size = 0
        transport.write(bytes(size))
        pair.owed += size
        self._say(step, f"{transport.get_write_buffer_size() > 0}")

    def busy(self) -> bool:
        """Whether a far end is still reading."""
        return self._draining > 0

    def do_raw_drain(self, step: Step) -> None:
        """The far end reads until it has all, a little in each turn."""
        self._draining += 1
        self._drain(step)

    def _drain(self, step: Step, turns: int = 200) -> None:
        pair = self._pair(step)
        try:
            for _ in range(8):
                pair.owed -= len(pair.far.recv(1 << 17))
        except OSError:
            pass
        waits = pair.owed > 0 and turns > 0
        if waits and not (pair.transport is None or pair.transport.is_closing()):
            self._machine.loop.call_soon(self._drain, step, turns - 1)
            return
        self._draining -= 1
        if pair.transport is not None:
            self._say(step, f"drained, {pair.transport.get_write_buffer_size()} unsent")
