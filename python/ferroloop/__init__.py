"""ferroloop: asyncio's event loop, written in Rust.

    import ferroloop

    ferroloop.run(main())        # asyncio.run(main()) on ferroloop's loop

To run a program without changing it: `python -m ferroloop program.py`. Any thread may use these
names. Importing this package changes nothing in asyncio.
"""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False  # typing is slow to import

if TYPE_CHECKING or sys.platform == "linux":
    try:
        import ferroloop._native  # noqa: F401 - whether it is there
    except ModuleNotFoundError as _error:
        if _error.name != "ferroloop._native":
            raise
        from ferroloop._missing import explain

        raise ImportError(explain(__path__[0]), name="ferroloop") from None

    from ferroloop._loop.loop import Loop, new_event_loop
else:
    from ferroloop._pure import Loop, new_event_loop

if TYPE_CHECKING:
    from typing import Any

    from ferroloop._compat import DefaultPolicy
    from ferroloop._insight.metrics import Metrics
    from ferroloop._insight.monitor import Monitor
    from ferroloop._insight.reports import CallbackTotal, ExecutorState, SlowCallback, Stall
    from ferroloop._native import Histogram
    from ferroloop._net.streams import (
        StreamReader,
        StreamReaderProtocol,
        StreamWriter,
        open_connection,
        open_unix_connection,
        start_server,
        start_unix_server,
    )
    from ferroloop._running.policy import install
    from ferroloop._running.runner import run

    __version__: str

    class EventLoopPolicy(DefaultPolicy):
        """asyncio's default event loop policy, with ferroloop's loop."""


#: Whether the loop is native code. False on macOS and Windows, where `Loop` is asyncio's own loop
#: and the first one that is made warns with RuntimeWarning.
NATIVE: bool = sys.platform == "linux"

__all__ = (
    "NATIVE",
    "CallbackTotal",
    "EventLoopPolicy",
    "ExecutorState",
    "Histogram",
    "Loop",
    "Metrics",
    "Monitor",
    "SlowCallback",
    "Stall",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "__version__",
    "install",
    "new_event_loop",
    "open_connection",
    "open_unix_connection",
    "run",
    "start_server",
    "start_unix_server",
)


#: Public names that asyncio's own loop serves as well as the native one.
_ANYWHERE = ("Metrics", "install", "run")

#: Public names whose modules are imported when a program first asks for one of them.
_LATER = {
    "CallbackTotal": "ferroloop._insight.reports",
    "ExecutorState": "ferroloop._insight.reports",
    "Histogram": "ferroloop._native",
    "Metrics": "ferroloop._insight.metrics",
    "Monitor": "ferroloop._insight.monitor",
    "SlowCallback": "ferroloop._insight.reports",
    "Stall": "ferroloop._insight.reports",
    "StreamReader": "ferroloop._net.streams",
    "StreamReaderProtocol": "ferroloop._net.streams",
    "StreamWriter": "ferroloop._net.streams",
    "install": "ferroloop._running.policy",
    "open_connection": "ferroloop._net.streams",
    "open_unix_connection": "ferroloop._net.streams",
    "run": "ferroloop._running.runner",
    "start_server": "ferroloop._net.streams",
    "start_unix_server": "ferroloop._net.streams",
}


def __getattr__(name: str) -> Any:
    """Import or make a public name when it is first used.

    Raises AttributeError for another name, and for EventLoopPolicy where asyncio has no policies
    any more (3.16).
    """
    value: Any = None
    if name in _LATER and not NATIVE and name not in _ANYWHERE:
        from ferroloop._pure import stand_in  # noqa: PLC0415 - not for Linux

        value = stand_in(name)
    elif name in _LATER:
        value = getattr(importlib.import_module(_LATER[name]), name)
    elif name == "EventLoopPolicy":
        value = importlib.import_module("ferroloop._running.policy").policy_class()
    elif name == "__version__":
        value = _version()
    if value is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _version() -> str | None:
    """The installed version; None if the package was put on the path without being installed."""
    from importlib import metadata  # noqa: PLC0415 - slower to import than all else here

    try:
        return metadata.version("ferroloop")
    except metadata.PackageNotFoundError:
        return None


def __dir__() -> list[str]:
    """List the public names, and those only."""
    return list(__all__)
