"""Processes as the kernel sees them: pinning, CPU time, resident memory, and why one ended."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE = 0, 1


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Children started inside run on that core of those that we may use; None leaves them free."""
    allowed = os.sched_getaffinity(0)
    if core is None or len(allowed) < 2:
        yield
        return
    os.sched_setaffinity(0, {sorted(allowed)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_kib(pid: int, kind: str = "Rss") -> int:
    """Resident memory, counted page by page (the counters in `statm` lag by megabytes).

    `kind` is the kernel's name: Pss counts a page that several processes share in parts.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no {kind}")


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """How many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def last_words(stderr: str, returncode: int | None) -> str:
    """Why a child failed, in one line."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    text = lines[-1].strip() if lines else "no output"
    if returncode is not None and returncode < 0:
        text = f"killed by signal {-returncode}: {text}"
    return text[:300]
