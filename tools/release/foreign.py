"""Wheels for aarch64, and the behaviour tests on them.

Owns two folders with Debian unstable: one with a compiler that has Rust's standard library for the target, one of the
target's processor with its Pythons, which the kernel runs through qemu-user. Needs root and debootstrap.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from environments import ROOT, SetupError
from release.debian import Folder
from release.finish import ENVIRON, finish
from release.native import POLICY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release.toolbox import Toolbox

_COMPILER = ("cargo", "gcc", "libc6-dev", "llvm-22", "python3-venv", "python3.14-venv", "rustc")
_TOOLS = Path("/opt/release")
"""Where the programs of the dependency group `release` are, in the compiler's folder."""
TESTS = (
    "loop",
    "streams",
    "stream_readers",
    "connecting",
    "datagrams",
    "pipes",
    "processes",
    "sockets",
    "tls",
)
"""Folders of `tests` that are run under emulation."""


def compiler() -> Folder:
    """Return the folder with Rust for both processors."""
    folder = Folder("compiler", _COMPILER, foreign=("libstd-rust-dev:arm64",))
    folder.ensure()
    if not (folder.path / str(_TOOLS).lstrip("/") / "bin" / "maturin").exists():
        folder.run(["python3.14", "-m", "venv", _TOOLS])
        group = f"{ROOT / 'pyproject.toml'}:release"
        folder.run([_TOOLS / "bin" / "pip", "install", "--quiet", "--group", group], shared=[ROOT])
    return folder


def build(tools: Toolbox, minors: Sequence[int], out: Path) -> list[Path]:
    """Build the aarch64 wheels of CPython 3.N for each N, without a profile: there is no processor to make one on."""
    folder = compiler()
    scratch = out / "unchecked"
    shutil.rmtree(scratch, ignore_errors=True)
    wheels = []
    for minor in minors:
        target = ("--target", "aarch64-unknown-linux-gnu", "--interpreter", f"python3.{minor}")
        command = ("maturin", "build", "--release", "--locked", "--zig", "--compatibility", POLICY)
        environ = {
            "PATH": f"{_TOOLS}/bin:/usr/lib/llvm-22/bin:/usr/bin:/bin",
            **ENVIRON,
            "CARGO_TARGET_DIR": str(ROOT / "target" / "aarch64"),
        }
        folder.run([*command, *target, "--out", scratch], shared=[ROOT], environ=environ)
        (wheel,) = scratch.glob(f"*-cp3{minor}-*.whl")
        # The objcopy of this machine may know its own processor only.
        objcopy = tools.script("objcopy", folder.program("usr/lib/llvm-22/bin/llvm-objcopy"))
        finish(tools, wheel, str(objcopy), out / "debug")
        wheels.append(Path(shutil.move(wheel, out / wheel.name)))
    return wheels


def check(tools: Toolbox, wheels: Sequence[Path], pytest_arguments: Sequence[str]) -> None:
    """Run the behaviour tests on each wheel with Debian's arm64 Python; raise SetupError if one fails."""
    minors = [_minor(wheel) for wheel in wheels]
    packages = [f"python3.{minor}" for minor in minors]
    folder = Folder("arm64", [*packages, "procps"], processor="arm64")
    folder.ensure()
    failed = []
    for wheel, minor in zip(wheels, minors, strict=True):
        place = f"opt/3.{minor}"
        _install(tools, wheel, minor, folder.path / place)
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


def _install(tools: Toolbox, wheel: Path, minor: int, place: Path) -> None:
    """Install a wheel and what the tests need for the other processor, with this one's pip: emulated it takes minutes."""
    shutil.rmtree(place, ignore_errors=True)
    python = ("--implementation", "cp", "--python-version", f"3.{minor}", "--only-binary", ":all:")
    tags = [option for tag in ("none", "abi3", f"cp3{minor}") for option in ("--abi", tag)]
    for policy in ("manylinux2014", "manylinux_2_28", "manylinux_2_34"):
        tags += ["--platform", f"{policy}_aarch64"]
    group = ("--group", f"{ROOT / 'pyproject.toml'}:test")
    pip = (tools.python, "-m", "pip", "install", "--quiet")
    tools.run(*pip, "--target", place, *python, *tags, *group, wheel)


def _minor(wheel: Path) -> int:
    return int(wheel.name.split("-")[2].removeprefix("cp3").rstrip("t"))
