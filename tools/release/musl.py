"""Wheels for systems whose C library is musl, such as Alpine.

Owns nothing. Linked by zig; the behaviour tests run on them where the caller has a Python that is linked with musl.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import interpreters
from environments import ROOT, SetupError, say
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


def libraries(wheel: Path) -> None:
    """Check that the wheel needs no library but musl.

    Not by auditwheel: it expects the name that Alpine gives to musl. zig links to `libc.so`, the name that musl gives
    to itself; musl's loader takes both for itself.
    """
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".so"))
        extension = archive.extract(name, folder)
        command = ["readelf", "--dynamic", "--wide", extension]
        entries = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", entries)
    say(f"{wheel.name} needs {', '.join(needed)}")
    if needed != ["libc.so"]:
        raise SetupError(f"{wheel.name} needs more than musl: {', '.join(needed)}")


def interpreter(executable: Path, minors: Sequence[int]) -> Interpreter:
    """Return the Python to test on; raise SetupError if no wheel is built for it or it is not linked with musl."""
    python = interpreters.probe(executable)
    if python is None or python.free_threaded or python.minor not in minors:
        wanted = ", ".join(f"3.{minor}" for minor in minors)
        raise SetupError(f"{executable} is no CPython {wanted}, which wheels are built for")
    # Its loader's name. Before 3.11, no setting of Python tells.
    if b"/ld-musl-" not in executable.resolve().read_bytes():
        raise SetupError(f"{executable} is not linked with musl")
    return python


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
