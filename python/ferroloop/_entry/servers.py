"""Makes servers that choose a loop by themselves choose ferroloop's.

Each function gets a module of the server right after its import. A loop that the user names is used.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.abc
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from ferroloop import new_event_loop
from ferroloop._entry import uvicorn_auto
from ferroloop._entry.imports import after_import
from ferroloop._entry.other_loops import allowed, hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ("mind_servers",)


class _UvicornFinder(importlib.abc.MetaPathFinder):
    """Replaces the module by which uvicorn chooses its loop."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec for that one name, None for every other."""
        if fullname != "uvicorn.loops.auto":
            return None
        return importlib.util.spec_from_file_location(fullname, uvicorn_auto.__file__)


def _granian(module: ModuleType) -> None:
    """Granian keeps a registry of loops; `auto`, its default, takes the fastest that it knows."""
    registry = getattr(module, "loops", None)
    if registry is None:
        return

    def build() -> Any:
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        return loop

    registry.register("ferroloop")(build)
    registry.register("auto")(build)


def _gunicorn_asgi(module: ModuleType) -> None:
    """Gunicorn's ASGI worker takes uvloop where its setting `asgi_loop` is `auto`, the default."""

    def setup_event_loop(choose: Callable[[Any], Any], worker: Any) -> Any:
        named = getattr(worker.cfg, "asgi_loop", "auto") != "auto"
        with allowed() if named else hidden():
            return choose(worker)

    _wrap_method(module, "ASGIWorker", "_setup_event_loop", setup_event_loop)


def _sanic(module: ModuleType) -> None:
    """Sanic takes uvloop unless its setting `USE_UVLOOP` is False."""

    def setup_loop(choose: Callable[[Any], Any], app: Any) -> Any:
        if app.config.USE_UVLOOP is True:
            with allowed():
                return choose(app)
        return None

    _wrap_method(module, "StartupMixin", "setup_loop", setup_loop)


def _wrap_method(
    module: ModuleType, kind: str, name: str, wrapper: Callable[[Callable[[Any], Any], Any], Any]
) -> None:
    """Have `wrapper(method, self)` called instead of the method `name` of the class `kind`, if it exists."""
    owner = getattr(module, kind, None)
    method = getattr(owner, name, None)
    if owner is None or method is None:
        return

    @functools.wraps(method)
    def wrapped(self: Any) -> Any:
        return wrapper(method, self)

    setattr(owner, name, wrapped)


def mind_servers() -> None:
    """Make the servers choose ferroloop's loop if the user names none."""
    sys.meta_path.insert(0, _UvicornFinder())
    after_import("granian._loops", _granian)
    after_import("gunicorn.workers.gasgi", _gunicorn_asgi)
    after_import("sanic.mixins.startup", _sanic)
