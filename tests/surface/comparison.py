"""Runs cases on both loops and sorts what differs into expected and not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from fnmatch import fnmatchcase

from support.loops import Factory
from surface.differences import DIFFERENCES, Difference
from surface.probe import NOT_THERE, Case, Record, run

LEAKS = ("warned ResourceWarning", "left open")
"""Steps that are no loss where only asyncio has them."""


@dataclass(frozen=True)
class Finding:
    """A step that is not the same on both loops."""

    case: str
    step: str
    asyncio: str
    ours: str
    reason: str = ""

    def __str__(self) -> str:
        lines = f"{self.case}: {self.step}\n    asyncio: {self.asyncio}\n    ours:    {self.ours}"
        return f"{lines}\n    because: {self.reason}" if self.reason else lines


def expected(name: str, step: str) -> Difference | None:
    """The entry of the table that names this step, if there is one for this Python."""
    for entry in DIFFERENCES:
        if entry.applies() and fnmatchcase(f"{name}/{step}", entry.pattern):
            return entry
    return None


def compare(case: Case, ours: Factory) -> list[Finding]:
    """Everything about a case that differs, with the reason where it is expected."""
    return compared(case, run(case, asyncio.SelectorEventLoop), run(case, ours))


def compared(case: Case, reference: Record, record: Record) -> list[Finding]:
    """What differs between asyncio's record of a case and ours."""
    name = f"{case.topic}/{case.name}"
    findings = []
    for step, theirs, mine in reference.differences(record):
        entry = expected(name, step)
        reason = entry.reason if entry else ""
        if mine == NOT_THERE and step.startswith(LEAKS):
            reason = "asyncio leaves it to the collector"
        findings.append(Finding(name, step, theirs, mine, reason))
    return findings
