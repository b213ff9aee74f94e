"""Imports go down only, in the crate and in the package, as docs/architecture.md tabulates it."""

from __future__ import annotations

import graphlib
from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet

import pytest

from meta.imports import Module, expand, python_imports, rust_graph, rust_module
from meta.project import crate_files, layers, package_files

RUST = "Layers of the crate"
PYTHON = "Layers of the package"


def _ranks(title: str) -> dict[str, int]:
    return {name: rank for rank, names in enumerate(layers(title)) for name in names}


def _layer(module: Module) -> str:
    return module[0] if module else "lib"


def _rust_graph() -> dict[Module, set[Module]]:
    return rust_graph(crate_files())


def _python_graph() -> dict[str, set[str]]:
    """Which other modules of the package each one imports."""
    names = {path.stem for path in package_files()} | {"_native"}
    graph: dict[str, set[str]] = {}
    for path in package_files():
        found = set()
        for module, name in python_imports(path):
            if module == "ferroloop":
                found.add(name if name in names else "__init__")
            elif module.startswith("ferroloop."):
                found.add(module.split(".")[1])
        graph[path.stem] = found - {path.stem}
    return graph


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
    ranks = _ranks(RUST)
    upward = {
        ("::".join(here) or "lib", "::".join(target) or "lib")
        for here, targets in _rust_graph().items()
        for target in targets
        if ranks[_layer(target)] > ranks[_layer(here)]
    }
    assert not upward


def test_no_two_files_of_the_crate_import_each_other() -> None:
    _assert_no_cycle({here: set(targets) for here, targets in _rust_graph().items()})


def test_every_module_of_the_package_has_a_layer() -> None:
    assert {path.stem for path in package_files()} | {"_native"} == set(_ranks(PYTHON))


def test_the_package_imports_downwards_only() -> None:
    ranks = _ranks(PYTHON)
    upward = {
        (here, target)
        for here, targets in _python_graph().items()
        for target in targets
        if ranks[target] > ranks[here]
    }
    assert not upward


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
