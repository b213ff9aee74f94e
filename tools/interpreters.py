"""Finds the CPythons on this machine that ferroloop supports.

The Python that runs the command comes first (the default one), then what PATH offers as `python3.N` and, free-threaded,
`python3.Nt`, then pyenv's versions folder. One interpreter is taken for each version; anything that is not a CPython, or
does not start (pyenv's shims for versions that are not selected), is passed over.
"""

from __future__ import annotations

import os
import re
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
FREE_THREADED = range(14, 16)
"""Those of them whose free-threaded builds are tested too."""

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
    free_threaded: bool
    """Whether it is a build that can run without the GIL."""
    release: str
    """The full version, as in 3.12.1."""
    base_prefix: str
    """Where it is installed; tells whether a virtual environment was made from it."""

    @property
    def version(self) -> str:
        """The version that users name, as in 3.12, or 3.14t for a free-threaded build."""
        return _version(self.minor, self.free_threaded)


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
        implementation, major, minor, free_threaded, release, prefix = answer.strip().split(
            maxsplit=5
        )
    except ValueError:
        return None
    minors = FREE_THREADED if free_threaded == "1" else MINORS
    if (implementation, major) != ("CPython", "3") or int(minor) not in minors:
        return None
    return Interpreter(executable, int(minor), free_threaded == "1", release, prefix)


def _version(minor: int, free_threaded: bool) -> str:
    return f"3.{minor}{'t' if free_threaded else ''}"


def default() -> Interpreter:
    """Return the Python that runs this program; leave with an explanation if it is not supported."""
    interpreter = probe(Path(sys.executable))
    if interpreter is None:
        raise SystemExit(
            f"ferroloop needs CPython 3.{MINORS[0]} to 3.{MINORS[-1]}, free-threaded from 3.{FREE_THREADED[0]} on; "
            f"this is {sys.executable}, {sys.version}"
        )
    return interpreter


def find() -> list[Interpreter]:
    """Return the default interpreter and one of each other version, in that order."""
    first = default()
    found = {first.version: first}
    for version, candidate in _candidates():
        if version not in found:
            interpreter = probe(candidate)
            if interpreter is not None and interpreter.version == version:
                found[version] = interpreter
    rest = [interpreter for interpreter in found.values() if interpreter is not first]
    return [first, *sorted(rest, key=lambda it: (it.free_threaded, it.minor))]


def _candidates() -> Iterator[tuple[str, Path]]:
    kinds = [*((minor, False) for minor in MINORS), *((minor, True) for minor in FREE_THREADED)]
    for minor, free_threaded in kinds:
        version = _version(minor, free_threaded)
        for folder in os.get_exec_path():
            executable = shutil.which(f"python{version}", path=folder)
            if executable:
                yield version, Path(executable)
        for versions in _pyenv_versions():
            form = re.compile(rf"3\.{minor}\.(\d+){'t' if free_threaded else ''}")
            named = [(form.fullmatch(path.name), path) for path in versions.glob(f"3.{minor}.*")]
            releases = [(int(found[1]), path) for found, path in named if found]
            for _, release in sorted(releases, reverse=True):
                yield version, release / "bin" / "python"


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
