"""PyO3's conversions that panic where memory is short stay out of the crate.

clippy.toml forbids the constructors by name; conversions that PyO3 makes on the way to a call, and of what a method
returns, have no name at the place where they happen.
"""

from __future__ import annotations

import re

import pytest

from meta.project import crate_files, shown

SOURCES = crate_files()

# What takes something convertible where a name, a key or an argument goes.
CALLS = "getattr|getattr_opt|hasattr|setattr|delattr|call_method0|call_method1|call_method|set_item|get_item|import"

CONVERTED = {
    "a name that PyO3 converts; use name! or Text": re.compile(rf'\.(?:{CALLS})\(\s*"'),
    "a text that PyO3 converts; use Text": re.compile(r'\.call1?\(\s*\(\s*"'),
    "an exception that is made too late; use error::exception": re.compile(r"::new_err\b"),
    "text for an exception that is made too late; use error::exception": re.compile(
        r"PyErr::(?:new|from_type)\b"
    ),
}

# What a method that Python sees may return: nothing that PyO3 would convert by a constructor that panics.
FALLIBLE = re.compile(
    r"(?:PyResult<)?(?:Option<)?(?:\(\)|bool|Self|Py<.*|Py[A-Z]\w*<.*|Bound<.*|Int|Count|Float|Text<.*|"
    r"PyClassInitializer<.*)>*|Result<\(\), PyTraverseError>"
)


def code(text: str) -> str:
    """The text without comments and tests."""
    return re.sub(r"(?m)^\s*//.*$", "", text.split("#[cfg(test)]", maxsplit=1)[0])


@pytest.mark.parametrize("fault", CONVERTED)
def test_nothing_is_converted_by_what_panics(fault: str) -> None:
    found = [
        f"{shown(path)}: {match.group()}"
        for path in SOURCES
        for match in CONVERTED[fault].finditer(code(path.read_text()))
    ]
    assert not found, fault


def methods() -> list[tuple[str, str, str]]:
    """(file, method, what it returns) of every method in a `#[pymethods]` block."""
    found = []
    for path in SOURCES:
        for block in re.findall(r"(?ms)^#\[pymethods\]\nimpl .*?^}", code(path.read_text())):
            for name, result in re.findall(r"(?s)\bfn (\w+)[^{;]*?-> ([^{]+?) \{", block):
                found.append((shown(path), name, result))
    return found


def test_methods_return_what_cannot_panic() -> None:
    found = methods()
    assert len(found) > 100
    assert [entry for entry in found if not FALLIBLE.fullmatch(entry[2])] == []
