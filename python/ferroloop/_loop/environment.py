"""The variables that have every loop watched: `FERROLOOP_STALL`, `FERROLOOP_SLOW`, `FERROLOOP_REPORT`.

Read when a loop is made, in the thread that makes it; what they need is imported only if one is set.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferroloop._loop.base import LoopBase

__all__ = ("follow_environment",)

_NAMES = ("FERROLOOP_STALL", "FERROLOOP_SLOW", "FERROLOOP_REPORT")


def follow_environment(loop: LoopBase) -> None:
    """Have `loop` watched as the variables say. Raises nothing that they get wrong."""
    environ = os.environ
    if any(environ.get(name) for name in _NAMES):
        from ferroloop._report.start import watch  # noqa: PLC0415 - for programs that ask for it

        watch(loop)
