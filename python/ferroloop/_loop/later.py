"""Functions whose modules are imported at their first use, to keep `import ferroloop` fast.

Any thread may use it. The first use replaces the function on its class by the real one, so later calls
cost the same as those of other methods.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from typing import Any

__all__ = ("Topic",)


class Topic:
    """Stands for a module of the package that is not imported yet."""

    def __init__(self, module: str) -> None:
        """Take the full name of the module."""
        self._module = module

    def __getattr__(self, name: str) -> _Later:
        return _Later(self._module, name)


class _Later:
    """Stands on a class for a function of a module that is not imported yet."""

    def __init__(self, module: str, name: str) -> None:
        """Take the module's full name and the function's."""
        self._module = module
        self._name = name
        self._places: list[tuple[type[Any], str]] = []

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._places.append((owner, name))

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        function = getattr(importlib.import_module(self._module), self._name)
        for place, name in self._places:
            # A program may have put another one there meanwhile.
            if vars(place).get(name) is self:
                setattr(place, name, function)
        return function.__get__(instance, owner)
