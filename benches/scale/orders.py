"""A process that follows orders: a line goes in, a line comes back when it is done."""

from __future__ import annotations

import select
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.errors import NoFigureError
from harness.process import last_words, pinned
from harness.server import BENCHES

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds within which an order is followed.
PATIENCE = 300.0


class Follower:
    """The process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Takes over a process whose input and output are pipes."""
        self._process = process

    def order(self, text: str, patience: float = PATIENCE) -> str:
        """Has the process do something; returns what it prints when it is done.

        Raises NoFigureError if the process has ended or hangs.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], patience)[0]:
            raise NoFigureError(f"{text} takes longer than {patience:g} seconds")
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate(timeout=5)
            raise NoFigureError(last_words(errors, self._process.returncode))
        return line


@contextmanager
def following(module: str, *arguments: str, core: int | None = None) -> Iterator[Follower]:
    """Runs `python -m MODULE` inside the block."""
    pipe = subprocess.PIPE
    with pinned(core):
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=BENCHES,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
    try:
        yield Follower(process)
    finally:
        process.kill()
        process.communicate()
