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


def main() -> None:
    """Runs all of them, after installing what the TLS workload makes its certificate with."""
    if importlib.util.find_spec("trustme") is None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "trustme>=1.2"]
        subprocess.run(pip, check=True)
    for name, (_, small, _) in WORKLOADS.items():
        command = [sys.executable, "-m", "cases.counted", name, "ferroloop", str(ROUNDS * small)]
        subprocess.run(command, cwd=Path(__file__).parent, check=True)
        print(f"trained with {name}")


if __name__ == "__main__":
    main()
