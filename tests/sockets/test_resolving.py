"""getaddrinfo and getnameinfo: the same answers as libc's, whichever way they are found."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import Any

import pytest

from support.loops import run

Loop = asyncio.AbstractEventLoop

HOSTS: list[Any] = [
    "127.0.0.1",
    "::1",
    "0.0.0.0",
    "::",
    "127.1",
    "0x7f.1",
    "1.2.3",
    "fe80::1%lo",
    "fe80::1%1",
    "::ffff:1.2.3.4",
    "1:2:3:4:5:6:7:8",
    " 127.0.0.1",
    "",
    None,
    b"127.0.0.1",
    b"::1",
    pytest.param(
        "localhost", marks=pytest.mark.slow
    ),  # where libc asks a server that does not answer
]
PORTS: list[Any] = [0, 80, 65535, "80", "http", "", None, b"80", "080", -1, 65536, "x"]
FAMILIES = [socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6]
TYPES = [0, socket.SOCK_STREAM, socket.SOCK_DGRAM]
PROTOS = [0, socket.IPPROTO_TCP, socket.IPPROTO_UDP]
FLAGS = [0, socket.AI_PASSIVE, socket.AI_NUMERICHOST, socket.AI_CANONNAME]


def answer(function: Any, *arguments: Any, **keywords: Any) -> Any:
    """What a call gives, an exception as its type and text."""
    try:
        return function(*arguments, **keywords)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("host", HOSTS, ids=repr)
async def test_every_combination_is_answered_as_libc_does(loop: Loop, host: Any) -> None:
    differences: list[Any] = []

    async def ask(*arguments: Any, **keywords: Any) -> Any:
        try:
            return await loop.getaddrinfo(*arguments, **keywords)
        except Exception as error:
            return type(error), str(error)

    for port, family, kind in itertools.product(PORTS, FAMILIES, TYPES):
        keywords: dict[str, Any] = {"family": family, "type": kind}
        expected = answer(socket.getaddrinfo, host, port, **keywords)
        if (found := await ask(host, port, **keywords)) != expected:
            differences.append((port, keywords, expected, found))
    for kind, proto, flags in itertools.product(TYPES, PROTOS, FLAGS):
        keywords = {"type": kind, "proto": proto, "flags": flags}
        expected = answer(socket.getaddrinfo, host, 80, **keywords)
        if (found := await ask(host, 80, **keywords)) != expected:
            differences.append((80, keywords, expected, found))
    assert not differences, f"{len(differences)} differ, first: {differences[0]}"


async def test_the_families_are_enumerations(loop: Loop) -> None:
    for family, kind, *_ in await loop.getaddrinfo("127.0.0.1", 80):
        assert type(family) is socket.AddressFamily
        assert type(kind) is socket.SocketKind


@pytest.mark.parametrize("bad", [5, 1.5, object(), ["127.0.0.1"]])
def test_what_is_no_host_is_refused_as_by_the_socket_module(loop: Loop, bad: Any) -> None:
    expected = answer(socket.getaddrinfo, bad, 80)

    async def main() -> Any:
        try:
            return await loop.getaddrinfo(bad, 80)
        except Exception as error:
            return type(error), str(error)

    assert run(loop, main()) == expected


@pytest.mark.parametrize(
    ("address", "flags"),
    [
        (("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        (("::1", 80, 0, 0), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        (("127.0.0.1", 80), socket.NI_NUMERICHOST),
        (("localhost", 80), 0),
        (("127.0.0.1", -1), 0),
        (("127.0.0.1",), 0),
    ],
)
def test_names_are_those_of_the_socket_module(loop: Loop, address: Any, flags: int) -> None:
    async def main() -> Any:
        try:
            return await loop.getnameinfo(address, flags)
        except Exception as error:
            return type(error), str(error)

    assert run(loop, main()) == answer(socket.getnameinfo, address, flags)


async def test_a_replaced_resolver_is_asked(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests and tunnels replace `socket.getaddrinfo`; names go through it."""
    asked: list[Any] = []

    def own(host: Any, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

    monkeypatch.setattr(socket, "getaddrinfo", own)

    assert (await loop.getaddrinfo("some.name", 80))[0][4] == ("127.0.0.1", 1)
    assert asked == ["some.name"]


def test_a_lone_surrogate_is_refused_as_a_name(loop: Loop) -> None:
    with pytest.raises(UnicodeError) as refused:
        run(loop, loop.getaddrinfo("\ud800", 80, type=socket.SOCK_STREAM))
    assert "utf-8" not in str(refused.value)
