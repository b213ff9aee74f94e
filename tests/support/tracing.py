"""Raises an exception at a chosen step of a program, as Ctrl-C does at a random one."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class Interrupter:
    """Raises KeyboardInterrupt at the step `number` of the Python code of some files.

    Steps are calls, lines, instructions and returns. Use it as a context manager; it raises once.
    """

    def __init__(self, number: int, folders: tuple[str, ...]) -> None:
        """Take the step, and the folders whose code counts."""
        self.left = number
        self.folders = folders
        self.raised = False

    def __enter__(self) -> Self:
        """Start counting."""
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting; before this line nothing of the with statement's end is counted."""
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(self.folders):
            return None
        frame.f_trace_opcodes = True
        return self._step(frame, event, argument)

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        self.left -= 1
        if self.left == 0:
            self.raised = True
            raise KeyboardInterrupt
        return self._step


def every_step(action: Callable[[Interrupter], None], *modules: Any) -> Iterator[bool]:
    """Run an action once for each step of the code of some packages, interrupted there.

    Yields after each run whether it was interrupted, for the caller to look at what it left; ends
    with the run that no interrupt came into.
    """
    folders = tuple(os.path.dirname(module.__file__) for module in modules)
    interrupted = True
    number = 0
    # Garbage of earlier tests must not be finalized within a run: the interrupt would come there.
    gc.collect()
    while interrupted:
        number += 1
        interrupter = Interrupter(number, folders)
        gc.disable()
        try:
            action(interrupter)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
            gc.enable()
        interrupted = interrupter.raised
        yield interrupted
