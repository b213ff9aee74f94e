"""An hour of four servers on ferroloop under a light load: memory, descriptors, and what a burst leaves.

    python benches/scale/soak.py --minutes 60 --json OUT.json
    python benches/scale/soak.py --publish OUT.json

uvicorn, a TLS echo, websockets and subprocesses run at the same time, each in a process of its own, with a
client process each. Before a sample is taken, the client ends what is under way, so samples compare. The
second command writes `docs/results/soak.md`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# This file is run by its path, and its neighbours are a package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import machine, native
from harness.loops import OURS, PLAIN
from harness.server import Server, serving
from scale import soak_page
from scale.orders import Follower, following
from scale.soak_load import RATES

BURSTS = {"uvicorn": 2000, "tls": 2000, "websockets": 2000, "processes": 200}
#: Samples of a run, whatever its length; those at which a burst comes; the first that counts for the slope.
SAMPLES = 60
BURSTS_AT = (40, 44, 48, 52, 56)
SETTLED = 10


@dataclass
class Soak:
    """One workload of a run."""

    workload: str
    server: Server
    load: Follower
    samples: list[dict[str, Any]]
    bursts: list[dict[str, Any]]

    def _reading(self, minute: float) -> dict[str, Any]:
        return {
            "minute": round(minute, 2),
            "rss": self.server.resident_kib(),
            "pss": self.server.resident_kib("Pss"),
            "descriptors": self.server.descriptors(),
            "threads": self.server.threads(),
            "cpu": round(self.server.cpu_seconds(), 2),
        }

    def _settle(self) -> None:
        """Waits until the server has no more descriptors than at first, or five seconds."""
        usual = self.samples[0]["descriptors"] if self.samples else None
        deadline = time.monotonic() + 5
        before = -1
        while time.monotonic() < deadline:
            now = self.server.descriptors()
            if now == usual or (usual is None and now == before):
                return
            before = now
            time.sleep(0.2)

    def sample(self, minute: float) -> None:
        """Takes a sample at rest."""
        counts = json.loads(self.load.order("rest"))
        self._settle()
        # Cycles that a library leaves to the collector are no leak of the loop.
        self.server.signal(signal.SIGUSR1)
        self.samples.append({**self._reading(minute), **counts})
        self.load.order("go")

    def burst(self, minute: float) -> None:
        """Makes many connections at once; the load goes on meanwhile."""
        count = BURSTS[self.workload]
        self.load.order(f"burst {count}")
        reading = self._reading(minute)
        self.load.order("release")
        self.bursts.append({"count": count, **reading})

    def result(self) -> dict[str, Any]:
        """Everything, for the JSON."""
        complaints = self.server.complaints()
        return {
            "samples": self.samples,
            "bursts": self.bursts,
            "complaints": len(complaints),
            "last_complaints": complaints[-20:],
        }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the workloads side by side; the JSON is written after each sample."""
    document: dict[str, Any] = {
        "machine": machine.facts(),
        "loop": options.loop,
        "minutes": options.minutes,
        "settled": SETTLED,
        "rates": {name: [RATES[name].exchanges, RATES[name].connections] for name in BURSTS},
        "workloads": {},
    }
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ferroloop-soak-"))
        certificate = native.certificate(Path(folder))
        if certificate is None:
            raise SystemExit("trustme is not installed")
        soaks = [_begin(stack, name, options.loop, certificate) for name in options.workloads]
        start = time.monotonic()
        for number in range(SAMPLES + 1):
            due = start + number * options.minutes * 60 / SAMPLES
            time.sleep(max(0.0, due - time.monotonic()))
            for soak in soaks:
                minute = (time.monotonic() - start) / 60
                soak.sample(minute)
                if number in BURSTS_AT:
                    soak.burst(minute)
                document["workloads"][soak.workload] = soak.result()
            document["complete"] = number == SAMPLES
            options.json.write_text(json.dumps(document), "utf-8")
            print(soak_page.progress(document), file=sys.stderr, flush=True)
    return document


def _begin(stack: ExitStack, workload: str, loop: str, certificate: Path) -> Soak:
    command = [sys.executable, "-m", "scale.soak_servers", workload, loop, "127.0.0.1:0"]
    if workload == "tls":
        command.append(str(certificate))
    server = stack.enter_context(serving(command, core=None))
    load = stack.enter_context(following("scale.soak_load", workload, server.address))
    return Soak(workload, server, load, [], [])


def main() -> None:
    """Runs what the command line asks for and prints the table; ends with 1 if something has grown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="how long (default 60)")
    parser.add_argument("--loop", choices=PLAIN, default=OURS)
    parser.add_argument("--workloads", nargs="+", choices=BURSTS, default=list(BURSTS))
    parser.add_argument("--json", type=Path, default=Path("soak.json"), help="where the JSON goes")
    parser.add_argument("--publish", type=Path, metavar="JSON", help="only write the page of a run")
    options = parser.parse_args()
    if options.publish:
        soak_page.publish(json.loads(options.publish.read_text("utf-8")))
        return
    document = run(options)
    print(soak_page.tables(document))
    raise SystemExit(not soak_page.passed(document))


if __name__ == "__main__":
    main()
