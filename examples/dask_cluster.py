"""A dask.distributed cluster, a scheduler and two workers in processes of their own, on ferroloop.

    python3 examples/dask_cluster.py                  # needs `pip install distributed`
    python3 examples/dask_cluster.py --loop asyncio

On other machines the commands are the same, with the scheduler's address in the place of the file:
`python3 -m ferroloop -m distributed.cli.dask_scheduler`, `python3 -m ferroloop -m distributed.cli.dask_worker HOST:8786`.
Dask's setting `distributed.admin.event-loop` stays at `tornado` or `asyncio`: with both dask asks asyncio for a loop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import Client, worker_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE = 60
"""Seconds for the cluster to come up, and for each of its processes to end."""
COMMANDS = {"asyncio": (sys.executable,), "ferroloop": (sys.executable, "-m", "ferroloop")}


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    """Run a command, and end it as an operator would."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()


@contextlib.contextmanager
def cluster(python: Sequence[str], workers: int) -> Iterator[Client]:
    """Start a scheduler and workers under `python`, and connect to them."""
    with contextlib.ExitStack() as stack:
        file = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "scheduler.json")
        options = ("--host", "127.0.0.1", "--scheduler-file", file)
        stack.enter_context(
            running(
                *(*python, "-m", "distributed.cli.dask_scheduler"),
                *(*options, "--port", "0", "--no-dashboard"),
            )
        )
        for number in range(workers):
            stack.enter_context(
                running(
                    *(*python, "-m", "distributed.cli.dask_worker", *options, "--nthreads", "1"),
                    *(
                        "--name",
                        f"worker {number}",
                        "--no-dashboard",
                        "--death-timeout",
                        str(PATIENCE),
                    ),
                )
            )
        client = stack.enter_context(Client(scheduler_file=file, timeout=PATIENCE))
        client.wait_for_workers(workers, timeout=PATIENCE)
        yield client


async def loop_name() -> str:
    """The loop of the process that dask runs this in."""
    kind = type(asyncio.get_running_loop())
    return f"{kind.__module__}.{kind.__qualname__}"


def square(number: int) -> int:
    """One small step of the computation."""
    return number * number


def sum_of_squares(numbers: list[int]) -> int:
    """A step that hands more steps to the cluster, over its worker's own connection."""
    with worker_client() as client:
        return sum(client.gather(client.map(square, numbers)))


def main() -> None:
    """Compute something on a cluster, and say which loops it runs on."""
    parser = argparse.ArgumentParser(description="Run a small dask cluster.")
    parser.add_argument("--loop", choices=COMMANDS, default="ferroloop")
    options = parser.parse_args()
    with cluster(COMMANDS[options.loop], workers=2) as client:
        print("scheduler:", client.run_on_scheduler(loop_name))
        for name in sorted(client.run(loop_name).values()):
            print("worker:", name)
        parts = [list(range(start, start + 100)) for start in range(0, 1000, 100)]
        print("sum of squares:", sum(client.gather(client.map(sum_of_squares, parts))))


if __name__ == "__main__":
    main()
