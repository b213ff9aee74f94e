"""Makes a virtual environment for the comparison: `python benches/setup_env.py FOLDER [--ours]`.

Loops without a wheel for this interpreter are left out and named; `--ours` builds ferroloop into it too,
as a release wheel is built: with a profile (`rustup component add llvm-tools`), which `--plain` leaves out.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import venv
from pathlib import Path

BENCHES = Path(__file__).resolve().parent
LOOPS = ("uvloop", "rloop", "rsloop", "zuvloop", "aiofastnet")


def install(python: Path, *arguments: str) -> bool:
    """Runs pip; whether it succeeded."""
    command = [str(python), "-m", "pip", "install", "--quiet", *arguments]
    return subprocess.run(command, check=False).returncode == 0


def build(python: Path, *, profile: bool) -> bool:
    """Builds ferroloop as its release wheels are built, and installs it; whether it succeeded."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python), "-m", "maturin", "build", "--release", "--out", folder]
        command += ["--interpreter", str(python), *(["--pgo"] if profile else [])]
        if subprocess.run(command, cwd=BENCHES.parent, check=False).returncode:
            return False
        wheels = [str(wheel) for wheel in Path(folder).glob("*.whl")]
        return install(python, "--force-reinstall", "--no-deps", *wheels)


def main() -> int:
    """Makes the environment; fails if something that must be there is not."""
    parser = argparse.ArgumentParser(description="Make an environment for compare.py.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ours", action="store_true", help="build and install ferroloop too")
    parser.add_argument("--plain", action="store_true", help="build without a profile")
    options = parser.parse_args()
    venv.create(options.folder, with_pip=True)
    python = options.folder / "bin" / "python"
    complete = install(python, "-r", str(BENCHES / "requirements.txt"))
    missing = [loop for loop in LOOPS if not install(python, "--only-binary", ":all:", loop)]
    if options.ours:
        complete = install(python, "maturin>=1.11,<2") and complete
        complete = build(python.absolute(), profile=not options.plain) and complete
    if missing:
        print(f"not available for this interpreter: {', '.join(missing)}")
    print(f"{python} {BENCHES / 'compare.py'} --quick")
    return 0 if complete else 1


if __name__ == "__main__":
    raise SystemExit(main())
