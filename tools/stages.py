"""The stages of the test command: what each one runs, on which Pythons, and how its results are counted.

A stage is one or more commands whose output goes to a log file. Linters count as one test for each command; pytest,
cargo and the conformance runner print their own counts. A stage that cannot run says why and counts as skipped, never
as passed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from environments import ROOT, cargo, clean_environ

if TYPE_CHECKING:
    from collections.abc import Callable

    from environments import Environment

TESTS = ROOT / "tests"
OWN_STAGE = ("meta", "static", "differential", "conformance")
"""Folders of `tests` that the behaviour stage leaves to others."""
WITHOUT_DEBUG = ("fuzz", "short_memory", "surface")
"""Folders of `tests` whose programs choose debug mode themselves, or take long and have no use for it."""


_running: set[subprocess.Popen[bytes]] = set()


@dataclass
class Outcome:
    """What one stage found."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    note: str = ""
    """Why it was skipped or what went wrong, in a few words."""
    seconds: float = 0.0


@dataclass
class Run:
    """One stage on one Python: where its commands run and where their output goes."""

    environment: Environment
    default: Environment
    log: Path
    pytest_arguments: list[str] = field(default_factory=list)
    limit: float = 1200.0
    """Seconds that one command may take; a hang must not cost the whole run."""

    def tool(self, name: str) -> str:
        """Return the path of a program that is installed in this run's environment."""
        return str(self.environment.folder / "bin" / name)

    def command(self, *arguments: str, **environ: str) -> int:
        """Run a command in the project's folder, output to the log; return its status, 124 after the limit."""
        path = f"{Path(cargo()).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        with self.log.open("a") as log:
            settings = "".join(f"{name}={value} " for name, value in environ.items())
            log.write(f"$ {settings}{' '.join(arguments)}\n")
            log.flush()
            process = subprocess.Popen(
                arguments,
                cwd=ROOT,
                env=clean_environ(PATH=path, **environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _running.add(process)
            try:
                return process.wait(self.limit)
            except subprocess.TimeoutExpired:
                log.write(f"\nstopped after {self.limit:.0f} s\n")
                return 124
            finally:
                _running.discard(process)
                _kill_group(process)

    def checks(self, *commands: tuple[str, ...], **environ: str) -> Outcome:
        """Run commands that pass or fail as a whole, each counted as one test."""
        failed = [command for command in commands if self.command(*command, **environ)]
        return Outcome(passed=len(commands) - len(failed), failed=len(failed))

    def pytest(self, *arguments: str, options: tuple[str, ...] = (), **environ: str) -> Outcome:
        """Run pytest and count its tests."""
        report = self.log.with_suffix(".xml")
        report.unlink(missing_ok=True)
        python = (str(self.environment.python), *options)
        status = self.command(
            *python,
            "-m",
            "pytest",
            "-q",
            f"--junitxml={report}",
            *arguments,
            *self.pytest_arguments,
            **environ,
        )
        try:
            suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314 - our own file
        except (OSError, ET.ParseError):
            suite = None
        if suite is None:
            return Outcome(failed=1, note=f"pytest ended with status {status}")
        tests, skipped, failures, errors = (
            int(suite.get(name, "0")) for name in ("tests", "skipped", "failures", "errors")
        )
        failed = failures + errors
        outcome = Outcome(max(tests - skipped - failed, 0), failed, skipped)
        if status and not failed:
            outcome.failed, outcome.note = 1, f"pytest ended with status {status}"
        return outcome


@dataclass(frozen=True)
class Stage:
    """A named part of the tests."""

    name: str
    run: Callable[[Run], Outcome]
    every_python: bool = False
    """Whether it runs on every Python or on the default one only."""
    built: bool = True
    """Whether it needs ferroloop built and installed."""


def rust_format(run: Run) -> Outcome:
    """Rustfmt."""
    return run.checks((cargo(), "fmt", "--all", "--check"))


def clippy(run: Run) -> Outcome:
    """Clippy without a warning, for all targets of the workspace."""
    command = (
        cargo(),
        "clippy",
        "--workspace",
        "--all-targets",
        *_locked(),
        "--",
        "-D",
        "warnings",
    )
    return run.checks(command, PYO3_PYTHON=str(run.environment.python))


def rust_tests(run: Run) -> Outcome:
    """Rust's unit and documentation tests."""
    status = run.command(
        *(cargo(), "test", "--workspace", *_locked()),
        PYO3_PYTHON=str(run.environment.python),
        LD_LIBRARY_PATH=_library_path(run.environment),
    )
    counts = re.findall(
        r"^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored",
        run.log.read_text(),
        re.MULTILINE,
    )
    passed, failed, skipped = (
        (sum(map(int, column)) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    )
    outcome = Outcome(passed, failed, skipped)
    if status and not failed:
        outcome.failed, outcome.note = 1, f"cargo test ended with status {status}"
    return outcome


def lint(run: Run) -> Outcome:
    """Ruff's format and rules."""
    return run.checks((run.tool("ruff"), "format", "--check"), (run.tool("ruff"), "check"))


def types(run: Run) -> Outcome:
    """Mypy on everything as the oldest Python sees it, and on the package as the newest does."""
    mypy = run.tool("mypy")
    return run.checks((mypy,), (mypy, "--python-version", "3.14", "python"))


def stubs(run: Run) -> Outcome:
    """The stubs against the built extension and the loop's class."""
    # stubtest finds nothing wrong with an extension that has no stub at all.
    if not (ROOT / "python" / "ferroloop" / "_native.pyi").exists():
        return Outcome(failed=1, note="python/ferroloop/_native.pyi is missing")
    python = str(run.environment.python)
    allowlist = str(TESTS / "static" / "stubtest_allowlist.txt")
    stubtest = (python, "-m", "mypy.stubtest", "--allowlist", allowlist)
    return run.checks((*stubtest, "ferroloop._native", "ferroloop._loop.loop"))


def meta(run: Run) -> Outcome:
    """Tests of the project itself: layers, unsafe code, sizes, documents, import side effects."""
    return run.pytest(str(TESTS / "meta"))


def behaviour(run: Run) -> Outcome:
    """What the loop does, by topic."""
    everything = run.environment is run.default
    chosen = () if everything else ("-m", "not default_python")
    return run.pytest(*_behaviour_paths(), *chosen)


def debug(run: Run) -> Outcome:
    """The behaviour tests once more in asyncio's debug mode and Python's development mode.

    On our loop only: the other stage shows that a test holds on asyncio's.
    """
    paths = [path for path in _behaviour_paths() if Path(path).name not in WITHOUT_DEBUG]
    chosen = ("-m", "not frameworks", "--loops", "ferroloop")
    return run.pytest(*paths, *chosen, options=("-X", "dev"), PYTHONASYNCIODEBUG="1")


def differential(run: Run) -> Outcome:
    """Random programs on asyncio and on ferroloop, their traces compared."""
    return run.pytest(str(TESTS / "differential"))


def conformance(run: Run) -> Outcome:
    """CPython's own asyncio tests with our loop put in."""
    carries = (str(run.environment.python), "-c", "import test.test_asyncio")
    if run.command(*carries):
        return Outcome(skipped=1, note="this Python carries no test.test_asyncio")
    driver = max(
        run.environment, run.default, key=lambda environment: environment.interpreter.minor
    )
    if driver.interpreter.minor < 11:  # noqa: PLR2004 - the runner needs tomllib
        return Outcome(skipped=1, note="needs a Python of 3.11 or newer as the default one")
    runner = (str(driver.python), str(TESTS / "conformance" / "run.py"))
    python = ("--python", str(run.environment.python))
    total = Outcome()
    for passes in ((), ("--loop", "ferroloop+streams", "--module", "test_streams")):
        found = _conformance_pass(run, *runner, *python, *passes)
        total.passed += found.passed
        total.failed += found.failed
        total.skipped += found.skipped
        total.note = total.note or found.note
    return total


def _conformance_pass(run: Run, *command: str) -> Outcome:
    """One run of the conformance command."""
    report = run.log.with_suffix(".json")
    report.unlink(missing_ok=True)
    status = run.command(*command, "--json", str(report))
    if not report.exists():
        return Outcome(failed=1, note=f"the runner ended with status {status}")
    document = json.loads(report.read_text())
    rows = document["modules"].values()
    outcome = Outcome(
        passed=sum(row["ours"] for row in rows),
        failed=sum(row["unexpected"] for row in rows) + len(document["stale"]),
        skipped=sum(row["expected"] + row["not_built"] for row in rows),
    )
    if status and not outcome.failed:
        outcome.failed, outcome.note = 1, f"the runner ended with status {status}"
    return outcome


STAGES = (
    Stage("rust-format", rust_format, built=False),
    Stage("lint", lint, built=False),
    Stage("types", types, built=False),
    Stage("clippy", clippy, built=False),
    Stage("rust-tests", rust_tests, built=False),
    Stage("stubs", stubs),
    Stage("meta", meta, every_python=True),
    Stage("behaviour", behaviour, every_python=True),
    Stage("differential", differential, every_python=True),
    Stage("conformance", conformance, every_python=True),
    Stage("debug", debug),
)
"""All stages, the quick ones first."""


def timed(stage: Stage, run: Run) -> Outcome:
    """Run one stage and note how long it took."""
    run.log.parent.mkdir(parents=True, exist_ok=True)
    run.log.write_text("")
    start = time.monotonic()
    outcome = stage.run(run)
    outcome.seconds = time.monotonic() - start
    return outcome


def stop() -> None:
    """End the commands that run now, in whichever thread."""
    for process in list(_running):
        _kill_group(process)


def _behaviour_paths() -> list[str]:
    """Return the topic folders and the test files beside them."""
    return sorted(
        str(path)
        for path in TESTS.iterdir()
        if (path.is_dir() and path.name not in OWN_STAGE and any(path.rglob("test_*.py")))
        or (path.name.startswith("test_") and path.suffix == ".py")
    )


def _locked() -> tuple[str, ...]:
    return ("--locked",) if (ROOT / "Cargo.lock").exists() else ()


def _library_path(environment: Environment) -> str:
    """Return where the dynamic linker finds libpython, which Rust's test programs are linked with."""
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    answer = subprocess.run(
        [str(environment.python), "-c", code], capture_output=True, text=True, check=True
    )
    return os.pathsep.join(filter(None, (answer.stdout.strip(), os.environ.get("LD_LIBRARY_PATH"))))


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a command and whatever it left running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
