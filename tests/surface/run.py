"""`python tests/surface/run.py [part of a name ...]`: every call of the surface on both loops.

Prints each difference. Ends with status 1 if one is not in the table of `differences.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.loops import factory_of
from surface import comparison
from surface.topics import cases


def main() -> int:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of topics or cases; all without")
    parser.add_argument("--loop", default="ferroloop", help="module with new_event_loop")
    parser.add_argument("--all", action="store_true", help="print expected differences too")
    parser.add_argument("--times", action="store_true", help="print how long each case takes")
    options = parser.parse_args()
    ours = factory_of(options.loop)
    chosen = [
        case
        for case in cases()
        if not options.names or any(part in f"{case.topic}/{case.name}" for part in options.names)
    ]
    findings: list[comparison.Finding] = []
    for case in chosen:
        started = time.perf_counter()
        findings += comparison.compare(case, ours)
        if options.times:
            seconds = time.perf_counter() - started
            sys.stdout.write(f"{seconds:6.2f} s  {case.topic}/{case.name}\n")
    unexpected = [finding for finding in findings if not finding.reason]
    for finding in findings if options.all else unexpected:
        sys.stdout.write(f"{finding}\n")
    expected = len(findings) - len(unexpected)
    counts = f"{len(chosen)} cases, {len(unexpected)} differences, {expected} expected ones"
    sys.stdout.write(f"Python {sys.version.split()[0]}: {counts}\n")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
