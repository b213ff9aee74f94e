"""Reads which modules a source file imports, in Rust and in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from meta.project import CRATE, rust_code

_USE = re.compile(r"\buse\s+([^;]+);")
_PATH = re.compile(r"\b(?:crate|super|self|pyo3|libc|mio|socket2|rustix)(?:::\w+)+")
_MACRO_CRATE = re.compile(r"\$crate\b")


def rust_module(path: Path) -> tuple[str, ...]:
    """The module that a file of the crate defines: `src/logic/slab.rs` is `("logic", "slab")`."""
    parts = path.relative_to(CRATE).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def rust_paths(text: str) -> set[str]:
    """Every path that a Rust source names through `use` or in place."""
    code = _MACRO_CRATE.sub("crate", rust_code(text))
    paths = {path for tree in _USE.findall(code) for path in expand(tree)}
    paths |= set(_PATH.findall(_USE.sub(" ", code)))
    return paths


def rust_imports(path: Path) -> set[tuple[str, ...]]:
    """The paths inside the crate that a file names, from the crate's root down."""
    here = rust_module(path)
    found = set()
    for name in rust_paths(path.read_text(encoding="utf-8")):
        first, *rest = name.split("::")
        if first == "crate":
            found.add(tuple(rest))
        elif first in ("super", "self"):
            base = list(here) if first == "self" else list(here[:-1])
            while rest and rest[0] == "super":
                base, rest = base[:-1], rest[1:]
            found.add((*base, *rest))
    return found


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
