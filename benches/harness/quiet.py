"""How much of the machine other programs took while a figure was made."""

from __future__ import annotations

import os
import time
from pathlib import Path

# More than this, in cores, and the figure is taken again.
LIMIT = 0.15
_TICKS = os.sysconf("SC_CLK_TCK")


def _all_busy() -> float:
    """Seconds that all cores have spent in programs (interrupts are left out: ours cause them too)."""
    line = Path("/proc/stat").read_text("ascii").partition("\n")[0]
    user, nice, system = line.split()[1:4]
    return (int(user) + int(nice) + int(system)) / _TICKS


def _own_busy() -> float:
    """Seconds that we and the children that have ended have spent."""
    return sum(os.times()[:4])


class Watch:
    """Begins when it is made."""

    def __init__(self) -> None:
        """Takes the first reading."""
        self._start = time.monotonic()
        self._others = _all_busy() - _own_busy()

    def others(self) -> float:
        """The cores that others have used on average since."""
        seconds = time.monotonic() - self._start
        return max(0.0, (_all_busy() - _own_busy() - self._others) / seconds)
