"""Streams: open_connection, start_server and their Unix twins, with native readers and writers.

Called in the loop's thread, on any loop. Most of the code is asyncio's own. The native bases hold
asyncio's fields under asyncio's names and replace the methods that every message calls. All other
methods are inherited. The four functions are asyncio's functions with these classes in place of
asyncio's, so they behave as on the running Python.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ferroloop import _compat as private
from ferroloop import _native

if TYPE_CHECKING:
    import asyncio
    import os
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeAlias

    ClientConnected: TypeAlias = Callable[["StreamReader", "StreamWriter"], Awaitable[None] | None]

_P = ParamSpec("_P")
_T = TypeVar("_T")

__all__ = (
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
)


class StreamReader(_native.StreamReaderBase, private.StreamReader):
    """asyncio.StreamReader, whose `read`, `readexactly`, `readline` and `readuntil` are native.

    The arguments, results and exceptions are asyncio's; `feed_data` is native too, and the other methods
    are asyncio's own. Those four return native coroutines, which are not
    `types.CoroutineType`; asyncio accepts them wherever it accepts a coroutine.
    """


class StreamWriter(_native.StreamWriterBase, private.StreamWriter):
    """asyncio.StreamWriter, whose `write` and `drain` are native; the other methods are asyncio's own."""


class StreamReaderProtocol(_native.StreamProtocolBase, private.StreamReaderProtocol):
    """asyncio.StreamReaderProtocol, whose reader gets data from the loop without Python code.

    The methods that connections do not call for each message are asyncio's own. A subclass is called
    like any protocol.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            stream_reader: asyncio.StreamReader,
            client_connected_cb: ClientConnected | None = None,
            loop: asyncio.AbstractEventLoop | None = None,
        ) -> None: ...


_OURS = {
    "StreamReader": StreamReader,
    "StreamWriter": StreamWriter,
    "StreamReaderProtocol": StreamReaderProtocol,
}
#: What asyncio's functions see in the place of their module.
_names: dict[str, Any] = {**vars(private.streams), **_OURS, "__name__": __name__}


def _with_our_classes(function: Callable[..., Any], doc: str | None) -> Any:
    """Return asyncio's `function` with another docstring and with the classes above."""
    assert isinstance(function, types.FunctionType)
    ours = types.FunctionType(
        function.__code__, _names, function.__name__, function.__defaults__, function.__closure__
    )
    ours.__kwdefaults__ = function.__kwdefaults__
    ours.__doc__ = doc
    ours.__qualname__ = function.__qualname__
    return ours


StreamReaderProtocol.connection_made = _with_our_classes(  # type: ignore[method-assign]  # see above
    private.StreamReaderProtocol.connection_made,
    "Give the reader its transport; on a server, make a writer and call the handler with both.",
)


def _make_coroutine_methods() -> None:
    """Give the classes asyncio's functions, behind which `_accelerate_streams` puts native code.

    So mocks, `inspect.signature` and `inspect.iscoroutinefunction` find coroutine functions. 3.11 would
    run asyncio's code; its classes get native methods only.
    """
    for cls, names in (
        (StreamReader, ("read", "readexactly", "readline", "readuntil")),
        (StreamWriter, ("drain",)),
    ):
        native, theirs = cls.__bases__
        for name in names:
            method = _with_our_classes(getattr(theirs, name), getattr(native, name).__doc__)
            setattr(cls, name, method)


if not (3, 11) <= sys.version_info < (3, 12):
    _make_coroutine_methods()
_native._accelerate_streams(StreamReader, StreamWriter)


def _typed_as(function: Any) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Replace a declaration, which has types and a docstring only, by asyncio's `function`."""

    def replace(declared: Callable[_P, _T]) -> Callable[_P, _T]:
        ours: Callable[_P, _T] = _with_our_classes(function, declared.__doc__)
        return ours

    return replace


@_typed_as(private.streams.open_connection)
async def open_connection(  # type: ignore[empty-body]  # see _typed_as
    host: str | None = None,
    port: int | str | None = None,
    *,
    limit: int = 65536,
    **kwds: Any,
) -> tuple[StreamReader, StreamWriter]:
    """Connect over TCP and return a native reader and writer.

    `limit` is in bytes: how much the reader buffers before it pauses reading, and how long a line may
    be. `kwds` are those of `loop.create_connection`, and what that raises is raised. Mirrors
    `asyncio.open_connection`, whose code it is.
    """


@_typed_as(private.streams.start_server)
async def start_server(  # type: ignore[empty-body]  # see _typed_as
    client_connected_cb: ClientConnected,
    host: str | Sequence[str] | None = None,
    port: int | str | None = None,
    *,
    limit: int = 65536,
    **kwds: Any,
) -> asyncio.Server:
    """Listen on TCP, and call `client_connected_cb(reader, writer)` for each connection.

    A coroutine that the handler returns becomes a task. Reader and writer are native; `limit` is in
    bytes, as in `open_connection`. `kwds` are those of `loop.create_server`, and what that raises is
    raised. Mirrors `asyncio.start_server`, whose code it is.
    """


@_typed_as(private.streams.open_unix_connection)
async def open_unix_connection(  # type: ignore[empty-body]  # see _typed_as
    path: str | bytes | os.PathLike[Any] | None = None, *, limit: int = 65536, **kwds: Any
) -> tuple[StreamReader, StreamWriter]:
    """Connect to a Unix socket; else as `open_connection`. Mirrors asyncio's function."""


@_typed_as(private.streams.start_unix_server)
async def start_unix_server(  # type: ignore[empty-body]  # see _typed_as
    client_connected_cb: ClientConnected,
    path: str | bytes | os.PathLike[Any] | None = None,
    *,
    limit: int = 65536,
    **kwds: Any,
) -> asyncio.Server:
    """Listen on a Unix socket; else as `start_server`. Mirrors asyncio's function."""
