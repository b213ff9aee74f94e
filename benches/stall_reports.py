"""How long after its threshold a stall is reported: `python benches/stall_reports.py [--rounds N]`.

Each round blocks a loop for 0.6 seconds with `stall_after=0.2`: in a call that lets the GIL go, in a
loop of Python code, and in C code that keeps the GIL, which cannot be reported before it ends. Prints
milliseconds after 0.2 seconds, and by how much the reported length differs from the true one.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import statistics
import time
from collections.abc import Callable

import ferroloop

BLOCKED = 0.6
THRESHOLD = 0.2


def sleep() -> None:
    """Lets other threads run."""
    time.sleep(BLOCKED)


def compute() -> None:
    """Python code, which lets other threads run every five milliseconds."""
    end = time.monotonic() + BLOCKED
    while time.monotonic() < end:
        pass


def keep_gil() -> None:
    """C code that lets no other thread run."""
    ctypes.PyDLL(None).usleep(round(BLOCKED * 1e6))


async def measure(block: Callable[[], None]) -> tuple[float, float]:
    """Seconds between threshold and report, and by how much the reported length is wrong."""
    reported: list[float] = []
    with ferroloop.Monitor(
        stall_after=THRESHOLD, on_stall=lambda _: reported.append(time.monotonic())
    ) as monitor:
        await asyncio.sleep(0.05)
        began = time.monotonic()
        block()
        length = time.monotonic() - began
        # The report, and its end, come when the loop's thread releases the GIL.
        await asyncio.sleep(0.2)
    return reported[0] - began - THRESHOLD, monitor.stalls[0].seconds - length


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    print(f"{'blocked by':12}{'reported after, ms':>20}{'at most':>10}{'length off by, ms':>20}")
    for block in (sleep, compute, keep_gil):
        found = [ferroloop.run(measure(block)) for _ in range(rounds)]
        late = [seconds * 1000 for seconds, _ in found]
        wrong = [abs(seconds) * 1000 for _, seconds in found]
        print(
            f"{block.__name__:12}{statistics.median(late):20.1f}{max(late):10.1f}{max(wrong):20.1f}"
        )


if __name__ == "__main__":
    main()
