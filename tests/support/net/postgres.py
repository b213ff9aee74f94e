"""A PostgreSQL server of the test's own, with TLS, from the system's packages."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.loops import PATIENCE

from .certificates import certificate_files


def _program(name: str) -> str:
    """Where a program of the server is; Debian keeps them out of PATH."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = str(places[0]) if places else shutil.which(name)
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed")
    return found


def _as_user() -> list[str]:
    """The server refuses to run as root: as whom it runs instead."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("this is root, and there is no user `postgres` to run the server")
    if shutil.which("runuser") is None:
        pytest.skip("this is root, and `runuser` is not there to become another user")
    return ["runuser", "-u", "postgres", "--"]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def postgres() -> Iterator[int]:
    """The port of a server that accepts `postgres` over TLS, without a password."""
    initdb, server = _program("initdb"), _program("postgres")
    user = _as_user()
    with tempfile.TemporaryDirectory(prefix="ferroloop-postgres-") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, "postgres")
        data = folder / "data"
        subprocess.run(
            [*user, initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        certificate, key, _ = certificate_files()
        for source, target in ((certificate, "server.crt"), (key, "server.key")):
            shutil.copy(source, data / target)
            (data / target).chmod(0o600)
            if user:
                shutil.chown(data / target, "postgres")
        port = _free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(folder),
            "ssl": "on",
            "fsync": "off",
        }
        settings = [
            part for option, value in options.items() for part in ("-c", f"{option}={value}")
        ]
        process = subprocess.Popen(
            [*user, server, "-D", str(data), *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    asks = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
    deadline = time.monotonic() + PATIENCE
    while subprocess.run(asks, check=False).returncode != 0:
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.05)
