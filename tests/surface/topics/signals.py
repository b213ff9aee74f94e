"""add_signal_handler and remove_signal_handler."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from surface.probe import Probe, case, debug_case


def _callback(*_args: Any) -> None:
    """Something to call."""


async def _coroutine() -> None:
    """No callback."""


@case
def arguments(p: Probe) -> None:
    loop = p.loop
    p.attempt(loop.add_signal_handler)
    p.attempt(loop.add_signal_handler, 10)
    for wrong in (0, -1, 99, 1 << 40, "x", None, 1.5, signal.SIGKILL, signal.SIGSTOP, object()):
        p.attempt(loop.add_signal_handler, wrong, _callback)
        p.attempt(loop.remove_signal_handler, wrong)
    p.attempt(loop.add_signal_handler, 10, _coroutine)
    made = _coroutine()
    p.attempt(loop.add_signal_handler, 10, made)
    made.close()
    for odd in (None, 5, "text"):
        p.attempt(loop.add_signal_handler, 10, odd)
        p.attempt(loop.remove_signal_handler, 10)
    p.attempt(loop.add_signal_handler, True, _callback)
    p.attempt(loop.remove_signal_handler, True)
    p.attempt(loop.add_signal_handler, signal.SIGUSR1, _callback, 1, unknown=2)


@case
def handlers(p: Probe) -> None:
    loop = p.loop
    before = signal.getsignal(signal.SIGUSR1)
    p.attempt(loop.add_signal_handler, signal.SIGUSR1, p.note, "signal", 1)
    p.attempt(loop.add_signal_handler, signal.SIGUSR1, p.note, "signal", 2)
    p.note("handler", callable(signal.getsignal(signal.SIGUSR1)))
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    p.attempt(loop.remove_signal_handler, signal.SIGUSR1)
    p.attempt(loop.remove_signal_handler, signal.SIGUSR1)
    p.note("restored", signal.getsignal(signal.SIGUSR1) == before)
    p.attempt(loop.add_signal_handler, signal.SIGINT, _callback)
    p.attempt(loop.remove_signal_handler, signal.SIGINT)
    p.note("restored", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    p.attempt(loop.add_signal_handler, signal.SIGUSR2, _callback)
    loop.close()
    p.note("restored", signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL)
    p.note("wake-up", signal.set_wakeup_fd(-1))


@case
async def elsewhere(p: Probe) -> None:
    await p.wait(asyncio.to_thread, p.loop.add_signal_handler, signal.SIGUSR1, _callback)
    await p.wait(asyncio.to_thread, p.loop.remove_signal_handler, signal.SIGUSR1)


@debug_case
async def in_debug_mode(p: Probe) -> None:
    p.attempt(p.loop.add_signal_handler, signal.SIGUSR1, _callback)
    p.attempt(p.loop.remove_signal_handler, signal.SIGUSR1)
