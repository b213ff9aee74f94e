"""The names of callbacks, calls of protocols and I/O events in reports.

Owns nothing. The loop's thread names slow callbacks when they are over; any thread names totals.
"""

from __future__ import annotations

import asyncio
from types import CodeType
from typing import Any

from ferroloop import _native
from ferroloop._compat import format_callback
from ferroloop._insight import slow
from ferroloop._net import lookups

__all__ = ("of_class", "of_function", "of_key", "of_subject")

#: Reads the name of a class and runs no code of its metaclass.
_qualname_of = vars(type)["__qualname__"].__get__


def of_function(function: Any) -> str:
    """Name a callback of call_soon(). A task's step is named by task and coroutine."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return f"{owner.get_name()} {_coroutine(owner)}"
    return format_callback(function)


def of_subject(subject: tuple[Any, ...]) -> tuple[str, Any]:
    """Return the name and the peer, or None, of a subject that native code reports.

    A subject is a word and what it is about: ("callback", function, first argument, about) with the
    (transport, protocol, peer) that the handle knows, ("call", protocol or factory, method, transport,
    peer), ("event", kind, source).
    """
    if subject[0] == "callback":
        _, function, first, about = subject
        owner = getattr(function, "__self__", None)
        if function is lookups._deliver:
            return "end of a look-up", None
        transport, _, peer = about or (first, None, None)
        if isinstance(owner, asyncio.BaseProtocol):
            return _method(owner, function.__name__), slow.peer_of(transport, peer)
        return of_function(function), slow.peer_of(transport, peer) if about else None
    if subject[0] == "call":
        _, target, method, transport, peer = subject
        if method is None:
            return f"protocol factory {format_callback(target)}", peer
        if isinstance(transport, _native.TlsProtocol):
            transport = transport._app_transport or transport
        return _method(target, method), slow.peer_of(transport, peer)
    _, kind, source = subject
    if source is None:
        return kind, None
    if isinstance(source, _native.ProcessWatch):
        return "exit of a child process", None
    if isinstance(source, _native.Listener):
        return f"accepting connections{slow.server_of(source)}", None
    return f"{kind} of {type(source).__qualname__}{_protocol(source)}", slow.peer_of(source, None)


def of_class(subject: tuple[Any, ...]) -> str:
    """Name a subject that native code reports by its class only, which runs no code of the program."""
    kind, target, *more = subject
    if kind == "event":
        return str(target)
    name = str(_qualname_of(type(target)))
    method = more[0] if kind == "call" else None
    return name if method is None else f"{name}.{method}()"


def of_key(key: Any) -> str:
    """Name a key under which totals are counted: a code object, a class with or without a method, a word.

    A function of an extension module is its own key. Runs no code of the program.
    """
    if isinstance(key, CodeType):
        return f"{getattr(key, 'co_qualname', key.co_name)}()"
    if isinstance(key, tuple):
        kind, method = key
        return f"{_qualname_of(kind)}.{method}()"
    if isinstance(key, str):
        return key
    return str(_qualname_of(key) if isinstance(key, type) else key.__qualname__)


def _method(owner: Any, method: str) -> str:
    return f"{type(owner).__qualname__}.{method}()"


def _coroutine(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__


def _protocol(source: Any) -> str:
    """The class of a transport's protocol."""
    if not isinstance(source, asyncio.BaseTransport):
        return ""
    protocol = source.get_protocol()
    return "" if protocol is None else f" with {slow.class_of(protocol)}"
