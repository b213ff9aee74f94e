"""The printed table: a Markdown table per group, a column per loop, ours against the others last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.case import GROUPS, threads_of
from harness.loops import OURS, PATCHED, PLAIN
from harness.measure import SERVER_US
from harness.quiet import LIMIT
from harness.results import spread
from harness.results.targets import FLOOR

if TYPE_CHECKING:
    from harness.results.record import Row

HEADINGS = {
    "scheduling": "Scheduling",
    "operations": "Operations",
    "echo": "Echo over loopback (server and load on a core each)",
    "http": "HTTP, server CPU a request",
    "memory": "Memory of an idle connection",
    "threads": "A loop a thread, all threads together",
}


def number(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def render(rows: list[Row], counts: spread.Counts | None = None) -> str:
    """All groups that have rows; `counts` decide where the rounds disagree."""
    counts = counts or {}
    parts = []
    for group in GROUPS:
        chosen = [row for row in rows if row.case.group == group]
        if chosen:
            parts.append(f"## {HEADINGS[group]}\n\n{_table(chosen, counts)}")
        if chosen and group == "echo":
            parts.append(f"## Echo, server CPU microseconds a message\n\n{_cpu_table(chosen)}")
        if chosen and group == "threads":
            parts.append(f"## What more threads gain\n\n{_gain_table(chosen)}")
    return "\n\n".join([*parts, *_short(rows, counts), *_missing(rows), *_disturbed(rows)])


def _loops(rows: list[Row]) -> list[str]:
    present = {loop for row in rows for loop in row.cells}
    return [loop for loop in (FLOOR, *PLAIN, *PATCHED) if loop in present]


def _table(rows: list[Row], counts: spread.Counts) -> str:
    loops = _loops(rows)
    heading = ["case", "unit", *loops, "ours / best other", "in the rounds", "decided by"]
    heading += ["target", "ours / its yardstick"]
    return aligned([heading, *(_line(row, loops, counts) for row in rows)])


def _cpu_table(rows: list[Row]) -> str:
    """What an echo costs the server, which a busy machine changes less than its throughput."""
    loops = _loops(rows)
    lines = [["case", "unit", *loops, "ours / floor"]]
    for row in rows:
        ours, floor = row.detail(OURS, SERVER_US), row.detail(FLOOR, SERVER_US)
        cells = [number(row.detail(loop, SERVER_US)) for loop in loops]
        ratio = f"{ours / floor:.2f}" if ours and floor else "-"
        lines.append([row.case.title, "us (less is better)", *cells, ratio])
    return aligned(lines)


def _gain_table(rows: list[Row]) -> str:
    """Each loop's figure by its own with one thread."""
    loops = _loops(rows)
    alone = {row.case.name: row for row in rows}
    lines = [["case", "unit", *loops, "target", "ours"]]
    for row in rows:
        threads = threads_of(row.case)
        one = None if threads is None else alone.get(threads.alone)
        if threads is None or one is None or one is row:
            continue
        gains = {loop: row.gain(one, loop) for loop in loops}
        bound = gains[FLOOR] if threads.gain is None and FLOOR in gains else threads.gain
        ours = gains.get(OURS)
        verdict = "-"
        if ours is not None and bound is not None:
            verdict = "met" if ours >= bound else "MISSED"
        cells = ["-" if (gain := gains[loop]) is None else f"{gain:.2f}" for loop in loops]
        target = "-" if bound is None else f">= {bound:.2f}"
        lines.append([row.case.title, "times", *cells, target, verdict])
    return aligned(lines)


def aligned(lines: list[list[str]], texts: int = 2) -> str:
    """A Markdown table of these cells; the first line is the heading, the first `texts` columns are text."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [_padded(line, widths, texts) for line in lines]
    rule = ["-" * width for width in widths[:texts]]
    rule += ["-" * (width - 1) + ":" for width in widths[texts:]]
    text.insert(1, _padded(rule, widths, texts))
    return "\n".join(text)


def _padded(cells: list[str], widths: list[int], texts: int) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:texts], widths[:texts], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[texts:], widths[texts:], strict=True)]
    return "| " + " | ".join(left + right) + " |"


def _line(row: Row, loops: list[str], counts: spread.Counts) -> list[str]:
    case, best = row.case, row.best_other()
    ratio = row.ratio(best)
    target = case.target
    return [
        case.title,
        case.unit + (" (less is better)" if case.less_is_better else ""),
        *(number(row.median(loop)) for loop in loops),
        "-" if ratio is None else f"{ratio:.2f} ({best})",
        "-" if best is None else spread.shown(spread.in_rounds(row, best)),
        "-" if best is None else spread.decided(row, best, counts),
        "-" if target is None else target.text(less_is_better=case.less_is_better),
        _judgement(row),
    ]


def _reached(row: Row) -> str:
    """What the target's bound is compared with."""
    ratio, target = row.target_ratio(), row.case.target
    if ratio is None:
        return "-"
    return number(ratio) if target is not None and target.absolute else f"{ratio:.2f}"


def _judgement(row: Row) -> str:
    verdict = row.verdict()
    return "-" if verdict is None else f"{_reached(row)} {'met' if verdict else 'MISSED'}"


def _short(rows: list[Row], counts: spread.Counts) -> list[str]:
    """The rows in which another loop is ahead of ours, or the target was missed."""
    lines = []
    for row in rows:
        best = row.best_other()
        ratio = row.ratio(best)
        behind = ratio is not None and (ratio > 1 if row.case.less_is_better else ratio < 1)
        missed = row.case.target if row.verdict() is False else None
        if not behind and missed is None:
            continue
        parts = [f"{ratio:.2f} of {best}"] if ratio is not None else []
        if behind and best is not None:
            judge = spread.decided(row, best, counts)
            if judge == spread.UNDECIDED:
                parts.append(judge)
            elif judge not in {"-", "time"}:
                parts.append(f"decided by {judge}")
        if missed is not None:
            bound = missed.text(less_is_better=row.case.less_is_better)
            parts.append(f"{_reached(row)} where the target is {bound}")
        less = " (less is better)" if row.case.less_is_better else ""
        lines.append(f"- {row.case.title}{less}: {'; '.join(parts)}")
    if not lines:
        return []
    return ["## Where another loop is ahead, or the target was missed\n\n" + "\n".join(lines)]


def _missing(rows: list[Row]) -> list[str]:
    lines = [
        f"- {row.case.title}, {loop}: {cell.reason}"
        for row in rows
        for loop, cell in row.cells.items()
        if cell.reason is not None
    ]
    return (
        ["Cells without a figure, or with fewer than the others:\n\n" + "\n".join(lines)]
        if lines
        else []
    )


def _disturbed(rows: list[Row]) -> list[str]:
    others = [
        figure.others for row in rows for cell in row.cells.values() for figure in cell.figures
    ]
    count = sum(used > LIMIT for used in others)
    if not count:
        return []
    return [
        f"{count} of {len(others)} figures were taken while other programs used more than {LIMIT} of a"
        f" core (at most {max(others):.2f}): compare with care."
    ]
