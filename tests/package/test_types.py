"""What type checkers make of the package: mypy and basedpyright on a program that uses every call.

On the Python that the checkers are installed for, which is the default one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ferroloop

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "static" / "every_call.py"
#: Those that checkers have to agree on, as they read the standard library differently for each.
VERSIONS = ("3.10", "3.14")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def needs(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed for this Python")


def check(*command: str) -> str:
    """What a checker prints."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "python"), "MYPYPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_program_uses_every_public_name() -> None:
    words = set(re.findall(r"\w+", PROGRAM.read_text()))
    public = {*ferroloop.__all__, *(name for name in dir(ferroloop.Loop) if name[0] != "_")}
    assert public - words == set()


@needs("mypy")
@pytest.mark.parametrize("version", VERSIONS)
def test_mypy_knows_every_type(version: str) -> None:
    options = ("--strict", "--config-file", os.devnull, "--python-version", version)
    output = check("mypy", *options, str(PROGRAM))
    assert output.startswith("Success"), output


@needs("basedpyright")
@pytest.mark.parametrize("version", VERSIONS)
def test_basedpyright_knows_every_type(version: str, tmp_path: Path) -> None:
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(
        json.dumps(
            {
                "include": [str(PROGRAM)],
                "extraPaths": [str(ROOT / "python")],
                "pythonVersion": version,
                "pythonPlatform": "Linux",
                "typeCheckingMode": "strict",
            }
        )
    )
    options = ("--project", str(settings), "--pythonpath", sys.executable)
    output = check("basedpyright", *options)
    assert output.startswith("0 errors, 0 warnings"), output


@needs("basedpyright")
def test_every_public_type_is_complete() -> None:
    options = ("--verifytypes", "ferroloop", "--ignoreexternal", "--pythonpath", sys.executable)
    output = check("basedpyright", *options)
    assert "Type completeness score: 100%" in output, output
