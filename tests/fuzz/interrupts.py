"""Ctrl-C at random moments of runs: thousands of real signals, from a thread that only sends them.

After each the loop must be at rest, run again, and be closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import threading
import time
from collections.abc import Callable

import ferroloop

from . import watch

#: Interrupts for one seed.
INTERRUPTS = 20


class Sender:
    """Sends SIGINT to the main thread a random moment after it was told to."""

    def __init__(self, choices: random.Random) -> None:
        """Start the thread."""
        self._choices = choices
        self._armed = threading.Semaphore(0)
        self._sent = threading.Semaphore(0)
        self._over = False
        self._main = threading.main_thread().ident or 0
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            self._armed.acquire()
            if self._over:
                return
            end = time.perf_counter() + self._choices.random() * 150e-6
            while time.perf_counter() < end:
                pass
            signal.pthread_kill(self._main, signal.SIGINT)
            self._sent.release()

    def arm(self) -> None:
        """Have it send one."""
        self._armed.release()

    def wait(self) -> None:
        """Wait until it was sent."""
        self._sent.acquire()

    def end(self) -> None:
        """End the thread."""
        self._over = True
        self._armed.release()
        self._thread.join()


def forever(loop: asyncio.AbstractEventLoop) -> None:
    """A run of one turn."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def complete(loop: asyncio.AbstractEventLoop) -> None:
    """A run until something is done."""
    loop.run_until_complete(asyncio.sleep(0))


def handle(loop: asyncio.AbstractEventLoop) -> None:
    """A run with a signal handler."""
    loop.add_signal_handler(signal.SIGUSR2, id, 1)
    loop.run_until_complete(asyncio.sleep(0))
    loop.remove_signal_handler(signal.SIGUSR2)


def until_sent(sender: Sender, work: Callable[[], None]) -> None:
    """Work until the interrupt has come, wherever it comes."""

    def repeat() -> None:
        sender.arm()
        while not watch.swallowed:
            work()

    watch.swallowed.clear()
    # In a function of its own: CPython 3.13 lets an interrupt at the jump back of a loop pass the handler
    # of the try statement that the loop is in.
    with contextlib.suppress(KeyboardInterrupt):
        repeat()
    sender.wait()


def look(loop: asyncio.AbstractEventLoop) -> str | None:
    """What is wrong with the loop after the interrupt."""
    if loop.is_running():
        return "the loop counts as running"
    if asyncio._get_running_loop() is not None:
        return "a loop runs in this thread"
    if sys.get_asyncgen_hooks() != (None, None):
        return "the hooks of generators stay"
    if loop._stopping:  # type: ignore[attr-defined]
        return "a stop stays"
    loop.call_soon(loop.stop)
    loop.run_forever()
    for _ in range(2):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    if not loop.is_closed():
        return "the loop is not closed"
    if signal.set_wakeup_fd(-1) != -1:
        return "the wake-up descriptor stays"
    if signal.getsignal(signal.SIGUSR2) != signal.SIG_DFL:
        return "a signal handler stays"
    return None


def fuzz(seed: int) -> None:
    """Interrupt many runs."""
    choices = random.Random(seed)
    sender = Sender(choices)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for _ in range(INTERRUPTS):
            loop = ferroloop.new_event_loop()
            work = choices.choice([forever, complete, handle])
            until_sent(sender, lambda loop=loop, work=work: work(loop))  # type: ignore[misc]
            wrong = look(loop)
            if wrong is not None:
                watch.fail(f"{work.__name__}: {wrong}")
    finally:
        sender.end()
