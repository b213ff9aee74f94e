"""One page of this process: its loops, and when it is written.

Any thread makes and closes loops; one lock holds everything, taken again within a signal handler.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ferroloop._report.follower import Follower
from ferroloop._report.page import placeholder, render
from ferroloop._report.record import LoopRecord, Report
from ferroloop._report.target import Target

if TYPE_CHECKING:
    from ferroloop._report.settings import Settings

__all__ = ("Recorder",)

#: Loops that are kept when they are closed.
_MOST_LOOPS = 40
#: After a page was written because the last loop was closed, this many times as long as that took has to
#: pass before it is written for that reason again: a program may make and close loops without end.
_REST = 50.0


class Recorder:
    """Gathers what goes on one page and writes it."""

    def __init__(self, path: str, program: str = "") -> None:
        """Begin the page at `path` of `program`, or of the one in `sys.argv` if that is empty.

        Raises OSError if the page cannot be written.
        """
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._began_at = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        self._program = program or _program()
        self._target = Target(path, placeholder(self._program, os.getpid(), self._began_at))
        self._open: list[Follower] = []
        self._closed: list[LoopRecord] = []
        self._loops = 0
        self._quiet_until = 0.0
        self._is_done = False

    @property
    def path(self) -> str:
        """The file that this process writes."""
        return self._target.path

    def follow(self, loop: Any, settings: Settings) -> None:
        """Begin with a loop. Raises what `Monitor` raises."""
        follower = Follower(loop, settings, self._moment, self._lock, self._loop_ended)
        with self._lock:
            self._loops += 1
            follower.name = f"Loop {self._loops}, made in {threading.current_thread().name}"
            self._open.append(follower)

    def _moment(self, seconds: float) -> float:
        return seconds - self._began

    def _loop_ended(self) -> None:
        """Keep a loop that was closed; write the page if it was the last one that was open.

        A process that ends without the interpreter's usual steps (`os._exit`, a forked worker) has its
        page all the same.
        """
        with self._lock:
            for follower in [one for one in self._open if one.is_over]:
                try:
                    self._open.remove(follower)
                except ValueError:
                    # The collector has closed another loop meanwhile, which is handled within this call.
                    continue
                self._closed.append(follower.record())
            if len(self._closed) > _MOST_LOOPS:
                # The first loop is the program's main one as a rule.
                self._closed.remove(min(self._closed[1:], key=_interest))
            if not self._open and not self._is_done and time.monotonic() >= self._quiet_until:
                self.write("its last loop was closed")

    def write(self, ending: str, *, last: bool = False) -> None:
        """Write the page; a failure is reported on stderr. After the `last` one none is written."""
        with self._lock:
            self._is_done = last
            began = time.monotonic()
            try:
                self._target.write(render(self.report(ending)))
            except OSError as error:
                say(f"cannot write the report: {error}")
            except Exception as error:
                say(f"cannot write the report: {error!r}")
            self._quiet_until = time.monotonic() + _REST * (time.monotonic() - began)

    def close(self) -> None:
        """Release the name of the page."""
        self._target.close()

    def report(self, ending: str) -> Report:
        """Return what is known now."""
        with self._lock:
            loops = [*self._closed, *(follower.record() for follower in self._open)]
            return Report(
                program=self._program,
                pid=os.getpid(),
                ending=ending,
                began=self._began_at,
                seconds=self._moment(time.monotonic()),
                versions=_versions(),
                loops=tuple(sorted(loops, key=lambda loop: loop.began)),
                more_loops=self._loops - len(loops),
                others=self._target.others(),
            )


def _interest(loop: LoopRecord) -> tuple[float, float]:
    """How much a reader would miss a loop: by what held it up, then by how long it was busy."""
    return sum(group.seconds for group in loop.stalls), loop.busy * (loop.ended - loop.began)


def _program() -> str:
    """The program as the command line names it, without its arguments: they may hold secrets."""
    module = sys.modules.get("__main__")
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name:
        name: str = spec.name
        return f"python -m {name.removesuffix('.__main__')}"
    return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"


def _versions() -> str:
    try:
        own = f"ferroloop {metadata.version('ferroloop')}"
    except metadata.PackageNotFoundError:
        own = "ferroloop"
    python = f"Python {platform.python_version()}"
    return f"{own} on {python}, {platform.system()} {platform.release()}"


def say(message: str) -> None:
    """Write a line to stderr, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"ferroloop: {message}\n")
