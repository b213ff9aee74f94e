"""Threads that begin at the same moment, and loops that run in threads of their own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable, Iterator

from support.loops import Factory

# Far more than any of it takes, even on a busy machine.
LONGEST = 60.0
# More than the machine has processors, so that threads are also interrupted.
THREADS = 4


def together(*works: Callable[[], object]) -> None:
    """Run every function in a thread of its own, from the same moment on; raise what one raises."""
    barrier = threading.Barrier(len(works))
    failures: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            barrier.wait(LONGEST)
            work()
        except BaseException as exception:
            failures.append(exception)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST)
        assert not thread.is_alive(), "a thread does not end"
    if failures:
        raise failures[0]


class Running:
    """A loop that runs in a thread of its own."""

    def __init__(self, new_loop: Factory, reports: list[dict[str, object]]) -> None:
        """Make the loop here and start it there."""
        self.loop = new_loop()
        self.loop.set_exception_handler(lambda _, context: reports.append(context))
        self._started = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self._started.wait(LONGEST)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self._started.set)
        self.loop.run_forever()

    def stop(self) -> None:
        """End the run, from outside, and close the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(LONGEST)
        assert not self.thread.is_alive(), "the loop does not stop"
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@contextlib.contextmanager
def running(
    new_loop: Factory, count: int = 1, reports: list[dict[str, object]] | None = None
) -> Iterator[list[asyncio.AbstractEventLoop]]:
    """Loops that run in threads of their own; nothing may be reported unless `reports` is given."""
    unexpected: list[dict[str, object]] = []
    told = unexpected if reports is None else reports
    crew = [Running(new_loop, told) for _ in range(count)]
    try:
        yield [member.loop for member in crew]
    finally:
        for member in crew:
            member.stop()
    assert not unexpected, unexpected


@contextlib.contextmanager
def collecting() -> Iterator[None]:
    """Collect garbage again and again, in a thread of its own."""
    over = threading.Event()

    def collect() -> None:
        # In between the others run at once: a collector that has just ended stops them anew.
        while not over.wait(0.001):
            gc.collect()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(LONGEST)
    assert not thread.is_alive(), "the collector does not end"
