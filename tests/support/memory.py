"""What a process holds: its memory and its objects, counted."""

from __future__ import annotations

import contextlib
import gc
import os
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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


def collect_until(done: Callable[[], object]) -> None:
    """Collect until `done` says true; another thread may hold what is to be freed for a moment."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it is kept alive"
        gc.collect()


@contextlib.contextmanager
def frees_unclosed(loop: weakref.ref[Any]) -> Iterator[None]:
    """Collects until a loop that its user lets go of in the block has warned of itself, and is freed."""
    with pytest.warns(ResourceWarning, match="unclosed event loop") as told:
        yield
        collect_until(lambda: len(told))
    # The recorded warning refers to the loop.
    told.clear()
    collect_until(lambda: loop() is None)
