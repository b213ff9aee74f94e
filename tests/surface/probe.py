"""Runs the steps of a case on one loop and records the result of each.

A case is a function, plain or a coroutine function, that gets a Probe. Plain ones run outside of
the loop. What they attempt, note, report, warn and log becomes the case's record.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import os
import socket
import ssl
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ferroloop
from support.descriptors import new_since, open_descriptors
from support.loops import PATIENCE, Factory
from surface.describe import describe, error, text

REFUSED = (Exception, asyncio.CancelledError)
"""What an attempt may raise."""
PUBLIC: tuple[type, ...] = (
    asyncio.AbstractEventLoop,
    asyncio.Handle,
    asyncio.TimerHandle,
    asyncio.BaseTransport,
    asyncio.ReadTransport,
    asyncio.WriteTransport,
    asyncio.Transport,
    asyncio.DatagramTransport,
    asyncio.SubprocessTransport,
    asyncio.AbstractServer,
)
"""The classes whose whole surface is called."""
KINDS = (
    asyncio.Transport,
    asyncio.ReadTransport,
    asyncio.WriteTransport,
    asyncio.BaseTransport,
)
"""What a stream transport is an instance of."""
NOT_THERE = "(not there)"
"""In place of a step that one loop's record lacks."""


@dataclass(frozen=True)
class Case:
    """A function over a probe, and the mode that its loop is in."""

    name: str
    topic: str
    run: Callable[[Probe], Any]
    debug: bool = False


def case(function: Callable[[Probe], Any]) -> Case:
    """Make a case of a function."""
    name = function.__name__.rstrip("_")
    return Case(name, function.__module__.rpartition(".")[2], function)


def debug_case(function: Callable[[Probe], Any]) -> Case:
    """Make a case of a function that wants a loop in debug mode."""
    name = function.__name__.rstrip("_")
    return Case(name, function.__module__.rpartition(".")[2], function, debug=True)


