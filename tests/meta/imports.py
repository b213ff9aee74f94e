"""Reads which modules a source file imports, in Rust and in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from meta.project import CRATE, rust_code

_USE = re.compile(r"(\bpub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);")
_PATH = re.compile(r"\b(?:crate|super|self|pyo3|libc|mio|socket2|rustix)(?:::\w+)+")

Module = tuple[str, ...]


def rust_module(path: Path) -> Module:
    """The module that a file of the crate defines: `src/logic/slab.rs` is `("logic", "slab")`."""
    parts = path.relative_to(CRATE).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def rust_paths(text: str) -> set[str]:
    """Every path that a Rust source names through `use` or in place."""
    used, exported = _uses(text)
    return used | exported


def _uses(text: str) -> tuple[set[str], set[str]]:
    """The paths that a Rust source uses, and those that it passes on with `pub use`."""
    code = rust_code(text).replace("$crate", "crate")
    used = set(_PATH.findall(_USE.sub(" ", code)))
    exported: set[str] = set()
    for public, tree in _USE.findall(code):
        (exported if public else used).update(expand(tree))
    return used, exported


def rust_graph(paths: Iterable[Path]) -> dict[Module, set[Module]]:
    """Which other modules of the crate each one imports.

    A name that a module passes on counts as an import of the module that it comes from.
    """
    modules = {rust_module(path): path.read_text(encoding="utf-8") for path in paths}
    passed_on: dict[Module, Module] = {}
    used: dict[Module, set[Module]] = {}
    for here, text in modules.items():
        own, exported = _uses(text)
        used[here] = {path for name in own if (path := _inside(name, here, modules))}
        for name in exported:
            if path := _inside(name, here, modules):
                passed_on[here + path[-1:]] = path
    graph = {}
    for here, names in used.items():
        targets = {_owner(name, modules, passed_on) for name in names}
        graph[here] = targets - {here}
    return graph


def _inside(name: str, here: Module, modules: Container[Module]) -> Module | None:
    """A path from the crate's root down; None for one that leads out of the crate."""
    first, *rest = name.split("::")
    if first == "crate":
        return tuple(rest)
    if first in ("super", "self"):
        base = here if first == "self" else here[:-1]
        while rest and rest[0] == "super":
            base, rest = base[:-1], rest[1:]
        return (*base, *rest)
    return (*here, first, *rest) if (*here, first) in modules else None


def _owner(name: Module, modules: Container[Module], passed_on: Mapping[Module, Module]) -> Module:
    """The module that defines what a path names."""
    for size in range(len(name), 0, -1):
        if name[:size] in passed_on and name[:size] not in modules:
            return _owner(passed_on[name[:size]] + name[size:], modules, passed_on)
    return next(name[:size] for size in range(len(name), -1, -1) if name[:size] in modules)


def expand(tree: str) -> Iterator[str]:
    """The paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`."""
    tree = re.sub(r"\s+as\s+\w+", "", tree).strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        yield re.sub(r"\s+", "", tree.removeprefix("::"))
        return
    inner = rest[: rest.rindex("}")]
    depth, start = 0, 0
    for position, character in enumerate(inner + ","):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            branch = inner[start:position].strip()
            start = position + 1
            if branch:
                yield from expand(head + branch)


def python_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Each (module, name) that a Python file imports; the name is empty for `import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            module = (
                "ferroloop" + (f".{node.module}" if node.module else "")
                if node.level
                else node.module
            )
            for alias in node.names:
                yield module or "", alias.name


def asyncio_attributes(path: Path) -> Iterator[tuple[int, str]]:
    """Each (line, dotted name) that a Python file reads from asyncio: `asyncio.events._x`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        parts = []
        inner: ast.expr | ast.AST = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if parts and isinstance(inner, ast.Name) and inner.id == "asyncio":
            yield inner.lineno, ".".join(["asyncio", *reversed(parts)])
