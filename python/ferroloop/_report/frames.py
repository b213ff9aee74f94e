"""Stacks of stalls as the page shows them. Any thread."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import ferroloop._native
from ferroloop._report.record import Frame

if TYPE_CHECKING:
    import traceback
    from collections.abc import Sequence

__all__ = ("own_frame", "shown_frames")

#: A line that runs a loop: what is before it is the same for every callback.
_RUN = re.compile(r"\.(?:run_forever|run_until_complete)\(")
_INSTALLED = re.compile(r"/(?:site|dist)-packages/")
#: The folders of the standard library and of ferroloop, and modules without a file.
_FOLDERS = (
    os.path.dirname(os.__file__) + os.sep,
    os.path.dirname(ferroloop._native.__file__) + os.sep,
    "<frozen ",
)


def shown_frames(stack: Sequence[traceback.FrameSummary]) -> tuple[Frame, ...]:
    """Return the frames of a stack as plain data, in order, without those that run the loop."""
    runs = [number for number, frame in enumerate(stack) if _RUN.search(frame.line or "")]
    return tuple(
        Frame(
            frame.filename,
            frame.lineno or 0,
            frame.name,
            frame.line or "",
            _is_library(frame.filename),
        )
        for frame in stack[max(runs, default=-1) + 1 :]
    )


def _is_library(filename: str) -> bool:
    return filename.startswith(_FOLDERS) or _INSTALLED.search(filename) is not None


def own_frame(stack: Sequence[Frame]) -> Frame | None:
    """Return the innermost frame of the program itself; the innermost of all if none is; None without a stack."""
    own = [frame for frame in stack if not frame.library]
    return (own or stack)[-1] if stack else None