@dataclass
class Record:
    """What was seen: a label and a description for each step, in order."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    called: set[tuple[str, str]] = field(default_factory=set)
    """Public class and method of each call."""

    def add(self, label: str, what: str) -> None:
        """Write a step down; equal labels are numbered."""
        used = sum(1 for known, _ in self.steps if known.partition(" #")[0] == label)
        self.steps.append((f"{label} #{used + 1}" if used else label, what))

    def differences(self, other: Record) -> list[tuple[str, str, str]]:
        """Label and both descriptions of each step that is not the same."""
        mine, theirs = dict(self.steps), dict(other.steps)
        labels = list(mine) + [label for label in theirs if label not in mine]
        return [
            (label, mine.get(label, NOT_THERE), theirs.get(label, NOT_THERE))
            for label in labels
            if mine.get(label) != theirs.get(label)
        ]


class Probe:
    """One case on one loop."""

    def __init__(self, factory: Factory, loop: Any, stack: contextlib.ExitStack) -> None:
        self.new_loop = factory
        self.loop = loop
        self.stack = stack
        self.record = Record()
        self.numbers: set[int] = set()
        """Descriptors, which a step's name must not tell apart."""

    # What is written down

    def note(self, label: str, value: object) -> None:
        """Write a value down."""
        self.record.add(label, describe(value))

    def attempt(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call; write down what it returns or raises; return the result, or None."""
        label = self._label(call, args, kwargs)
        try:
            result = call(*args, **kwargs)
        except REFUSED as raised:
            self.record.add(label, f"raises {error(raised)}")
            return None
        self.record.add(label, describe(result))
        return result

    async def wait(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call and await; write down the result or the exception; return the result, or None."""
        label = self._label(call, args, kwargs)
        try:
            result = await asyncio.wait_for(call(*args, **kwargs), PATIENCE)
        except REFUSED as raised:
            self.record.add(label, f"raises {error(raised)}")
            return None
        self.record.add(label, describe(result))
        return result

    def finish(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As `wait`, from outside of the loop."""
        return self.loop.run_until_complete(self.wait(call, *args, **kwargs))

    def report(self, _loop: object, context: dict[str, Any]) -> None:
        """What the loop hands to its exception handler."""
        keys = sorted(key for key in context if key != "source_traceback")
        raised = context.get("exception")
        self.record.add("reported", f"{text(context['message'])} {keys} {describe(raised)}")

    # What it works with

    def open(self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
        """A non-blocking socket that is closed when the case is over."""
        sock = self.stack.enter_context(socket.socket(family, kind))
        sock.setblocking(False)
        return sock

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Two connected, non-blocking Unix sockets."""
        pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
            self.stack.enter_context(sock)
        return pair

    def closed(self) -> socket.socket:
        """A socket that is closed already."""
        sock = socket.socket()
        sock.close()
        return sock

    def listening(self) -> tuple[socket.socket, int]:
        """A listening socket and its port, which /etc/services has no name for."""
        while True:
            sock = self.open()
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
            try:
                socket.getservbyport(port)
            except OSError:
                sock.listen()
                return sock, port

    def tls_socket(self) -> ssl.SSLSocket:
        """A socket of the ssl module, which loops refuse."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        sock = context.wrap_socket(socket.socket(), do_handshake_on_connect=False)
        return self.stack.enter_context(sock)

    def extra(self, transport: Any) -> None:
        """Write down what a transport tells about itself."""
        for name in ("socket", "sockname", "peername", "pipe", "subprocess", "sslcontext", "none"):
            self.note(f"extra {name}", transport.get_extra_info(name))

    def pipe(self) -> tuple[Any, Any]:
        """Both ends of a pipe, as files: the reading one first."""
        reading, writing = os.pipe()
        return (
            self.stack.enter_context(os.fdopen(reading, "rb", 0)),
            self.stack.enter_context(os.fdopen(writing, "wb", 0)),
        )

    def folder(self) -> Path:
        """A new folder with a short path."""
        made = tempfile.TemporaryDirectory(prefix="f", dir="/tmp")
        return Path(self.stack.enter_context(made))

    def policy(self) -> Any:
        """A policy that makes loops of this kind; None where there are no policies any more."""
        theirs = self.new_loop is asyncio.SelectorEventLoop
        name = "DefaultEventLoopPolicy" if theirs else "EventLoopPolicy"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            kind = getattr(asyncio if theirs else ferroloop, name, None)
        return kind and kind()

    def number(self, of: Any) -> int:
        """The descriptor of a socket or a file, by which steps can be named on every loop."""
        number = of if isinstance(of, int) else of.fileno()
        self.numbers.add(number)
        return number

    def _label(
        self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> str:
        name = getattr(call, "__name__", type(call).__name__)
        owner = getattr(call, "__self__", None)
        self.record.called |= {(kind.__name__, name) for kind in PUBLIC if isinstance(owner, kind)}
        given = [self._short(value) for value in args]
        given += [f"{key}={self._short(value)}" for key, value in kwargs.items()]
        return f"{name}({', '.join(given)})"

    def _short(self, value: object) -> str:
        if value is self.new_loop:
            return "FACTORY"
        known = type(value) is int and value in self.numbers
        return "FD" if known else _short(value)


def _short(value: object) -> str:
    if isinstance(value, type) or inspect.isroutine(value):
        return str(getattr(value, "__name__", "callable"))
    shown = describe(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."


class _Log(logging.Handler):
    """Notes what asyncio's logger gets."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record

    def emit(self, record: logging.LogRecord) -> None:
        first, _, _ = record.getMessage().partition("\n")
        # What is slow depends on the machine, and asyncio races with itself for the status of a process
        # that it closes.
        ignored = ("Using selector", "poll ", "Executing ", "Unknown child", "child process")
        if not first.startswith(ignored) and "that handles pid" not in first:
            self.record.add("logged", f"{record.levelname} {text(first)}")


@contextlib.contextmanager
def _observed(record: Record) -> Iterator[None]:
    """Warnings, log lines and descriptors left open become steps."""
    logger, log = logging.getLogger("asyncio"), _Log(record)
    propagates, level = logger.propagate, logger.level
    gc.collect()  # what an earlier case left behind is not this one's
    before = open_descriptors()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        logger.addHandler(log)
        logger.propagate = False
        try:
            yield
            gc.collect()
        finally:
            logger.removeHandler(log)
            logger.propagate = propagates
            logger.setLevel(level)
    # The collector's moment is not the loop's: their order says nothing.
    for item in warned:
        record.add(f"warned {item.category.__name__}: {text(item.message)}", "yes")
    for target in new_since(before).values():
        record.add(f"left open {target.partition(':')[0]}", "yes")


def run(case: Case, factory: Factory) -> Record:
    """Run a case on a new loop; its record."""
    with contextlib.ExitStack() as stack:
        loop = factory()
        probe = Probe(factory, loop, stack)
        with _observed(probe.record):
            loop.set_debug(case.debug)
            loop.set_exception_handler(probe.report)
            try:
                _run(case, probe, loop)
            finally:
                probe.stack.close()
                _close(loop)
            # The case's own frames must not keep what the collector is to find.
            probe.loop = loop = None  # type: ignore[assignment]
    return probe.record


def _run(case: Case, probe: Probe, loop: asyncio.AbstractEventLoop) -> None:
    if not inspect.iscoroutinefunction(case.run):
        case.run(probe)
        return
    try:
        loop.run_until_complete(asyncio.wait_for(case.run(probe), PATIENCE))
    except Exception as raised:  # a case that ends early is a difference if it does so on one loop
        probe.note("ended by", raised)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    if loop.is_closed():
        return
    for task in asyncio.all_tasks(loop):
        task.cancel()
    for _ in range(5):
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def no_protocol() -> Any:
    """A protocol factory that raises."""
    raise ValueError("no protocol")


def raising(base: type[Any], method: str) -> Any:
    """A class of protocols of which one method raises."""

    def fail(*_: Any) -> None:
        raise ValueError(method)

    return type("Raises", (base,), {method: fail})
