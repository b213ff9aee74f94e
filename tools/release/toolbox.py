"""The programs that build and check wheels: the dependency group `release`, in `.venv/release-3.N`.

Owns that environment. Programs run in the project's folder, and their output is shown.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import interpreters
from environments import ROOT, Environment, SetupError, cargo, clean_environ, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WHEELS = ROOT / "target" / "wheels"
"""Where wheels end up."""


class Toolbox:
    """An environment with maturin, zig, twine, auditwheel, hatchling and the like."""

    def __init__(self) -> None:
        """Make the environment, or bring it up to date."""
        interpreter = interpreters.default()
        environment = Environment(interpreter, ROOT / ".venv" / f"release-{interpreter.version}")
        environment.ensure(("release",))
        self.python = environment.python
        self.folder = environment.folder / "bin"

    def environ(self, **extra: str) -> dict[str, str]:
        """Return the environment variables of the programs that are run, these tools first on PATH."""
        path = (str(self.folder), str(Path(cargo()).parent), os.environ.get("PATH", ""))
        return clean_environ(**{"PATH": os.pathsep.join(path), **extra})

    def run(
        self,
        *command: str | Path,
        cwd: Path = ROOT,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command; raise SetupError if it fails."""
        words = [str(word) for word in command]
        say(" ".join(words).partition("\n")[0])
        variables = self.environ(**(environ or {}))
        words[0] = shutil.which(words[0], path=variables["PATH"]) or words[0]
        status = subprocess.run(
            words, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, check=False
        ).returncode
        if status:
            raise SetupError(f"status {status}: {' '.join(words)}")

    def output(self, *command: str | Path, environ: Mapping[str, str] | None = None) -> str:
        """Run a command; return what it wrote, or raise SetupError if it fails."""
        words = [str(word) for word in command]
        variables = self.environ(**(environ or {}))
        words[0] = shutil.which(words[0], path=variables["PATH"]) or words[0]
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SetupError(f"status {done.returncode}: {' '.join(words)}\n{done.stderr}")
        return done.stdout

    def script(self, name: str, command: Sequence[str]) -> Path:
        """Return a program of that name, in a folder of its own, that runs the command with more arguments."""
        program = self.folder.parent / "scripts" / name / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        program.chmod(0o755)
        return program
