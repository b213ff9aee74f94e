"""Many idle connections of which one in a hundred is active: turns, waits and latency beside those of 1,000."""

from __future__ import annotations

import json
import resource
import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from harness.load import idle, native
from harness.server import serving

if TYPE_CHECKING:
    from pathlib import Path

#: Descriptors that are left for other things than connections.
SPARE = 64
#: Connections from one address to one port.
PORTS = 15_000
#: Messages a second, of all active connections together.
RATE = 2000
FEW = 1000


def limit(wanted: int) -> int:
    """How many connections a process may have open, at most as many as wanted."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - SPARE)


def run(loop: str, count: int, binaries: Path, seconds: float) -> dict[str, Any]:
    """One server with so many connections."""
    command = [sys.executable, "-m", "scale.idle_server", loop, "0.0.0.0:0"]
    active = max(1, count // 100)
    with ExitStack() as stack:
        server = stack.enter_context(serving(command))
        port = server.address.rpartition(":")[2]
        own, before = server.descriptors(), server.resident_kib()
        left, number = count - active, 0
        while left:
            number += 1
            part = min(left, PORTS)
            stack.enter_context(idle(f"127.0.0.{number}:{port}", tls=False))(part)
            left -= part
        server.wait_accepted(own + count - active)
        memory = server.resident_kib() - before
        arguments = ["echo", "--to", f"127.0.0.1:{port}", "--connections", str(active)]
        arguments += ["--size", "64", "--rate", str(RATE)]
        load = binaries / "load"
        native(load, arguments, 0, 1)
        first, used = json.loads(server.signal(signal.SIGUSR1)), server.cpu_seconds()
        found = native(load, arguments, 0, seconds)
        used = server.cpu_seconds() - used
        last = json.loads(server.signal(signal.SIGUSR1))
    done = found["done"]
    return {
        "connections": count,
        "active": active,
        "memory_kib": memory,
        "done": done,
        "behind": found["behind"],
        "latency_us": found["latency_us"],
        "cpu_us": round(used / done * 1e6, 2),
        **{name: round((last[name] - first[name]) / done, 3) for name in last},
    }
