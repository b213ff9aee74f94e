"""Finds the CPythons on this machine that ferroloop supports.

The Python that runs the command comes first (the default one), then what PATH offers as `python3.N`, then pyenv's
versions folder. One interpreter is taken for each minor version; anything that is not a CPython with the GIL, or does
not start (pyenv's shims for versions that are not selected), is passed over.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MINORS = range(10, 16)
"""Minor versions of Python 3 that are tested."""

_PROBE = """
import os, platform, sys, sysconfig
print(platform.python_implementation(), sys.version_info[0], sys.version_info[1],
      int(bool(sysconfig.get_config_var("Py_GIL_DISABLED"))), platform.python_version(), os.path.realpath(sys.base_prefix))
"""


@dataclass(frozen=True)
class Interpreter:
    """One CPython."""

    executable: Path
    """What to start."""
    minor: int
    """The N of 3.N."""
    release: str
    """The full version, as in 3.12.1."""
    base_prefix: str
    """Where it is installed; tells whether a virtual environment was made from it."""

    @property
    def version(self) -> str:
        """The version that users name, as in 3.12."""
        return f"3.{self.minor}"


def probe(executable: Path) -> Interpreter | None:
    """Return what `executable` is, or None if it is no CPython that is supported."""
    try:
        answer = subprocess.run(
            [str(executable), "-I", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        implementation, major, minor, without_gil, release, prefix = answer.strip().split(
            maxsplit=5
        )
    except ValueError:
        return None
    if (implementation, major, without_gil) != ("CPython", "3", "0") or int(minor) not in MINORS:
        return None
    return Interpreter(executable, int(minor), release, prefix)


def default() -> Interpreter:
    """Return the Python that runs this program; leave with an explanation if it is not supported."""
    interpreter = probe(Path(sys.executable))
    if interpreter is None:
        raise SystemExit(
            f"ferroloop needs CPython 3.{MINORS[0]} to 3.{MINORS[-1]} with the GIL; this is {sys.executable}, {sys.version}"
        )
    return interpreter


def find() -> list[Interpreter]:
    """Return the default interpreter and one of each other version, in that order."""
    first = default()
    found = {first.minor: first}
    for minor, candidate in _candidates():
        if minor not in found:
            interpreter = probe(candidate)
            if interpreter is not None and interpreter.minor == minor:
                found[minor] = interpreter
    return [first, *(found[minor] for minor in sorted(found) if minor != first.minor)]


def _candidates() -> Iterator[tuple[int, Path]]:
    for minor in MINORS:
        for folder in os.get_exec_path():
            executable = shutil.which(f"python3.{minor}", path=folder)
            if executable:
                yield minor, Path(executable)
        for versions in _pyenv_versions():
            releases = [
                path
                for path in versions.glob(f"3.{minor}.*")
                if path.name.replace(".", "").isdigit()
            ]
            for release in sorted(
                releases, key=lambda path: int(path.name.rsplit(".", 1)[1]), reverse=True
            ):
                yield minor, release / "bin" / "python"


def _pyenv_versions() -> Iterator[Path]:
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")]
    if shutil.which("pyenv"):
        answer = subprocess.run(
            ["pyenv", "root"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        roots.append(answer.stdout.strip())
    for root in dict.fromkeys(filter(None, roots)):
        yield Path(root) / "versions"
