"""Wheels with the extension, for the processor of this machine.

Owns nothing. Linked by zig against glibc 2.17, so that they run wherever manylinux2014 wheels do; built twice, with a
training run in between that tells the compiler what is hot.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from environments import ROOT, SetupError
from release.debian import Folder
from release.finish import ENVIRON, finish

if TYPE_CHECKING:
    from release.toolbox import Toolbox

POLICY = "manylinux2014"


def build(tools: Toolbox, python: Path, out: Path, *, profile: bool = True) -> Path:
    """Build the wheel for the interpreter `python` into `out`, and its debug information into `out/debug`."""
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        environ = dict(ENVIRON)
        if profile:
            environ["RUSTFLAGS"] += f" -Cprofile-use={_train(tools, python, scratch / 'training')}"
        options = ("--release", "--locked", "--zig", "--compatibility", POLICY)
        command = (
            "maturin",
            "build",
            *options,
            "--interpreter",
            python,
            "--out",
            scratch / "wheel",
        )
        tools.run(*command, environ=environ)
        (wheel,) = (scratch / "wheel").glob("*.whl")
        finish(tools, wheel, "objcopy", out / "debug")
        return Path(shutil.move(wheel, out / wheel.name))


def _train(tools: Toolbox, python: Path, folder: Path) -> Path:
    """Build with counters, run what a release is trained with, and return the file with the counts.

    Not `maturin build --pgo`: zig links no build with counters, since it does not know the linker's option -u.
    """
    merge = _profdata(tools)
    counts = folder / "counts"
    options = ("--release", "--locked", "--compatibility", "linux")
    command = ("maturin", "build", *options, "--interpreter", python, "--out", folder)
    tools.run(*command, environ={"RUSTFLAGS": f"-Cprofile-generate={counts}"})
    (wheel,) = folder.glob("*.whl")
    clean = folder / "environment"
    tools.run(python, "-m", "venv", clean)
    tools.run(clean / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    tools.run(clean / "bin" / "python", ROOT / "benches" / "train.py")
    merged = folder / "merged.profdata"
    tools.run(*merge, "merge", "-o", merged, *sorted(counts.glob("*.profraw")))
    return merged


def _profdata(tools: Toolbox) -> list[str]:
    """Return the command of the llvm-profdata of the compiler's LLVM; raise SetupError if there is none."""
    version = tools.output("rustc", "-vV")
    host = re.search(r"^host: (\S+)", version, re.MULTILINE)
    llvm = re.search(r"^LLVM version: (\d+)", version, re.MULTILINE)
    if host is None or llvm is None:
        raise SetupError("rustc names no LLVM")
    major = llvm[1]
    sysroot = Path(tools.output("rustc", "--print", "sysroot").strip())
    own = sysroot / "lib" / "rustlib" / host[1] / "bin"
    for folder in (own, Path(f"/usr/lib/llvm-{major}/bin")):
        if (folder / "llvm-profdata").exists():
            return [str(folder / "llvm-profdata")]
    debian = Folder(f"llvm-{major}", [f"llvm-{major}"])
    try:
        debian.ensure()
    except SetupError as error:
        raise SetupError(
            f"a build with a profile needs llvm-profdata {major}: `rustup component add llvm-tools`, or "
            f"--plain for a build without ({error})"
        ) from error
    return debian.program(f"usr/lib/llvm-{major}/bin/llvm-profdata")
