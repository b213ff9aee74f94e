"""The loop where ferroloop has no native code: asyncio's own, under ferroloop's names.

Owns whether its warning was given. ferroloop is native on Linux only; the wheels for macOS and Windows
hold the Python files alone, so that a team with such laptops needs one list of requirements. Any thread.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ("Loop", "new_event_loop", "stand_in", "warn_once")

if TYPE_CHECKING or sys.platform != "win32":
    _AsyncioLoop = asyncio.SelectorEventLoop
else:
    _AsyncioLoop = asyncio.ProactorEventLoop

_warned: list[bool] = []
"""Not empty once this process was told that the loop is asyncio's."""


def _refusal(name: str) -> RuntimeError:
    return RuntimeError(f"{name} needs ferroloop's native loop, which exists on Linux only")


class Loop(_AsyncioLoop):
    """asyncio's own event loop: ferroloop has no native one on this system."""

    __module__ = "ferroloop"

    def __init__(self) -> None:
        """Make a loop as asyncio does by default on this system.

        The first one in a process warns with RuntimeWarning. Raises OSError if the process is out of
        descriptors.
        """
        warn_once()
        super().__init__()

    def metrics(self) -> NoReturn:
        """Raise RuntimeError: asyncio's loop counts nothing."""
        raise _refusal("loop.metrics()")


def new_event_loop() -> Loop:
    """Return a new loop of asyncio's that is neither running nor closed.

    Raises OSError if the process is out of descriptors. Mirrors `asyncio.new_event_loop`.
    """
    return Loop()


def warn_once() -> None:
    """Warn with RuntimeWarning, the first time in this process, that the loop is asyncio's own."""
    if not _warned:
        _warned.append(True)
        warnings.warn(
            f"ferroloop has no native code for {sys.platform}, so its loop is asyncio's own",
            RuntimeWarning,
            stacklevel=2,
        )


def stand_in(name: str) -> Any:
    """Return what the public name `name` is here: asyncio's object of that name.

    Where asyncio has none, a class that raises RuntimeError when it is called.
    """
    theirs = getattr(asyncio, name, None)
    if theirs is not None:
        return theirs

    def refuse(*_arguments: Any, **_keywords: Any) -> NoReturn:
        raise _refusal(f"ferroloop.{name}")

    doc = "Stands for what needs ferroloop's native loop; raises RuntimeError when it is called."
    return type(name, (), {"__module__": "ferroloop", "__doc__": doc, "__new__": refuse})
