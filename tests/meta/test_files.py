"""Every file opens with its purpose, and files and folders stay small."""

from __future__ import annotations

import ast
import collections
from pathlib import Path

import pytest

from meta.project import CRATE, ROOT, crate_files, files, shown

MAX_LINES = 500
MAX_FILES = 15


def test_no_source_file_is_longer_than_500_lines() -> None:
    long = {
        shown(path): lines
        for path in files(".rs", ".py", ".pyi")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert not long


def test_every_rust_file_opens_with_a_doc_comment() -> None:
    silent = [
        shown(path)
        for path in files(".rs")
        if not path.read_text(encoding="utf-8").startswith("//!")
    ]
    assert not silent


def test_every_python_file_opens_with_a_docstring() -> None:
    silent = [
        shown(path)
        for path in files(".py")
        if (text := path.read_text(encoding="utf-8")).strip()
        and not ast.get_docstring(ast.parse(text))
    ]
    assert not silent


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in crate_files()} - {CRATE}),
    ids=lambda folder: folder.name,
)
def test_a_layer_lists_its_files(folder: Path) -> None:
    contract = (folder / "mod.rs").read_text(encoding="utf-8")
    missing = [
        path.stem
        for path in folder.glob("*.rs")
        if path.stem != "mod" and f"`{path.stem}`" not in contract
    ]
    assert not missing, f"{shown(folder)}/mod.rs does not name {missing}"


@pytest.mark.parametrize("suffix", [".rs", ".py", ".md"])
def test_no_folder_holds_more_than_fifteen_files(suffix: str) -> None:
    numbers = collections.Counter(path.parent for path in files(suffix) if path.name != "README.md")
    full = {shown(folder): number for folder, number in numbers.items() if number > MAX_FILES}
    assert not full


def test_the_project_has_what_a_reader_looks_for() -> None:
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "docs/architecture.md"):
        assert (ROOT / name).is_file(), name
