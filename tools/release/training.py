"""The profile of a release: how often each piece of code runs when `benches/train.py` runs it.

Owns `target/training`, where the counts stay until the sources, the compiler or the workloads change. Functions are
matched by their names, so the build that counts has the target, the profile settings and the settings of cargo of the
build that uses the counts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from environments import ROOT, SetupError, digest, say
from release import targets
from release.debian import Folder
from release.finish import ENVIRON

if TYPE_CHECKING:
    from interpreters import Interpreter
    from release.toolbox import Toolbox

_SHARE = 0.5
"""Generic functions that the training did not need, and code of another Python's, have no counts."""
_TRAINED_WITH = (
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "src",
    "python",
    "benches/train.py",
    "benches/cases",
)


_AS_WITH_ZIG = {
    "CARGO_TARGET_APPLIES_TO_HOST": "false",
    "CARGO_UNSTABLE_TARGET_APPLIES_TO_HOST": "true",
    "__CARGO_TEST_CHANNEL_OVERRIDE_DO_NOT_USE_THIS": "nightly",
}
"""What maturin tells cargo when it links with zig. Build scripts are compiled otherwise then, and the names of all that
depends on them change."""


def profile(tools: Toolbox, interpreter: Interpreter) -> Path:
    """Return the file with the counts of a training run; train on `interpreter` unless they are there.

    One file serves every Python (docs/decisions/wheels.md).
    """
    folder = ROOT / "target" / "training"
    merged = folder / "merged.profdata"
    stamp = folder / "made-from"
    inputs = digest(ROOT / name for name in _TRAINED_WITH)
    made_from = f"{inputs} {tools.output('rustc', '--version').strip()}"
    if merged.exists() and stamp.exists() and stamp.read_text() == made_from:
        say(f"the profile is there: {merged.relative_to(ROOT)}")
        return merged
    merge = _profdata(tools)
    shutil.rmtree(folder, ignore_errors=True)
    raw = _train(tools, interpreter.executable, folder)
    tools.run(*merge, "merge", "-o", merged, *sorted(raw.glob("*.profraw")))
    shown = tools.output(*merge, "show", "--all-functions", merged)
    names = re.findall(r"^  (?:[^\s;]*;)?(\S+):$", shown, re.MULTILINE)
    _functions(merged).write_text("\n".join(names))
    stamp.write_text(made_from)
    return merged


def check(wheel: Path, merged: Path) -> None:
    """Check that the functions in a wheel are those that were counted; the compiler is silent where none is."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".so"))
        symbols = subprocess.run(
            ["nm", "--defined-only", archive.extract(name, folder)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    share = counted(symbols, _functions(merged).read_text())
    say(f"{share:.0%} of the wheel's functions were counted in the training")
    if share < _SHARE:
        raise SetupError(f"{wheel.name} has hardly any function that {merged} knows")


def counted(symbols: str, functions: str) -> float:
    """Return how large a part of ferroloop's functions in the output of nm are among those named."""
    # The compiler adds endings to the names of a function's parts and copies.
    own = set(re.findall(r" [tT] (_ZN\S*ferroloop\S*?17h[0-9a-f]{16}E)", symbols))
    return len(own & set(functions.split())) / max(len(own), 1)


def _functions(merged: Path) -> Path:
    return merged.with_name("functions")


def _train(tools: Toolbox, python: Path, folder: Path) -> Path:
    """Build with counters, run what a release is trained with, and return the folder with the counts.

    Not `maturin build --pgo`: zig links no build with counters, since it does not know the linker's option -u.
    """
    raw = folder / "counts"
    options = ("--release", "--locked", "--compatibility", "linux", "--target", targets.NATIVE)
    command = ("maturin", "build", *options, "--interpreter", python, "--out", folder)
    flags = f"{ENVIRON['RUSTFLAGS']} -Cprofile-generate={raw}"
    tools.run(*command, environ={**ENVIRON, **_AS_WITH_ZIG, "RUSTFLAGS": flags})
    (wheel,) = folder.glob("*.whl")
    clean = folder / "environment"
    tools.run(python, "-m", "venv", clean)
    tools.run(clean / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    tools.run(clean / "bin" / "python", ROOT / "benches" / "train.py")
    return raw


def _profdata(tools: Toolbox) -> list[str]:
    """Return the command of the llvm-profdata of the compiler's LLVM; raise SetupError if there is none."""
    version = tools.output("rustc", "-vV")
    host = re.search(r"^host: (\S+)", version, re.MULTILINE)
    llvm = re.search(r"^LLVM version: (\d+)", version, re.MULTILINE)
    if host is None or llvm is None:
        raise SetupError("rustc names no LLVM")
    major = llvm[1]
    own = targets.sysroot(tools) / "lib" / "rustlib" / host[1] / "bin"
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
