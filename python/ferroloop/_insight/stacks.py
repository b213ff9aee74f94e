"""The stack of another thread, and which callback of its loop it is in.

The monitor's thread. The other thread may continue meanwhile; the caller has to check whether it did.
"""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ("stack_of",)

#: How many frames are kept; of a deeper stack the innermost.
_DEEPEST = 500

#: The names of a module that `linecache` asks for.
_ABOUT = ("__name__", "__spec__", "__loader__")

#: What a frame calls by which a loop runs.
_RUNS = frozenset({"run_forever", "run_until_complete"})


class _Frame(NamedTuple):
    """What a summary of a frame needs of it, without the frame's variables."""

    f_code: CodeType
    #: What the source is found by if it is in no file.
    f_globals: dict[str, Any]


def stack_of(thread: int) -> tuple[list[traceback.FrameSummary], str | None]:
    """Return the stack of a thread, innermost last, and the name of the callback that its loop runs.

    `thread` is its `threading.get_ident()`. The list is empty if there is no such thread; the name is
    None if no frame of a callback is found.
    """
    frames = _frames_of(thread)
    callback = None
    for frame, _ in frames:
        if not _RUNS.isdisjoint(frame.f_code.co_names):
            break
        callback = frame.f_code
    else:
        # Something unknown runs the loop.
        callback = None
    name = None
    if callback is not None:
        name = getattr(callback, "co_qualname", callback.co_name)
    innermost = frames[:_DEEPEST]
    innermost.reverse()
    summary = traceback.StackSummary.extract(
        (cast("FrameType", frame), line) for frame, line in innermost
    )
    return list(summary), name


def _frames_of(thread: int) -> list[tuple[_Frame, int]]:
    """Describe the frames of a thread, innermost first, with their lines.

    The frames themselves are released at once: otherwise the callback's objects could be freed in this thread,
    if the callback returns while its source is read.
    """
    found: list[tuple[_Frame, int]] = []
    frame = sys._current_frames().get(thread)
    while frame is not None:
        names = frame.f_globals
        about = {name: dict.get(names, name) for name in _ABOUT if name in names}
        found.append((_Frame(frame.f_code, about), frame.f_lineno or 0))
        frame = frame.f_back
    return found
