"""The event loops that are compared: how each is made, and which are installed."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import os
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS = "ferroloop"
#: The column of ours in tables of counts, when it was built with a profile.
PROFILED = "ferroloop, profile"
PLAIN = ("asyncio", OURS, "uvloop", "rloop", "rsloop", "zuvloop")
# aiofastnet is no loop: it replaces the networking methods of one.
PATCHED = ("asyncio+aiofastnet", "uvloop+aiofastnet")


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """Makes the loop called `name`."""
    base, _, patch = name.partition("+")
    if base == "asyncio":
        loop = asyncio.SelectorEventLoop()
    else:
        factory: Callable[[], asyncio.SelectorEventLoop] = importlib.import_module(
            base
        ).new_event_loop
        loop = factory()
    if patch:
        importlib.import_module(patch).patch_loop(loop)
    return loop


@contextmanager
def in_company(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Has a timer pending and a descriptor watched, as servers and clients have: without, some loops skip polls."""
    timer = loop.call_later(3600, loop.stop)
    here, there = os.pipe()
    loop.add_reader(here, loop.stop)
    try:
        yield
    finally:
        timer.cancel()
        loop.remove_reader(here)
        os.close(here)
        os.close(there)


def version(name: str) -> str | None:
    """The installed version of a loop, None if it is not installed."""
    versions = []
    for part in name.split("+"):
        if part == "asyncio":
            versions.append(platform.python_version())
            continue
        try:
            importlib.import_module(part)
            versions.append(importlib.metadata.version(part))
        except ImportError:
            return None
    return "+".join(versions)


def installed(names: tuple[str, ...] = PLAIN + PATCHED) -> dict[str, str]:
    """The versions of those loops that can be imported."""
    found = {name: version(name) for name in names}
    return {name: text for name, text in found.items() if text is not None}
