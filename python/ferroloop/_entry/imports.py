"""Runs a function on a module right after the module was imported.

Owns one finder at the head of `sys.meta_path`. Any thread may import.
"""

from __future__ import annotations

import importlib.abc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ("after_import",)


class _Loader(importlib.abc.Loader):
    """Executes a module with its own loader, then runs the hooks on it."""

    def __init__(
        self, loader: importlib.abc.Loader, hooks: list[Callable[[ModuleType], None]]
    ) -> None:
        """Stand in for `loader` until the module is executed."""
        self._loader = loader
        self._hooks = hooks

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Do what the module's own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module and run the hooks; raises what either raises."""
        # pkgutil, inspect and pickle look at the module later: they find its own loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for hook in self._hooks:
            hook(module)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules with hooks through the other finders, and has their hooks run."""

    def __init__(self) -> None:
        """Start without hooks."""
        self.hooks: dict[str, list[Callable[[ModuleType], None]]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that has hooks; None for every other."""
        hooks = self.hooks.get(fullname)
        if hooks is None:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if isinstance(spec.loader, importlib.abc.Loader) or hasattr(
                    spec.loader, "exec_module"
                ):
                    spec.loader = _Loader(spec.loader, hooks)  # type: ignore[arg-type]
                return spec
        return None


_FINDER = _Finder()


def after_import(name: str, hook: Callable[[ModuleType], None]) -> None:
    """Run `hook(module)` after the module `name` is imported, or now if it already is."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    _FINDER.hooks.setdefault(name, []).append(hook)
    module = sys.modules.get(name)
    if module is not None:
        hook(module)
