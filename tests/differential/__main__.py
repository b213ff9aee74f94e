"""`python -m differential` from the tests' folder: many programs, for as long as one likes."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
import time
from collections.abc import Sequence

from .comparison import Factory, UnsteadyError, compare, narrow
from .program import PROFILES, generate


def factory_of(name: str) -> Factory:
    """The function that makes a loop of a module."""
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    factory: Factory = importlib.import_module(name).new_event_loop
    return factory


def report(what: object) -> None:
    """One finding on standard output, at once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; print each difference; the exit code says whether there was one."""
    parser = argparse.ArgumentParser(prog="differential", description=__doc__)
    parser.add_argument("--loop", default="ferroloop", help="module with new_event_loop")
    parser.add_argument("--profile", nargs="+", choices=PROFILES, default=list(PROFILES))
    parser.add_argument("--start", type=int, default=0, help="first seed")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--keep-going", action="store_true", help="not only the first of a profile")
    options = parser.parse_args(arguments)
    other = factory_of(options.loop)
    differences = 0
    for profile in options.profile:
        began, unsteady, bad = time.monotonic(), 0, 0
        for seed in range(options.start, options.start + options.seeds):
            try:
                found = compare(asyncio.SelectorEventLoop, other, generate(profile, seed))
            except UnsteadyError:
                unsteady += 1
                continue
            if found is None:
                continue
            bad += 1
            report(narrow(asyncio.SelectorEventLoop, other, found))
            if not options.keep_going:
                break
        differences += bad
        seconds = time.monotonic() - began
        report(f"{profile}: {bad} differ, {unsteady} unsteady, {seconds:.1f} s")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
