"""What very many connections, timers and tasks, and a fixed load, do to loops.

    python benches/scale/run.py --json OUT.json                       # everything, and docs/results/scale.md
    python benches/scale/run.py --publish OUT.json [LATER.json ...]   # only the page

Parts: `connections` made and dropped (ferroloop only), `idle` connections, `pending` timers and tasks,
`latency` under a fixed load. Of a part that several files have, the last one counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

# This file is run by its path, and its neighbours are a package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import loops, machine, native
from harness.errors import NoFigureError
from harness.process import SERVER_CORE, last_words, pinned
from harness.quiet import Watch
from harness.server import BENCHES
from scale import connections, idle_many, latency, page

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ("connections", "idle", "pending", "latency")
QUICK = 100


class Run:
    """The options, the tools, and the figures so far."""

    def __init__(self, options: argparse.Namespace, certificate: Path | None) -> None:
        """Builds the load generator, unless it is given."""
        self.options = options
        self.certificate = certificate
        self.binaries: Path = options.binaries or native.build()
        facts = machine.facts()
        self.loops = [
            name for name in loops.PLAIN if name in facts["loops"] and name in options.loops
        ]
        self.parts: dict[str, Any] = {}
        self.document = {"machine": facts, "quick": options.quick, "parts": self.parts}

    def scaled(self, count: int) -> int:
        """Fewer for a quick run."""
        return count // QUICK if self.options.quick else count

    def take(self, names: tuple[str, ...], measure: Callable[[], dict[str, Any]]) -> None:
        """Takes one figure, notes how busy others were, and saves everything."""
        watch = Watch()
        try:
            found = measure()
            found["others"] = round(watch.others(), 2)
        except (NoFigureError, subprocess.TimeoutExpired) as error:
            found = {"reason": str(error)}
        place = self.parts
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = found
        self.options.json.write_text(json.dumps(self.document, indent=1) + "\n", "utf-8")
        shown = {key: value for key, value in found.items() if key != "samples"}
        print(" ".join(names), json.dumps(shown), file=sys.stderr, flush=True)

    def connections(self) -> None:
        """A million plain, fewer over TLS."""
        plain = self.scaled(self.options.connections)
        self.take(("connections", "plain"), partial(connections.run, loops.OURS, plain, None))
        count = self.scaled(self.options.tls_connections)
        if self.certificate is not None and count:
            self.take(
                ("connections", "tls"),
                partial(connections.run, loops.OURS, count, self.certificate),
            )

    def idle(self) -> None:
        """As few as a thousand, and as many as are allowed."""
        many = idle_many.limit(self.scaled(self.options.idle))
        seconds = 2.0 if self.options.quick else 10.0
        for loop in self.loops:
            for count in sorted({idle_many.FEW, many}):
                self.take(
                    ("idle", loop, str(count)),
                    partial(idle_many.run, loop, count, self.binaries, seconds),
                )

    def pending(self) -> None:
        """Timers and tasks."""
        count = self.scaled(self.options.pending)
        for kind in ("timers", "tasks"):
            for loop in self.loops:
                self.take(
                    ("pending", kind, loop),
                    partial(_pending, kind, loop, count),
                )

    def latency(self) -> None:
        """Echo, HTTP and TLS."""
        seconds = 1.0 if self.options.quick else self.options.seconds
        for kind in latency.KINDS:
            for loop in self.loops:
                self.take(
                    ("latency", kind, loop),
                    partial(latency.run, kind, loop, self.binaries, self.certificate, seconds),
                )


def _pending(kind: str, loop: str, count: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "scale.pending", kind, loop, str(count)]
    with pinned(SERVER_CORE):
        done = subprocess.run(
            command, cwd=BENCHES, capture_output=True, text=True, timeout=600, check=False
        )
    if not done.stdout.strip():
        raise NoFigureError(last_words(done.stderr, done.returncode))
    return {"count": count, **json.loads(done.stdout)}


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, default=Path("scale.json"), help="where figures go")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--loops", nargs="+", choices=loops.PLAIN, default=loops.PLAIN)
    parser.add_argument("--connections", type=int, default=1_000_000, help="made and dropped")
    parser.add_argument("--tls-connections", type=int, default=100_000, help="likewise, over TLS")
    parser.add_argument("--idle", type=int, default=100_000, help="as far as the limit allows it")
    parser.add_argument("--pending", type=int, default=1_000_000, help="timers and tasks")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load for each latency")
    parser.add_argument("--quick", action="store_true", help="a hundredth: for trying out")
    parser.add_argument("--binaries", type=Path, help="folder of load (default: cargo builds it)")
    parser.add_argument("--no-page", action="store_true", help="leave docs/results/scale.md")
    parser.add_argument(
        "--publish", type=Path, nargs="+", metavar="JSON", help="only write the page"
    )
    return parser.parse_args()


def main() -> None:
    """Runs what the command line asks for and writes the page."""
    options = parse()
    if options.publish:
        page.publish([json.loads(path.read_text("utf-8")) for path in options.publish])
        return
    with tempfile.TemporaryDirectory(prefix="ferroloop-scale-") as folder:
        run = Run(options, native.certificate(Path(folder)))
        for part in options.parts:
            getattr(run, part)()
    print(page.render([run.document]))
    if not options.no_page:
        page.publish([run.document])


if __name__ == "__main__":
    main()
