"""What is done to a wheel after maturin: debug information moved into a file of its own, and no path of this machine.

Owns nothing. The extension keeps its symbol table, from which perf and py-spy take the names of functions; lines and
inlined functions are in the other file, which tools find by the build id: unpack the archive into /usr/lib/debug.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from environments import ROOT, SetupError, run

if TYPE_CHECKING:
    from release.toolbox import Toolbox

PLACES = {
    Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup"): "rustup",
    Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo"): "cargo",
    ROOT: "ferroloop",
}
"""Folders of this machine that sources are compiled from, and what they are called in a wheel."""
ENVIRON = {
    "CARGO_PROFILE_RELEASE_DEBUG": "line-tables-only",
    "RUSTFLAGS": " ".join(
        (
            "-C link-arg=-Wl,--build-id=sha1",
            *(f"--remap-path-prefix={place}={name}" for place, name in PLACES.items()),
        )
    ),
}
"""What the compiler must be told: lines and inlined functions, a build id to find them by, and other names of folders."""


def finish(tools: Toolbox, wheel: Path, objcopy: str, out: Path) -> None:
    """Finish a wheel where it is; put an archive with its debug information into `out`."""
    with tempfile.TemporaryDirectory() as temporary:
        tools.run(tools.python, "-m", "wheel", "unpack", "--dest", temporary, wheel)
        (folder,) = (path for path in Path(temporary).iterdir() if path.is_dir())
        (extension,) = folder.rglob("*.so")
        split(extension, objcopy, out / f"{wheel.stem}.debug.tar.xz")
        for bill in folder.glob("*.dist-info/sboms/*"):
            # cargo-cyclonedx names the project by its folder.
            bill.write_text(bill.read_text().replace(f"file://{ROOT}", "file:///ferroloop"))
        tools.run(tools.python, "-m", "wheel", "pack", "--dest-dir", wheel.parent, folder)


def split(extension: Path, objcopy: str, archive: Path) -> None:
    """Move the debug information of an ELF file into an archive, as the file that its build id names."""
    identity = build_id(extension)
    with tempfile.TemporaryDirectory() as temporary:
        debug = Path(temporary, f"{identity[2:]}.debug")
        stripped = Path(temporary, "stripped.so")
        run([objcopy, "--only-keep-debug", extension, debug], "objcopy")
        link = f"--add-gnu-debuglink={debug}"
        run([objcopy, "--strip-debug", link, extension, stripped], "objcopy")
        stripped.chmod(extension.stat().st_mode)
        shutil.move(stripped, extension)
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:xz") as packed:
            packed.add(debug, f".build-id/{identity[:2]}/{debug.name}", filter=anonymous)


def build_id(extension: Path) -> str:
    """Return the build id of an ELF file, in hexadecimal digits; binutils read the files of every processor."""
    notes = subprocess.run(
        ["readelf", "--notes", "--wide", str(extension)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = re.search(r"Build ID: ([0-9a-f]{8,})", notes)
    if found is None:
        raise SetupError(f"{extension.name} has no build id")
    return found[1]


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who built an archive and when."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry
