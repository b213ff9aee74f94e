"""Makes the virtual environments in `.venv/` and puts a freshly built ferroloop into them.

One environment for each Python version; the default Python's also holds maturin and the linters. What is there already
is kept as long as what it was made from is unchanged, so a second run starts at once. Only the standard library is
used: this runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interpreters import Interpreter

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder."""

BUILD_INPUTS = (
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "pyproject.toml",
    "README.md",
    "src",
    "python",
)
"""Files and folders that a wheel is made from."""

CHECKED_PROFILE = {
    "CARGO_PROFILE_CHECKED_INHERITS": "release",
    "CARGO_PROFILE_CHECKED_LTO": "off",
    "CARGO_PROFILE_CHECKED_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_CHECKED_OPT_LEVEL": "2",
    "CARGO_PROFILE_CHECKED_DEBUG_ASSERTIONS": "true",
    "CARGO_PROFILE_CHECKED_OVERFLOW_CHECKS": "true",
}
"""The cargo profile `checked`: compiles faster than the release and asserts what it assumes."""

_OUTSIDE = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONASYNCIODEBUG",
    "PYTHONWARNINGS",
    "PYTEST_ADDOPTS",
    "VIRTUAL_ENV",
)
"""Variables of the caller's shell that would change what is built or tested."""


_building = threading.Lock()
"""Held by a build: maturin copies what cargo has left in a folder that all builds of a profile share."""


class SetupError(Exception):
    """Something could not be set up; the message says what and what to do."""


def clean_environ(**extra: str) -> dict[str, str]:
    """Return the environment variables for programs that this one starts."""
    environ = {name: value for name, value in os.environ.items() if name not in _OUTSIDE}
    return {
        **environ,
        **CHECKED_PROFILE,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "CARGO_TERM_COLOR": "never",
        **extra,
    }


def cargo() -> str:
    """Return cargo's path; raise `SetupError` if there is none."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    for candidate in (shutil.which("cargo"), home / "bin" / "cargo"):
        if candidate and Path(candidate).exists():
            return str(candidate)
    raise SetupError("cargo was not found; install Rust (https://rustup.rs) and try again")


class Environment:
    """The virtual environment of one Python version."""

    def __init__(self, interpreter: Interpreter, folder: Path) -> None:
        """Live in `folder`; nothing is made yet."""
        self.interpreter = interpreter
        self.folder = folder
        self.python = folder / "bin" / "python"

    def ensure(self, groups: Iterable[str]) -> None:
        """Make the environment and install the dependency groups named in pyproject.toml."""
        made_from = f"{self.interpreter.release} {self.interpreter.base_prefix}"
        if not self._stamped("python", made_from) or not self.python.exists():
            say(f"making {_shown(self.folder)} with {self.interpreter.executable}")
            shutil.rmtree(self.folder, ignore_errors=True)
            _make(self.interpreter, self.folder)
            self._pip("install", "--upgrade", "pip>=25.1")  # the first that knows dependency groups
            self._stamp("python", made_from)
        project = ROOT / "pyproject.toml"
        wanted = digest([project])
        missing = [group for group in groups if not self._stamped(f"group-{group}", wanted)]
        if missing:
            say(f"installing {', '.join(missing)} into {_shown(self.folder)}")
            self._pip(
                "install",
                *(argument for group in missing for argument in ("--group", f"{project}:{group}")),
            )
            for group in missing:
                self._stamp(f"group-{group}", wanted)

    def build(self, builder: Environment, profile: str) -> None:
        """Build ferroloop with the maturin of `builder` in a cargo profile, `release` or `checked`, and install it here."""
        made_from = f"{profile} {digest(ROOT / name for name in BUILD_INPUTS)}"
        if self._stamped("ferroloop", made_from):
            return
        say(f"building ferroloop for Python {self.interpreter.release}, profile {profile}")
        with _building:
            self._build(builder, profile)
        self._stamp("ferroloop", made_from)

    def _build(self, builder: Environment, profile: str) -> None:
        wheels = self.folder / "wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        command: list[str | Path] = [
            builder.folder / "bin" / "maturin",
            "build",
            "--quiet",
            "--profile",
            profile,
        ]
        if (ROOT / "Cargo.lock").exists():
            command.append("--locked")
        run([*command, "--interpreter", self.python, "--out", wheels], "the build")
        self._pip("install", "--force-reinstall", "--no-deps", *wheels.glob("*.whl"))

    def _pip(self, *arguments: str | Path) -> None:
        run([self.python, "-m", "pip", "--quiet", *arguments], "pip")

    def _stamp(self, name: str, content: str) -> None:
        (self.folder / f"made-from-{name}").write_text(content)

    def _stamped(self, name: str, content: str) -> bool:
        stamp = self.folder / f"made-from-{name}"
        return stamp.exists() and stamp.read_text() == content


def say(message: str) -> None:
    """Print what happens next, before the output of programs that this one starts."""
    print(f"-- {message}", flush=True)


def run(command: Sequence[str | Path], what: str) -> None:
    """Run `command` in the project's folder, its output shown; raise `SetupError` if it fails."""
    path = f"{Path(cargo()).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    status = subprocess.run(
        list(command), cwd=ROOT, stdin=subprocess.DEVNULL, env=clean_environ(PATH=path), check=False
    ).returncode
    if status:
        raise SetupError(f"{what} failed with status {status}: {' '.join(map(str, command))}")


def build_binary(package: str, name: str) -> Path:
    """Build the workspace package's binary in cargo's release profile and return where it is."""
    say(f"building {name} of {package}")
    command = [
        cargo(),
        "build",
        "--release",
        "--package",
        package,
        "--bin",
        name,
        "--message-format",
        "json-render-diagnostics",
    ]
    if (ROOT / "Cargo.lock").exists():
        command.append("--locked")
    built = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=clean_environ(),
        text=True,
        check=False,
    )
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return Path(message["executable"])
    raise SetupError(f"building {name} failed with status {built.returncode}")


def _make(interpreter: Interpreter, folder: Path) -> None:
    """Make an environment that has pip, also where the interpreter came without ensurepip (Debian splits it off)."""
    python = str(interpreter.executable)
    has_pip = (
        subprocess.run(
            [python, "-I", "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    )
    if has_pip:
        run([python, "-m", "venv", folder], "making the virtual environment")
    elif shutil.which("uv"):
        run(["uv", "venv", "--quiet", "--seed", "--python", python, folder], "uv")
    elif importlib.util.find_spec("virtualenv"):
        run(
            [sys.executable, "-m", "virtualenv", "--quiet", "--python", python, folder],
            "virtualenv",
        )
    elif importlib.util.find_spec("pip"):
        run([python, "-m", "venv", "--without-pip", folder], "making the virtual environment")
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "--quiet",
                "--python",
                folder / "bin" / "python",
                "install",
                "pip",
            ],
            "pip",
        )
    else:
        raise SetupError(
            f"{python} has no ensurepip to make a virtual environment with; install it "
            f"(on Debian and Ubuntu: apt install python{interpreter.version}-venv) and try again"
        )


def digest(paths: Iterable[Path]) -> str:
    """Return a fingerprint of files and folders; compiled files are left out, absent ones are skipped."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".so":
                digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
