"""Counted workloads one after the other in one process: `python -m cases.counted_in_turn LOOP TIMES NAME...`.

Start-up costs more than all workloads together, so the loops are compared this way. Each workload runs three
times: to warm up, a little, and more. `os.getppid()`, which nothing else calls, marks where each of the two
counted parts begins and ends. A line of JSON for each workload says which marks are its own.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import sys

from harness.loops import new_loop

LESS, MORE = 0.03, 0.12
"""How much of a workload's usual count is run, for each of the TIMES."""
SECONDS = 100
"""After so long a workload hangs, even under valgrind, and the process is ended."""


class Marks:
    """Counts the marks that the process has made."""

    def __init__(self) -> None:
        """Start with none."""
        self.made = 0

    def mark(self) -> int:
        """Makes one and returns its number, from 1 on."""
        os.getppid()
        self.made += 1
        return self.made


def _say(**line: object) -> None:
    print(json.dumps(line), flush=True)


def _import(loop_name: str, marks: Marks) -> None:
    """What importing the loop costs beyond asyncio."""
    first = [marks.mark(), marks.mark()]
    second = marks.mark()
    importlib.import_module(loop_name)
    _say(name="import", marks=[*first, second, marks.mark()], operations=1)


def _run(name: str, loop_name: str, times: int, marks: Marks) -> None:
    workloads = importlib.import_module("cases.counted").WORKLOADS
    workload, small, _ = workloads[name]
    less, more = max(1, int(small * LESS * times)), max(4, int(small * MORE * times))
    loop = new_loop(loop_name)
    loop.run_until_complete(workload(loop, less))
    made = []
    for count in (less, more):
        gc.collect()
        gc.freeze()
        made.append(marks.mark())
        loop.run_until_complete(workload(loop, count))
        made.append(marks.mark())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    _say(name=name, marks=made, operations=more - less)


def main() -> None:
    """Runs the workloads; one that raises is reported and skipped."""
    loop_name, times, *names = sys.argv[1:]
    marks = Marks()
    for name in names:
        _say(began=name)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            if name == "import":
                _import(loop_name, marks)
            else:
                _run(name, loop_name, int(times), marks)
        except Exception as error:
            _say(name=name, failed=f"{type(error).__name__}: {error}"[:200])
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.flush()
    # What a loop does at the end of the interpreter is not counted.
    os._exit(0)


if __name__ == "__main__":
    main()
