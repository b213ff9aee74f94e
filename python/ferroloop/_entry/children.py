"""Carries ferroloop into processes that multiprocessing starts with a new interpreter.

multiprocessing (`spawn` and `forkserver`) sends each child a pickled dictionary before the child
imports the program's main module. An extra item of the dictionary calls `take_over` when it is
unpickled. In a child whose interpreter has no ferroloop it unpickles to None and does nothing else.
Any thread.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import ferroloop
from ferroloop._entry.imports import after_import
from ferroloop._entry.places import absolute

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ("reach_children",)

#: Runs in the child while its dictionary is unpickled, before the parent's `sys.path` arrives; only
#: builtins may be relied on. The parent's folder is tried only by an interpreter of its version.
_ARRIVAL = """\
import sys
added = tag == sys.implementation.cache_tag and folder not in sys.path
if added:
    sys.path.append(folder)
before = set(sys.modules)
try:
    from ferroloop._entry.takeover import take_over
except ImportError:
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "ferroloop":
            del sys.modules[name]
else:
    take_over(**options)
finally:
    if added and folder in sys.path:
        sys.path.remove(folder)
"""


class _Carrier:
    """An object that takes over in the process that unpickles it, where it becomes None."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Carry the keyword arguments of `take_over`."""
        self._options = options

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str, dict[str, Any]]]:
        """Have pickle call `exec`, which every interpreter has."""
        names = {
            "folder": os.path.dirname(os.path.dirname(absolute(ferroloop.__file__))),
            "tag": sys.implementation.cache_tag,
            "options": self._options,
        }
        return exec, (_ARRIVAL, names)


def reach_children(options: dict[str, Any]) -> None:
    """Have every later child call `take_over` with these keyword arguments."""

    def mind(module: ModuleType) -> None:
        get_preparation_data = module.get_preparation_data

        def with_carrier(name: str) -> dict[str, Any]:
            data: dict[str, Any] = get_preparation_data(name)
            data["ferroloop"] = _Carrier(options)
            return data

        module.get_preparation_data = with_carrier  # type: ignore[attr-defined]

    after_import("multiprocessing.spawn", mind)
