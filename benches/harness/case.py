"""The kinds of case: what is run, in which unit its figure is, and what it must reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Awaitable, Callable
    from ssl import SSLContext

    from harness.results.targets import Target
    from harness.threads import Member

    # Runs the case once on a loop that does not run yet; returns the figure.
    Measure = Callable[[asyncio.AbstractEventLoop], float]
    # Starts a server on a bound, listening socket, inside the running loop; returns what must stay alive.
    Serve = Callable[["ServerSocket"], Awaitable[object]]
    # Runs the loop of one thread until its time is over; returns how many operations it did.
    Work = Callable[[Member], int]

GROUPS = ("scheduling", "operations", "echo", "http", "memory", "threads")


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
    """A case that needs nothing but the loop.

    Attributes:
        measure: runs it and returns the figure.
        repeats: how often it is run after the warm-up.
        tls: whether a loop needs TLS for it.
        alone: whether no timer is pending and no descriptor watched meanwhile.
    """

    measure: Measure | None = None
    repeats: int = 3
    tls: bool = False
    alone: bool = False


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
class Threads:
    """How many threads a case runs, each with a loop of its own, and what they must gain.

    Attributes:
        count: the threads.
        alone: the name of the same case with one thread.
        gain: how many times the figure of one thread is meant to be reached; None where the bound is
            what the floor gains.
    """

    count: int
    alone: str
    gain: float | None


@dataclass(frozen=True)
class Threaded(Case):
    """A loop a thread, nothing outside the process; the figure is the summed rate of all threads.

    Attributes:
        work: what each thread does.
        threads: how many there are.
        tls: whether it needs a certificate.
        floor: over what `loopback_floor` does the same without Python, "tcp" or "unix"; None if it does not.
    """

    work: Work | None = None
    threads: Threads | None = None
    tls: bool = False
    floor: str | None = None


@dataclass(frozen=True)
class ThreadedHttp(Served):
    """Servers at one port, a loop a thread; the figure is thousands of requests a second in all.

    It is what the threads answer in a second of their own CPU time each: generators share their cores.
    """

    threads: Threads | None = None


@dataclass(frozen=True)
class ServerSocket:
    """Where a server of a case shall serve, and with which certificate.

    Attributes:
        listener: bound and listening, non-blocking.
        context: a server-side context if the case is about TLS.
    """

    listener: socket.socket
    context: SSLContext | None


def threads_of(case: Case) -> Threads | None:
    """The threads that a case runs, None if it is not about threads."""
    return case.threads if isinstance(case, (Threaded, ThreadedHttp)) else None
