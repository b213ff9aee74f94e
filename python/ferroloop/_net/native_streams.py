"""Gives programs that call asyncio's functions for streams ferroloop's readers and writers.

`install_streams` replaces `open_connection`, `start_server` and their Unix twins in asyncio by the same
functions over classes that are chosen at each call: ferroloop's on a loop of ferroloop's, asyncio's on any
other loop. Owns what it replaced. Any thread; only programs that ask for it import this module.
"""

from __future__ import annotations

import asyncio
import types
from typing import Any

from ferroloop import _compat as private
from ferroloop import _native
from ferroloop._net import streams as ours

__all__ = ("install_streams",)

_FUNCTIONS = ("open_connection", "open_unix_connection", "start_server", "start_unix_server")

#: The methods of asyncio's classes that ferroloop's classes have natively, by class.
_NATIVE_METHODS = {
    "StreamReader": ("feed_data", "read", "readexactly", "readline", "readuntil"),
    "StreamReaderProtocol": ("connection_made", "data_received"),
    "StreamWriter": ("write", "drain"),
}
_ASYNCIOS: dict[str, type[Any]] = {name: getattr(private, name) for name in _NATIVE_METHODS}
_ORIGINALS = [
    (vars(_ASYNCIOS[name]), method, vars(_ASYNCIOS[name])[method])
    for name, methods in _NATIVE_METHODS.items()
    for method in methods
]

_done: list[bool] = []
"""Not empty once asyncio's functions were replaced."""


def _chooses_ours(loop: Any) -> bool:
    """Whether a stream on `loop` is to be ferroloop's.

    It is asyncio's if the program has replaced a class of asyncio's, or one of its methods, which a class
    of ferroloop's would not call.
    """
    return (
        isinstance(loop, _native.EventLoop)
        and all(getattr(private.streams, name) is cls for name, cls in _ASYNCIOS.items())
        and all(names.get(method) is function for names, method, function in _ORIGINALS)
    )


def _reader(*args: Any, **keywords: Any) -> Any:
    """Stand for the class StreamReader in asyncio's functions, which pass the loop as a keyword."""
    if _chooses_ours(keywords.get("loop")):
        return ours.StreamReader(*args, **keywords)
    return private.streams.StreamReader(*args, **keywords)


def _protocol(reader: Any, *args: Any, **keywords: Any) -> Any:
    """Stand for the class StreamReaderProtocol: of the same kind as the reader."""
    if type(reader) is ours.StreamReader:
        return ours.StreamReaderProtocol(reader, *args, **keywords)
    return private.streams.StreamReaderProtocol(reader, *args, **keywords)


def _writer(transport: Any, protocol: Any, *args: Any) -> Any:
    """Stand for the class StreamWriter: of the same kind as the protocol."""
    if type(protocol) is ours.StreamReaderProtocol:
        return ours.StreamWriter(transport, protocol, *args)
    return private.streams.StreamWriter(transport, protocol, *args)


def install_streams() -> None:
    """Replace asyncio's four functions; those that the program has replaced before stay the program's."""
    if _done:
        return
    _done.append(True)
    names: dict[str, Any] = {
        **vars(private.streams),
        "StreamReader": _reader,
        "StreamReaderProtocol": _protocol,
        "StreamWriter": _writer,
    }
    for name in _FUNCTIONS:
        function = getattr(private.streams, name)
        if not isinstance(function, types.FunctionType) or function.__module__ != "asyncio.streams":
            continue
        choosing = types.FunctionType(
            function.__code__, names, function.__name__, function.__defaults__, function.__closure__
        )
        choosing.__kwdefaults__ = function.__kwdefaults__
        choosing.__doc__ = function.__doc__
        for module in (asyncio, private.streams):
            if getattr(module, name, None) is function:
                setattr(module, name, choosing)
