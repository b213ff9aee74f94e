"""Which exceptions count as a fault: those that only broken native code raises."""

from __future__ import annotations

import collections
import faulthandler
import os
import sys
import threading
from typing import Any

#: `SystemError` is what CPython raises when C code breaks its rules.
BROKEN = ("PanicException", "SystemError")


#: What the program did last.
_notes: collections.deque[str] = collections.deque(maxlen=12)


def note(what: object) -> None:
    """Remember what the program does next, in case that it hangs."""
    _notes.append(str(what))


class Deadline:
    """Ends a process that hangs, and tells what it did last, or where it is if it keeps the GIL."""

    def __init__(self, seconds: float) -> None:
        """Take how long a program may run."""
        self._seconds = seconds
        self._over = threading.Event()

    def __enter__(self) -> None:
        """Start the clock."""
        faulthandler.dump_traceback_later(self._seconds + 10, exit=True)
        threading.Thread(target=self._wait, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._over.set()
        faulthandler.cancel_dump_traceback_later()

    def _wait(self) -> None:
        if not self._over.wait(self._seconds):
            faulthandler.dump_traceback()
            fail("it hangs; last: " + "; ".join(_notes))


def check(error: BaseException | None) -> None:
    """End the process if `error`, or one it came from, is a panic."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if type(error).__name__ in BROKEN:
            fail(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__


def fail(what: str) -> None:
    """Say what is broken and end the process at once."""
    sys.stdout.write(f"BROKEN {what}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(3)


#: The interrupts that came into a destructor or a weak reference's callback, which lose them.
swallowed: list[object] = []


def on_unraisable(unraisable: Any) -> None:
    """As `sys.unraisablehook`: quiet, except about panics."""
    check(unraisable.exc_value)
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        swallowed.append(unraisable.err_msg)


def on_thread(arguments: Any) -> None:
    """As `threading.excepthook`: quiet, except about panics."""
    check(arguments.exc_value)


def on_report(_loop: object, context: dict[str, Any]) -> None:
    """As a loop's exception handler: quiet, except about panics."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        check(error)
