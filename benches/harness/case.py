"""The kinds of case: what is run, in which unit its figure is, and what it must reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Awaitable, Callable
    from ssl import SSLContext

    from harness.targets import Target

    # Runs the case once on a loop that does not run yet; returns the figure.
    Measure = Callable[[asyncio.AbstractEventLoop], float]
    # Starts a server on a bound, listening socket, inside the running loop; returns what must stay alive.
    Serve = Callable[["ServerSocket"], Awaitable[object]]

GROUPS = ("scheduling", "operations", "echo", "http", "memory")


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: what `--cases` selects by.
        title: what the table prints.
        group: one of `GROUPS`.
        unit: of the figure that is shown.
        target: what ours must reach, if anything is promised.
        less_is_better: whether the figure is a cost.
    """

    name: str
    title: str
    group: str
    unit: str
    target: Target | None = None
    less_is_better: bool = False


@dataclass(frozen=True)
class InProcess(Case):
    """A case that needs nothing but the loop."""

    measure: Measure | None = None
    repeats: int = 3
    tls: bool = False


@dataclass(frozen=True)
class Served(Case):
    """A case in which one process serves and another loads it."""

    serve: Serve | None = None
    connections: int = 16
    tls: bool = False


@dataclass(frozen=True)
class Echo(Served):
    """An echo server under the native load generator; the figure is thousands of messages a second."""

    size: int = 1024
    line: bool = False
    unix: bool = False


@dataclass(frozen=True)
class Http(Served):
    """An HTTP server under wrk; the figure is the server's CPU microseconds a request."""


@dataclass(frozen=True)
class Memory(Served):
    """A server with idle connections; the figure is the resident KiB that each costs it."""


@dataclass(frozen=True)
class ServerSocket:
    """Where a server of a case shall serve, and with which certificate.

    Attributes:
        listener: bound and listening, non-blocking.
        context: a server-side context if the case is about TLS.
    """

    listener: socket.socket
    context: SSLContext | None
