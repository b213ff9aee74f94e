"""Arguments that create_datagram_endpoint refuses, without leaving a descriptor open."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import pytest

from support.loops import Factory, run
from support.net.datagrams import Endpoint, endpoint

Loop = asyncio.AbstractEventLoop
HERE = ("127.0.0.1", 0)
takes_empty = sys.version_info >= (3, 13)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"local_addr": "127.0.0.1"},
        {"local_addr": ("127.0.0.1",)},
        {"family": socket.AF_UNIX, "local_addr": ("a", 1)},
        {"local_addr": ("127.0.0.1", 0), "remote_addr": ("::1", 1)},
        {"local_addr": ("127.0.0.1", 0), "family": socket.AF_INET6},
        {"local_addr": ("203.0.113.7", 0)},
        {"family": 9999},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_in_asyncios_words(
    new_loop: Factory, options: dict[str, Any]
) -> None:
    def attempt(make: Factory) -> tuple[type, str]:
        loop = make()
        try:
            with pytest.raises((Exception,)) as caught:
                loop.run_until_complete(loop.create_datagram_endpoint(Endpoint, **options))
            return caught.type, str(caught.value)
        finally:
            loop.close()

    assert attempt(new_loop) == attempt(asyncio.SelectorEventLoop)


async def test_a_socket_of_the_wrong_kind_or_with_options_is_refused(loop: Loop) -> None:
    text = "A datagram socket was" if takes_empty else "A UDP Socket was"
    with socket.socket() as stream, pytest.raises(ValueError, match=text):
        await endpoint(sock=stream)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        # asyncio 3.10 adds that it was not told `reuse_address`.
        text = r"can not be used when sock is specified. \(family=2, flags=1"
        with pytest.raises(ValueError, match=text):
            await endpoint(sock=sock, family=2, flags=1)


async def test_a_factory_that_raises_leaves_the_callers_socket_alone(loop: Loop) -> None:
    def fail() -> asyncio.DatagramProtocol:
        raise ZeroDivisionError

    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        with pytest.raises(ZeroDivisionError):
            await loop.create_datagram_endpoint(fail, sock=sock)
        assert sock.fileno() >= 0


@pytest.mark.ours_only("asyncio leaves its socket to the collector")
def test_a_factory_that_raises_leaves_no_socket_open(loop: Loop) -> None:
    def fail() -> asyncio.DatagramProtocol:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(loop, loop.create_datagram_endpoint(fail, local_addr=HERE))
