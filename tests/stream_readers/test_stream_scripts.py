"""The same scripts of feeding and reading on asyncio's stream reader and on ferroloop's."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import ferroloop
from support.loops import run

Loop = asyncio.AbstractEventLoop
Trace = list[object]
Act = Callable[[asyncio.StreamReader], Any]

SCRIPTS = 300
STEPS = 40


class Recorder(asyncio.Transport):
    """A transport that writes down how it is paused and resumed."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace

    def pause_reading(self) -> None:
        self.trace.append("paused")

    def resume_reading(self) -> None:
        self.trace.append("resumed")


def text(chance: random.Random) -> bytes:
    """Some bytes in which separators are frequent."""
    return bytes(chance.choices(b"ab\n;,", k=chance.choice((0, 1, 2, 3, 7, 20, 60))))


def an_act(chance: random.Random) -> tuple[str, Act]:
    """What is done to a reader, and how to call it; a coroutine is awaited by a task."""
    data, count = text(chance), chance.choice((-1, 0, 1, 2, 5, 30, 100))
    separator: Any = chance.choice((b"\n", b";", b"ab", b"\n;", b"", "text", (b";", b"ab\n"), ()))
    acts: list[tuple[str, Act]] = [
        (f"feed {data!r}", lambda reader: reader.feed_data(data)),
        (f"feed {data!r} as bytearray", lambda reader: reader.feed_data(bytearray(data))),
        (f"read {count}", lambda reader: reader.read(count)),
        (f"readexactly {count}", lambda reader: reader.readexactly(count)),
        ("readline", lambda reader: reader.readline()),
        (f"readuntil {separator!r}", lambda reader: reader.readuntil(separator)),
        ("anext", lambda reader: reader.__anext__()),
        ("eof", lambda reader: reader.feed_eof()),
        (f"feed {data!r} and eof", lambda reader: feed_and_end(reader, data)),
        (f"feed {data!r} and an exception", lambda reader: feed_and_fail(reader, data)),
        ("exception", lambda reader: reader.set_exception(LookupError("set"))),
        ("incomplete", lambda reader: reader.set_exception(asyncio.IncompleteReadError(b"x", 9))),
        ("at_eof", lambda reader: reader.at_eof()),
        ("cancel", cancel),
    ]
    weights = (30, 4, 12, 8, 16, 12, 3, 0.5, 0.5, 0.5, 0.3, 0.3, 1, 5)
    return chance.choices(acts, weights)[0]


def feed_and_end(reader: asyncio.StreamReader, data: bytes) -> None:
    """The last that a peer sends, and its end, in one turn."""
    reader.feed_data(data)
    reader.feed_eof()


def feed_and_fail(reader: asyncio.StreamReader, data: bytes) -> None:
    """What a connection that is lost can do before a task that waits comes to its turn."""
    reader.feed_data(data)
    reader.feed_eof()
    reader.set_exception(LookupError("set after data"))


def cancel(_: asyncio.StreamReader) -> object:
    """Stands for cancelling the oldest task that waits."""
    return cancel


def described(outcome: BaseException) -> object:
    """An exception with what it was caused by, as text."""
    parts = [repr(outcome), repr(getattr(outcome, "partial", None))]
    parts += [repr(getattr(outcome, "expected", None)), repr(getattr(outcome, "consumed", None))]
    return (*parts, repr(outcome.__context__))


class Play:
    """One run of a script: what every step leads to, and in which order."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader: Any = reader
        self.trace: Trace = []
        self.tasks: list[asyncio.Task[None]] = []
        self.coroutines: list[Coroutine[Any, Any, Any]] = []
        self.reader.set_transport(Recorder(self.trace))

    async def wait_for(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            self.trace.append((name, await coroutine))
        except asyncio.CancelledError:
            self.trace.append((name, "cancelled"))
        except (Exception, StopAsyncIteration) as exc:
            self.trace.append((name, described(exc)))

    def do(self, name: str, act: Act) -> None:
        try:
            result = act(self.reader)
        except Exception as exc:
            self.trace.append((name, described(exc)))
            return
        if result is cancel:
            waiting = [task for task in self.tasks if not task.done()]
            if waiting:
                waiting[0].cancel()
        elif asyncio.iscoroutine(result):
            self.coroutines.append(result)
            self.tasks.append(asyncio.ensure_future(self.wait_for(name, result)))
        else:
            self.trace.append((name, result))

    def note(self) -> None:
        """asyncio's fields, as they are now."""
        reader = self.reader
        fields = (bytes(reader._buffer), reader._waiter is None, reader._eof, reader._paused)
        self.trace.append((repr(reader), fields, repr(reader._exception)))

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for coroutine in self.coroutines:
            coroutine.close()


def traced(loop: Loop, reader_class: type[asyncio.StreamReader], seed: int) -> Trace:
    chance = random.Random(seed)
    limit = chance.choice((1, 3, 10, 40, 1 << 16))
    acts = [an_act(chance) for _ in range(STEPS)]

    async def main() -> Trace:
        play = Play(reader_class(limit=limit, loop=loop))
        for name, act in acts:
            play.do(name, act)
            for _ in range(chance.choice((0, 1, 1, 2, 3))):
                await asyncio.sleep(0)
            play.note()
        await play.end()
        return play.trace

    trace = run(loop, main())
    return [entry if isinstance(entry, str) else unnamed(entry) for entry in trace]


def unnamed(entry: Any) -> Any:
    """A step without what differs from run to run: addresses, and in debug mode places in files."""
    name, *rest = entry
    return (re.sub(r" created at [^>]*", "", str(name)).partition(" transport=")[0], *rest)


class Derived(ferroloop.StreamReader):
    """Replaces methods that the others have to call, as asyncio's do."""

    fed = 0

    def feed_data(self, data: Any) -> None:
        self.fed += 1
        super().feed_data(data)


@pytest.mark.slow
@pytest.mark.parametrize("reader_class", [ferroloop.StreamReader, Derived])
def test_a_script_leaves_the_same_trace_on_both_readers(
    loop: Loop, reader_class: type[asyncio.StreamReader]
) -> None:
    for seed in range(SCRIPTS):
        theirs = traced(loop, asyncio.StreamReader, seed)
        ours = traced(loop, reader_class, seed)
        ours = [rename(entry, reader_class) for entry in ours]
        assert ours == theirs, f"seed {seed}"


def rename(entry: Any, reader_class: type) -> Any:
    """`entry` with asyncio's name of the class in its texts."""
    if not isinstance(entry, tuple):
        return entry
    return (entry[0].replace(f"<{reader_class.__name__}", "<StreamReader"), *entry[1:])
