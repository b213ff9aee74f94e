"""Wheels for aarch64, and the behaviour tests on them.

Owns a folder with Debian unstable of that processor with its Pythons, which the kernel runs through qemu-user. The tests
need root and debootstrap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from environments import ROOT, SetupError
from release import checks, targets
from release.debian import Folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from release.toolbox import Toolbox

POLICY = "manylinux2014"
TARGET = "aarch64-unknown-linux-gnu"
TESTS = (*checks.TESTS, "tls")
"""Folders of `tests` that are run under emulation."""


def build(tools: Toolbox, minors: Sequence[int], out: Path) -> list[Path]:
    """Build the aarch64 wheels of CPython 3.N for each N, without a profile: there is no processor to make one on."""
    return [targets.build(tools, TARGET, minor, POLICY, out) for minor in minors]


def check(tools: Toolbox, wheels: Sequence[Path], pytest_arguments: Sequence[str]) -> None:
    """Run the behaviour tests on each wheel with Debian's arm64 Python; raise SetupError if one fails."""
    minors = [_minor(wheel) for wheel in wheels]
    packages = [f"python3.{minor}" for minor in minors]
    folder = Folder("arm64", [*packages, "procps"], processor="arm64")
    folder.ensure()
    failed = []
    for wheel, minor in zip(wheels, minors, strict=True):
        place = f"opt/3.{minor}"
        policies = ("manylinux2014", "manylinux_2_28", "manylinux_2_34")
        tags = [f"{policy}_aarch64" for policy in policies]
        checks.install_for(tools, wheel, minor, folder.path / place, tags)
        # Emulated, everything takes some ten times as long.
        pytest = (
            f"python3.{minor}",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--timeout",
            "900",
        )
        paths = pytest_arguments or [str(ROOT / "tests" / name) for name in TESTS]
        try:
            folder.run([*pytest, *paths], shared=[ROOT], environ={"PYTHONPATH": f"/{place}"})
        except SetupError as error:
            failed.append(str(error))
    if failed:
        raise SetupError("\n".join(failed))


def _minor(wheel: Path) -> int:
    return int(wheel.name.split("-")[2].removeprefix("cp3").rstrip("t"))
