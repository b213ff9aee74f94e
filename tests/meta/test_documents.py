"""The documents name what exists, and the examples in them run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from meta.project import ROOT, files, shown

DOCUMENTS = files(".md")
README = ROOT / "README.md"


def _blocks(path: Path, language: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    local = [target.partition("#")[0] for target in targets if "://" not in target]
    assert not [name for name in local if name and not (path.parent / name).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_commands_run_programs_that_exist(path: Path) -> None:
    commands = "\n".join(_blocks(path, "(?:sh|console)"))
    programs = re.findall(r"(?:^|\s)((?:tools|examples|benches|tests|\.ci)/[\w./-]+)", commands)
    assert not [name for name in programs if not (ROOT / name).exists()]


def test_the_readme_starts_with_the_two_commands() -> None:
    commands = [line for block in _blocks(README, "sh") for line in block.splitlines()]
    assert "python3 tools/side_by_side.py" in commands
    assert "python3 tools/run_tests.py" in commands


@pytest.mark.parametrize("program", _blocks(README, "python") if README.exists() else [])
def test_a_program_of_the_readme_runs(program: str) -> None:
    command = [sys.executable, "-W", "error", "-c", program]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=25)
    assert finished.returncode == 0, finished.stderr
    expected = "".join(f"{text}\n" for text in re.findall(r"# > (.*)", program))
    assert finished.stdout == expected
