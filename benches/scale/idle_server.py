"""An echo server that tells what its loop did: `python -m scale.idle_server LOOP ADDRESS`.

SIGUSR1 has it print a line of JSON: turns, waits and callbacks, where the loop counts them.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from cases.echo import serve_protocol
from harness.child import serve_by

if TYPE_CHECKING:
    from harness.case import ServerSocket


def _tell() -> None:
    loop: Any = asyncio.get_running_loop()
    if not hasattr(loop, "metrics"):
        print("{}", flush=True)
        return
    metrics = loop.metrics()
    print(
        json.dumps({name: getattr(metrics, name) for name in ("turns", "waits", "callbacks")}),
        flush=True,
    )


async def serve(place: ServerSocket) -> object:
    """Serves."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell)
    return await serve_protocol(place)


if __name__ == "__main__":
    serve_by(serve, *sys.argv[1:])
