"""`python tests/conformance/run.py`: the conformance command, wherever it is started from."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
runpy.run_module("conformance", run_name="__main__")
