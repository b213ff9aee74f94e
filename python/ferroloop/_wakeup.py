"""The wake-up descriptor: which loop's pipe CPython's signal handler writes to.

Owns the stack of loops that hold the descriptor; signals go to the last. Each entry keeps the
descriptor that it found, unless that was another loop's. The main thread of the main interpreter only.
The surprise: another loop's number is not remembered, because that loop may be closed and the number
reused.
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


class _Holder:
    """A loop that holds the descriptor, or did when another took it."""

    def __init__(self, loop: LoopBase, number: int, foreign: int | None) -> None:
        """Keep the loop's own number, and the one it found unless that was another holder's."""
        self.loop: weakref.ref[Any] = weakref.ref(loop)
        self.number = number
        self.foreign = foreign


_holders: list[_Holder] = []


def hold(loop: LoopBase) -> None:
    """Have signals write to the pipe of `loop`, whoever they write to now.

    Raises ValueError outside the main thread of the main interpreter.
    """
    number, found = loop._set_wakeup_fd()
    loop._state.wakeup_held = True
    if found == number and _holders and _holders[-1].loop() is loop:
        return
    _leave(loop)
    known = found == number or any(holder.number == found for holder in _holders)
    _holders.append(_Holder(loop, number, None if known else found))


def give_back(loop: LoopBase) -> None:
    """Have signals write to whom they would write to without `loop`.

    Raises ValueError outside the main thread; `loop` holds nothing then either.
    """
    loop._state.wakeup_held = False
    holder = _leave(loop)
    if holder is None:
        return
    heir = holder.foreign
    if heir is None:
        heir = _holders[-1].number if _holders else _NONE
    try:
        found = signal.set_wakeup_fd(heir)
    except (OSError, ValueError):
        # The program has closed its own meanwhile, and the number may be another file's.
        found = signal.set_wakeup_fd(_NONE)
    if found != holder.number:
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


def _leave(loop: LoopBase) -> _Holder | None:
    """Take `loop` off the list, and whatever has gone; its place, if it was the last."""
    last = _holders[-1] if _holders else None
    for holder in list(_holders):
        if holder.loop() not in (loop, None):
            continue
        place = _holders.index(holder)
        del _holders[place]
        if place < len(_holders) and _holders[place].foreign is None:
            # Who came after it now comes after what it found.
            _holders[place].foreign = holder.foreign
    return last if last is not None and last.loop() is loop else None
