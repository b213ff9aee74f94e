"""One figure: one case on one loop, in processes that exist for this figure only."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.case import Case, Echo, Http, InProcess, Memory, Served, Threaded, ThreadedHttp
from harness.errors import NoFigureError
from harness.load import WRK, idle, native, natives, wrk
from harness.process import LOAD_CORE, SERVER_CORE, last_words
from harness.quiet import LIMIT, Watch
from harness.results.targets import FLOOR
from harness.server import BENCHES, Server, python_command, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

CHILD_TIMEOUT = 120
# The server's CPU microseconds a message, beside a throughput.
SERVER_US = "server_us"


@dataclass(frozen=True)
class Settings:
    """How long and how often.

    Attributes:
        binaries: where `load` and `echo_floor` are.
        certificate: of the TLS cases, with its key.
        quick: short runs, for trying things out.
        retakes: how often a disturbed figure is taken again.
    """

    binaries: Path
    certificate: Path | None
    quick: bool
    retakes: int

    @property
    def warmup(self) -> float:
        """Seconds of load before anything counts."""
        return 0.3 if self.quick else 1.0

    @property
    def duration(self) -> float:
        """Seconds of load that count."""
        return 1.0 if self.quick else 3.0


@dataclass
class Figure:
    """What one run found.

    Attributes:
        value: in the case's unit, None if the loop has none to give.
        reason: why there is none.
        details: whatever else was seen.
        others: the cores that other programs used meanwhile.
    """

    value: float | None
    reason: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    others: float = 0.0


def measure(case: Case, loop: str, settings: Settings) -> Figure:
    """Runs one case on one loop; again, a few times, if others disturbed it: the quietest run counts."""
    best: Figure | None = None
    for _ in range(settings.retakes + 1):
        watch = Watch()
        figure = _attempt(case, loop, settings)
        figure.others = round(watch.others(), 3)
        if figure.value is None:
            return figure
        if best is None or figure.others < best.others:
            best = figure
        if best.others <= LIMIT:
            break
    assert best is not None
    return best


def _attempt(case: Case, loop: str, settings: Settings) -> Figure:
    kind = type(case)
    if kind not in _KINDS:
        raise TypeError(f"no such kind of case: {case!r}")
    try:
        return _KINDS[kind](case, loop, settings)
    except NoFigureError as error:
        return Figure(None, str(error))


def _in_process(case: InProcess, loop: str, settings: Settings) -> Figure:
    repeats = 1 if settings.quick else case.repeats
    return _ran([sys.executable, "-m", "harness.child", "measure", case.name, loop, str(repeats)])


def _ran(command: list[str]) -> Figure:
    """The median of the figures that a process prints."""
    try:
        done = subprocess.run(
            command, cwd=BENCHES, capture_output=True, text=True, timeout=CHILD_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoFigureError(f"no end after {CHILD_TIMEOUT} s") from None
    if not done.stdout.strip():
        raise NoFigureError(last_words(done.stderr, done.returncode))
    figures = json.loads(done.stdout.splitlines()[-1])
    return Figure(statistics.median(figures), details={"repeats": figures})


def _threaded(case: Threaded, loop: str, settings: Settings) -> Figure:
    assert case.threads is not None
    seconds = str(settings.duration)
    if loop == FLOOR:
        program = str(settings.binaries / "loopback_floor")
        return _ran([program, str(case.threads.count), seconds, case.floor or "tcp"])
    command = [sys.executable, "-m", "harness.child", "threads", case.name, loop, seconds]
    if case.tls:
        if settings.certificate is None:
            raise NoFigureError("trustme is not installed: no certificate")
        command.append(str(settings.certificate))
    return _ran(command)


def _threaded_http(case: ThreadedHttp, loop: str, settings: Settings) -> Figure:
    assert case.threads is not None
    count = case.threads.count
    command = python_command(case.name, loop, "127.0.0.1:0", None, "serve-threads")
    if loop == FLOOR:
        command = [str(settings.binaries / "echo_floor"), "127.0.0.1:0", str(count), "http"]
    # With one thread as in the other cases; with more the kernel places threads and generators.
    alone = count == 1
    with serving(command, SERVER_CORE if alone else None) as server:
        arguments = ["http", "--to", server.address]
        arguments += ["--connections", str(case.connections // count)]
        core, load = LOAD_CORE if alone else None, settings.binaries / "load"
        natives(load, arguments, settings.warmup, count, core)
        before = server.cpu_seconds()
        found = natives(load, arguments, settings.duration, count, core)
        used = server.cpu_seconds() - before
    done = sum(run["done"] for run in found)
    measured = sum(run["per_second"] for run in found)
    # Generators share the cores with the threads, so what counts is the threads' own time.
    return Figure(done / used * count / 1e3, details={"per_second": measured})


def _serving(
    case: Served, loop: str, address: str, settings: Settings
) -> AbstractContextManager[Server]:
    if loop == FLOOR:
        return serving([str(settings.binaries / "echo_floor"), address])
    if not case.tls:
        return serving(python_command(case.name, loop, address, None))
    if settings.certificate is None:
        raise NoFigureError("trustme is not installed: no certificate")
    return serving(python_command(case.name, loop, address, settings.certificate))


def _echo(case: Echo, loop: str, settings: Settings) -> Figure:
    with tempfile.TemporaryDirectory(prefix="ferroloop-bench-") as folder:
        address = os.path.join(folder, "echo") if case.unix else "127.0.0.1:0"
        with _serving(case, loop, address, settings) as server:
            arguments = ["echo", "--to", server.address]
            arguments += ["--connections", str(case.connections), "--size", str(case.size)]
            if case.line:
                arguments.append("--line")
            load = settings.binaries / "load"
            native(load, [*arguments, "--verify"], 0, settings.warmup)
            before, start = server.cpu_seconds(), time.perf_counter()
            found = native(load, arguments, 0, settings.duration)
            seconds, used = time.perf_counter() - start, server.cpu_seconds() - before
    details = {
        "server_busy": round(used / seconds, 3),
        SERVER_US: used / found["done"] * 1e6,
        "latency_us": found["latency_us"],
        "bytes_per_second": found["bytes_per_second"],
    }
    return Figure(found["per_second"] / 1e3, details=details)


def _http(case: Http, loop: str, settings: Settings) -> Figure:
    with _serving(case, loop, "127.0.0.1:0", settings) as server:
        _load_http(case, server, 1, settings)
        before = server.cpu_seconds()
        found = _load_http(case, server, settings.duration, settings)
        used = server.cpu_seconds() - before
    return Figure(used / found.pop("done") * 1e6, details=found)


def _load_http(case: Http, server: Server, seconds: float, settings: Settings) -> dict[str, Any]:
    """wrk, or our own generator where wrk is missing and the case is not about TLS."""
    if WRK is not None or case.tls:
        scheme = "https" if case.tls else "http"
        found = wrk(f"{scheme}://{server.address}/", case.connections, seconds)
        return {"generator": "wrk", **found}
    arguments = ["http", "--to", server.address, "--connections", str(case.connections)]
    return {"generator": "load", **native(settings.binaries / "load", arguments, 0, seconds)}


def _memory(case: Memory, loop: str, settings: Settings) -> Figure:
    count = case.connections // 4 if settings.quick else case.connections
    with _serving(case, loop, "127.0.0.1:0", settings) as server:
        with idle(server.address, tls=case.tls) as open_more:
            own = server.descriptors()
            open_more(100)
            server.wait_accepted(own + 100)
            before = server.resident_kib()
            open_more(count)
            server.wait_accepted(own + 100 + count)
            grown = server.resident_kib() - before
    return Figure(grown / count, details={"connections": count})


_KINDS: dict[type[Case], Callable[[Any, str, Settings], Figure]] = {
    InProcess: _in_process,
    Echo: _echo,
    Http: _http,
    Threaded: _threaded,
    ThreadedHttp: _threaded_http,
    Memory: _memory,
}
