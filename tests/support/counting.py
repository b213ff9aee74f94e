"""How many system calls a program makes, by strace."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What goes to files and pipes, by write(2), is not meant.
SENDS = ("sendto", "sendmsg", "sendmmsg")


def strace(folder: Path) -> list[str]:
    """The command before that of a program whose sends are counted; the test is skipped if it
    cannot be had."""
    command = shutil.which("strace")
    if command is None:
        pytest.skip("strace, which counts the system calls, is not installed")
    counting = [command, "-f", "-qq", "-c", "-o", str(folder / "calls")]
    counting += ["-e", f"trace={','.join(SENDS)}"]
    tried = subprocess.run([*counting, sys.executable, "-c", ""], check=False)
    if tried.returncode:
        pytest.skip("strace may not trace a process here")
    return counting


def sends(folder: Path) -> int:
    """How many calls it has counted."""
    rows = [line.split() for line in (folder / "calls").read_text().splitlines()]
    return sum(int(row[3]) for row in rows if row and row[-1] in SENDS)
