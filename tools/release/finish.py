"""What is done to a wheel after maturin: debug information moved into a file of its own, and no path of this machine.

Owns nothing. The extension keeps its symbol table, from which perf and py-spy take the names of functions; lines and
inlined functions are in the other file, which tools find by the build id: unpack the archive into /usr/lib/debug.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from environments import ROOT, SetupError

if TYPE_CHECKING:
    from release.toolbox import Toolbox

ENVIRON = {
    "CARGO_PROFILE_RELEASE_DEBUG": "line-tables-only",
    "RUSTFLAGS": f"-C link-arg=-Wl,--build-id=sha1 --remap-path-prefix={ROOT}=ferroloop",
}
"""What the compiler must be told: lines and inlined functions, and a build id to find them by."""


def finish(tools: Toolbox, wheel: Path, objcopy: str, out: Path) -> Path:
    """Finish a wheel where it is; return the archive with its debug information, in `out`."""
    with tempfile.TemporaryDirectory() as temporary:
        tools.run(tools.python, "-m", "wheel", "unpack", "--dest", temporary, wheel)
        (folder,) = (path for path in Path(temporary).iterdir() if path.is_dir())
        (extension,) = folder.rglob("*.so")
        archive = _split(tools, extension, objcopy, out / f"{wheel.stem}.debug.tar.xz")
        for bill in folder.glob("*.dist-info/sboms/*"):
            # cargo-cyclonedx names the project by its folder.
            bill.write_text(bill.read_text().replace(f"file://{ROOT}", "file:///ferroloop"))
        tools.run(tools.python, "-m", "wheel", "pack", "--dest-dir", wheel.parent, folder)
    return archive


def _split(tools: Toolbox, extension: Path, objcopy: str, archive: Path) -> Path:
    """Move the debug information of an extension into an archive."""
    identity = build_id(tools, extension)
    with tempfile.TemporaryDirectory() as temporary:
        debug = Path(temporary, f"{identity[2:]}.debug")
        tools.run(objcopy, "--only-keep-debug", extension, debug)
        stripped = Path(temporary, "stripped.so")
        tools.run(objcopy, "--strip-debug", f"--add-gnu-debuglink={debug}", extension, stripped)
        stripped.chmod(extension.stat().st_mode)
        shutil.move(stripped, extension)
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:xz") as packed:
            packed.add(debug, f".build-id/{identity[:2]}/{debug.name}")
    return archive


def build_id(tools: Toolbox, extension: Path) -> str:
    """Return the build id of an ELF file, in hexadecimal digits."""
    code = (
        "import sys; from elftools.elf.elffile import ELFFile\n"
        "section = ELFFile(open(sys.argv[1], 'rb')).get_section_by_name('.note.gnu.build-id')\n"
        "print(next(section.iter_notes())['n_desc'] if section else '')"
    )
    identity = tools.output(tools.python, "-c", code, extension).strip()
    if not identity:
        raise SetupError(f"{extension.name} has no build id")
    return identity
