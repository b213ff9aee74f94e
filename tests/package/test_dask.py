"""dask.distributed: a scheduler and two workers, each a process of its own, and a computation on them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "dask_cluster.py"
LOOPS = {"asyncio": "asyncio.unix_events._UnixSelectorEventLoop", "ferroloop": "ferroloop.Loop"}

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        importlib.util.find_spec("distributed") is None, reason="distributed is not installed"
    ),
]


@pytest.mark.parametrize("name", LOOPS)
def test_a_cluster_computes(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--loop", name],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"scheduler: {LOOPS[name]}",
        f"worker: {LOOPS[name]}",
        f"worker: {LOOPS[name]}",
        f"sum of squares: {sum(number * number for number in range(1000))}",
    ]
