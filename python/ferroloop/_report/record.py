"""What the page shows of a process, as plain data. Frozen; any thread may hold it.

All times are seconds. Moments (`at`, `began`, `ended`) count from the start of the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = (
    "Distribution",
    "Frame",
    "LoopRecord",
    "Open",
    "Point",
    "Report",
    "Share",
    "SlowGroup",
    "StallGroup",
)


class Point(NamedTuple):
    """A piece of a loop's time line, from the end of the piece before."""

    #: When it ended.
    at: float
    #: The share of it in which the loop had something to do: 0.0 to 1.0.
    busy: float
    #: Turns that ended in it.
    turns: int
    #: The longest of them.
    longest_turn: float
    #: The latest begin of a due timer or a queued callback.
    longest_delay: float


class Frame(NamedTuple):
    """One line of a stack."""

    filename: str
    line: int
    name: str
    #: The source of the line; empty if it could not be read.
    code: str
    #: Whether it belongs to Python, ferroloop or an installed package, not to the program.
    library: bool


@dataclass(frozen=True)
class StallGroup:
    """The stalls of a loop that were found at one place of the program."""

    #: What ran: a task with its coroutine, a protocol's method, a callback.
    what: str
    count: int
    seconds: float
    longest: float
    #: When the first and the last of them began.
    first: float
    last: float
    #: The stack of the longest, innermost last.
    stack: tuple[Frame, ...]


@dataclass(frozen=True)
class SlowGroup:
    """Slow callbacks of one name."""

    name: str
    count: int
    seconds: float
    longest: float
    #: The peer of the longest; empty if it has none.
    peer: str


@dataclass(frozen=True)
class Share:
    """What all callbacks of one name took."""

    name: str
    calls: int
    seconds: float


@dataclass(frozen=True)
class Distribution:
    """A histogram's figures."""

    count: int
    mean: float
    #: Pairs of a percentile and its value, rising.
    percentiles: tuple[tuple[float, float], ...]
    longest: float


@dataclass(frozen=True)
class Open:
    """What a loop had open at one moment."""

    at: float
    #: Names with figures: descriptors, timers, and so on.
    counts: tuple[tuple[str, int], ...]
    #: Coroutines of the tasks that were not done, with how many tasks ran each.
    tasks: tuple[tuple[str, int], ...]
    #: Names that were being looked up.
    lookups: tuple[str, ...]


@dataclass(frozen=True)
class LoopRecord:
    """One loop, from when it was made to its close or the moment of the report."""

    name: str
    began: float
    ended: float
    #: "closed", "running", "not running", or that the program's own monitor took over.
    state: str
    #: Turns, and callbacks run in them.
    turns: int
    callbacks: int
    #: The share of the time from `began` to `ended` in which it had something to do.
    busy: float
    #: The threshold of a stall; None if stalls were not looked for. So too the next.
    stall_after: float | None
    slow_after: float | None
    points: tuple[Point, ...]
    #: When stalls began and how long they were, for the time line.
    marks: tuple[tuple[float, float], ...]
    stalls: tuple[StallGroup, ...]
    #: Stalls at places beyond those that are kept.
    more_stalls: int
    slow: tuple[SlowGroup, ...]
    shares: tuple[Share, ...]
    turn: Distribution | None
    delay: Distribution | None
    open: Open | None


@dataclass(frozen=True)
class Report:
    """One process."""

    #: The program as it was named on the command line, without its arguments.
    program: str
    pid: int
    #: What ended the process: "it ended", "SIGTERM".
    ending: str
    #: The date and time of the start, in words.
    began: str
    seconds: float
    #: Versions of Python, ferroloop and the system, in words.
    versions: str
    loops: tuple[LoopRecord, ...]
    #: Loops beyond those that are kept.
    more_loops: int
    #: File names of the pages of this process's children.
    others: tuple[str, ...]
