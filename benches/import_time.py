"""How long `import ferroloop` takes beyond `import asyncio`: medians over processes, in turn.

    python benches/import_time.py [--rounds N] [module ...]

Modules other than ferroloop that are not installed are left out. Wall time, and the processor's time, which
other programs disturb less.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import time


def measure(code: str) -> tuple[float, float]:
    """Milliseconds that a new process takes for `code`: by the clock, and of processors."""
    begun = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    _, status, used = os.wait4(pid, 0)
    passed = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{code!r} ended with status {status}")
    return passed * 1e3, (used.ru_utime + used.ru_stime) * 1e3


def main() -> None:
    """Print a line for each module."""
    parser = argparse.ArgumentParser(description="Time imports beyond asyncio's own.")
    parser.add_argument("--rounds", type=int, default=50, help="processes for each module")
    parser.add_argument("modules", nargs="*", default=["ferroloop", "uvloop", "rsloop"])
    options = parser.parse_args()
    names = [name for name in options.modules if importlib.util.find_spec(name)]
    programs = {"asyncio": "import asyncio"}
    programs.update((name, f"import asyncio, {name}") for name in names)
    for code in programs.values():
        measure(code)  # writes the caches of bytecode
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, code in programs.items():
            times[name].append(measure(code))
    found = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in times.items()
    }
    base = found.pop("asyncio")
    print(f"asyncio: {base[0]:.1f} ms by the clock, {base[1]:.1f} ms of processors")
    for name, (wall, used) in found.items():
        beyond = f"{wall - base[0]:.1f} ms by the clock, {used - base[1]:.1f} ms of processors"
        print(f"{name}: {beyond} beyond asyncio")


if __name__ == "__main__":
    main()
