"""Hatchling's hook for the pure wheels: their metadata is that of the project, read from its own files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SYSTEMS = ["Operating System :: MacOS", "Operating System :: Microsoft :: Windows"]
"""What these wheels are for; the native ones say Linux."""
NATIVE = ("Operating System ::", "Programming Language :: Rust")
"""How classifiers begin that are true of the native wheels only."""


class ProjectMetadata(MetadataHookInterface):
    """Copies the project's metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in every field that pyproject.toml declares as dynamic."""
        root = Path(self.root).parent
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        crate = tomllib.loads((root / "Cargo.toml").read_text(encoding="utf-8"))["package"]
        for name in ("authors", "description", "keywords", "license", "requires-python", "urls"):
            metadata[name] = project[name]
        metadata["optional-dependencies"] = project.get("optional-dependencies", {})
        kept = [name for name in project["classifiers"] if not name.startswith(NATIVE)]
        metadata["classifiers"] = sorted([*kept, *SYSTEMS])
        text = (root / project["readme"]).read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["version"] = crate["version"]
