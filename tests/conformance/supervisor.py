"""Runs test names in worker processes so that a hang or a crash costs one test.

A worker reports before and after each test.  One that falls silent past the time limit is made to
dump its stacks and killed; one that dies is replaced; either way the test it was in is the only one
that is lost, and the rest go on in a fresh process.  A failing test ends its worker as well, so that
what it left behind cannot make the next one fail.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
START = (
    f"import sys; sys.path.insert(0, {str(TESTS)!r}); from conformance.worker import main; main()"
)
FAILURES = frozenset({"failed", "error", "crashed", "hung"})


@dataclass
class Outcome:
    """What became of one test."""

    outcome: str
    detail: str = ""
    loops: int = 0
    seconds: float = 0.0
    retried: bool = False

    @property
    def good(self) -> bool:
        return self.outcome == "passed"

    @property
    def bad(self) -> bool:
        return self.outcome in FAILURES


@dataclass
class Interpreter:
    """The Python that the tests run under; ours unless another was asked for."""

    executable: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, descriptor: int, *arguments: str) -> list[str]:
        return [self.executable, "-c", START, str(descriptor), *arguments]

    def env(self) -> dict[str, str]:
        return {**os.environ, "PYTHONUNBUFFERED": "1", **self.environment}


def list_tests(python: Interpreter, module: str) -> tuple[str, list[str]]:
    """The interpreter's version and the names of the tests of a module, in their order."""
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as answer:
        try:
            process = subprocess.Popen(
                python.command(writer, "list", module),
                pass_fds=(writer,),
                env=python.env(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        finally:
            os.close(writer)
        text = answer.read()
    output, _ = process.communicate(timeout=60)
    if not text:
        if b"ModuleNotFoundError" in output or b"SkipTest" in output:
            return "", []
        raise RuntimeError(f"cannot list {module}: {output.decode(errors='replace')}")
    found = json.loads(text)
    return found["version"], found["tests"]


class Worker:
    """One worker process with the reports that come from it."""

    def __init__(
        self, python: Interpreter, module: str, loop: str, names: Sequence[str], scratch: str
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._reports, writer = os.pipe()
        self._pending = b""
        try:
            self._process = subprocess.Popen(
                python.command(writer, "run", module, loop),
                pass_fds=(writer,),
                env=python.env(),
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                cwd=scratch,
                start_new_session=True,
            )
        finally:
            os.close(writer)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(list(names)).encode())
        self._process.stdin.close()

    def next_report(self, limit: float) -> dict[str, object] | None:
        """The next line, or None when the worker ended; TimeoutError when it fell silent."""
        deadline = time.monotonic() + limit
        while b"\n" not in self._pending:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self._reports], [], [], left)[0]:
                raise TimeoutError
            chunk = os.read(self._reports, 1 << 16)
            if not chunk:
                return None
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        report: dict[str, object] = json.loads(line)
        return report

    def end(self, *, dump_stacks: bool = False) -> tuple[int, str]:
        """Kill the worker and all that its tests started; its exit status and last output."""
        if dump_stacks:
            self._signal(signal.SIGABRT)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        elif self._process.poll() is None:
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                pass
        self._signal(signal.SIGKILL)
        status = self._process.wait()
        os.close(self._reports)
        with self._log:
            size = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(size - 6000, 0))
            return status, self._log.read().decode(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass


def _as_outcome(report: dict[str, object]) -> Outcome:
    return Outcome(
        outcome=str(report["outcome"]),
        detail=str(report["detail"]),
        loops=int(str(report["loops"])),
        seconds=float(str(report["seconds"])),
    )


def _run_until_trouble(
    worker: Worker, limit: Callable[[str], float], done: dict[str, Outcome]
) -> str | None:
    """Collect outcomes until the worker is through or a test fails, hangs or kills it."""
    current = ""
    while True:
        try:
            report = worker.next_report(limit(current) if current else 60.0)
        except TimeoutError:
            _, output = worker.end(dump_stacks=True)
            if not current:
                raise RuntimeError(f"the worker did not start:\n{output}") from None
            done[current] = Outcome("hung", output, 1, limit(current))
            return current
        if report is None:
            status, output = worker.end()
            if current:
                done[current] = Outcome("crashed", f"exit status {status}\n{output}", 1)
            elif status != 0:
                raise RuntimeError(f"the worker ended with status {status}:\n{output}")
            return current or None
        if "start" in report:
            current = str(report["start"])
            continue
        done[current] = _as_outcome(report)
        if done[current].bad:
            worker.end()
            return current
        current = ""


def run_tests(
    python: Interpreter,
    loop: str,
    names: Sequence[str],
    limit: Callable[[str], float],
    *,
    retry: bool = True,
) -> dict[str, Outcome]:
    """Run the named tests of one module.

    A failure gets a second try in a process of its own, which the report shows; a hang or a crash
    does not.
    """
    if not names:
        return {}
    module = names[0].partition(".")[0]
    done: dict[str, Outcome] = {}
    left = list(names)
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
        while left:
            before = len(done)
            worker = Worker(python, module, loop, left, scratch)
            _run_until_trouble(worker, limit, done)
            left = [name for name in left if name not in done]
            if len(done) == before and left:
                raise RuntimeError(f"the worker ran none of {left[:3]}")
    if retry:
        for name in [name for name in names if done[name].outcome in {"failed", "error"}]:
            again = run_tests(python, loop, [name], limit, retry=False)[name]
            again.retried = True
            done[name] = again
    return done
