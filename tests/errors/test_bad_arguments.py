"""Bad arguments of a loop's methods: the exception and its text are asyncio's, and nothing is left open.

Each case is called on the loop and on asyncio's own; the two must raise the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from support.loops import PATIENCE

Loop = asyncio.AbstractEventLoop


class Unclosed:
    """Things that a case opens, closed when it is over."""

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()

    def open(self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
        return self.stack.enter_context(socket.socket(family, kind))

    def closed(self) -> socket.socket:
        sock = socket.socket()
        sock.close()
        return sock

    def tls_socket(self) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        sock = context.wrap_socket(self.open(), do_handshake_on_connect=False)
        return self.stack.enter_context(sock)


@dataclass(frozen=True)
class Case:
    """A call that goes wrong."""

    name: str
    call: Callable[[Any, Unclosed], Any]
    # Where what asyncio says depends on its own inside, only the type is compared.
    text: bool = True
    closed: bool = False


async def coroutine() -> None:
    """Something that is no callback."""


def not_awaited(loop: Any, method: str) -> Any:
    made = coroutine()
    try:
        return getattr(loop, method)(made)
    finally:
        made.close()


def datagrams(**options: Any) -> Case:
    """A call of create_datagram_endpoint."""
    make = asyncio.DatagramProtocol
    name = f"create_datagram_endpoint {options}"
    return Case(name, lambda on, _: on.create_datagram_endpoint(make, **options))


P = asyncio.Protocol
D = asyncio.DatagramProtocol
TLS = ssl.create_default_context()

CASES = [
    Case("call_soon nothing", lambda on, _: on.call_soon(), text=False),
    Case("call_later nothing", lambda on, _: on.call_later(), text=False),
    Case("call_later no callback", lambda on, _: on.call_later(1), text=False),
    Case("call_later None", lambda on, _: on.call_later(None, print)),
    Case("call_later text", lambda on, _: on.call_later("1", print), text=False),
    Case("call_at None", lambda on, _: on.call_at(None, print)),
    Case("call_soon unknown keyword", lambda on, _: on.call_soon(print, unknown=1), text=False),
    Case("call_soon_threadsafe nothing", lambda on, _: on.call_soon_threadsafe(), text=False),
    Case("run_until_complete number", lambda on, _: on.run_until_complete(5)),
    Case("run_until_complete function", lambda on, _: on.run_until_complete(coroutine)),
    Case("create_task number", lambda on, _: on.create_task(5)),
    Case("create_task function", lambda on, _: on.create_task(coroutine)),
    Case("set_task_factory number", lambda on, _: on.set_task_factory(5)),
    Case("set_exception_handler number", lambda on, _: on.set_exception_handler(5)),
    Case("set_exception_handler text", lambda on, _: on.set_exception_handler("text")),
    Case("set_default_executor object", lambda on, _: on.set_default_executor(object())),
    Case("call_exception_handler nothing", lambda on, _: on.call_exception_handler(), text=False),
    # Descriptors.
    Case("add_reader minus one", lambda on, _: on.add_reader(-1, print)),
    Case("add_reader text", lambda on, _: on.add_reader("text", print)),
    Case("add_reader object", lambda on, _: on.add_reader(object(), print), text=False),
    Case("add_reader None", lambda on, _: on.add_reader(None, print)),
    Case("add_reader closed socket", lambda on, u: on.add_reader(u.closed(), print)),
    Case("add_reader unopened", lambda on, _: on.add_reader(1_000_000, print)),
    Case("add_reader huge", lambda on, _: on.add_reader(1 << 40, print), text=False),
    Case("add_writer minus one", lambda on, _: on.add_writer(-1, print)),
    Case("add_writer unopened", lambda on, _: on.add_writer(1_000_000, print)),
    Case("remove_reader text", lambda on, _: on.remove_reader("text")),
    Case("remove_reader minus one", lambda on, _: on.remove_reader(-1)),
    Case("remove_reader unopened", lambda on, _: on.remove_reader(1_000_000)),
    Case("remove_writer closed socket", lambda on, u: on.remove_writer(u.closed())),
    Case("add_reader nothing", lambda on, _: on.add_reader(), text=False),
    # Signals.
    Case("add_signal_handler 0", lambda on, _: on.add_signal_handler(0, print)),
    Case("add_signal_handler text", lambda on, _: on.add_signal_handler("x", print)),
    Case("add_signal_handler kill", lambda on, _: on.add_signal_handler(signal.SIGKILL, print)),
    Case("add_signal_handler function", lambda on, _: on.add_signal_handler(10, coroutine)),
    Case(
        "add_signal_handler coroutine", lambda on, _: not_awaited(on, "add_signal_handler"), False
    ),
    Case("remove_signal_handler 0", lambda on, _: on.remove_signal_handler(0)),
    # Connections.
    Case("create_connection nothing", lambda on, _: on.create_connection(P)),
    Case("create_connection twice", lambda on, u: on.create_connection(P, "h", 1, sock=u.open())),
    Case("create_connection udp", lambda on, u: on.create_connection(P, sock=u.open(2)), False),
    Case(
        "create_connection tls socket", lambda on, u: on.create_connection(P, sock=u.tls_socket())
    ),
    Case(
        "create_connection hostname without ssl",
        lambda on, _: on.create_connection(P, "h", 1, server_hostname="h"),
    ),
    Case(
        "create_connection ssl without hostname",
        lambda on, u: on.create_connection(P, sock=u.open(), ssl=TLS),
    ),
    Case(
        "create_connection timeout without ssl",
        lambda on, _: on.create_connection(P, "h", 1, ssl_handshake_timeout=1),
    ),
    Case(
        "create_connection negative timeout",
        lambda on, _: on.create_connection(P, "127.0.0.1", 9, ssl=TLS, ssl_handshake_timeout=-1),
        text=False,
    ),
    Case("create_connection bad ssl", lambda on, _: on.create_connection(P, "127.0.0.1", 9, ssl=5)),
    Case("create_connection host number", lambda on, _: on.create_connection(P, 5, 80)),
    Case(
        "create_connection port text", lambda on, _: on.create_connection(P, "127.0.0.1", "no port")
    ),
    Case(
        "create_connection port huge", lambda on, _: on.create_connection(P, "127.0.0.1", 1 << 20)
    ),
    Case("create_connection port 65536", lambda on, _: on.create_connection(P, "127.0.0.1", 65536)),
    Case(
        "create_connection IPv6 to IPv4",
        lambda on, _: on.create_connection(P, "::1", 1, family=socket.AF_INET),
    ),
    Case("create_connection port -1", lambda on, _: on.create_connection(P, "127.0.0.1", -1)),
    Case(
        "create_connection wrong family",
        lambda on, _: on.create_connection(P, "127.0.0.1", 9, family=socket.AF_INET6),
    ),
    Case(
        "create_connection bad local address",
        lambda on, _: on.create_connection(P, "127.0.0.1", 9, local_addr=("::1", 0)),
        text=False,
    ),
    Case("create_connection keyword", lambda on, _: on.create_connection(P, "h", 1, x=1), False),
    Case("create_unix_connection nothing", lambda on, _: on.create_unix_connection(P)),
    Case(
        "create_unix_connection twice",
        lambda on, u: on.create_unix_connection(P, "/p", sock=u.open(family=socket.AF_UNIX)),
    ),
    Case(
        "create_unix_connection tcp socket",
        lambda on, u: on.create_unix_connection(P, sock=u.open()),
        text=False,
    ),
    Case(
        "create_unix_connection ssl without hostname",
        lambda on, _: on.create_unix_connection(P, "/p", ssl=TLS),
    ),
    Case(
        "create_unix_connection hostname without ssl",
        lambda on, _: on.create_unix_connection(P, "/p", server_hostname="h"),
    ),
    Case("create_unix_connection number", lambda on, _: on.create_unix_connection(P, 5), False),
    # Servers.
    Case("create_server nothing", lambda on, _: on.create_server(P)),
    Case("create_server twice", lambda on, u: on.create_server(P, "h", 1, sock=u.open())),
    Case("create_server bool ssl", lambda on, _: on.create_server(P, "127.0.0.1", 0, ssl=True)),
    Case("create_server udp", lambda on, u: on.create_server(P, sock=u.open(2)), text=False),
    Case("create_server tls socket", lambda on, u: on.create_server(P, sock=u.tls_socket())),
    Case("create_server port text", lambda on, _: on.create_server(P, "127.0.0.1", "no port")),
    Case("create_server port huge", lambda on, _: on.create_server(P, "127.0.0.1", 1 << 20), False),
    Case(
        "create_server timeout without ssl",
        lambda on, _: on.create_server(P, "127.0.0.1", 0, ssl_handshake_timeout=1),
    ),
    Case("create_server foreign address", lambda on, _: on.create_server(P, "192.0.2.1", 0), False),
    Case("create_unix_server nothing", lambda on, _: on.create_unix_server(P)),
    Case(
        "create_unix_server twice",
        lambda on, u: on.create_unix_server(P, "/p", sock=u.open(family=socket.AF_UNIX)),
    ),
    Case("create_unix_server no folder", lambda on, _: on.create_unix_server(P, "/no/such/folder")),
    Case("create_unix_server bool ssl", lambda on, _: on.create_unix_server(P, "/p", ssl=True)),
    Case(
        "create_unix_server tcp socket",
        lambda on, u: on.create_unix_server(P, sock=u.open()),
        text=False,
    ),
    Case(
        "connect_accepted_socket udp", lambda on, u: on.connect_accepted_socket(P, u.open(2)), False
    ),
    Case(
        "connect_accepted_socket timeout",
        lambda on, u: on.connect_accepted_socket(P, u.open(), ssl_handshake_timeout=1),
    ),
    Case("start_tls bad context", lambda on, _: on.start_tls(None, P(), 5)),
    Case("start_tls bad transport", lambda on, _: on.start_tls(object(), P(), TLS), text=False),
    # Datagram endpoints.
    datagrams(),
    datagrams(local_addr="127.0.0.1"),
    datagrams(local_addr=("127.0.0.1",)),
    datagrams(family=socket.AF_UNIX, local_addr=("a", 1)),
    datagrams(local_addr=("127.0.0.1", 0), remote_addr=("::1", 1)),
    datagrams(local_addr=("127.0.0.1", 0), family=socket.AF_INET6),
    datagrams(local_addr=("203.0.113.7", 0)),
    datagrams(family=9999),
    Case(
        "create_datagram_endpoint tcp", lambda on, u: on.create_datagram_endpoint(D, sock=u.open())
    ),
    Case(
        "create_datagram_endpoint sock with options",
        lambda on, u: on.create_datagram_endpoint(D, sock=u.open(2), family=2, flags=1),
        # asyncio of 3.10 adds that it was not told `reuse_address`.
        text=sys.version_info >= (3, 11),
    ),
    Case("getaddrinfo number", lambda on, _: on.getaddrinfo(5, 80)),
    Case("getnameinfo number", lambda on, _: on.getnameinfo(5)),
    # A closed loop.
    Case("closed call_soon", lambda on, _: on.call_soon(print), closed=True),
    Case("closed call_soon_threadsafe", lambda on, _: on.call_soon_threadsafe(print), closed=True),
    Case("closed call_later", lambda on, _: on.call_later(1, print), closed=True),
    Case("closed call_at", lambda on, _: on.call_at(1, print), closed=True),
    Case("closed run_forever", lambda on, _: on.run_forever(), closed=True),
    Case("closed add_reader", lambda on, _: on.add_reader(0, print), closed=True),
    Case("closed add_writer", lambda on, _: on.add_writer(0, print), closed=True),
    Case("closed add_signal_handler", lambda on, _: on.add_signal_handler(10, print), False, True),
    Case("closed run_in_executor", lambda on, _: on.run_in_executor(None, print), closed=True),
    Case("closed create_task", lambda on, _: not_awaited(on, "create_task"), closed=True),
    Case(
        "closed run_until_complete",
        lambda on, _: not_awaited(on, "run_until_complete"),
        False,
        True,
    ),
]


def outcome(loop: Any, case: Case) -> Any:
    """What a case raises on a loop, or that it raises nothing."""
    unclosed = Unclosed()
    with unclosed.stack:
        if case.closed:
            loop.close()
        try:
            result = case.call(loop, unclosed)
            if asyncio.iscoroutine(result):
                result = loop.run_until_complete(asyncio.wait_for(result, PATIENCE))
        except Exception as error:
            text = re.sub(r"fd=\d+|0x[0-9a-f]+|laddr=\S+", "...", str(error))
            return type(error), text if case.text else ""
        finally:
            if not case.closed:
                loop.remove_signal_handler(signal.SIGUSR1)
    return "nothing raised", repr(result) if isinstance(result, (bool, type(None))) else ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_it_is_refused_as_asyncio_refuses_it(loop: Loop, case: Case) -> None:
    reference = asyncio.SelectorEventLoop()
    reference.set_debug(loop.get_debug())
    try:
        expected = outcome(reference, case)
    finally:
        reference.close()
    assert outcome(loop, case) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "keywords"),
    [
        ("remove_reader", (), {}),
        ("remove_reader", (1, 2), {}),
        ("remove_reader", (), {"other": 1}),
        ("remove_reader", (1,), {"fd": 1}),
        ("time", (1,), {}),
        ("time", (), {"other": 1}),
        ("get_debug", (1, 2), {}),
        ("create_future", (1,), {}),
        ("create_task", (), {}),
        ("create_task", (1, 2), {}),
        ("call_soon", (), {}),
        ("call_later", (1,), {}),
        ("add_reader", (1,), {}),
        ("call_later", (), {"callback": int}),
        ("call_later", (), {"delay": 1, "other": 1}),
        ("call_soon", (), {"other": 1}),
        ("call_soon", (int,), {"other": 1}),
        ("call_soon", (int,), {"callback": int}),
        ("time", (), {"self": 1}),
    ],
)
def test_wrong_arguments_are_reported_in_pythons_words(
    loop: Loop, name: str, arguments: tuple[int, ...], keywords: dict[str, Any]
) -> None:
    words = {}
    for kind in (type(loop), asyncio.SelectorEventLoop):
        with pytest.raises(TypeError) as raised:
            getattr(kind, name)(loop, *arguments, **keywords)
        words[kind] = str(raised.value).rpartition(f"{name}() ")[2]
    assert len(set(words.values())) == 1, words
