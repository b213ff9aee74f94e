"""A Redis server for one test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .loops import PATIENCE


@contextlib.contextmanager
def redis_server() -> Iterator[tuple[int, str]]:
    """The port and the Unix socket of a server that keeps nothing."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="ferroloop-redis-") as folder:
        path = str(Path(folder) / "socket")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        options = {"port": str(port), "bind": "127.0.0.1", "unixsocket": path, "save": ""}
        settings = [part for name, value in options.items() for part in (f"--{name}", value)]
        process = subprocess.Popen(
            [program, *settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        )
        try:
            _wait_for(path, process)
            yield port, path
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _wait_for(path: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with socket.socket(socket.AF_UNIX) as sock:
            if sock.connect_ex(path) == 0:
                return
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.05)
