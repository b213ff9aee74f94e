"""A server in its fresh process, pinned to the server's core, for as long as a `with` block lasts."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from harness.errors import NoFigureError
from harness.process import (
    SERVER_CORE,
    cpu_seconds,
    descriptors,
    last_words,
    pinned,
    resident_kib,
    threads,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCHES = Path(__file__).resolve().parent.parent
STARTUP = 20.0
SETTLE = 5.0
ANSWER = 60.0


class Server:
    """The server's process.

    Attributes:
        address: where it serves: `host:port`, or a path.
    """

    def __init__(self, process: subprocess.Popen[str], stderr: IO[str]) -> None:
        """Waits for the address, which is the process's first line of output."""
        self._process = process
        self._stderr = stderr
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], STARTUP)
        if not readable:
            raise NoFigureError("the server did not start")
        line = process.stdout.readline().strip()
        if not line:
            raise NoFigureError(self._failure())
        self.address: str = json.loads(line) if line.startswith('"') else line

    def _failure(self) -> str:
        """Why the server has ended, in one line."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self._stderr.seek(0)
        return last_words(self._stderr.read(), self._process.returncode)

    def check(self) -> None:
        """Raises NoFigureError if the server has ended."""
        if self._process.poll() is not None:
            raise NoFigureError(self._failure())

    def cpu_seconds(self) -> float:
        """CPU time that it has used."""
        self.check()
        return cpu_seconds(self._process.pid)

    def resident_kib(self, kind: str = "Rss") -> int:
        """Memory that it holds."""
        self.check()
        return resident_kib(self._process.pid, kind)

    def threads(self) -> int:
        """Threads that it runs."""
        self.check()
        return threads(self._process.pid)

    def signal(self, number: int) -> str:
        """Sends the signal and returns the line of output that answers it.

        Raises NoFigureError if the server has ended, or does not answer for a minute.
        """
        self.check()
        assert self._process.stdout is not None
        self._process.send_signal(number)
        if not select.select([self._process.stdout], [], [], ANSWER)[0]:
            raise NoFigureError(f"the server does not answer a signal for {ANSWER:g} seconds")
        return self._process.stdout.readline().strip()

    def complaints(self) -> list[str]:
        """The lines that it has written to stderr."""
        # Opened anew: the file's own position is the one at which the server writes.
        return Path(f"/proc/self/fd/{self._stderr.fileno()}").read_text("utf-8").splitlines()

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        self.check()
        return descriptors(self._process.pid)

    def wait_accepted(self, descriptors: int) -> None:
        """Returns when so many descriptors are open and no CPU was used for a while (some loops never stop using it)."""
        deadline = time.monotonic() + SETTLE
        while self.descriptors() < descriptors:
            if time.monotonic() > deadline:
                raise NoFigureError("the server did not accept all connections")
            time.sleep(0.05)
        deadline = time.monotonic() + SETTLE
        before = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(0.3)
            now = self.cpu_seconds()
            if now - before < 0.02:
                return
            before = now


@contextmanager
def serving(command: list[str], core: int | None = SERVER_CORE) -> Iterator[Server]:
    """Runs a server inside the block, on the server's core or, if `core` is None, on all."""
    with tempfile.TemporaryFile("w+") as stderr:
        with pinned(core):
            process = subprocess.Popen(
                command, cwd=BENCHES, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        try:
            yield Server(process, stderr)
        finally:
            process.kill()
            process.communicate()


def python_command(
    case: str, loop: str, address: str, certificate: Path | None, verb: str = "serve"
) -> list[str]:
    """The command that serves a case on a loop."""
    command = [sys.executable, "-m", "harness.child", verb, case, loop, address]
    return command if certificate is None else [*command, str(certificate)]
