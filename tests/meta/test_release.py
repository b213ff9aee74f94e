"""What the release's own checks find in a wheel's description and in its list of crates."""

from __future__ import annotations

import json

import pytest

import environments
from release import checks


def test_the_readme_has_no_link_that_the_package_index_cannot_follow() -> None:
    text = (environments.ROOT / "README.md").read_text(encoding="utf-8")
    assert "](https://" in text
    assert checks.relative_links(text) == []


@pytest.mark.parametrize(
    "text",
    ["see [a page](docs/index.md)", "![chart](docs/c.svg)", '<img src="docs/c.svg">', '<a href="x">'],
)
def test_relative_links_are_found(text: str) -> None:
    assert len(checks.relative_links(f"[top](#top) {text} [there](https://example.org)")) == 1


def test_a_list_of_crates_names_every_dependency_with_its_version() -> None:
    names = ["libc", "memchr", "mio", "pyo3", "socket2"]
    parts = [{"name": name, "version": "1"} for name in names]
    assert checks.lists_crates(json.dumps({"components": parts}))
    assert not checks.lists_crates(json.dumps({"components": parts[:-1]}))
    assert not checks.lists_crates("{}")
