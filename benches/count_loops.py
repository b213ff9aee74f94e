"""Counts the instructions and system calls of one operation on every loop, and writes them as JSON.

    python benches/count_loops.py counts.json [--loops asyncio ferroloop ...] [--workload task ...] [--times 10]

Needs valgrind and strace. `publish.py 3.14 --counts counts.json` makes the table. Unlike times, these figures
hardly depend on what else the machine does. Figures of loops and workloads that the file has already are
kept, unless they are counted anew. `--times` runs as many times more operations, for a loop whose first
operations cost more or less than the later ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cases.counted import WORKLOADS
from harness import callgrind
from harness.loops import OURS, PLAIN, PROFILED, installed

FOLDER = Path(__file__).parent
NAMES = ["import", *WORKLOADS]

Said = dict[str, dict[str, Any]]
"""What the child said of each workload."""


def _run(command: list[str], caches: Path) -> tuple[Said, str | None]:
    """The output of the child, and the workload that ended the process; `caches` is for its bytecode."""
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(caches)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with subprocess.Popen(
        command, cwd=FOLDER, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said: Said = {}
        began = None
        for text in process.stdout:
            line = json.loads(text)
            if "began" in line:
                began = line["began"]
            else:
                said[line["name"]] = line
                began = None
    return said, began


def _child(loop: str, names: list[str], times: int = 1) -> list[str]:
    return [sys.executable, "-m", "cases.counted_in_turn", loop, str(times), *names]


def instructions(
    loop: str, names: list[str], times: int, folder: Path
) -> dict[str, dict[str, Any]]:
    """Instructions of one operation of each workload, in all."""
    output = folder / "callgrind"
    said, ended = _run(
        [
            *("valgrind", "-q", "--tool=callgrind", "--dump-before=getppid"),
            f"--callgrind-out-file={output}",
            *_child(loop, names, times),
        ],
        folder / "bytecode",
    )
    # A mark ends a part, whose number it has.
    parts: dict[int, int] = {}
    for path in folder.glob("callgrind.*"):
        parts[int(path.suffix[1:])] = callgrind.sums(path).total()
    found: dict[str, dict[str, Any]] = {}
    for name, line in said.items():
        if "failed" in line:
            found[name] = {"failed": line["failed"]}
            continue
        _, less, _, more = (parts[number] for number in line["marks"])
        found[name] = {"instructions": round((more - less) / line["operations"])}
    if ended is not None:
        found[ended] = {"failed": "ended the process, or hung"}
    return found


_CALL = re.compile(r"^(\d+) +(?:\d+\.\d+ )?([a-z_0-9]+)\((.*)")
_NEW_THREAD = re.compile(r"CLONE_THREAD.* = (\d+)$")


def _calls(trace: Path) -> list[int]:
    """System calls of the process and its threads before each mark and after the last."""
    counted = [0]
    threads: set[str] = set()
    with trace.open(errors="replace") as lines:
        for line in lines:
            pid = line.split(maxsplit=1)[0]
            if not threads:
                threads.add(pid)
            if "clone" in line and (made := _NEW_THREAD.search(line.rstrip())):
                threads.add(made[1])
            call = _CALL.match(line)
            if call is None or pid not in threads:
                continue
            if call[2] == "getppid":
                counted.append(0)
            else:
                counted[-1] += 1
    return counted


def system_calls(loop: str, names: list[str], times: int, folder: Path) -> dict[str, float]:
    """System calls of one operation of each workload."""
    trace = folder / "trace"
    command = ["strace", "-f", "-o", str(trace), *_child(loop, names, times)]
    said, _ = _run(command, folder / "bytecode")
    counted = _calls(trace)
    found = {}
    for name, line in said.items():
        if "failed" not in line:
            _, less, _, more = (counted[number - 1] for number in line["marks"])
            found[name] = round((more - less) / line["operations"], 2)
    return found


def count(loop: str, names: list[str], times: int) -> dict[str, dict[str, Any]]:
    """Both figures of each workload; after one that ends the process, the rest in a new one."""
    found: dict[str, dict[str, Any]] = {}
    while left := [name for name in names if name not in found]:
        with tempfile.TemporaryDirectory() as folder:
            # Writes the bytecode: otherwise `import` would count the compiler where a loop's has not been written.
            _run(_child(loop, ["import"]), Path(folder, "bytecode"))
            these = instructions(loop, left, times, Path(folder))
            for figures in these.values():
                figures["times"] = times
            for name, calls in system_calls(loop, left, times, Path(folder)).items():
                if "instructions" in these.get(name, {}):
                    these[name]["calls"] = calls
        if not these:
            raise SystemExit(f"nothing could be counted on {loop}")
        found.update(these)
    return found


def main() -> int:
    """Counts loop after loop, and writes after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--loops", nargs="+", default=list(PLAIN))
    parser.add_argument("--workload", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--profiled", action="store_true", help="ours was built with a profile")
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    for program in ("valgrind", "strace"):
        if shutil.which(program) is None:
            print(f"{program} is not installed", file=sys.stderr)
            return 2
    document: dict[str, Any] = {"loops": {}, "workloads": {}}
    if options.output.exists():
        document = json.loads(options.output.read_text())
    document["python"] = platform.python_version()
    document["machine"] = platform.machine()
    versions = installed(tuple(options.loops))
    for loop, version in versions.items():
        column = PROFILED if loop == OURS and options.profiled else loop
        document["loops"][column] = version
        for name, figures in count(loop, options.workload, options.times).items():
            document["workloads"].setdefault(name, {})[column] = figures
            print(f"{loop:12}{name:24}{figures}", flush=True)
        options.output.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
