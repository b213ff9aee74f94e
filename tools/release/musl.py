"""Wheels for systems whose C library is musl, such as Alpine.

Owns nothing. Linked by zig; the behaviour tests run on them where the caller has a Python that is linked with musl.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from environments import ROOT
from release import checks, targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interpreters import Interpreter
    from release.toolbox import Toolbox

POLICY = "musllinux_1_2"
TARGET = "x86_64-unknown-linux-musl"


def build(tools: Toolbox, minors: Sequence[int], out: Path) -> list[Path]:
    """Build the wheels of CPython 3.N for each N, without a profile."""
    # A library that Python loads cannot have a C library of its own.
    flags = "-C target-feature=-crt-static"
    return [targets.build(tools, TARGET, minor, POLICY, out, flags) for minor in minors]


def check(
    tools: Toolbox, wheel: Path, python: Interpreter, pytest_arguments: Sequence[str]
) -> None:
    """Install the wheel for a Python that is linked with musl and run the behaviour tests on it."""
    minor = python.minor
    with tempfile.TemporaryDirectory() as place:
        checks.install_for(tools, wheel, minor, Path(place), (f"{POLICY}_x86_64",))
        tools.run(python.executable, "-c", checks.PROGRAM, environ={"PYTHONPATH": place})
        paths = pytest_arguments or [str(ROOT / "tests" / name) for name in checks.TESTS]
        pytest = (python.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
        tools.run(*pytest, *paths, environ={"PYTHONPATH": place})
