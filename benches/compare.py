"""Compares asyncio's event loops: `python benches/compare.py --help`, and README.md beside this file.

Every figure comes from processes that ran for that figure only; the rounds are interleaved, so that
whatever else the machine does falls on all loops alike; medians are shown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cases import ALL, BY_NAME
from harness import loops, machine, native
from harness.case import GROUPS, Echo, InProcess, Served, Threaded, ThreadedHttp
from harness.measure import Settings, measure
from harness.results import record, table
from harness.results.targets import FLOOR
from harness.threads import free_threaded

if TYPE_CHECKING:
    from harness.case import Case


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Compare asyncio's event loops.")
    parser.add_argument("--cases", nargs="+", metavar="CASE", choices=BY_NAME, help="only these")
    parser.add_argument("--group", nargs="+", choices=GROUPS, help="only these groups")
    parser.add_argument(
        "--loops", nargs="+", metavar="LOOP", choices=(*loops.PLAIN, *loops.PATCHED, FLOOR)
    )
    parser.add_argument("--rounds", type=int, help="runs of each case on each loop (default 5)")
    parser.add_argument(
        "--retakes",
        type=int,
        default=2,
        help="how often a figure is taken again that others disturbed (default 2)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="short runs and one round: for trying out"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("bench-results.json"), help="where the JSON goes"
    )
    parser.add_argument(
        "--binaries", type=Path, help="folder of load and echo_floor (default: cargo builds them)"
    )
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    return parser.parse_args()


def chosen_cases(options: argparse.Namespace) -> list[Case]:
    """The cases in the table's order, without those that need another Python."""
    if not free_threaded() and not options.list:
        print("threads: left out, it takes a free-threaded Python (python3.14t)", file=sys.stderr)
    return [
        case
        for case in ALL
        if (not options.cases or case.name in options.cases)
        and (not options.group or case.group in options.group)
        and (free_threaded() or options.list or case.group != "threads")
    ]


def _has_floor(case: Case) -> bool:
    """Whether a native program does the same."""
    if isinstance(case, Threaded):
        return case.floor is not None
    return isinstance(case, (Echo, ThreadedHttp))


def loops_of(case: Case, names: list[str]) -> list[str]:
    """The loops that a case runs on: the floor only where there is one, patched loops for TLS."""
    tls = isinstance(case, (InProcess, Served)) and case.tls
    return [
        name
        for name in names
        if (name != FLOOR or _has_floor(case)) and (name not in loops.PATCHED or tls)
    ]


def run(options: argparse.Namespace, cases: list[Case], settings: Settings) -> list[record.Row]:
    """Runs all rounds; the JSON is written after each."""
    facts = machine.facts()
    names = [FLOOR, *facts["loops"]]
    if options.loops:
        names = [name for name in names if name in options.loops]
    rounds = options.rounds or (1 if options.quick else 5)
    rows = [record.Row(case) for case in cases]
    said = {"rounds": rounds, "quick": options.quick, "loops": names}
    for number in range(rounds):
        for row in rows:
            one_round(row, loops_of(row.case, names), number, settings)
        record.write(options.json, facts, {**said, "rounds_done": number + 1}, rows)
    return rows


def one_round(row: record.Row, names: list[str], number: int, settings: Settings) -> None:
    """One figure of each loop; each round begins with another loop."""
    start = number % len(names) if names else 0
    for name in names[start:] + names[:start]:
        began = time.monotonic()
        figure = measure(row.case, name, settings)
        row.add(name, figure)
        found = table.number(figure.value) if figure.value is not None else figure.reason
        seconds = time.monotonic() - began
        print(f"{number + 1}: {row.case.name} {name}: {found} ({seconds:.1f} s)", file=sys.stderr)


def main() -> None:
    """Runs what the command line asks for and prints the table."""
    options = parse()
    cases = chosen_cases(options)
    if options.list:
        for case in cases:
            print(f"{case.group:11} {case.name:18} {case.title}")
        return
    binaries = options.binaries
    if binaries is None and not all(isinstance(case, InProcess) for case in cases):
        binaries = native.build()
    with tempfile.TemporaryDirectory(prefix="ferroloop-bench-") as folder:
        settings = Settings(
            binaries or Path(),
            native.certificate(Path(folder)),
            quick=options.quick,
            retakes=options.retakes,
        )
        rows = run(options, cases, settings)
    print(table.render(rows))
    print(f"\nEvery figure, the versions and the machine: {options.json}")


if __name__ == "__main__":
    main()
