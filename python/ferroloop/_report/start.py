"""Applies the variables: starts a monitor on each new loop, and writes a page at the end.

Owns the pages of this process, by path, and the hooks that write them: at the interpreter's exit and on
SIGTERM, where the program has left that at its default. Any thread makes loops; a forked child starts anew.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from ferroloop._insight.monitor import Monitor
from ferroloop._report.recorder import Recorder, say
from ferroloop._report.settings import read

if TYPE_CHECKING:
    from types import FrameType

__all__ = ("begin_page", "watch")

_recorders: dict[str, Recorder] = {}
#: Problems that were reported already: each is reported once in a process.
_said: set[str] = set()
_lock = threading.RLock()
_hooked: list[bool] = []


def watch(loop: Any) -> None:
    """Watch a loop that was just made as the variables say.

    Raises nothing: what the variables get wrong, or a thread that cannot be started, is reported on stderr,
    once, and the program continues. A loop that is made while the interpreter ends is not watched: since
    3.12 no thread starts then, and the pages are written.
    """
    if not threading.main_thread().is_alive():
        _say_once("an event loop made while the interpreter ends is not watched")
        return
    try:
        settings = read(os.environ)
        if settings.report is not None:
            begin_page(settings.report).follow(loop, settings)
            # Before the monitors' own, which stop them.
            atexit.unregister(_write_at_exit)
            atexit.register(_write_at_exit)
        elif settings.stall is not None or settings.slow is not None:
            monitor = Monitor(loop, stall_after=settings.stall, slow_after=settings.slow)
            monitor.start()
            loop._state.environment_monitor = monitor
    except ValueError as error:
        _say_once(str(error))
    except OSError as error:
        _say_once(f"FERROLOOP_REPORT: cannot write the report: {error}")
    except RuntimeError as error:
        _say_once(f"cannot watch a loop: {error}")


def begin_page(path: str, program: str = "") -> Recorder:
    """Return this process's page of `path`; make it if there is none.

    `program` is what the page says ran, where the process cannot tell yet. Raises OSError if the file
    cannot be written.
    """
    with _lock:
        recorder = _recorders.get(path)
        if recorder is None:
            recorder = _recorders[path] = Recorder(path, program)
            if not _hooked:
                _hooked.append(True)
                atexit.register(_write_at_exit)
                os.register_at_fork(after_in_child=_forget)
        _mind_sigterm()
        return recorder


def _say_once(problem: str) -> None:
    if problem not in _said:
        _said.add(problem)
        say(problem)


def _write_at_exit() -> None:
    kind = getattr(sys, "last_type", None)
    ending = "it ended"
    if isinstance(kind, type) and issubclass(kind, KeyboardInterrupt):
        ending = "it was interrupted (Ctrl-C)"
    elif isinstance(kind, type):
        ending = f"it ended with {kind.__name__}"
    _write_all(ending)
    # A loop that is not closed ends with its monitor, right after this.
    _recorders.clear()


def _write_all(ending: str) -> None:
    for recorder in list(_recorders.values()):
        recorder.write(ending, last=True)


def _mind_sigterm() -> None:
    """Write the pages before SIGTERM ends the process, unless the program does something about it itself."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _write_and_die)


def _write_and_die(number: int, _frame: FrameType | None) -> None:
    try:
        _write_all("SIGTERM ended it")
    finally:
        # Even if the page fails, the signal ends the process, and the parent sees which signal did.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _forget() -> None:
    """Leave the pages to the parent, which keeps the locks on their files."""
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.RLock()
    for recorder in list(_recorders.values()):
        recorder.close()
    _recorders.clear()
    _said.clear()
