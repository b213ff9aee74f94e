"""Forked children close the loops that they inherit, without disturbing their parent.

Owns the set of this process's open loops; any thread may add to it, and the hook runs in the
one thread that a child has.
Making the first loop registers the hook; importing does not.
"""

from __future__ import annotations

import os
import weakref

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from typing import Any

    from ferroloop._loop.base import LoopBase

__all__ = ("guard",)

_loops: weakref.WeakSet[Any] = weakref.WeakSet()
_hooked: list[int] = []


def guard(loop: LoopBase) -> None:
    """Close `loop` in children that are forked while it exists."""
    if not _hooked:
        # Two threads that make their first loops at once register two hooks, which does no harm.
        _hooked.append(os.getpid())
        os.register_at_fork(before=_note, after_in_child=_give_up)
    _loops.add(loop)


def _note() -> None:
    """Tell every loop that closing a descriptor may no longer end the kernel's watch of it."""
    while True:
        try:
            loops = list(_loops)
            break
        except RuntimeError:
            # Another thread has made a loop meanwhile.
            continue
    for loop in loops:
        loop._note_fork()


def _give_up() -> None:
    """Close this child's copies of the descriptors of every loop that it inherited."""
    for loop in list(_loops):
        if loop._state is not None:
            # The parent's threads do not exist in the child, and one of them may have held the lock.
            loop._state.lookups = None
            loop._state.selector = None
        loop._abandon()
    _loops.clear()
