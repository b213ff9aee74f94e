"""What a result looks like, without what differs from run to run and from loop to loop."""

from __future__ import annotations

import asyncio
import contextvars
import re
import socket
import types
from typing import Any

_KINDS = (
    asyncio.AbstractEventLoop,
    asyncio.TimerHandle,
    asyncio.Handle,
    asyncio.DatagramTransport,
    asyncio.SubprocessTransport,
    asyncio.Transport,
    asyncio.ReadTransport,
    asyncio.WriteTransport,
    asyncio.BaseTransport,
    asyncio.AbstractServer,
    asyncio.BaseProtocol,
    asyncio.StreamReader,
    asyncio.StreamWriter,
    contextvars.Context,
)
"""The classes by which a result is described, the narrowest first; its exact class does not matter."""

LONG = 1000
"""Of a text, so many characters count."""

_NOISE = (
    (re.compile(r"/tmp/f[\w]{8}\b"), "FOLDER"),
    # What asyncio of 3.10 shows of an argument that was not given.
    (re.compile(r"reuse_address=<object object at 0x[0-9a-f]+>"), "reuse_address=<not given>"),
    (re.compile(r"0x[0-9a-fA-F]+"), "0x..."),
    # reprlib keeps the two ends of what is long.
    (re.compile(r"<\w+\.\.\.[^()<>]*>+"), "<TRANSPORT>"),
    (re.compile(r"\b\w+Transport\.(?=_call_connection_lost)"), "TRANSPORT."),
    (re.compile(r"File descriptor \d+"), "File descriptor N"),
    (re.compile(r"\b(fd|_fd|pid|size|when|created at)[=:]? ?[-\w./:]+"), r"\1=..."),
    (re.compile(r"(laddr|raddr)=(\([^)]*\)|[^,>]*)"), r"\1=..."),
    (re.compile(r"('(?:127\.0\.0\.1|::1)', )\d{4,5}\b"), r"\1PORT"),
    (re.compile(r"(127\.0\.0\.1|::1)([:/ ])\d{4,5}\b"), r"\1\2..."),
    (re.compile(r"\bTask-\d+"), "Task-N"),
    (re.compile(r"<(\w+\.)*(_\w*|Uv|)(EventLoop|SelectorEventLoop)\b|<ferroloop\.Loop\b"), "<LOOP"),
    (re.compile(r"<(\w+\.)*_UnixSelectorEventLoop|<Loop\b"), "<LOOP"),
    (re.compile(r"'(_UnixSelectorEventLoop|Loop)'"), "'LOOP'"),
    (re.compile(r"\bnot (_UnixSelectorEventLoop|Loop)\b"), "not LOOP"),
    (re.compile(r"'\d{4,5}'"), "'PORT'"),
    (
        re.compile(r"<(\w+\.)*\w*(Transport|SSLProtocolTransport)\b[^<>]*(<[^<>]*>[^<>]*)*>"),
        "<TRANSPORT>",
    ),
    (re.compile(r"\bferroloop\.\w+\.|\basyncio\.(\w+\.)+(?=[A-Z])"), ""),
    (re.compile(r"\b(Base\w*|Loop|_Unix\w*|EventLoop)\.(?=[a-z_]+\()"), "LOOP."),
    (re.compile(r"[\w./<>-]+\.py:\d+"), "FILE:LINE"),
    (re.compile(r"\b\d+\.\d{3} seconds"), "N seconds"),
)
_ARGUMENTS = re.compile(
    r"missing \d+ required|takes .*argument|unexpected keyword|multiple values|"
    r"argument .*must be|required (keyword-only|positional) argument|expected .* argument"
    r"|invalid keyword|not enough arguments|missing required argument"
)


def text(of: object) -> str:
    """A text without addresses, numbers of descriptors and names of classes."""
    found = str(of)[:LONG]
    for pattern, instead in _NOISE:
        found = pattern.sub(instead, found)
    return found


def error(raised: BaseException) -> str:
    """An exception's type and text; how Python words a wrong number of arguments is left out."""
    name = type(raised).__name__
    if isinstance(raised, TypeError) and _ARGUMENTS.search(str(raised)):
        return f"{name}: wrong arguments"
    words = text(raised)
    inside = getattr(raised, "exceptions", ())  # an exception group's (3.11)
    if inside:
        words += f" {[error(inner) for inner in inside]}"
    return f"{name}: {words}"


def describe(value: object) -> str:
    """A result, as far as it must be the same on every loop."""
    if isinstance(value, BaseException):
        return error(value)
    if isinstance(value, (asyncio.Task, asyncio.Future)):
        return f"{'Task' if isinstance(value, asyncio.Task) else 'Future'} {_state(value)}"
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        inside = ", ".join(map(describe, value))
        return f"{type(value).__name__}({inside})"
    if isinstance(value, dict):
        inside = ", ".join(f"{key!r}: {describe(item)}" for key, item in value.items())
        return f"{{{inside}}}"
    if isinstance(value, type):
        return f"class {value.__name__}"
    if type(value) is int and 10_000 <= value < 1 << 16:
        return "PORT"
    if isinstance(value, (str, bytes, bytearray, int, float)) or value is None:
        return text(repr(value))
    if isinstance(value, socket.socket):
        return f"socket {value.family.name} {value.type.name}"
    return _kind(value)


def _state(future: asyncio.Future[Any]) -> str:
    if not future.done():
        return "pending"
    if future.cancelled():
        return "cancelled"
    raised = future.exception()
    return describe(future.result()) if raised is None else error(raised)


def _kind(value: object) -> str:
    if hasattr(value, "sendto"):  # an instance of DatagramTransport since 3.12
        return "a DatagramTransport"
    for kind in _KINDS:
        if isinstance(value, kind):
            return f"a {kind.__name__}"
    if isinstance(value, (types.FunctionType, types.MethodType, types.BuiltinMethodType)):
        return "a function"
    return f"a {type(value).__name__}"
