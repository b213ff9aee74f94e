"""What a new loop takes from its process: variables, and a selector class of the program.

`FERROLOOP_STALL`, `FERROLOOP_SLOW` and `FERROLOOP_REPORT` have it watched; `FERROLOOP_NATIVE_STREAMS` has
asyncio's functions for streams make ferroloop's readers and writers.

Read when a loop is made, in the thread that makes it; what they need is imported only if one is set.
"""

from __future__ import annotations

import os
import selectors
import sys

from ferroloop._compat import is_debug_mode

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from ferroloop._loop.base import LoopBase

__all__ = ("asks_for_debug", "follow_environment", "follow_selector", "follow_streams")

_WATCH = ("FERROLOOP_STALL", "FERROLOOP_SLOW", "FERROLOOP_REPORT")
_STREAMS = "FERROLOOP_NATIVE_STREAMS"
_STALL, _SLOW, _REPORT, _NATIVE = (os.fsencode(name) for name in (*_WATCH, _STREAMS))
_DEBUG = b"PYTHONASYNCIODEBUG"


def _kept() -> object:
    """The dictionary behind `os.environ`, which raises KeyError twice for a name that is missing.

    A program may have put another object in the place of `os.environ`.
    """
    return getattr(os.environ, "_data", None)


def asks_for_debug() -> bool:
    """Whether `-X dev` or PYTHONASYNCIODEBUG asks for debug mode."""
    kept = _kept()
    if isinstance(kept, dict) and _DEBUG not in kept and not sys.flags.dev_mode:
        return False
    return is_debug_mode()


def follow_selector(loop: LoopBase) -> None:
    """Make a new loop wait by `selectors.DefaultSelector` if a program replaced it.

    gevent replaces it, and eventlet leaves only the selector over its own `select.select`. Other
    greenlets run only while the loop waits through these.
    """
    kind = selectors.DefaultSelector
    if kind.__module__ != "selectors" or kind.__qualname__ != "EpollSelector":
        from ferroloop._loop.selector import selector_of  # noqa: PLC0415 - for few programs

        selector_of(loop)


def follow_environment(loop: LoopBase) -> None:
    """Apply the variables. Raises nothing for wrong values."""
    kept = _kept()
    if isinstance(kept, dict) and not (
        _STALL in kept or _SLOW in kept or _REPORT in kept or _NATIVE in kept
    ):
        return
    if any(os.environ.get(name) for name in _WATCH):
        from ferroloop._report.start import watch  # noqa: PLC0415 - for programs that ask for it

        watch(loop)
    follow_streams()


def follow_streams() -> None:
    """Replace asyncio's functions for streams if the variable asks for it."""
    if os.environ.get(_STREAMS, "0") not in {"", "0"}:
        from ferroloop._net.native_streams import install_streams  # noqa: PLC0415 - for who asks

        install_streams()
