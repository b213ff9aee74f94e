"""What asyncio itself passes, kept between runs because it only changes with the interpreter."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from .supervisor import Interpreter, Outcome

FOLDER = Path(__file__).resolve().parents[2] / "target" / "conformance"


def _path(python: Interpreter, version: str) -> Path:
    key = f"{version}|{os.path.realpath(python.executable)}|{sorted(python.environment.items())}"
    return FOLDER / f"asyncio-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def load(python: Interpreter, version: str) -> dict[str, Outcome]:
    """The kept outcomes; empty when there are none."""
    try:
        document = json.loads(_path(python, version).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {name: Outcome(**fields) for name, fields in document["tests"].items()}


def save(python: Interpreter, version: str, outcomes: Mapping[str, Outcome]) -> None:
    """Keep the outcomes, whole or not at all."""
    path = _path(python, version)
    path.parent.mkdir(parents=True, exist_ok=True)
    tests = {name: {**vars(outcome), "detail": ""} for name, outcome in outcomes.items()}
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps({"python": version, "tests": tests}), encoding="utf-8")
    part.replace(path)
