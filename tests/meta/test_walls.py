"""What is kept in one place: unsafe code, the operating system, CPython's C interface, asyncio's private names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meta.imports import asyncio_attributes, python_imports, rust_module, rust_paths
from meta.project import crate_files, package_files, rust_code, shown

PRIVATE_ASYNCIO = "_compat"


def _layer(path: Path) -> str:
    return (rust_module(path) or ("lib",))[0]


def _outside(*allowed: str) -> list[Path]:
    return [path for path in crate_files() if _layer(path) not in allowed]


def _naming(paths: list[Path], *crates: str) -> list[tuple[str, str]]:
    """The files among `paths` that name something of these crates or modules."""
    return [
        (shown(path), name)
        for path in paths
        for name in sorted(rust_paths(path.read_text(encoding="utf-8")))
        if any(name == crate or name.startswith(f"{crate}::") for crate in crates)
    ]


def _lines(paths: list[Path], pattern: str) -> list[str]:
    return [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(rust_code(path.read_text(encoding="utf-8")).split("\n"), 1)
        if re.search(pattern, line)
    ]


def test_unsafe_code_is_in_sys_and_py_only() -> None:
    # `unsafe_code` is the lint's name, `unsafe(...)` an attribute's; `unsafe` alone opens unsafe code.
    assert not _lines(_outside("sys", "py"), r"\bunsafe\b(?!\()")


def test_the_operating_system_is_named_in_sys_only() -> None:
    assert not _naming(_outside("sys"), "libc", "mio", "socket2", "rustix")


def test_the_c_interface_of_cpython_is_named_in_py_only() -> None:
    assert not _naming(_outside("py"), "pyo3::ffi", "pyo3_ffi")


def test_the_data_structures_know_neither_python_nor_the_system() -> None:
    logic = [path for path in crate_files() if _layer(path) == "logic"]
    assert not _naming(logic, "pyo3", "libc", "mio", "socket2", "std::os", "std::net", "std::fs")


def test_nothing_outside_tests_unwraps() -> None:
    # Clippy refuses the same, and `panic!` without a reason; it can be silenced, this cannot.
    assert not _lines(crate_files(), r"\.(?:unwrap|expect|unwrap_err|expect_err)\(")


def test_private_names_of_asyncio_are_imported_in_one_file() -> None:
    found = [
        (shown(path), f"{module}.{name}")
        for path in package_files()
        if path.stem != PRIVATE_ASYNCIO
        for module, name in python_imports(path)
        if module.split(".")[0] in ("asyncio", "_asyncio")
        and any(_private(part) for part in [*module.split("."), name])
    ]
    found += [
        (shown(path), f"line {line}: {name}")
        for path in package_files()
        if path.stem != PRIVATE_ASYNCIO
        for line, name in asyncio_attributes(path)
        if any(map(_private, name.split(".")))
    ]
    assert not found


def _private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ('let a = "unsafe"; // unsafe', "let a = ; "),
        ("/* mio::Poll */ f()", "  f()"),
        ("#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }\nfn g() {}", "\n\nfn g() {}"),
        ("#[cfg(test)]\nuse std::x;\nfn g() {}", "\n\nfn g() {}"),
        ("fn f<'a>(c: char) -> bool { c == '\"' }", "fn f<'a>(c: char) -> bool { c ==   }"),
    ],
)
def test_code_is_told_from_comments_strings_and_tests(source: str, code: str) -> None:
    assert rust_code(source).split() == code.split()
