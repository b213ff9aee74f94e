"""One loop a thread, all at once: the threads of a case, and how long each could run."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from harness.loops import in_company, new_loop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from harness.case import Work

# No thread waits longer for the others.
LONGEST = 60.0


def free_threaded() -> bool:
    """Whether this Python runs without a GIL now."""
    enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return not enabled()


def require_free_threading() -> None:
    """Raises RuntimeError if threads do not run at once, also because an import has ended that."""
    if not free_threaded():
        raise RuntimeError("the GIL is on: importing the loop turns it on, or this Python has one")


@dataclass
class Member:
    """One thread of a case.

    Attributes:
        loop: the loop that this thread runs.
        certificate: a key and a certificate for localhost, if the case is about TLS.
        crew: all of them, in their order.
        until: when the work is over, by `perf_counter`.
        count: for the case to count in.
    """

    loop: asyncio.AbstractEventLoop
    certificate: str | None
    crew: list[Member] = field(default_factory=list)
    until: float = 0.0
    count: int = 0

    def is_over(self) -> bool:
        """Whether the work is to end."""
        return perf_counter() >= self.until


@dataclass
class _Crew:
    """What the threads of one run share."""

    loop_name: str
    work: Work
    certificate: str | None
    seconds: float
    barrier: threading.Barrier
    members: dict[int, Member] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def fault(self, *arguments: Any) -> None:
        """The exception handler of the loops: no case has a callback that fails on asyncio."""
        context = arguments[-1]  # rloop leaves the loop out
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")


def _waited() -> float:
    """Seconds that this thread has waited for a processor that another one was using."""
    return int(Path("/proc/thread-self/schedstat").read_text("ascii").split()[1]) / 1e9


def _run(crew: _Crew, number: int) -> None:
    """The body of one thread."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    loop = new_loop(crew.loop_name)
    member = crew.members[number] = Member(loop, crew.certificate)
    loop.set_exception_handler(crew.fault)
    with in_company(loop):
        rate = _measured(crew, member)
    loop.close()
    crew.rates.append(rate)


def _measured(crew: _Crew, member: Member) -> float:
    """The rate of one thread, once all threads have a loop."""
    crew.barrier.wait(LONGEST)
    member.crew = [crew.members[other] for other in sorted(crew.members)]
    rate = 0.0
    # The first, shorter one is a warm-up.
    for seconds in (crew.seconds / 3, crew.seconds):
        crew.barrier.wait(LONGEST)
        start, waited = perf_counter(), _waited()
        member.until = start + seconds
        count = crew.work(member)
        took, waited = perf_counter() - start, _waited() - waited
        rate = count / (took - waited)
    # Others may still send something to this loop.
    crew.barrier.wait(LONGEST)
    return rate


def summed_rate(
    loop_name: str, work: Work, count: int, seconds: float, certificate: str | None
) -> float:
    """Runs `work` in `count` threads, each pinned to a core, after a shorter run that does not count.

    Returns operations a second, those of all threads added up; the time in which a thread waited for a
    processor does not count. Raises RuntimeError for whatever goes wrong, with what the first thread said.
    """
    crew = _Crew(loop_name, work, certificate, seconds, threading.Barrier(count))

    def body(number: int) -> None:
        try:
            _run(crew, number)
        except BaseException as error:
            crew.faults.append(repr(error))
            crew.barrier.abort()

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if crew.faults:
        raise RuntimeError(f"{len(crew.faults)} failures, the first: {crew.faults[0]}")
    require_free_threading()
    return sum(crew.rates)
