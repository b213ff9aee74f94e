"""ferroloop: asyncio's event loop, written in Rust.

    import ferroloop

    ferroloop.run(main())        # asyncio.run(main()) on ferroloop's loop

Or without a change to the program: `python -m ferroloop program.py`. Any thread may use these
names. Importing this package changes nothing in asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ferroloop._loop.loop import Loop, new_event_loop
from ferroloop._loop.metrics import Metrics
from ferroloop._loop.policy import install, policy_class
from ferroloop._loop.runner import run
from ferroloop._net.streams import (
    StreamReader,
    StreamReaderProtocol,
    StreamWriter,
    open_connection,
    open_unix_connection,
    start_server,
    start_unix_server,
)

if TYPE_CHECKING:
    import asyncio

    __version__: str

    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
        """asyncio's default event loop policy, with ferroloop's loop."""


__all__ = (
    "EventLoopPolicy",
    "Loop",
    "Metrics",
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


def __getattr__(name: str) -> Any:
    """Make EventLoopPolicy and read __version__ when they are first asked for.

    Raises AttributeError for another name, and for EventLoopPolicy where asyncio has no policies
    any more (3.16).
    """
    value: Any = None
    if name == "EventLoopPolicy":
        value = policy_class()
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
    """List the public names, also those that are not made yet."""
    return sorted({*globals(), *__all__})
