"""The page of instructions and system calls: what `count_loops.py` counted, as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

from harness.loops import OURS, PLAIN, PROFILED
from harness.results.table import aligned

Cells = dict[str, dict[str, Any]]
"""The figures of a workload, by loop."""

#: Explanations of the figures that are not self-evident.
NOTES = """\
`import` counts what importing the loop adds to a process that has imported asyncio, with the bytecode of all modules in
Python's cache. The rows from `protocol` to `aiohttp` have a client in another process, which is not counted, and count one
message or request. `own_streams` is the loop's own streams where it has some, and asyncio's otherwise; rsloop replaces asyncio's streams when it is imported, by classes that are
not asyncio's. `run_in_executor` counts the thread too, `spawn` not the child. A loop that does not poll
in each turn has fewer system calls: rloop polls every 250 microseconds while it is busy, zuvloop does not poll while no timer is
pending, and ferroloop not while no descriptor is watched. No descriptor is watched in the rows before `reader`, and no timer
is pending but in those about timers."""


def merged(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """One document of several, the last one's figures first."""
    whole: dict[str, Any] = {"loops": {}, "workloads": {}}
    for document in documents:
        whole.update({key: document[key] for key in ("python", "machine")})
        whole["loops"].update(document["loops"])
        for name, cells in document["workloads"].items():
            whole["workloads"].setdefault(name, {}).update(cells)
    return whole


def _compared(name: str, cells: Cells, key: str) -> tuple[float, str, float] | None:
    """Our figure, the best other loop and its figure; None where one of the two is missing."""
    # asyncio is imported before anything is counted.
    left_out = {OURS, PROFILED, *(["asyncio"] if name == "import" else [])}
    others = {
        loop: figures[key]
        for loop, figures in cells.items()
        if loop not in left_out and figures.get(key) is not None
    }
    ours = cells.get(OURS, {}).get(key)
    if ours is None or not others:
        return None
    best = min(others, key=lambda loop: others[loop])
    return ours, best, others[best]


def _instructions_ratio(name: str, cells: Cells) -> float | None:
    """Our instructions to those of the best other loop, not rounded."""
    found = _compared(name, cells, "instructions")
    return None if found is None or found[2] <= 0 else found[0] / found[2]


def _ratio(name: str, cells: Cells, key: str) -> str:
    """Ours to the best other loop, which is named."""
    found = _compared(name, cells, key)
    if found is None:
        return "-"
    ours, best, other = found
    if key == "calls":
        return f"{ours - other:+.1f} ({best})" if abs(ours - other) >= 0.5 else "="
    return f"{ours / other:.2f} ({best})" if other > 0 else f"({best})"


def _table(document: dict[str, Any], key: str, last: str) -> str:
    columns = [
        column for loop in PLAIN for column in ((loop, PROFILED) if loop == OURS else (loop,))
    ]
    loops = [column for column in columns if column in document["loops"]]
    lines = [["operation", *loops, last]]
    for name, cells in document["workloads"].items():
        line = [f"`{name}`"]
        for loop in loops:
            value = cells.get(loop, {}).get(key)
            if value is None:
                line.append("-")
            else:
                line.append(f"{value:,}" if key == "instructions" else f"{max(value, 0) + 0.0:.1f}")
        lines.append([*line, _ratio(name, cells, key)])
    return aligned(lines, texts=1)


def _failures(document: dict[str, Any]) -> list[str]:
    return [
        f"- `{name}` on {loop}: {figures['failed'].rstrip(': ')}"
        for name, cells in document["workloads"].items()
        for loop, figures in cells.items()
        if "failed" in figures
    ]


def page(document: dict[str, Any], version: str) -> str:
    """The page."""
    versions = document["loops"].items()
    loops = ", ".join(f"{loop} {text}" for loop, text in versions if loop not in {OURS, PROFILED})
    rows = document["workloads"].items()
    ratios = [ratio for row in rows if (ratio := _instructions_ratio(*row)) is not None]
    least = sum(ratio < 1 for ratio in ratios)
    middle = statistics.median(ratios) if ratios else 1.0
    parts = [
        f"# Instructions and system calls on CPython {document['python']}",
        f"`benches/publish.py` wrote this page from [{version}-counts.json](../../benches/results/{version}-counts.json), which "
        "`benches/count_loops.py` counted under valgrind and strace: one operation, the whole process, Python included; the "
        "difference between many operations and few. Other programs on the machine hardly change these figures, so they also "
        "show differences that are smaller than the variation of times.",
        f"On {document['machine']}, with {loops}.",
        f"ferroloop executes the fewest instructions in {least} of {len(ratios)} rows; the median ratio to the best other loop is "
        f"{middle:.2f}. [Performance](../performance.md#instructions) has the reasons for the others.",
        NOTES,
        "## Instructions",
        _table(document, "instructions", "ours / best other"),
        "## System calls",
        _table(document, "calls", "ours - fewest other"),
    ]
    if PROFILED in document["loops"]:
        parts.insert(
            3,
            f"*{PROFILED}* is built as release wheels are; the ratios are those of the build without a profile.",
        )
    failures = _failures(document)
    if failures:
        parts += ["## Not counted", "\n".join(failures)]
    return "\n\n".join(parts) + "\n"
