"""The native programs of this folder, and the certificate of the TLS cases."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path

from harness.server import BENCHES

PACKAGE = "ferroloop-benches"


def build() -> Path:
    """Builds `load` and `echo_floor` with cargo; returns the folder that holds them."""
    manifest = BENCHES / "native" / "Cargo.toml"
    command = ["cargo", "build", "--release", "--manifest-path", str(manifest), "-p", PACKAGE]
    done = subprocess.run(
        [*command, "--message-format", "json-render-diagnostics"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    programs = {
        message["target"]["name"]: Path(message["executable"])
        for message in map(json.loads, done.stdout.splitlines())
        if message.get("executable")
    }
    return programs["load"].parent


def certificate(folder: Path) -> Path | None:
    """A key and a certificate for localhost in one file; None if trustme is not installed."""
    try:
        trustme = importlib.import_module("trustme")
    except ImportError:
        return None
    path = folder / "server.pem"
    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    return path
