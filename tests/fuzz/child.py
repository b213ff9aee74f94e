"""One fuzzer in a process of its own: `python -m fuzz.child NAME FIRST COUNT SECONDS` from tests/.

Prints the seed before each program, so that the last line of a process that died tells which one it
was. Ends with `done` and the number of programs.
"""

from __future__ import annotations

import faulthandler
import importlib
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import NamedTuple

#: How long one program may take before it counts as hanging.
DEADLINE = 60


class Outcome(NamedTuple):
    """What became of a fuzzer's process."""

    programs: int
    fault: str


def run(name: str, first: int, count: int, seconds: float) -> Outcome:
    """Run programs in a process, at most so many and for at most so long; what is broken, as text."""
    folder = Path(__file__).parent.parent
    command = [sys.executable, "-m", "fuzz.child", name, str(first), str(count), str(seconds)]
    # The last has debug builds abort where an object is destroyed within a borrow.
    ours = {"RUST_BACKTRACE": "1", "PYTHONHASHSEED": "0", "FERROLOOP_WATCH_BORROWS": "1"}
    environment = {**os.environ, **ours}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds + 2 * DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
    lines = out.splitlines() or [""]
    if process.returncode == 0 and lines[-1].startswith("done ") and "panicked" not in err:
        return Outcome(int(lines[-1].split()[1]), "")
    seen = [line for line in lines if line.startswith("seed ")]
    how = f"{name}, {seen[-1] if seen else 'no seed'}: status {process.returncode}; {lines[-1]}\n{err[-6000:]}"
    return Outcome(len(seen), how)


def main(name: str, first: int, count: int, seconds: float) -> None:
    """Run the programs in this process."""
    from . import watch  # noqa: PLC0415 - the parent needs none of it

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = watch.on_unraisable
    threading.excepthook = watch.on_thread
    fuzz = importlib.import_module(f"fuzz.{name}").fuzz
    end = time.monotonic() + seconds
    done = 0
    for seed in range(first, first + count):
        if time.monotonic() > end:
            break
        sys.stdout.write(f"seed {seed}\n")
        sys.stdout.flush()
        with watch.Deadline(DEADLINE):
            fuzz(seed)
        done += 1
    sys.stdout.write(f"done {done}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    faulthandler.enable()
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
