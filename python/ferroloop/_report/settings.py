"""Reads `FERROLOOP_STALL`, `FERROLOOP_SLOW` and `FERROLOOP_REPORT`. Any thread."""

from __future__ import annotations

import functools
import math
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Settings", "read", "seconds")

#: The thresholds of a report that gives none.
_STALL_AFTER = 0.25
_SLOW_AFTER = 0.1


class Settings(NamedTuple):
    """What is to be watched of a loop; None for what is not asked for."""

    #: Seconds after which a stall is logged.
    stall: float | None
    #: Seconds from which on a callback is logged.
    slow: float | None
    #: Where the page goes; an absolute path.
    report: str | None

    @property
    def stall_after(self) -> float | None:
        """The threshold of a stall: a report looks for them in any case."""
        return _STALL_AFTER if self.stall is None and self.report else self.stall

    @property
    def slow_after(self) -> float | None:
        """The threshold of a slow callback: a report looks for them in any case."""
        return _SLOW_AFTER if self.slow is None and self.report else self.slow


def read(environ: Mapping[str, str]) -> Settings:
    """Return what the variables ask for; an empty one asks for nothing.

    Raises ValueError, with the variable's name, for a threshold that is no positive number, and OSError for
    a relative path if there is no current folder.
    """
    stall = _threshold(environ, "FERROLOOP_STALL")
    slow = _threshold(environ, "FERROLOOP_SLOW")
    report = environ.get("FERROLOOP_REPORT")
    return Settings(stall, slow, _absolute(report) if report else None)


@functools.cache
def _absolute(path: str) -> str:
    """The path as it was first understood: a program that changes its folder keeps its page."""
    return os.path.abspath(path)


def _threshold(environ: Mapping[str, str], name: str) -> float | None:
    text = environ.get(name)
    return seconds(text, name) if text else None


def seconds(text: str, name: str) -> float:
    """Return a threshold given as text; raise ValueError if it is no positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} is {text!r}; a positive number of seconds is needed")
    return value
