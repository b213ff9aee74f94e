"""Stalls and slow callbacks, gathered by where they happened. The caller lets only one thread in at a time.

A program may stall a thousand times at one place, and at thousands of places: each place is kept once, up to
a limit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ferroloop._report.frames import own_frame, shown_frames
from ferroloop._report.record import SlowGroup, StallGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from ferroloop._insight.reports import SlowCallback, Stall

__all__ = ("SlowGroups", "StallGroups")

#: How many places, names and marks are kept.
_PLACES = 50
_NAMES = 500
_MARKS = 500
#: The name that asyncio gives to a task, before its coroutine's.
_DEFAULT_NAME = re.compile(r"^Task-\d+ ")


class StallGroups:
    """The stalls of one loop."""

    def __init__(self, moment: Callable[[float], float]) -> None:
        """Start without any; `moment` converts a time of `time.monotonic()` into the report's."""
        self._moment = moment
        self._lasting: list[Stall] = []
        self._over = _Gathered()

    def add(self, stall: Stall) -> None:
        """Add a stall, which may still last."""
        self._settle()
        self._lasting.append(stall)

    def _settle(self) -> None:
        """Sort the stalls that are over by their places."""
        lasting, self._lasting = self._lasting, []
        for stall in lasting:
            if stall.ended:
                self._over.take(stall, self._moment)
            else:
                self._lasting.append(stall)

    def until_now(self) -> tuple[tuple[StallGroup, ...], tuple[tuple[float, float], ...], int]:
        """Return the places, those with the most seconds first, and what else the page shows of stalls.

        That is the begin and length of stalls, and how many places were left out. A stall that still
        lasts counts up to now.
        """
        self._settle()
        found = self._over
        if self._lasting:
            found = found.copy()
            for stall in self._lasting:
                found.take(stall, self._moment)
        groups = sorted(found.groups.values(), key=lambda group: -group.seconds)
        more = found.count - sum(group.count for group in groups)
        return tuple(groups), tuple(sorted(found.marks)), more


class _Gathered:
    """Stalls by where they were found."""

    def __init__(self) -> None:
        self.groups: dict[Any, StallGroup] = {}
        self.marks: list[tuple[float, float]] = []
        self.count = 0

    def copy(self) -> _Gathered:
        """Return a copy."""
        new = _Gathered()
        new.groups, new.marks, new.count = dict(self.groups), list(self.marks), self.count
        return new

    def take(self, stall: Stall, moment: Callable[[float], float]) -> None:
        """Add one stall to its place."""
        stack = shown_frames(stall.stack)
        own = own_frame(stack)
        what = stall.callback or ""
        key = (own.filename, own.line, own.name) if own is not None else what
        began, seconds = moment(stall.started), stall.seconds
        self.count += 1
        _keep_longest(self.marks, (began, seconds))
        old = self.groups.get(key)
        if old is None:
            if len(self.groups) < _PLACES:
                self.groups[key] = StallGroup(what, 1, seconds, seconds, began, began, stack)
            return
        is_longest = seconds > old.longest
        self.groups[key] = StallGroup(
            what if is_longest else old.what,
            old.count + 1,
            old.seconds + seconds,
            max(seconds, old.longest),
            old.first,
            began,
            stack if is_longest else old.stack,
        )


def _keep_longest(marks: list[tuple[float, float]], mark: tuple[float, float]) -> None:
    marks.append(mark)
    if len(marks) > _MARKS:
        marks.remove(min(marks, key=lambda one: one[1]))


class SlowGroups:
    """The slow callbacks of one loop, by name."""

    def __init__(self) -> None:
        """Start without any."""
        self._groups: dict[str, SlowGroup] = {}

    def add(self, slow: SlowCallback) -> None:
        """Take one in."""
        # Each connection may have its own task.
        name = _DEFAULT_NAME.sub("", slow.name)
        old = self._groups.get(name)
        if old is None:
            if len(self._groups) >= _NAMES:
                self._forget_shortest()
            old = SlowGroup(name, 0, 0.0, 0.0, "")
        is_longest = slow.seconds > old.longest
        peer = ("" if slow.peer is None else str(slow.peer)) if is_longest else old.peer
        self._groups[name] = SlowGroup(
            name, old.count + 1, old.seconds + slow.seconds, max(slow.seconds, old.longest), peer
        )

    def _forget_shortest(self) -> None:
        """Drop the half of the names that took the least time."""
        kept = sorted(self._groups.values(), key=lambda group: -group.seconds)[: _NAMES // 2]
        self._groups = {group.name: group for group in kept}

    def groups(self, most: int) -> tuple[SlowGroup, ...]:
        """Return the names, those with the longest callback first."""
        return tuple(sorted(self._groups.values(), key=lambda group: -group.longest)[:most])
