"""The links of the documents resolve, and the commands and programs in them run."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from meta.project import ROOT, files, shown
from surface.differences import DIFFERENCES

DOCUMENTS = files(".md")
README = ROOT / "README.md"
OURS = re.compile(
    r"https://(?:github\.com/ferroloop/ferroloop/(?:blob|tree)|raw\.githubusercontent\.com/ferroloop/ferroloop)/main/"
)
"""How the address of a file of the project begins."""


def _blocks(path: Path, language: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _prose(path: Path) -> str:
    return re.sub(
        r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


@functools.cache
def _places(path: Path) -> set[str]:
    """What a link to a heading of the document may name, as GitHub and the site make it."""
    headings = re.findall(r"^#+ (.+)$", _prose(path), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {text.strip().replace(" ", "-") for text in words}


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_links_to_files_and_headings_resolve(path: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(path)):
        name, _, place = link.partition("#")
        target = path.parent / name if name else path
        if "://" in link:
            continue
        if not target.exists() or (place and place not in _places(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_files_that_the_prose_names_exist(path: Path) -> None:
    """Of `tests`, other projects have files too."""
    named = re.findall(r"`((?:src|python|docs|benches|tools|examples)/[\w./-]+)`", _prose(path))
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("topic", sorted({entry.topic for entry in DIFFERENCES}))
def test_a_difference_of_the_surface_is_a_row_of_a_compatibility_page(topic: str) -> None:
    pages = (ROOT / "docs" / "compatibility").glob("*.md")
    assert any(f"\n| {topic} |" in page.read_text(encoding="utf-8") for page in pages)


def test_the_readme_leads_to_files_by_their_full_addresses() -> None:
    """The package index shows the README, where a link relative to the file leads nowhere."""
    text = README.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    addresses = [address for pair in targets for address in pair if address]
    assert not [address for address in addresses if "://" not in address]
    ours = [address[found.end() :] for address in addresses if (found := OURS.match(address))]
    assert ours
    assert not [path for path in ours if not (ROOT / path).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_commands_run_programs_that_exist(path: Path) -> None:
    commands = "\n".join(_blocks(path, "(?:sh|console)"))
    programs = re.findall(r"(?:^|\s)((?:tools|examples|benches|tests|\.ci)/[\w./-]+)", commands)
    assert not [name for name in programs if not (ROOT / name).exists()]


def test_the_readme_starts_with_the_two_commands() -> None:
    commands = [line for block in _blocks(README, "sh") for line in block.splitlines()]
    assert "python3 tools/side_by_side.py" in commands
    assert "python3 tools/run_tests.py" in commands


PROGRAMS = [
    pytest.param(program, id=f"{shown(path)}-{number}")
    for path in DOCUMENTS
    for number, program in enumerate(_blocks(path, "python"))
    if "\n# > " in program
]
"""Those that say what they print."""


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_prints_what_the_document_says(program: str) -> None:
    for name in re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE):
        pytest.importorskip(name)
    command = [sys.executable, "-W", "error", "-c", program]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=25)
    assert finished.returncode == 0, finished.stderr
    expected = "".join(f"{text}\n" for text in re.findall(r"# > (.*)", program))
    assert finished.stdout == expected
