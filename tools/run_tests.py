"""Builds ferroloop for every supported CPython on this machine and runs all of its tests.

    python3 tools/run_tests.py                                  # everything, on every Python found
    python3 tools/run_tests.py --python 3.12 --stage behaviour  # one stage on one Python
    python3 tools/run_tests.py --stage behaviour -- -k timers   # what follows -- goes to pytest

Needs a CPython of 3.10 or newer and cargo; everything else is installed into `.venv/`. Linters and
Rust's tests run on the default Python (the one that runs this), which gets the release build; the
other Pythons get one that compiles faster and asserts what it assumes. Two Pythons are tested at the
same time. Logs stay in `.venv/logs/`.
Ends with a table and a line `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from concurrent import futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import command_line
import interpreters
from environments import ROOT, Environment, SetupError, say
from stages import STAGES, Outcome, Run, Stage, stop, timed
from tables import aligned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LANES = 2
"""How many Pythons are tested at the same time: tests wait for conditions, however busy the machine is."""
SHOWN_LINES = 150
"""Last lines of a failed stage's log that are printed."""
GROUPS = ("test", "frameworks")
"""Dependency groups of pyproject.toml that every tested Python gets."""
DEFAULT_GROUPS = ("build", "lint", "others", "servers", *GROUPS)
"""Those of the default one."""


@dataclass
class Session:
    """One run of this command."""

    venvs: Path
    default: Environment
    pytest_arguments: list[str]
    results: list[tuple[str, str, Outcome]] = field(default_factory=list)
    """Python, stage and outcome of everything that ran."""
    stopped: bool = False
    """Whether no further stage is to begin."""

    def test_all(self, environments: Sequence[Environment], stages: Sequence[Stage]) -> None:
        """Test several Pythons, as many at once as there are processors, two at most."""
        lanes = min(LANES, os.cpu_count() or 1, len(environments))
        with futures.ThreadPoolExecutor(lanes) as pool:
            try:
                for done in [pool.submit(self.test, each, stages) for each in environments]:
                    done.result()
            except BaseException:
                self.stopped = True
                stop()
                raise

    def test(self, environment: Environment, stages: Sequence[Stage]) -> None:
        """Set one Python up and run the stages on it; a failing set-up counts as a failed test."""
        is_default = environment is self.default
        chosen = [stage for stage in stages if is_default or stage.every_python]
        if not chosen:
            return
        try:
            environment.ensure(DEFAULT_GROUPS if is_default else GROUPS)
            self._run(environment, [stage for stage in chosen if not stage.built])
            built = [stage for stage in chosen if stage.built]
            if built:
                environment.build(self.default, "release" if is_default else "checked")
                self._run(environment, built)
        except SetupError as error:
            say(f"FAILED: {error}")
            outcome = Outcome(failed=1, note="see above")
            self.results.append((environment.interpreter.version, "set-up", outcome))

    def _run(self, environment: Environment, stages: Sequence[Stage]) -> None:
        version = environment.interpreter.version
        for stage in stages:
            if self.stopped:
                return
            say(f"{version} {stage.name}: {stage.run.__doc__}")
            log = self.venvs / "logs" / f"{version}-{stage.name}.log"
            run = Run(environment, self.default, log, self.pytest_arguments)
            outcome = timed(stage, run)
            self.results.append((version, stage.name, outcome))
            told = f"   {version} {stage.name}: {_counts(outcome)} in {outcome.seconds:.0f} s"
            if outcome.failed:
                lines = log.read_text(errors="replace").splitlines()
                told = "\n".join((*lines[-SHOWN_LINES:], f"-- the whole log: {log}", told))
            print(told, flush=True)

    def table(self) -> str:
        """Return one line for each stage on each Python."""
        rows = [["Python", "stage", "passed", "failed", "skipped", "seconds", ""]]
        for version, stage, outcome in self.results:
            counts = (outcome.passed, outcome.failed, outcome.skipped, round(outcome.seconds))
            rows.append([version, stage, *map(str, counts), outcome.note])
        return aligned(rows, left=2)


def _counts(outcome: Outcome) -> str:
    text = f"{outcome.passed} passed, {outcome.failed} failed, {outcome.skipped} skipped"
    return f"{text} ({outcome.note})" if outcome.note else text


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    names = [stage.name for stage in STAGES]
    parser = argparse.ArgumentParser(
        description="Build ferroloop and run all of its tests.",
        epilog="What follows -- is handed to pytest.",
    )
    parser.add_argument(
        "--python",
        action="append",
        metavar="3.N",
        help="only this one, 3.14t for a free-threaded one; may be repeated",
    )
    parser.add_argument(
        "--stage", action="append", choices=names, help="only this one; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="show Pythons and stages, run nothing")
    return command_line.parse(parser, arguments)


def choose(
    found: Sequence[interpreters.Interpreter], wanted: Sequence[str] | None
) -> list[interpreters.Interpreter]:
    """Return the wanted ones of the Pythons found; leave with an explanation if one is missing."""
    if not wanted:
        return list(found)
    by_version = {interpreter.version: interpreter for interpreter in found}
    missing = [version for version in wanted if version not in by_version]
    if missing:
        raise SetupError(
            f"no Python {', '.join(missing)} here; there is {', '.join(sorted(by_version))}"
        )
    return [by_version[version] for version in wanted]


def main(arguments: list[str]) -> int:
    """Run what was asked for; return the exit status."""
    # A shell starts background jobs with SIGINT ignored, and nohup ignores SIGHUP, which they and all
    # their children inherit: tests that send one would wait for their time-outs. Caught here, both
    # are as usual in the children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    options = parse(arguments)
    found = interpreters.find()
    if options.list:
        for interpreter in found:
            print(f"Python {interpreter.release}  {interpreter.executable}")
        for stage in STAGES:
            where = "every Python" if stage.every_python else "the default Python"
            print(f"{stage.name:<14}{stage.run.__doc__} ({where})")
        return 0
    chosen = choose(found, options.python)
    stages = [stage for stage in STAGES if not options.stage or stage.name in options.stage]
    venvs = ROOT / ".venv"
    default = Environment(found[0], venvs / found[0].version)
    session = Session(venvs, default, options.pytest_arguments)
    start = time.monotonic()
    try:
        default.ensure(DEFAULT_GROUPS)  # holds maturin, whichever Pythons are tested
        others = [
            Environment(interpreter, venvs / interpreter.version)
            for interpreter in chosen
            if interpreter is not found[0]
        ]
        session.test_all([default, *others] if found[0] in chosen else others, stages)
    except KeyboardInterrupt:
        session.results.append((found[0].version, "interrupted", Outcome(failed=1)))
    session.results.sort(key=lambda result: [each.version for each in found].index(result[0]))
    total = Outcome()
    for _, _, outcome in session.results:
        total.passed += outcome.passed
        total.failed += outcome.failed
        total.skipped += outcome.skipped
    print(f"\n{session.table()}\n\n{(time.monotonic() - start) / 60:.1f} minutes")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        sys.exit(f"run_tests: {error}")
