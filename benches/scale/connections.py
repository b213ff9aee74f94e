"""Connections made and dropped, one after the other: descriptors and memory of the server on the way."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from harness.process import LOAD_CORE
from harness.server import Server, python_command, serving
from scale.orders import following

if TYPE_CHECKING:
    from pathlib import Path

#: Samples of a run.
STEPS = 10
#: An echo server on a Protocol.
CASE = "protocol_16"


def _reading(server: Server, usual: int, dropped: int) -> dict[str, int]:
    """Memory and descriptors, once the server has seen the end of the last connection."""
    deadline = time.monotonic() + 10
    while server.descriptors() != usual and time.monotonic() < deadline:
        time.sleep(0.05)
    return {
        "dropped": dropped,
        "rss": server.resident_kib(),
        "descriptors": server.descriptors(),
    }


def run(loop: str, count: int, certificate: Path | None) -> dict[str, Any]:
    """Makes and drops so many; with a certificate over TLS, without resumption."""
    security = ["tls"] if certificate is not None else []
    with serving(python_command(CASE, loop, "127.0.0.1:0", certificate)) as server:
        with following("scale.dropper", server.address, *security, core=LOAD_CORE) as client:
            usual = server.descriptors()
            # What a server allocates once does not count.
            client.order(str(max(400, count // 100)))
            samples = [_reading(server, usual, 0)]
            start = time.monotonic()
            for step in range(1, STEPS + 1):
                client.order(str(count // STEPS), 3600)
                samples.append(_reading(server, usual, count // STEPS * step))
                print(
                    f"{'tls' if security else 'plain'} {samples[-1]}", file=sys.stderr, flush=True
                )
            seconds = time.monotonic() - start
            complaints = len(server.complaints())
    return {
        "count": count,
        "seconds": round(seconds, 1),
        "samples": samples,
        "complaints": complaints,
    }
