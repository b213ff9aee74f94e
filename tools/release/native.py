"""Wheels with the extension, for the processor of this machine.

Owns nothing. Linked by zig against glibc 2.17, so that they run wherever manylinux2014 wheels do.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from release import targets
from release.finish import ENVIRON, finish

if TYPE_CHECKING:
    from release.toolbox import Toolbox

POLICY = "manylinux2014"


def build(tools: Toolbox, python: Path, out: Path, profile: Path | None) -> Path:
    """Build the wheel for the interpreter `python` into `out`, and its debug information into `out/debug`.

    `profile` tells the compiler what is hot (`training.profile`).
    """
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        environ = dict(ENVIRON)
        if profile is not None:
            environ["RUSTFLAGS"] += f" -Cprofile-use={profile}"
        options = ("--release", "--locked", "--zig", "--compatibility", POLICY)
        target = ("--target", targets.NATIVE, "--interpreter", python)
        command = ("maturin", "build", *options, *target, "--out", scratch)
        tools.run(*command, environ=environ)
        (wheel,) = scratch.glob("*.whl")
        finish(tools, wheel, targets.objcopy(tools), out / "debug")
        return Path(shutil.move(wheel, out / wheel.name))
