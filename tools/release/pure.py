"""The wheels for macOS and Windows: the package's Python files, whose loop is asyncio's own there.

Owns nothing; one build makes all of them. Never `py3-none-any`: pip would take that on a Linux for which there is
no native wheel.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from environments import ROOT

if TYPE_CHECKING:
    from release.toolbox import Toolbox

PLATFORMS = ("macosx_10_9_universal2", "win_amd64", "win_arm64")
"""Platform tags of the wheels."""


def stage(folder: Path) -> Path:
    """Copy what the wheels are made of to `folder`, without anything compiled; return the project's folder in it."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "python", folder / "python", ignore=ignored)
    shutil.copytree(ROOT / "pure", folder / "pure", ignore=ignored)
    for name in ("pyproject.toml", "Cargo.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    # Hatchling takes no licence from outside the project's folder.
    shutil.copy(ROOT / "LICENSE", folder / "pure" / "LICENSE")
    return folder / "pure"


def build(tools: Toolbox, out: Path) -> list[Path]:
    """Build one wheel for each platform into `out`; return them."""
    with tempfile.TemporaryDirectory() as temporary:
        project = stage(Path(temporary))
        built = Path(temporary) / "wheels"
        command = ("build", "--no-isolation", "--wheel", "--outdir", built, project)
        tools.run(tools.python, "-m", *command)
        (wheel,) = built.glob("*.whl")
        for platform in PLATFORMS:
            tags = ("--python-tag", "py3", "--abi-tag", "none", "--platform-tag", platform)
            tools.run(tools.python, "-m", "wheel", "tags", *tags, wheel)
        wheel.unlink()
        out.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copy(path, out)) for path in sorted(built.glob("*.whl"))]
