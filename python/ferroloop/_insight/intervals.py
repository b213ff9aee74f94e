"""Thresholds and intervals that a program gives a monitor, in seconds.

Any thread may check one; the monitor's thread calls what is due.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Hook", "checked")


class Hook:
    """A function that is called at intervals."""

    __slots__ = ("due", "function", "interval")

    def __init__(self, interval: float, function: Callable[[], object]) -> None:
        self.interval = interval
        self.function = function
        self.due = time.monotonic() + interval


def checked(name: str, seconds: float | None) -> float | None:
    """A threshold as a float. Raises ValueError or TypeError if it is no positive number."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not hasattr(type(seconds), "__float__"):
        raise TypeError(f"{name} must be a positive number of seconds, got {seconds!r}")
    try:
        number = float(seconds)
    except OverflowError:
        number = math.inf
    if not (number > 0.0 and math.isfinite(number)):
        raise ValueError(f"{name} must be a positive number of seconds, got {number}")
    return number
