"""The variables that a new loop follows.

`FERROLOOP_STALL`, `FERROLOOP_SLOW` and `FERROLOOP_REPORT` have it watched; `FERROLOOP_NATIVE_STREAMS` has
asyncio's functions for streams make ferroloop's readers and writers.

Read when a loop is made, in the thread that makes it; what they need is imported only if one is set.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from ferroloop._loop.base import LoopBase

__all__ = ("follow_environment", "follow_streams")

_WATCH = ("FERROLOOP_STALL", "FERROLOOP_SLOW", "FERROLOOP_REPORT")
_STREAMS = "FERROLOOP_NATIVE_STREAMS"
_KEYS = tuple(os.fsencode(name) for name in (*_WATCH, _STREAMS))


def follow_environment(loop: LoopBase) -> None:
    """Apply the variables. Raises nothing for wrong values."""
    environ = os.environ
    # `os.environ` raises KeyError twice for a name that is missing. The dictionary behind it raises none.
    # A program may have put another object in the place of `os.environ`.
    kept = getattr(environ, "_data", None)
    if isinstance(kept, dict) and not any(key in kept for key in _KEYS):
        return
    if any(environ.get(name) for name in _WATCH):
        from ferroloop._report.start import watch  # noqa: PLC0415 - for programs that ask for it

        watch(loop)
    follow_streams()


def follow_streams() -> None:
    """Replace asyncio's functions for streams if the variable asks for it."""
    if os.environ.get(_STREAMS, "0") not in {"", "0"}:
        from ferroloop._net.native_streams import install_streams  # noqa: PLC0415 - for who asks

        install_streams()
