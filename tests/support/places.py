"""Places for Unix sockets: short paths, which is all that their addresses hold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def short_folder() -> Iterator[str]:
    """A new folder with a path of a few characters."""
    with tempfile.TemporaryDirectory(prefix="f", dir="/tmp") as folder:
        yield folder
