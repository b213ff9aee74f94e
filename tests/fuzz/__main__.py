"""`python -m fuzz --seconds N` from the tests' folder: every fuzzer for as long as one likes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from . import child

FUZZERS = ("actions", "calls", "records", "interrupts")
#: How long one process works: another one starts with fresh memory.
SPELL = 60.0


def report(what: object) -> None:
    """One finding on standard output, at once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; print each fault; the exit code says whether there was one."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each fuzzer")
    parser.add_argument("--start", type=int, default=1000, help="first seed")
    parser.add_argument("--only", nargs="+", choices=FUZZERS, default=list(FUZZERS))
    options = parser.parse_args(arguments)
    faults = 0
    for name in options.only:
        seed, end = options.start, time.monotonic() + options.seconds
        while (left := end - time.monotonic()) > 0:
            outcome = child.run(name, seed, 10**9, min(left, SPELL))
            seed += max(outcome.programs, 1)
            if outcome.fault:
                faults += 1
                report(outcome.fault)
                if outcome.programs == 0:
                    return 1
        report(f"{name}: {seed - options.start} programs")
    report(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
