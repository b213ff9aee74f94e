"""The load: the native generator, wrk, and a client that only holds connections open."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.errors import NoFigureError
from harness.process import LOAD_CORE, last_words, pinned
from harness.server import BENCHES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WRK = shutil.which("wrk")


def _start(command: list[str], core: int | None) -> subprocess.Popen[str]:
    with pinned(core):
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _output(process: subprocess.Popen[str], seconds: float) -> str:
    """What a load process prints, which is meant to take so long."""
    try:
        output, errors = process.communicate(timeout=seconds + 20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise NoFigureError("the load did not end: the server hangs") from None
    if process.returncode and not output:
        raise NoFigureError(last_words(errors, process.returncode))
    return output


def _found(output: str) -> dict[str, Any]:
    """The report of the native generator; any error that it saw makes the figure void."""
    found: dict[str, Any] = json.loads(output)
    if found["errors"]:
        raise NoFigureError(f"{found['errors']} errors under load: {found['first_error']}")
    if not found["done"]:
        raise NoFigureError("no message was answered")
    return found


def _run(command: list[str], seconds: float) -> str:
    """Output of a pinned load process."""
    return _output(_start(command, LOAD_CORE), seconds)


def native(binary: Path, arguments: list[str], warmup: float, duration: float) -> dict[str, Any]:
    """One run of the native generator."""
    command = [str(binary), *arguments, "--warmup", str(warmup), "--duration", str(duration)]
    return _found(_run(command, warmup + duration))


def natives(
    binary: Path, arguments: list[str], duration: float, count: int, core: int | None
) -> list[dict[str, Any]]:
    """So many runs of the native generator at once, on one core or, if `core` is None, on all."""
    command = [str(binary), *arguments, "--warmup", "0", "--duration", str(duration)]
    processes = [_start(command, core) for _ in range(count)]
    # All of them have to end before the first failure is raised.
    outputs = [_output(process, duration) for process in processes]
    return [_found(output) for output in outputs]


def wrk(url: str, connections: int, duration: float) -> dict[str, Any]:
    """One run of wrk: how many requests were answered, and how fast."""
    if WRK is None:
        raise NoFigureError("wrk is not installed")
    seconds = max(1, round(duration))
    command = [WRK, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    output = _run(command, seconds)
    if bad := re.search(r"Socket errors.*|Non-2xx.*", output):
        raise NoFigureError(bad[0])
    total = re.search(r"(\d+) requests in", output)
    speed = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if total is None or speed is None or not int(total[1]):
        raise NoFigureError("no request was answered")
    percentiles = dict(re.findall(r"^\s+(\d+)%\s+(\S+)", output, re.MULTILINE))
    return {"done": int(total[1]), "per_second": float(speed[1]), "latency": percentiles}


@contextmanager
def idle(address: str, *, tls: bool) -> Iterator[Callable[[int], None]]:
    """Gives a function that opens so many more connections; they stay open inside the block."""
    command = [sys.executable, "-m", "harness.idle", address]
    if tls:
        command.append("tls")
    with pinned(LOAD_CORE):
        process = subprocess.Popen(
            command,
            cwd=BENCHES,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def open_more(count: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{count}\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != "open":
            _, errors = process.communicate(timeout=5)
            raise NoFigureError(last_words(errors, process.returncode))

    try:
        yield open_more
    finally:
        process.kill()
        process.communicate()
