"""Runs a command under `valgrind --tool=callgrind` and counts instructions, library by library."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from harness.errors import CountError

_NAME = re.compile(r"\((\d+)\)(?: (.*))?")


def count(command: list[str], folder: Path, output: Path) -> Counter[str]:
    """Instructions executed by `command`, run in `folder`, for each object file.

    Raises `CountError` if valgrind is not there or the command fails.
    """
    if not shutil.which("valgrind"):
        raise CountError("valgrind is not installed; it counts the instructions")
    environ = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", *command],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise CountError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return sums(output)


def sums(output: Path) -> Counter[str]:
    """The cost that the lines of callgrind's file give to each object file itself."""
    sums: Counter[str] = Counter()
    names: dict[str, str] = {}
    current = "?"
    called = False
    with output.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("ob="):
                found = _NAME.match(line[3:].rstrip())
                if found:
                    number, name = found.groups()
                    if name:
                        names[number] = Path(name).name
                    current = names.get(number, "?")
            elif line.startswith("cob="):
                # Names may be introduced where a call is noted.
                found = _NAME.match(line[4:].rstrip())
                if found and found[2]:
                    names[found[1]] = Path(found[2]).name
            elif line.startswith("calls="):
                # The next line is the cost of what was called, which its own lines have too.
                called = True
            elif line[:1] in "+-*0123456789" and line.strip():
                if not called:
                    sums[current] += int(line.split()[1])
                called = False
    return sums
