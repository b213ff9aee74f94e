"""Wrong and odd values for arguments, by name; each loop gets new ones."""

from __future__ import annotations

import asyncio
import contextvars
import fractions
import functools
import io
import math
import socket
import ssl
import subprocess
from collections.abc import Callable
from typing import Any

from surface.probe import Probe

Recipe = Callable[[Probe], Any]


class _Number:
    """Something that is a number where `__index__` is asked for."""

    def __index__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "<a number>"


class _Refuses:
    """An object whose every special method raises."""

    def __index__(self) -> int:
        raise ArithmeticError("no index")

    def __bool__(self) -> bool:
        raise ArithmeticError("no truth")

    def __len__(self) -> int:
        raise ArithmeticError("no length")

    def fileno(self) -> int:
        raise ArithmeticError("no descriptor")

    def __repr__(self) -> str:
        return "<refuses>"


class _Text(str):
    """Text of a class of its own."""

    __slots__ = ()


class _File:
    """Has a `fileno` that says what it is told to."""

    def __init__(self, number: Any) -> None:
        self.number = number

    def fileno(self) -> Any:
        return self.number

    def __repr__(self) -> str:
        return f"<file {self.number!r}>"


def callback(*_args: Any) -> None:
    """Does nothing."""


async def coroutine_function() -> None:
    """Does nothing, later."""


def broken_factory() -> Any:
    """A factory that fails."""
    raise LookupError("no protocol")


_NAMELESS = ssl.create_default_context()
"""Which Pythons refuse to check no name goes by their patch release."""
_NAMELESS.check_hostname = False


def _plain(value: Any) -> Recipe:
    return lambda _: value


_PLAIN: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1_000_000, 1 << 31, 1 << 40, -(1 << 70), 1.5, -0.5),
    *(math.nan, math.inf, -math.inf, "", "text", "\0", "\udc80", b"", b"bytes", (), (1, 2)),
    *(("127.0.0.1", "x"), ("127.0.0.1", 1 << 20), [], {}, 1j, ...),
)

ODD: dict[str, Recipe] = {repr(value): _plain(value) for value in _PLAIN}
ODD |= {
    "object": lambda _: object(),
    "bytearray": lambda _: bytearray(b"array"),
    "view": lambda _: memoryview(b"view"),
    "read-only wide view": lambda _: memoryview(b"12345678").cast("I"),
    "list of text": lambda _: ["text"],
    "fraction": _plain(fractions.Fraction(3, 2)),
    "number": lambda _: _Number(),
    "refuses": lambda _: _Refuses(),
    "own text": _plain(_Text("127.0.0.1")),
    "file -1": lambda _: _File(-1),
    "file text": lambda _: _File("text"),
    "file None": lambda _: _File(None),
    "file huge": lambda _: _File(1 << 40),
    "function": _plain(callback),
    "coroutine function": _plain(coroutine_function),
    "class": _plain(dict),
    "module": _plain(math),
    "exception": lambda _: ValueError("odd"),
    "closed socket": lambda p: p.closed(),
    "tcp socket": lambda p: p.open(),
    "udp socket": lambda p: p.open(socket.SOCK_DGRAM),
    "unix datagram socket": lambda p: p.open(socket.SOCK_DGRAM, socket.AF_UNIX),
    "memory file": lambda _: io.BytesIO(b"memory"),
    "loop": lambda p: p.loop,
    "context": lambda _: contextvars.Context(),
}

GOOD: dict[str, Recipe] = {
    "callback": _plain(callback),
    "partial": _plain(functools.partial(callback, 1)),
    "delay": _plain(0.5),
    "when": _plain(1e9),
    "protocol": _plain(asyncio.Protocol),
    "datagram protocol": _plain(asyncio.DatagramProtocol),
    "process protocol": _plain(asyncio.SubprocessProtocol),
    "broken factory": _plain(broken_factory),
    "host": _plain("127.0.0.1"),
    "free port": _plain(0),
    "port": lambda p: p.listening()[1],
    "local": _plain(("127.0.0.1", 0)),
    "peer": lambda p: ("127.0.0.1", p.listening()[1]),
    "pair socket": lambda p: p.pair()[0],
    "filled socket": lambda p: _filled(p),
    "listener": lambda p: p.listening()[0],
    "datagram socket": lambda p: p.open(socket.SOCK_DGRAM),
    "new path": lambda p: str(p.folder() / "s"),
    "file": lambda p: _file(p),
    "read end": lambda p: p.pipe()[0],
    "write end": lambda p: p.pipe()[1],
    "tls": _plain(_NAMELESS),
    "short": _plain(0.01),
    "size": _plain(10),
    "data": _plain(b"data"),
    "room": lambda _: bytearray(10),
    "signal": _plain(10),
    "program": _plain("true"),
    "pipe": _plain(subprocess.PIPE),
    "devnull": _plain(subprocess.DEVNULL),
    "family": _plain(socket.AF_INET),
    "unix": _plain(socket.AF_UNIX),
    "stream": _plain(socket.SOCK_STREAM),
    "name": _plain("name"),
    "message": lambda _: {"message": "odd"},
    "True": _plain(True),
    "False": _plain(False),
    "None": _plain(None),
}
"""What calls are made for; the tables of `odd_calls` say which call takes which."""


def _filled(p: Probe) -> socket.socket:
    left, right = p.pair()
    right.send(b"waiting")
    return left


def _file(p: Probe) -> Any:
    path = p.folder() / "file"
    path.write_bytes(bytes(100))
    return p.stack.enter_context(path.open("rb"))
