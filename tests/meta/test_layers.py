"""Imports go down only, in the crate and in the package, as docs/architecture.md tabulates it."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Hashable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TypeVar

import pytest

from meta.imports import Module, expand, python_imports, rust_graph, rust_module
from meta.project import PACKAGE, crate_files, layers, package_files

N = TypeVar("N", bound=Hashable)

RUST = "Layers of the crate"
PYTHON = "Layers of the package"


def _ranks(title: str) -> dict[str, int]:
    return {name: rank for rank, names in enumerate(layers(title)) for name in names}


def _layer(module: Module) -> str:
    return module[0] if module else "lib"


def _rust_graph() -> dict[Module, set[Module]]:
    return rust_graph(crate_files())


def _python_module(path: Path) -> str:
    """The name of a file of the package without the package's own: `_loop`, `_entry.children`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _python_layer(module: str) -> str:
    """The row of the table that a module belongs to: its own, or that of its package."""
    return module if module in _ranks(PYTHON) else module.partition(".")[0]


def _modules_of_the_package() -> list[Path]:
    """The files of the package, without inner `__init__`s, which hold a docstring and nothing else."""
    return [
        path for path in package_files() if path.name != "__init__.py" or path.parent == PACKAGE
    ]


def _python_graph() -> dict[str, set[str]]:
    """Which other modules of the package each one imports."""
    names = {_python_module(path) for path in _modules_of_the_package()} | {"_native"}
    graph: dict[str, set[str]] = {}
    for path in _modules_of_the_package():
        found = set()
        for module, name in python_imports(path):
            if module != "ferroloop" and not module.startswith("ferroloop."):
                continue
            inside = module.removeprefix("ferroloop").removeprefix(".")
            longer = f"{inside}.{name}".strip(".")
            found.add(longer if longer in names else inside or "__init__")
        here = _python_module(path)
        graph[here] = found - {here}
    return graph


def _upward(
    graph: Mapping[N, AbstractSet[N]], layer: Callable[[N], str], title: str
) -> set[tuple[N, N]]:
    """The imports of a graph that go to a higher layer."""
    ranks = _ranks(title)
    return {
        (here, target)
        for here, targets in graph.items()
        for target in targets
        if ranks[layer(target)] > ranks[layer(here)]
    }


def _assert_no_cycle(graph: Mapping[Hashable, AbstractSet[Hashable]]) -> None:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        names = (
            "::".join(node) if isinstance(node, tuple) else str(node) for node in error.args[1]
        )
        pytest.fail(f"these import each other: {' <- '.join(names)}")


def test_every_module_of_the_crate_has_a_layer() -> None:
    assert {_layer(rust_module(path)) for path in crate_files()} == set(_ranks(RUST))


def test_the_crate_imports_downwards_only() -> None:
    assert not _upward(_rust_graph(), _layer, RUST)


def test_no_two_files_of_the_crate_import_each_other() -> None:
    _assert_no_cycle({here: set(targets) for here, targets in _rust_graph().items()})


def test_every_module_of_the_package_has_a_layer() -> None:
    layers = {_python_layer(_python_module(path)) for path in _modules_of_the_package()}
    assert layers | {"_native"} == set(_ranks(PYTHON))


def test_the_package_imports_downwards_only() -> None:
    assert not _upward(_python_graph(), _python_layer, PYTHON)


def test_no_two_modules_of_the_package_import_each_other() -> None:
    _assert_no_cycle({here: set(targets) for here, targets in _python_graph().items()})


@pytest.mark.parametrize(
    ("tree", "paths"),
    [
        ("crate::error", {"crate::error"}),
        (
            "crate::{py::call, sys::{self, clock}}",
            {"crate::py::call", "crate::sys::self", "crate::sys::clock"},
        ),
        ("pyo3::{ffi, prelude::*}", {"pyo3::ffi", "pyo3::prelude::*"}),
        ("super::slab::Key as Token", {"super::slab::Key"}),
    ],
)
def test_use_trees_are_read(tree: str, paths: set[str]) -> None:
    assert set(expand(tree)) == paths
