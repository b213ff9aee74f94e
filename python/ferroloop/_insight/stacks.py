"""The stack of another thread, and which callback of its loop it is in.

The monitor's thread. The other thread may go on meanwhile: whether it did is for the caller to find
out.
"""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ("stack_of",)

#: How many frames are kept; of a deeper stack the innermost.
_DEEPEST = 500

#: What a frame calls by which a loop runs.
_RUNS = frozenset({"run_forever", "run_until_complete"})


def stack_of(thread: int) -> tuple[list[traceback.FrameSummary], str | None]:
    """Return the stack of a thread, innermost last, and the name of the callback that its loop runs.

    `thread` is its `threading.get_ident()`. The list is empty if there is no such thread; the name is
    None if no frame of a callback is found.
    """
    frames: list[tuple[FrameType, int]] = []
    frame = sys._current_frames().get(thread)
    while frame is not None:
        frames.append((frame, frame.f_lineno or 0))
        frame = frame.f_back
    callback = None
    for frame, _ in frames:
        if not _RUNS.isdisjoint(frame.f_code.co_names):
            break
        callback = frame
    else:
        # Something unknown runs the loop.
        callback = None
    name = None
    if callback is not None:
        code = callback.f_code
        name = getattr(code, "co_qualname", code.co_name)
    del frame, callback
    innermost = frames[:_DEEPEST]
    innermost.reverse()
    return list(traceback.StackSummary.extract(iter(innermost))), name
