"""Servers that suites need, from the system's packages: found, and started for one suite.

Each is a context manager that yields what the suite's command needs with it, or in words why it is not there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

LONGEST = 30
"""Seconds that a server may take until it answers."""


@dataclass(frozen=True)
class Serving:
    """What a suite's command needs to use a server."""

    before: tuple[str, ...] = ()
    """Words in front of the command."""
    options: tuple[str, ...] = ()
    """Options for pytest."""
    environment: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def nothing(_: Path) -> Iterator[Serving | str]:
    """For a suite that starts all that it needs."""
    yield Serving()


@contextlib.contextmanager
def postgres(_: Path) -> Iterator[Serving | str]:
    """PostgreSQL's programs: the suite starts servers itself, and they refuse to run as root.

    For root, the suite runs in a user namespace in which it is another user.
    """
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    found = shutil.which("initdb")
    programs = places[0].parent if places else Path(found).resolve().parent if found else None
    if programs is None or not (programs / "pg_config").exists():
        yield "its tests need PostgreSQL's server and pg_config, which are not installed"
        return
    another = () if os.geteuid() else ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if another and (
        shutil.which(another[0]) is None
        or subprocess.run((*another, "true"), capture_output=True, check=False).returncode
    ):
        yield "PostgreSQL refuses to run as root, and `unshare --user` fails here"
        return
    yield Serving(before=another, environment={"PGINSTALLATION": str(programs), "LANG": "C.UTF-8"})


@contextlib.contextmanager
def redis(place: Path) -> Iterator[Serving | str]:
    """A redis server on a port of its own, with nothing kept on disk."""
    program = shutil.which("redis-server")
    if program is None:
        yield "its tests need redis-server, which is not on PATH"
        return
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = (program, "--port", str(port), "--save", "", "--appendonly", "no")
    with (place / "redis.log").open("w") as log:
        server = subprocess.Popen(
            (*command, "--enable-debug-command", "yes"), cwd=place, stdout=log, stderr=log
        )
        try:
            if answers(server, port):
                yield Serving(options=(f"--redis-url=redis://127.0.0.1:{port}/0",))
            else:
                yield f"redis-server does not answer: see {place / 'redis.log'}"
        finally:
            server.terminate()
            server.wait()


def answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server accepts connections within `LONGEST` seconds and while it lives."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        time.sleep(0.05)
    return False


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Serving | str]]] = {
    "": nothing,
    "postgres": postgres,
    "redis": redis,
}
"""By the name that a suite asks for."""
