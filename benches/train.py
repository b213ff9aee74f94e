"""What a profile-guided build is trained with: `maturin build --release --pgo` runs it.

Every counted workload runs for a while on the instrumented extension, each in a process of its own
that ends as a program does, since that is when the profile is written.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from cases.counted import WORKLOADS

ROUNDS = 10

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PACKAGES = ("aiohttp", "httptools", "trustme", "uvicorn")
"""What the workloads import, which `REQUIREMENTS` installs."""


def main() -> None:
    """Runs all of them, after installing what they import."""
    if not all(importlib.util.find_spec(package) for package in PACKAGES):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)]
        subprocess.run(pip, check=True)
    for name, (_, small, _) in WORKLOADS.items():
        command = [sys.executable, "-m", "cases.counted", name, "ferroloop", str(ROUNDS * small)]
        subprocess.run(command, cwd=Path(__file__).parent, check=True)
        print(f"trained with {name}")


if __name__ == "__main__":
    main()
