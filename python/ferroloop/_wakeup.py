"""The wake-up descriptor: which loop's pipe CPython's signal handler writes to.

Owns the list of the loops that hold it, the last one being written to, and the descriptor that was
there before the first. The main thread of the main interpreter only.
The surprise: a number that was there before cannot be trusted if it was another loop's, since that
may be closed and its number be anybody's; so what comes next is looked up, not remembered.
"""

from __future__ import annotations

import contextlib
import signal
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferroloop._base import LoopBase

__all__ = ("forget", "give_back", "hold")

#: No descriptor, for `signal.set_wakeup_fd`.
_NONE = -1

_holders: list[tuple[weakref.ref[Any], int]] = []
#: What was there before the first of them, in a list so that it can be replaced.
_foreign = [_NONE]


def hold(loop: LoopBase) -> None:
    """Have signals write to the pipe of `loop`, whoever they write to now.

    Raises ValueError outside the main thread of the main interpreter.
    """
    number, found = loop._set_wakeup_fd()
    if found != number and all(found != held for _, held in _holders):
        # The program's own, or that of another kind of loop.
        _foreign[0] = found
    _leave(loop)
    _holders.append((weakref.ref(loop), number))
    loop._state.wakeup_held = True


def give_back(loop: LoopBase) -> None:
    """Have signals write to whom they would write to without `loop`.

    Raises ValueError outside the main thread; `loop` holds nothing then either.
    """
    loop._state.wakeup_held = False
    number = _leave(loop)
    if number is None:
        return
    heir = _holders[-1][1] if _holders else _foreign[0]
    try:
        found = signal.set_wakeup_fd(heir, warn_on_full_buffer=not _holders)
    except OSError:
        # The program has closed its own meanwhile.
        found = signal.set_wakeup_fd(_NONE)
    if found != number:
        # Somebody else has set another one since.
        with contextlib.suppress(ValueError, OSError):
            signal.set_wakeup_fd(found)


def forget() -> None:
    """Give everything up in a forked child, whose signals are not its parent's.

    asyncio does so itself since 3.12.
    """
    if _holders:
        _holders.clear()
        with contextlib.suppress(ValueError, OSError):
            signal.set_wakeup_fd(_NONE)


def _leave(loop: LoopBase) -> int | None:
    """Take `loop` off the list, and whatever has gone; the number of its pipe, if it was there."""
    mine = [number for holder, number in _holders if holder() is loop]
    _holders[:] = [held for held in _holders if held[0]() not in (loop, None)]
    return mine[0] if mine else None
