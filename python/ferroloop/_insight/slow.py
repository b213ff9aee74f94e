"""Logs slow callbacks in debug mode.

Native code calls it in the loop's thread, after the slow callback. asyncio names the handle, which for a
transport is one of asyncio's own methods. These lines name the protocol's method, its transport and its
peer. They begin and end as asyncio's do.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._compat import (
    StreamReaderProtocol,
    format_callback,
    function_source,
    logger,
)

if TYPE_CHECKING:
    from ferroloop._loop.base import LoopBase

__all__ = (
    "class_of",
    "peer_of",
    "report_slow",
    "report_slow_call",
    "report_slow_event",
    "server_of",
)

#: How native code describes a call: the protocol or a factory, the method or None, the transport or
#: the listener, the peer where the transport does not know it.
_Subject = tuple[Any, "str | None", Any, Any]


def report_slow(loop: LoopBase, handle: Any, seconds: float) -> None:
    """Log that running `handle` took `seconds`, in asyncio's words and with its protocol."""
    owner = getattr(handle._callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        _log(repr(owner), seconds)
        return
    text = str(handle)
    # Of connection_made(transport), its argument.
    about = handle._about or (next(iter(handle._args or ()), None), owner, None)
    transport, protocol, peer = about
    if isinstance(transport, asyncio.BaseTransport):
        details = _connected_callback(protocol)
        if protocol is not None:
            details += f" protocol={class_of(protocol)}"
        text = f"{text[:-1]}{details} transport={transport!r}{_peer(transport, peer)}>"
    _log(text, seconds)


def report_slow_call(loop: LoopBase, seconds: float, subject: _Subject) -> None:
    """Log that a call of a protocol or of a factory of protocols took `seconds`."""
    _log(f"<{_describe(subject)}>", seconds)


def report_slow_event(
    loop: LoopBase, seconds: float, kind: str, source: Any, calls: int, longest: _Subject | None
) -> None:
    """Log that the event `kind` of `source` took `seconds` although none of its `calls` did.

    `longest` is None if there was none, or if slow calls were reported that are not in `seconds`.
    """
    if longest is None:
        text = kind if source is None else f"{kind} of {_describe_source(source)}"
        besides = ", besides the calls reported before" if calls else ""
        _log(f"<{text}{besides}>", seconds)
    else:
        count = "one call" if calls == 1 else f"{calls} calls, the longest"
        _log(f"<{kind} with {count} {_describe(longest)}>", seconds)


def _log(what: str, seconds: float) -> None:
    logger.warning("Executing %s took %.3f seconds", what, seconds)


def _describe(subject: _Subject) -> str:
    target, method, transport, peer = subject
    if method is None:
        text = f"protocol factory {format_callback(target)}{server_of(transport)}"
    else:
        text = f"{type(target).__qualname__}.{method}()"
        source = None
        # Reading an attribute of a protocol may run the program's code.
        with contextlib.suppress(Exception):
            source = function_source(getattr(target, method, None))
        if source:
            text += f" at {source[0]}:{source[1]}"
        if method == "connection_made":
            text += _connected_callback(target)
        if isinstance(transport, _native.TlsProtocol):
            transport = transport._app_transport or transport
        text += f" transport={transport!r}"
    return text + _peer(transport, peer)


def _describe_source(source: Any) -> str:
    if isinstance(source, _native.Listener):
        return server_of(source).strip()
    text = repr(source)
    if not isinstance(source, asyncio.BaseTransport):
        return text
    protocol = source.get_protocol()
    if protocol is not None:
        text += f" protocol={class_of(protocol)}"
    return text + _peer(source)


def server_of(listener: Any) -> str:
    """Return the address of a listening socket, unless the program has closed it."""
    try:
        return f" server={listener._sock.getsockname()!r}"
    except OSError:
        return " server=closed"


def class_of(protocol: Any) -> str:
    """The class of a program's protocol, also where TLS is between it and the transport."""
    if isinstance(protocol, _native.TlsProtocol):
        return f"{type(protocol._app_protocol).__qualname__} over TLS"
    return type(protocol).__qualname__


def _connected_callback(protocol: Any) -> str:
    """Return the callback of a server's stream protocol."""
    callback = None
    if isinstance(protocol, StreamReaderProtocol):
        callback = getattr(protocol, "_client_connected_cb", None)
    return "" if callback is None else f" calling {format_callback(callback)}"


def _peer(transport: Any, peer: Any = None) -> str:
    peer = peer_of(transport, peer)
    return f" peer={peer!r}" if peer else ""


def peer_of(transport: Any, peer: Any) -> Any:
    """The address of the peer of `transport`, if it has one and `peer` does not say it already."""
    # The transport need not be one of ours.
    with contextlib.suppress(Exception):
        peer = peer or transport.get_extra_info("peername")
    return peer or None
