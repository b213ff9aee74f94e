"""The facts that a figure depends on."""

from __future__ import annotations

import datetime as dt
import os
import platform
import ssl
import sys
from pathlib import Path
from typing import Any

from harness import loops


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def facts() -> dict[str, Any]:
    """The machine, the interpreter and the versions of the loops and libraries."""
    return {
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": sys.version.replace("\n", " "),
        "openssl": ssl.OPENSSL_VERSION,
        "load_average": os.getloadavg(),
        "loops": loops.installed(),
        "libraries": {
            name: text
            for name in ("httptools", "uvicorn", "aiohttp")
            if (text := loops.version(name)) is not None
        },
    }
