"""The file that a page is written to. One object a process and path; any thread.

Several processes may be told the same path: workers inherit the variable. The first running one uses the
path itself and keeps a lock on the file; every other one puts its process id before the suffix,
`page.4712.html`. The file is opened when the first loop is made, so that a path that cannot be written
is reported at the start. Until the page is written the file holds a line that says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time

__all__ = ("Target",)


class Target:
    """A file for this process's page."""

    def __init__(self, path: str, holding: str) -> None:
        """Take `path`, or a name of our own beside it, and write `holding` there.

        Raises OSError if the file cannot be written or is no ordinary file.
        """
        self._wanted = os.path.abspath(path)
        self._began = time.time()
        self._lock = _lock(self._wanted)
        self.path = self._wanted if self._lock is not None else _with_pid(self._wanted)
        try:
            self.write(holding)
        except BaseException:
            self.close()
            raise

    def write(self, text: str) -> None:
        """Replace what the file holds. Raises OSError."""
        # In place: a new file in its place would be without the lock.
        with open(_open(self.path), "wb") as file:
            file.truncate()
            file.write(text.encode("utf-8", "replace"))

    def close(self) -> None:
        """Release the name, which the next process may use. In a forked child the parent keeps it."""
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            # The program may have closed all descriptors.
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def others(self) -> tuple[str, ...]:
        """Return the names of the pages that other processes have put beside this one since."""
        if self._lock is None:
            return ()
        folder, name = os.path.split(self._wanted)
        stem, suffix = os.path.splitext(name)
        pattern = re.compile(rf"{re.escape(stem)}\.\d+{re.escape(suffix)}")
        try:
            with os.scandir(folder) as entries:
                found = [
                    entry.name
                    for entry in entries
                    if pattern.fullmatch(entry.name) and entry.stat().st_mtime >= self._began - 1.0
                ]
        except OSError:
            return ()
        return tuple(sorted(found))


def _open(path: str) -> int:
    """Open a file for writing, made if it is not there. Raises OSError, also if it is no ordinary file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"not an ordinary file: {path!r}")
    return descriptor


def _lock(path: str) -> int | None:
    """Lock the file for as long as this process lives; None if another process has it.

    Raises OSError if the file cannot be opened for writing.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        # A file system without locks: the processes share the name.
        return descriptor
    return descriptor


def _with_pid(path: str) -> str:
    """`page.html` as `page.4712.html`."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}.{os.getpid()}{suffix}"
