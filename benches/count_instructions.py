"""Counts the instructions of small workloads and compares them with those that are recorded.

`python benches/count_instructions.py` fails if a workload executes over 3 % more instructions than
`instructions.json` beside this file says, in all or in ferroloop's own code; `--record` writes the
file anew. Unlike times, the counts hardly depend on what else the machine does. They do depend on
the interpreter and the compiler, so records are kept for each Python version and a comparison says
which builds it compares.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from cases.counted import MONITORS, WORKLOADS
from harness import callgrind
from harness.errors import CountError

RECORDED = Path(__file__).with_name("instructions.json")
MORE = 1.03
"""From this ratio on, more instructions are a failure."""
OURS = "_native"

Figures = dict[str, float]
"""Instructions of one operation: `all`, and `ours` for ferroloop's own code."""


def builds() -> dict[str, str]:
    """What the counts depend on."""
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False)
    return {
        "python": platform.python_version(),
        "rustc": compiler.stdout.strip() or "unknown",
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
    }


def measure(name: str, loop: str, monitor: str, folder: Path) -> Figures:
    """The cost of one operation of a workload: the difference of two runs, so start-up drops out."""
    _, small, large = WORKLOADS[name]
    counted = []
    for number in (small, large):
        command = [sys.executable, "-m", "cases.counted", name, loop, str(number), monitor]
        counted.append(callgrind.count(command, Path(__file__).parent, folder / f"{name}.{number}"))
    less, more = counted
    operations = large - small
    ours = sum(more[it] - less[it] for it in more if it.startswith(OURS))
    return {
        "all": round((more.total() - less.total()) / operations, 1),
        "ours": round(ours / operations, 1),
    }


def worse(figures: Figures, recorded: Figures | None) -> bool:
    """Whether `figures` exceed what is recorded."""
    if recorded is None:
        return False
    # A handful of instructions of a small count is no change.
    return any(
        figures[it] > recorded[it] * MORE and figures[it] > recorded[it] + 3 for it in recorded
    )


def main() -> int:
    """Counts, prints a table, and compares or records."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", action="store_true", help="write instructions.json anew")
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--loop", default="ferroloop", help="another loop: only prints")
    parser.add_argument(
        "--monitor",
        default="none",
        choices=MONITORS,
        help="what a monitor is asked for meanwhile: prints how much more that costs than the record",
    )
    options = parser.parse_args()
    version = ".".join(platform.python_version_tuple()[:2])
    records = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    record = records.get(version, {})
    recorded = record.get("workloads", {})
    now = builds()
    if record and record["builds"] != now and not options.record:
        print(f"recorded with {record['builds']},\ncounted with  {now}")
    print(f"{'workload':24}{'instructions':>14}{'ours':>10}{'recorded':>12}{'ours':>10}")
    slower = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.workload:
            try:
                figures = measure(name, options.loop, options.monitor, Path(folder))
            except CountError as error:
                print(error, file=sys.stderr)
                return 2
            before = recorded.get(name) if options.loop == "ferroloop" else None
            marks = ""
            if options.monitor != "none" and before:
                marks = f"{figures['all'] / before['all'] - 1:+9.2%}"
            elif worse(figures, before):
                slower.append(name)
                marks = "  MORE"
            known = f"{before['all']:12}{before['ours']:10}" if before else ""
            print(f"{name:24}{figures['all']:14}{figures['ours']:10}{known}{marks}", flush=True)
            if options.record:
                recorded[name] = figures
    if options.record:
        records[version] = {"builds": now, "workloads": dict(sorted(recorded.items()))}
        RECORDED.write_text(json.dumps(dict(sorted(records.items())), indent=2) + "\n")
        return 0
    if slower:
        print(f"over {round((MORE - 1) * 100)} % more instructions: {', '.join(slower)}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
