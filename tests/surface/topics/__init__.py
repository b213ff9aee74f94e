"""The cases, a file per topic. A case's name is its function's; what it attempts are its steps."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from surface.probe import Case


def modules() -> list[ModuleType]:
    """The files of this folder and of its subfolder."""
    names = sorted(
        module.name
        for module in pkgutil.walk_packages(__path__, f"{__name__}.")
        if not module.ispkg
    )
    return [importlib.import_module(name) for name in names]


def cases() -> list[Case]:
    """Every case of every topic, in the files' order."""
    return [
        value
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, Case) and value.topic == module.__name__.rpartition(".")[2]
    ]
