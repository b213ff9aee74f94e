"""The list of tests that a correct loop of ours does not pass, each with its reason."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

DEFAULT = Path(__file__).with_name("expected_differences.toml")
SECTIONS = ("white_box", "not_built_yet", "difference")


@dataclass(frozen=True)
class Entry:
    """Some tests by pattern, the versions for which it holds, and why."""

    section: str
    tests: tuple[str, ...]
    reason: str
    versions: tuple[str, ...]
    came_late: tuple[str, ...] = ()

    def holds_for(self, version: str) -> bool:
        """Whether the entry speaks of this version (`3.13`), patch level left aside."""
        return not self.versions or any(_compare(version, rule) for rule in self.versions)

    def may_be_absent(self, version: str) -> bool:
        """Whether early patch levels of this version do not have the tests yet."""
        return any(_compare(version, rule) for rule in self.came_late)

    def covers(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.tests)

    def covered(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self.covers(name)]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _compare(version: str, rule: str) -> bool:
    """`3.12`, `<3.12`, `>=3.13`, or several joined by commas, all of which must hold."""
    for part in rule.split(","):
        found = re.fullmatch(r"\s*(<=|>=|<|>|)(\d+\.\d+)\s*", part)
        if found is None:
            raise ValueError(f"not a version rule: {rule!r}")
        sign, bound = found.group(1), _numbers(found.group(2))
        mine = _numbers(version)
        if not {
            "": mine == bound,
            "<": mine < bound,
            "<=": mine <= bound,
            ">": mine > bound,
            ">=": mine >= bound,
        }[sign]:
            return False
    return True


def _entry(section: str, table: dict[str, Any]) -> Entry:
    unknown = set(table) - {"tests", "reason", "versions", "came_late"}
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)} in [[{section}]]")
    reason = str(table["reason"]).strip()
    if not reason:
        raise ValueError(f"an entry of [[{section}]] for {table['tests']} gives no reason")
    rules = (tuple(table.get(key, ())) for key in ("versions", "came_late"))
    return Entry(section, tuple(table["tests"]), reason, *rules)


def read(path: Path = DEFAULT) -> list[Entry]:
    """All entries of the file."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    unknown = set(document) - set(SECTIONS)
    if unknown:
        raise ValueError(f"unknown sections {sorted(unknown)} in {path.name}")
    return [_entry(section, table) for section in SECTIONS for table in document.get(section, ())]


class Differences:
    """The entries that hold for one version, asked by test name."""

    def __init__(self, entries: Iterable[Entry], version: str) -> None:
        self.version = version
        self.entries = [entry for entry in entries if entry.holds_for(version)]

    def find(self, name: str) -> Entry | None:
        """The first entry that covers a test, white box first."""
        return next((entry for entry in self.entries if entry.covers(name)), None)
