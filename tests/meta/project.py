"""The project's files as the tests of this folder see them: where they are, and their code without comments."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "ferroloop"
CRATE = ROOT / "src"
NOT_OURS = {"target", "__pycache__"}
"""Folders besides the hidden ones that hold what tools made."""

_RUST_NOISE = re.compile(
    r"""
      //[^\n]*                                  # line comment
    | /\*.*?\*/                                 # block comment
    | b?r(\#*)".*?"\1                           # raw string
    | b?c?"(?:\\.|[^"\\])*"                     # string
    | b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F]+\}|.)|[^'\\])'   # character
    """,
    re.VERBOSE | re.DOTALL,
)
_TEST_ITEM = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*")


def files(*suffixes: str) -> list[Path]:
    """Every file of the project with one of these suffixes, without what is built or installed."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name[0] != "." and name not in NOT_OURS]
        found += [Path(folder, name) for name in names if name.endswith(suffixes)]
    return sorted(found)


def crate_files() -> list[Path]:
    """The Rust files of the extension."""
    return sorted(CRATE.rglob("*.rs"))


def package_files() -> list[Path]:
    """The Python files of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def shown(path: Path) -> str:
    """A path as it is written in messages."""
    return str(path.relative_to(ROOT))


def rust_code(text: str) -> str:
    """Rust source without comments, strings and test items; line numbers stay."""
    text = _RUST_NOISE.sub(lambda noise: "\n" * noise[0].count("\n") or " ", text)
    while match := _TEST_ITEM.search(text):
        end = _item_end(text, match.end())
        text = text[: match.start()] + "\n" * text.count("\n", match.start(), end) + text[end:]
    return text


def _item_end(text: str, start: int) -> int:
    """Where the item that begins at `start` ends: its semicolon, or the brace that closes it."""
    depth = 0
    for position in range(start, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return position + 1
        elif text[position] == ";" and depth == 0:
            return position + 1
    return len(text)


def layers(title: str) -> list[list[str]]:
    """The layers that docs/architecture.md tabulates under a heading, the lowest first.

    The first column holds the names, in backticks; several names in one row are one layer.
    """
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/architecture.md has no heading {title!r}"
    rows = [line.split("|")[1] for line in section[1].splitlines() if line.startswith("| `")]
    assert rows, f"no table under {title!r}"
    return [re.findall(r"`([^`]+)`", row) for row in rows]
