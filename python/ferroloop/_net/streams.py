"""Streams: open_connection, start_server and their Unix twins, with native readers and writers.

Owns the classes; called in the loop's thread, on any loop. Nearly all of it is asyncio's
own code. The native bases hold asyncio's fields under asyncio's names and replace the methods that
every message calls; all others are inherited, and the four functions and the making of a writer are
asyncio's functions with these classes in the place of asyncio's. So each Python version's rules hold.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from ferroloop import _compat as private
from ferroloop import _native

if TYPE_CHECKING:
    from collections.abc import Callable

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

    The arguments, results and exceptions are asyncio's. Those methods return coroutines that are no
    `types.CoroutineType`, as Cython's are; asyncio takes them wherever it takes a coroutine.
    """


class StreamWriter(_native.StreamWriterBase, private.StreamWriter):
    """asyncio.StreamWriter, whose `write` and `drain` are native."""


class StreamReaderProtocol(_native.StreamProtocolBase, private.StreamReaderProtocol):
    """asyncio.StreamReaderProtocol, to whose reader the loop hands data without Python.

    A class derived from it is called as any protocol is.
    """


_native._accelerate_streams(StreamReader, StreamWriter)

_OURS = {
    "StreamReader": StreamReader,
    "StreamWriter": StreamWriter,
    "StreamReaderProtocol": StreamReaderProtocol,
}
#: What asyncio's functions see in the place of their module.
_names: dict[str, Any] = {**vars(private.streams), **_OURS, "__name__": __name__}


def _with_our_classes(function: Callable[..., Any]) -> Any:
    """asyncio's `function`, which finds the classes above where it names asyncio's."""
    assert isinstance(function, types.FunctionType)
    ours = types.FunctionType(
        function.__code__, _names, function.__name__, function.__defaults__, function.__closure__
    )
    ours.__kwdefaults__ = function.__kwdefaults__
    ours.__doc__ = function.__doc__
    ours.__qualname__ = function.__qualname__
    return ours


StreamReaderProtocol.connection_made = _with_our_classes(  # type: ignore[method-assign]  # see above
    private.StreamReaderProtocol.connection_made
)

if TYPE_CHECKING:
    from asyncio import open_connection, open_unix_connection, start_server, start_unix_server
else:
    open_connection = _with_our_classes(private.streams.open_connection)
    start_server = _with_our_classes(private.streams.start_server)
    open_unix_connection = _with_our_classes(private.streams.open_unix_connection)
    start_unix_server = _with_our_classes(private.streams.start_unix_server)
