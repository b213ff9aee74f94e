"""Programs in which one allocation of the interpreter fails, for every place at which it may.

What must come out is MemoryError, by itself or through the exception handler, and the loop must be usable afterwards.
FERROLOOP_POSITIONS says how many positions of each program are tried, 0 all of them (`nox -s short_memory`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("_testcapi", reason="this Python comes without CPython's own test modules")

TESTS = Path(__file__).resolve().parents[1]

POSITIONS = int(os.environ.get("FERROLOOP_POSITIONS", "12"))

FINE = ("complete", "told ", "raised MemoryError", "stopped")
"""What may come of a program: a failure that was told of, or that only keeps it from its end."""


OF_CPYTHON = "dies by SIGSEGV"


def sweep(kind: str, name: str, streams: str, count: int) -> tuple[int, dict[str, list[int]]]:
    """How many allocations a program makes, and what came of it by the position that fails."""
    run = subprocess.run(
        [sys.executable, "-m", "short_memory.sweep", kind, name, streams, str(count)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=60 if count else 3600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    result = json.loads(run.stdout)
    return result["positions"], result["outcomes"]


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        ("scheduling", "asyncio"),
        ("sockets", "asyncio"),
        ("making", "ferroloop"),
        ("tcp", "asyncio"),
        ("buffered", "asyncio"),
        ("streams", "asyncio"),
        ("streams", "ferroloop"),
        ("datagrams", "asyncio"),
        ("pipes", "asyncio"),
        ("processes", "asyncio"),
        ("tls", "asyncio"),
        ("tls_indirect", "asyncio"),
        ("tls_buffered", "asyncio"),
    ],
)
@pytest.mark.timeout(3600 if POSITIONS == 0 else 120)
def test_memory_error_comes_out_and_the_loop_goes_on(name: str, streams: str) -> None:
    positions, outcomes = sweep("ferroloop", name, streams, POSITIONS)
    assert positions > 50
    bad = {said: at for said, at in outcomes.items() if not said.startswith(FINE)}
    if sys.version_info < (3, 11):
        # CPython 3.10 itself crashes where a coroutine that was never awaited goes without memory: asyncio's
        # loop dies at 22 positions of `tcp`.
        bad = {
            said: at
            for said, at in bad.items()
            if not (said.startswith(OF_CPYTHON) and "was never awaited" in said)
        }
    assert bad == {}
    assert any("MemoryError" in said for said in outcomes)
