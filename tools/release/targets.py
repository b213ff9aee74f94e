"""What a build for another target needs: Rust's standard library for it, and a tool that splits its files.

Owns nothing. The standard library is rustup's (`rustup target add`); if that is not available, it is compiled from its
sources (`rustup component add rust-src`).
"""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from environments import SetupError
from release.finish import ENVIRON, finish

if TYPE_CHECKING:
    from release.toolbox import Toolbox

NATIVE = f"{platform.machine()}-unknown-linux-gnu"
"""The target of this machine. cargo makes it part of the functions' names, by which counts find them, but only if told."""


def build(tools: Toolbox, triple: str, minor: int, policy: str, out: Path, extra: str = "") -> Path:
    """Build a wheel of CPython 3.`minor` for a target, without a profile, into `out`.

    Its debug information goes to `out/debug`; `extra` are more flags for rustc.
    """
    scratch = out / "unchecked"
    shutil.rmtree(scratch, ignore_errors=True)
    library, environ = _standard_library(tools, triple)
    options = ("--release", "--locked", "--zig", "--compatibility", policy, "--target", triple)
    command = ("maturin", "build", *options, *library, "--interpreter", f"python3.{minor}")
    flags = f"{ENVIRON['RUSTFLAGS']} {extra}".strip()
    tools.run(*command, "--out", scratch, environ={**ENVIRON, **environ, "RUSTFLAGS": flags})
    (wheel,) = scratch.glob("*.whl")
    finish(tools, wheel, objcopy(tools), out / "debug")
    return Path(shutil.move(wheel, out / wheel.name))


def _standard_library(tools: Toolbox, triple: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return cargo's options and variables by which it has the standard library for a target."""
    libraries = sysroot(tools) / "lib" / "rustlib"
    if (libraries / triple / "lib").exists():
        return (), {}
    if not (libraries / "src" / "rust" / "library" / "Cargo.lock").exists():
        raise SetupError(
            f"a build for {triple} needs Rust's standard library for it: `rustup target add {triple}`, or "
            "its sources to compile, `rustup component add rust-src`"
        )
    # The option exists only in nightly releases, unless this variable is set.
    return ("-Z", "build-std=std,panic_unwind"), {"RUSTC_BOOTSTRAP": "1"}


def objcopy(tools: Toolbox) -> str:
    """Return the objcopy that comes with rustc, which knows the files of every processor, or else the machine's."""
    host = re.search(r"^host: (\S+)", tools.output("rustc", "-vV"), re.MULTILINE)
    root = sysroot(tools)
    own = root / "lib" / "rustlib" / (host[1] if host else "") / "bin" / "rust-objcopy"
    if own.exists():
        return str(tools.script("objcopy", ["env", f"LD_LIBRARY_PATH={root}/lib", str(own)]))
    return shutil.which("llvm-objcopy") or "objcopy"


def sysroot(tools: Toolbox) -> Path:
    """Return the folder of the compiler."""
    return Path(tools.output("rustc", "--print", "sysroot").strip())
