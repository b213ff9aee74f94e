"""Paths of files, found by calls that blockbuster does not check: see docs/compatibility/introspection.md.

The functions that `python -m ferroloop` installs also run while a loop runs, when a coroutine starts a process
or imports a package, and blockbuster must not report calls that the program has not made. Any thread.
"""

from __future__ import annotations

import functools
import os
import site
import sys
from typing import TYPE_CHECKING

if sys.platform == "win32":
    from os import getcwd, stat
else:
    from posix import getcwd, stat

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("absolute", "is_installed", "same_file")

_Id = tuple[int, int]


def absolute(path: str | os.PathLike[str]) -> str:
    """Return what os.path.abspath returns; raises OSError if the current folder is gone."""
    text = os.fspath(path)
    return os.path.normpath(text if os.path.isabs(text) else os.path.join(getcwd(), text))


def same_file(one: str, other: str) -> bool:
    """Whether both paths lead to one file that is there."""
    return one == other or ((found := _identity(one)) is not None and found == _identity(other))


def is_installed(path: str) -> bool:
    """Whether a file lies in a folder of installed packages, also if symbolic links lead there."""
    return any(
        os.path.basename(folder) in {"site-packages", "dist-packages"}
        or _identity(folder) in _package_folders()
        for folder in _parents(path)
    )


def _parents(path: str) -> Iterator[str]:
    folder = os.path.dirname(absolute(path))
    while folder != (above := os.path.dirname(folder)):
        yield folder
        folder = above


@functools.cache
def _package_folders() -> frozenset[_Id]:
    found = map(_identity, site.getsitepackages())
    return frozenset(identity for identity in found if identity is not None)


def _identity(path: str) -> _Id | None:
    try:
        found = stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
