"""Loops of other packages: hides them from servers that try them, and reports one that runs.

A server that chooses a loop by itself tries to import one (`try: import uvloop`) and uses
asyncio's if that fails. Under `python -m ferroloop` such an import fails, so that the server uses
ferroloop. An import that names a loop succeeds. Main thread and importing threads.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import functools
import importlib.abc
import linecache
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from ferroloop._entry.imports import after_import
from ferroloop._entry.places import is_installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType

__all__ = ("LOOPS", "allowed", "hidden", "mind_other_loops", "say")

#: Packages with a loop of their own.
LOOPS = ("uvloop", "rloop", "rsloop", "zuvloop", "winloop")

_told: set[str] = set()
"""Classes of loops that were reported in this process."""
_watched: set[type[Any]] = set()
"""Classes of loops whose first run is reported."""
_choices: list[bool] = []
"""Innermost last: whether imports of other loops fail (True) or succeed in what runs now."""


def say(text: str) -> None:
    """Write one line to stderr; does nothing where the process has none."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"ferroloop: {text}\n")
            sys.stderr.flush()


def hidden() -> AbstractContextManager[None]:
    """Make imports of other loops fail while a server chooses a loop by itself."""
    return _choice(hides=True)


def allowed() -> AbstractContextManager[None]:
    """Make imports of other loops succeed, because the user named one."""
    return _choice(hides=False)


@contextlib.contextmanager
def _choice(*, hides: bool) -> Iterator[None]:
    _choices.append(hides)
    try:
        yield
    finally:
        _choices.pop()


class _Finder(importlib.abc.MetaPathFinder):
    """Hides another loop from an installed package that works without it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for a loop that is only tried; None leaves it to the others."""
        if fullname not in LOOPS or not _is_hidden(fullname):
            return None
        raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def _is_hidden(name: str) -> bool:
    if _choices:
        return _choices[-1]
    if _is_named(name):
        return False
    frame = _importer()
    return frame is not None and is_installed(frame.f_code.co_filename) and _copes(frame)


def _is_named(name: str) -> bool:
    """Whether a word of the command line or of the environment is the package's name."""
    # A folder may be named like a loop (VIRTUAL_ENV, PWD), so paths do not count.
    texts = [text for text in (*sys.argv, *os.environ.values()) if os.sep not in text]
    return any(re.search(rf"\b{name}\b", text) for text in texts)


def _importer() -> FrameType | None:
    """The frame whose import statement is being executed; None if it was called otherwise."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name != __name__ and not name.startswith(("importlib", "_frozen_importlib")):
            return frame
        frame = frame.f_back
    return None


def _source(frame: FrameType) -> str:
    """The text of the module whose code runs; empty where there is none."""
    spec = frame.f_globals.get("__spec__")
    get_source = getattr(getattr(spec, "loader", None), "get_source", None)
    if spec is not None and get_source is not None:
        # The import system reads here, which blockbuster permits.
        with contextlib.suppress(ImportError, OSError, SyntaxError, ValueError):
            return get_source(spec.name) or ""
    return "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))


def _copes(frame: FrameType) -> bool:
    """Whether the import is in a `try` whose handler does not raise again."""
    try:
        tree = ast.parse(_source(frame))
    except (SyntaxError, ValueError):
        return False
    line = frame.f_lineno
    for node in ast.walk(tree):
        if not isinstance(node, ast.Try) or not node.body:
            continue
        last = node.body[-1].end_lineno or node.body[-1].lineno
        if not node.body[0].lineno <= line <= last:
            continue
        for handler in node.handlers:
            if _catches_import_errors(handler):
                return not any(isinstance(inner, ast.Raise) for inner in ast.walk(handler))
    return False


def _catches_import_errors(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def _tell_of(loop_class: type[Any]) -> None:
    """Report once in each process that a loop of this class runs."""
    name = f"{loop_class.__module__}.{loop_class.__qualname__}"
    if name not in _told:
        _told.add(name)
        say(f"this process (pid {os.getpid()}) runs {name}, which the program or its options name")


def _watch_class(loop_class: type[Any]) -> None:
    """Report the first run of a loop of this class or a subclass."""
    run_forever = loop_class.run_forever

    @functools.wraps(run_forever)
    def telling(self: Any) -> Any:
        _tell_of(type(self))
        return run_forever(self)

    with contextlib.suppress(TypeError):  # a class that takes no attributes
        loop_class.run_forever = telling


def _watch_package(module: ModuleType) -> None:
    """Watch the loop classes of a package, wherever in it they are defined."""
    package = module.__name__
    for name, inner in list(sys.modules.items()):
        if name.partition(".")[0] != package:
            continue
        for value in list(vars(inner).values()):
            if (
                isinstance(value, type)
                and issubclass(value, asyncio.AbstractEventLoop)
                and value.__module__.partition(".")[0] == package
                and value not in _watched
            ):
                _watched.add(value)
                _watch_class(value)


def mind_other_loops() -> None:
    """Hide other loops from packages that try them, and report those that run."""
    for name in LOOPS:
        after_import(name, _watch_package)
    sys.meta_path.insert(0, _Finder())
    _watch_class(asyncio.BaseEventLoop)
