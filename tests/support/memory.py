"""What a process holds: its memory and its objects, counted."""

from __future__ import annotations

import gc
import os
import time
import weakref
from typing import Any

from .loops import PATIENCE

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of memory that the process has in use now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE


def count_of(*names: str) -> int:
    """How many objects of classes with these names the collector knows."""
    gc.collect()
    return sum(1 for thing in gc.get_objects() if type(thing).__name__ in names)


def tidy() -> None:
    """Collect all generations; what was only kept by cycles is gone then."""
    for _ in range(3):
        gc.collect()


def collect_until_freed(gone: weakref.ref[Any]) -> None:
    """Collect until what is referenced is freed; another thread may hold it for a moment."""
    deadline = time.monotonic() + PATIENCE
    while gone() is not None:
        assert time.monotonic() < deadline, "it is kept alive"
        gc.collect()
