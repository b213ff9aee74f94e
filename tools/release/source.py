"""The source distribution, whose lock file names every crate that it is built from.

Owns nothing. The crates themselves are not in it: `cargo fetch --locked` in the unpacked folder gets them, and the build
then needs no network (docs/decisions/wheels.md).
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from environments import SetupError
from release.finish import anonymous

if TYPE_CHECKING:
    from release.toolbox import Toolbox

_QUICK = {
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
}
"""The check asks whether it builds, not how fast the result is."""


def build(tools: Toolbox, out: Path) -> Path:
    """Build the source distribution into `out`."""
    with tempfile.TemporaryDirectory() as temporary:
        tools.run("maturin", "sdist", "--out", temporary)
        (archive,) = Path(temporary).glob("*.tar.gz")
        folder = _unpack(archive, Path(temporary))
        _shorten_lock(tools, folder)
        out.mkdir(parents=True, exist_ok=True)
        target = out / archive.name
        with tarfile.open(target, "w:gz", format=tarfile.PAX_FORMAT) as packed:
            packed.add(folder, folder.name, filter=anonymous)
    return target


def _unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


def _shorten_lock(tools: Toolbox, folder: Path) -> None:
    """Take out of Cargo.lock what only the benchmarks need, which are not part of it; `--locked` wants that."""
    lock = folder / "Cargo.lock"
    before = _crates(lock)
    manifest = ("--manifest-path", folder / "Cargo.toml")
    tools.output("cargo", "metadata", "--format-version", "1", *manifest)
    after = _crates(lock)
    if not after or after - before:
        raise SetupError("cargo changed versions in Cargo.lock instead of only taking crates out")


def _crates(lock: Path) -> set[tuple[str, ...]]:
    """Name, version, source and checksum of every crate in a lock file."""
    facts = r'^name = "(.*)"\nversion = "(.*)"\n(?:source = "(.*)"\nchecksum = "(.*)"\n)?'
    return set(re.findall(facts, lock.read_text(), re.MULTILINE))


def check(tools: Toolbox, archive: Path, python: Path) -> None:
    """Fetch the crates of its lock file into an empty cargo home, and build a wheel from it without a network."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = _unpack(archive, Path(temporary))
        environ = {
            "CARGO_HOME": str(Path(temporary, "cargo")),
            "CARGO_TARGET_DIR": str(Path(temporary, "target")),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup")),
        }
        tools.run("cargo", "fetch", "--locked", cwd=folder, environ=environ)
        pip = (tools.python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
        # Only root can disable the network; otherwise CARGO_NET_OFFLINE has to be enough.
        alone = ("unshare", "--net") if os.geteuid() == 0 else ()
        tools.run(
            *(*alone, *pip, "--wheel-dir", temporary, folder),
            environ={
                **environ,
                **_QUICK,
                "CARGO_NET_OFFLINE": "true",
                "MATURIN_PEP517_ARGS": f"--locked --interpreter {python}",
            },
        )
        if not list(Path(temporary).glob("*.whl")):
            raise SetupError(f"{archive.name} built no wheel")
