"""Builds ferroloop and runs one HTTP service on asyncio's loop and on ferroloop, under the same load.

    python3 tools/side_by_side.py

Everything it needs is made on the way: a virtual environment in `.venv/`, the extension and the load generator (both
compiled in cargo's release profile). The service is `examples/http_service.py`, unchanged on both loops. Servers and
load run pinned to different cores where there are two, in turns, each turn in a fresh process; the table holds medians.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import interpreters
from environments import ROOT, Environment, SetupError, build_binary, clean_environ, say
from tables import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = ROOT / "examples" / "http_service.py"
LOOPS = {"asyncio": (), "ferroloop": ("-m", "ferroloop")}
"""What stands between `python` and the program."""


@dataclass(frozen=True)
class Measurement:
    """One turn of one loop."""

    requests_per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float | None
    """Processor time of the server for one request; None where the system does not tell."""


@dataclass(frozen=True)
class Report:
    """What the load generator found in one run."""

    done: int
    per_second: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True)
class Load:
    """What the service is loaded with."""

    generator: Path
    path: str
    connections: int
    seconds: float

    def run(self, address: str, seconds: float, cores: set[int]) -> Report:
        """Load `address` and return what the generator found; raise `SetupError` if a request failed."""
        command = [str(self.generator), "http", "--to", address, "--path", self.path]
        command += [
            "--connections",
            str(self.connections),
            "--warmup",
            "0",
            "--duration",
            str(seconds),
        ]
        with _pinned(cores):
            finished = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        if finished.returncode:
            raise SetupError(f"the load failed: {finished.stdout}{finished.stderr}")
        found = json.loads(finished.stdout)
        if not found["done"]:
            raise SetupError("the load completed no request")
        latency = found["latency_us"]
        return Report(found["done"], found["per_second"], latency["p50"], latency["p99"])


class Server:
    """The service in a process of its own, on one loop."""

    def __init__(self, python: Path, loop: str, cores: set[int]) -> None:
        """Start it and wait until it listens."""
        with _pinned(cores):
            self._process = subprocess.Popen(
                [str(python), *LOOPS[loop], str(SERVICE), "--port", "0"],
                cwd=ROOT,
                env=clean_environ(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("listening on http://"):
            raise SetupError(
                f"the service did not start on {loop}: status {self._process.wait()}, printed {line!r}"
            )
        self.address = line.strip().removeprefix("listening on http://")

    def running_loop(self) -> str:
        """Ask the service which loop it runs on."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        connection.request("GET", "/health")
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return str(answer["loop"])

    def cpu_seconds(self) -> float | None:
        """Return the processor time used so far; None where there is no /proc."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Ask the service to end, as an operator would, and see that it ended well."""
        self._process.terminate()
        try:
            status = self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise SetupError("the service did not end within 20 seconds of SIGTERM") from None
        if status:
            raise SetupError(f"the service ended with status {status}")


def measure(python: Path, loop: str, load: Load) -> Measurement:
    """Run the service on `loop` once: start, check, warm up, measure, stop."""
    server_cores, load_cores = _split_cores()
    server = Server(python, loop, server_cores)
    try:
        running = server.running_loop()
        if not running.startswith(loop):
            raise SetupError(f"the service should run on {loop} but runs on {running}")
        load.run(server.address, min(1.0, load.seconds), load_cores)
        before = server.cpu_seconds()
        report = load.run(server.address, load.seconds, load_cores)
        after = server.cpu_seconds()
    finally:
        server.stop()
    cpu = None if before is None or after is None else (after - before) / report.done * 1e6
    return Measurement(report.per_second, report.p50_us, report.p99_us, cpu)


def table(results: dict[str, list[Measurement]]) -> str:
    """Return the medians of all turns, one line a loop, and the ratio."""
    medians = {loop: _medians(turns) for loop, turns in results.items()}
    rows = [["", "requests/s", "median latency", "p99 latency", "server CPU/request"]]
    for loop, (rate, p50, p99, cpu) in medians.items():
        cells = [
            f"{rate:,.0f}",
            f"{p50:,.0f} µs",
            f"{p99:,.0f} µs",
            f"{cpu:.1f} µs" if cpu else "-",
        ]
        rows.append([loop, *cells])
    pairs = zip(medians["ferroloop"], medians["asyncio"], strict=True)
    ratios = [f"{ours / theirs:.2f}" if theirs else "-" for ours, theirs in pairs]
    rows.append(["ferroloop / asyncio", *ratios])
    return aligned(rows)


def _medians(turns: list[Measurement]) -> tuple[float, float, float, float]:
    """Return requests a second, median and p99 latency, processor time (0 where it is not known)."""
    return (
        statistics.median(turn.requests_per_second for turn in turns),
        statistics.median(turn.p50_us for turn in turns),
        statistics.median(turn.p99_us for turn in turns),
        statistics.median(turn.cpu_us or 0.0 for turn in turns),
    )


@contextlib.contextmanager
def _pinned(cores: set[int]) -> Iterator[None]:
    """Let processes that are started inside inherit these cores; does nothing for an empty set."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _split_cores() -> tuple[set[int], set[int]]:
    """Return a core for the server and the others for the load; nothing where that cannot be chosen."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (set(cores[:1]), set(cores[1:])) if len(cores) > 1 else (set(), set())


def main() -> None:
    """Set up, measure, print the table."""
    parser = argparse.ArgumentParser(
        description="Run one HTTP service on asyncio and on ferroloop under the same load."
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of load in each turn")
    parser.add_argument("--turns", type=int, default=3, help="of each loop")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--path", default="/notes/1", help="of the service; see its first lines")
    arguments = parser.parse_args()
    interpreter = interpreters.default()
    environment = Environment(interpreter, ROOT / ".venv" / interpreter.version)
    environment.ensure(["build"])
    environment.build(environment, "release")
    load = Load(
        build_binary("ferroloop-benches", "load"),
        arguments.path,
        arguments.connections,
        arguments.seconds,
    )
    say(
        f"{arguments.turns} turns of {arguments.seconds:g} s for each loop, {arguments.connections} connections that each ask for {arguments.path} and wait for the answer"
    )
    results: dict[str, list[Measurement]] = {loop: [] for loop in LOOPS}
    for turn in range(arguments.turns):
        for loop, turns in results.items():
            turns.append(measure(environment.python, loop, load))
            print(
                f"   turn {turn + 1}  {loop:<10} {turns[-1].requests_per_second:>10,.0f} requests/s",
                flush=True,
            )
    version = subprocess.run(
        [str(environment.python), "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    print(
        f"\nCPython {version}, {platform.system()} {platform.release()}, {os.cpu_count()} cores; medians of {arguments.turns} turns\n\n{table(results)}"
    )


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        sys.exit(f"side_by_side: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
