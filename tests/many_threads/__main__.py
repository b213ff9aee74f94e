"""`python -m many_threads` from the tests' folder: promises and trespasses, by name or all of them."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from collections.abc import Sequence

from support.loops import factory_of

from .promises import PROMISES
from .trespasses import TRESPASSES

ALL = {**PROMISES, **TRESPASSES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run each; a failure is raised."""
    parser = argparse.ArgumentParser(prog="many_threads", description=__doc__)
    parser.add_argument(
        "--loop", default="ferroloop", help="asyncio, or a module with new_event_loop"
    )
    parser.add_argument("--repeat", type=int, default=1, help="how often")
    parser.add_argument("names", nargs="*", choices=[*ALL, []], default=[])
    options = parser.parse_args(arguments)
    faulthandler.enable()
    new_loop = factory_of(options.loop)
    for _ in range(options.repeat):
        for name in options.names or ALL:
            began = time.monotonic()
            ALL[name](new_loop)
            sys.stdout.write(f"{name}: {time.monotonic() - began:.2f} s\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
