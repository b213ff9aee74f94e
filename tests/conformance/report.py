"""Judges the outcomes of a run against the baseline and the differences, and prints the table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .differences import Differences, Entry
from .supervisor import Outcome

COLUMNS = ("tests", "asyncio", "with loop", "ours", "expected", "not built", "unexpected")


@dataclass
class Row:
    """The counts of one module."""

    tests: int = 0
    asyncio: int = 0
    with_loop: int = 0
    ours: int = 0
    expected: int = 0
    not_built: int = 0
    unexpected: int = 0

    def add(self, other: Row) -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def cells(self) -> tuple[int, ...]:
        return tuple(vars(self).values())


@dataclass
class Judgement:
    """What a run means."""

    rows: dict[str, Row] = field(default_factory=dict)
    unexpected: dict[str, Outcome] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    second_try: list[str] = field(default_factory=list)
    expected: dict[str, Entry] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not self.unexpected and not self.stale


def white_box(names: Iterable[str], differences: Differences) -> set[str]:
    """The tests that are not run at all."""
    return {
        name
        for name in names
        if (entry := differences.find(name)) is not None and entry.section == "white_box"
    }


def judge(
    baseline: Mapping[str, Outcome],
    ours: Mapping[str, Outcome],
    differences: Differences,
    *,
    complete: bool = True,
) -> Judgement:
    """Compare; `ours` holds what was run, which is what passes on asyncio and is no white box.

    `complete` says that the modules were run whole, so that an entry must match something.
    """
    judgement = Judgement()
    for name, reference in baseline.items():
        row = judgement.rows.setdefault(name.partition(".")[0], Row())
        row.tests += 1
        row.asyncio += reference.good
        outcome = ours.get(name)
        if outcome is not None:
            _count(judgement, row, name, outcome, differences)
    _find_stale(judgement, baseline, ours, differences, complete=complete)
    return judgement


def _count(
    judgement: Judgement, row: Row, name: str, outcome: Outcome, differences: Differences
) -> None:
    entry = differences.find(name)
    row.with_loop += outcome.loops > 0
    if outcome.retried and outcome.good:
        judgement.second_try.append(name)
    if entry is not None and entry.section == "not_built_yet":
        row.not_built += 1
    elif outcome.good:
        row.ours += 1
    elif entry is not None:
        row.expected += 1
        judgement.expected[name] = entry
    else:
        row.unexpected += 1
        judgement.unexpected[name] = outcome


def _find_stale(
    judgement: Judgement,
    baseline: Mapping[str, Outcome],
    ours: Mapping[str, Outcome],
    differences: Differences,
    *,
    complete: bool,
) -> None:
    """An entry must match something; a difference must fail; the unbuilt must not work already."""
    for entry in differences.entries:
        title = f"[[{entry.section}]] {', '.join(entry.tests)}"
        modules = {pattern.partition(".")[0] for pattern in entry.tests}
        looked_for = modules <= {name.partition(".")[0] for name in baseline}
        absent = complete and looked_for and not entry.covered(baseline)
        if absent and not entry.may_be_absent(differences.version):
            judgement.stale.append(f"{title}: matches no test of this version")
        ran = [name for name in entry.covered(ours) if differences.find(name) is entry]
        passing = [name for name in ran if ours[name].good]
        if entry.section == "difference" and passing:
            judgement.stale.append(f"{title}: {', '.join(passing)} passes now")
        if entry.section == "not_built_yet" and ran and len(passing) == len(ran):
            judgement.stale.append(f"{title}: all {len(ran)} tests pass now")


def table(judgement: Judgement, version: str, loop: str) -> str:
    """The counts by module, with a total."""
    total = Row()
    width = max((len(name) for name in judgement.rows), default=5)
    lines = [f"CPython {version}, asyncio's own tests on {loop}", ""]
    lines.append(" " * width + "".join(f"  {name:>10}" for name in COLUMNS))
    for name, row in judgement.rows.items():
        total.add(row)
        lines.append(f"{name:<{width}}" + "".join(f"  {n or '.':>10}" for n in row.cells()))
    lines.append(f"{'total':<{width}}" + "".join(f"  {n:>10}" for n in total.cells()))
    return "\n".join(lines)


def findings(judgement: Judgement) -> str:
    """What made the run fail, and what the reader should know besides."""
    lines: list[str] = []
    for name, outcome in judgement.unexpected.items():
        tail = "\n".join("    " + line for line in outcome.detail.strip().splitlines()[-25:])
        lines.append(f"UNEXPECTED {outcome.outcome}: {name}\n{tail}")
    lines += [f"STALE {text}" for text in judgement.stale]
    lines += [f"passed only on the second try: {name}" for name in judgement.second_try]
    return "\n".join(lines)


def as_json(
    judgement: Judgement,
    version: str,
    loop: str,
    ours: Mapping[str, Outcome],
) -> dict[str, Any]:
    """Everything, for other tools."""
    return {
        "python": version,
        "loop": loop,
        "good": judgement.good,
        "modules": {name: vars(row) for name, row in judgement.rows.items()},
        "unexpected": {name: vars(outcome) for name, outcome in judgement.unexpected.items()},
        "expected": {name: entry.reason for name, entry in judgement.expected.items()},
        "stale": judgement.stale,
        "second_try": judgement.second_try,
        "tests": {
            name: {"outcome": outcome.outcome, "seconds": outcome.seconds, "loops": outcome.loops}
            for name, outcome in ours.items()
        },
    }


def write_json(path: Path, document: object) -> None:
    """Write a document for other tools."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
