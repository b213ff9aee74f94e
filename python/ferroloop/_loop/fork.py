"""Forked children: they never touch what their parent's loops wait on.

Owns the set of loops that live in this process; any thread may add to it, and the hook runs in the
one thread that a child has.
Importing registers no hook, making the first loop does; from then on a child gives up
every loop that it inherited, while its parent goes on undisturbed.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferroloop._loop.base import LoopBase

__all__ = ("guard",)

_loops: weakref.WeakSet[Any] = weakref.WeakSet()
_hooked: list[int] = []


def guard(loop: LoopBase) -> None:
    """Have a child that is forked while `loop` lives give it up."""
    if not _hooked:
        # Two threads that make their first loops at once register two hooks, which does no harm.
        _hooked.append(os.getpid())
        os.register_at_fork(before=_note, after_in_child=_give_up)
    _loops.add(loop)


def _note() -> None:
    """Tell every loop that closing a descriptor may no longer end what the kernel watches of it."""
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
            # The threads are the parent's, and so is what their lock may be held for.
            loop._state.lookups = None
            loop._state.selector = None
        loop._abandon()
    _loops.clear()
