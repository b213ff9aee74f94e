"""Latency at 30, 60 and 90 % of the most that each loop carries, of requests that are due at fixed times."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from harness.errors import NoFigureError
from harness.load import native
from harness.process import LOAD_CORE, last_words, pinned
from harness.server import BENCHES, python_command, serving

if TYPE_CHECKING:
    from pathlib import Path

PARTS = (0.3, 0.6, 0.9)
CONNECTIONS = 64
#: The case that serves each kind, the mode of the load, and the options of it.
KINDS = {"echo": "protocol_16", "http": "http", "tls": "protocol_16"}


class Loader:
    """Loads one server."""

    def __init__(self, kind: str, address: str, binaries: Path) -> None:
        """Remembers whom."""
        self._kind, self._address, self._binaries = kind, address, binaries

    def run(self, seconds: float, rate: float | None = None) -> dict[str, Any]:
        """The report of one run."""
        if self._kind == "tls":
            return self._python(seconds, rate)
        arguments = [self._kind, "--to", self._address, "--connections", str(CONNECTIONS)]
        arguments += [] if rate is None else ["--rate", f"{rate:.3f}"]
        return native(self._binaries / "load", arguments, 0.3, seconds)

    def _python(self, seconds: float, rate: float | None) -> dict[str, Any]:
        command = [sys.executable, "-m", "scale.tls_load", self._address, str(CONNECTIONS), "1024"]
        command += [str(seconds)] if rate is None else [str(seconds), str(rate)]
        with pinned(LOAD_CORE):
            done = subprocess.run(
                command, cwd=BENCHES, capture_output=True, text=True, timeout=120, check=False
            )
        if done.returncode:
            raise NoFigureError(last_words(done.stderr, done.returncode))
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def run(
    kind: str, loop: str, binaries: Path, certificate: Path | None, seconds: float
) -> dict[str, Any]:
    """One kind on one loop: the most, then the latencies at parts of it."""
    if kind == "tls" and certificate is None:
        raise NoFigureError("trustme is not installed: no certificate")
    security = certificate if kind == "tls" else None
    with serving(python_command(KINDS[kind], loop, "127.0.0.1:0", security)) as server:
        loader = Loader(kind, server.address, binaries)
        loader.run(1.0)
        used = server.cpu_seconds()
        most = loader.run(seconds)
        busy = (server.cpu_seconds() - used) / (most["seconds"] + (0 if kind == "tls" else 0.3))
        rates = {}
        for part in PARTS:
            found = loader.run(seconds, most["per_second"] * part)
            rates[f"{part:.0%}"] = {
                key: found[key] for key in ("per_second", "done", "behind", "latency_us")
            }
    return {"most": most["per_second"], "busy": round(busy, 2), "rates": rates}
