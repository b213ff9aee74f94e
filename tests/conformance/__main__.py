"""The command: list, run on asyncio, run on ours, judge, print.

Needs Python 3.11 or newer for itself; `--python` chooses the interpreter whose tests are run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from . import baseline, catalogue, differences, report
from .supervisor import Interpreter, Outcome, list_tests, run_tests
from .swap import LOOPS

BASELINE_LIMIT = 90.0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="conformance", description="Run CPython's asyncio tests on another event loop."
    )
    parser.add_argument("--loop", choices=LOOPS, default="ferroloop")
    parser.add_argument("--module", nargs="+", choices=catalogue.MODULES, metavar="MODULE")
    parser.add_argument("--test", nargs="+", metavar="PATTERN", help="test_events.*.test_call_*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--python", default=sys.executable, help="interpreter to test")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--fresh-baseline", action="store_true", help="run asyncio again")
    parser.add_argument("--debug", action="store_true", help="with PYTHONASYNCIODEBUG=1")
    parser.add_argument("--no-expectations", action="store_true", help="judge without the list")
    return parser.parse_args(arguments)


def select(python: Interpreter, options: argparse.Namespace) -> tuple[str, dict[str, list[str]]]:
    """The interpreter's version and the wanted tests of each module."""
    wanted: dict[str, list[str]] = {}
    version = ""
    with ThreadPoolExecutor(options.jobs) as pool:
        modules = options.module or catalogue.MODULES
        for module, found in zip(
            modules, pool.map(partial(list_tests, python), modules), strict=True
        ):
            version = version or found[0]
            names = found[1]
            if options.test:
                names = differences.Entry("", tuple(options.test), "", ()).covered(names)
            if names:
                wanted[module] = names
    if not wanted:
        raise SystemExit(
            f"{python.executable} has no such tests: is its package `test.test_asyncio` installed?"
        )
    return version, wanted


def run_group(
    python: Interpreter,
    loop: str,
    names: Iterable[str],
    limit: Callable[[str], float],
    seconds: Callable[[str], float],
    jobs: int,
) -> dict[str, Outcome]:
    """Run tests of any modules on one loop, the long chunks first; in the order of `names`."""
    wanted = list(names)
    by_module: dict[str, list[str]] = {}
    for name in wanted:
        by_module.setdefault(name.partition(".")[0], []).append(name)
    chunks = [
        tests[start : start + catalogue.CHUNK]
        for tests in by_module.values()
        for start in range(0, len(tests), catalogue.CHUNK)
    ]
    chunks.sort(key=lambda tests: -sum(map(seconds, tests)))
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for part in pool.map(lambda tests: run_tests(python, loop, tests, limit), chunks):
            outcomes.update(part)
    return {name: outcomes[name] for name in wanted}


def run_baseline(
    python: Interpreter, version: str, names: Sequence[str], options: argparse.Namespace
) -> dict[str, Outcome]:
    """asyncio's outcomes: kept ones where there are any."""
    kept = {} if options.fresh_baseline else baseline.load(python, version)
    missing = [name for name in names if name not in kept]
    if missing:
        print(f"running {len(missing)} tests on asyncio for the baseline", file=sys.stderr)
        kept |= run_group(
            python, "asyncio", missing, lambda _: BASELINE_LIMIT, lambda _: 1.0, options.jobs
        )
        baseline.save(python, version, kept)
    return {name: kept[name] for name in names}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code says whether everything was as expected."""
    options = parse(arguments)
    python = Interpreter(options.python, {"PYTHONASYNCIODEBUG": "1"} if options.debug else {})
    full_version, wanted = select(python, options)
    version = full_version.split()[0]
    names = [name for tests in wanted.values() for name in tests]
    entries = [] if options.no_expectations else differences.read()
    known = differences.Differences(entries, ".".join(version.split(".")[:2]))
    reference = run_baseline(python, full_version, names, options)
    skipped = report.white_box(names, known)
    runnable = [name for name in names if reference[name].good and name not in skipped]
    ours = run_group(
        python,
        options.loop,
        runnable,
        # A hang is dear: allow what asyncio needed, several times over, and a bit for a busy machine.
        lambda name: 15 + 6 * reference[name].seconds,
        lambda name: reference[name].seconds,
        options.jobs,
    )
    judgement = report.judge(reference, ours, known, complete=not options.test)
    print(report.table(judgement, version, options.loop))
    print(f"\nwhite box, not run: {len(skipped)}")
    print(report.findings(judgement))
    passed = sum(outcome.good for outcome in ours.values())
    print(
        f"\n{passed} of {len(ours)} passed; {'as expected' if judgement.good else 'NOT as expected'}"
    )
    if options.json:
        report.write_json(options.json, report.as_json(judgement, version, options.loop, ours))
    return 0 if judgement.good else 1


if __name__ == "__main__":
    sys.exit(main())
