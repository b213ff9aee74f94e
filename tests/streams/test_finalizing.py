"""Unclosed transports: reported and closed when the collector finds them."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from support.attaching import attach
from support.loops import Factory, run, turns, until
from support.memory import tidy
from support.net.certificates import client_context, server_context
from support.net.pipes import opened
from support.net.sockets import Pair, listening, socket_pair, tcp_pair

Loop = asyncio.AbstractEventLoop


class Holder(asyncio.Protocol):
    """Holds its transport; what refers to both of them is a cycle."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.others: list[Any] = []

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Never happens."""

    def error_received(self, exc: Exception) -> None:
        self.error = exc


class Keeper:
    """Has its finalizer keep a transport that is garbage too."""

    def __init__(self, protocol: Holder, kept: list[Any]) -> None:
        self.protocol = protocol
        self.kept = kept
        protocol.others.append(self)

    def __del__(self) -> None:
        self.kept.append(self.protocol.transport)


async def over(pair: AbstractContextManager[Pair], protocol: Holder) -> tuple[int, Any]:
    with pair as (near, far):
        mine, peer = near.dup(), far.dup()
    await attach(mine, protocol)
    return mine.fileno(), peer


async def over_tcp(protocol: Holder) -> tuple[int, Any]:
    return await over(tcp_pair(), protocol)


async def over_tcp_accepted(protocol: Holder) -> tuple[int, Any]:
    """One that has no Python socket here."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol, sock=listening())
    peer = socket.create_connection(server.sockets[0].getsockname())
    await until(lambda: hasattr(protocol, "transport"))
    server.close()
    text = repr(protocol.transport)
    return int(text.partition("fd=")[2].split()[0].rstrip(">")), peer


async def over_unix(protocol: Holder) -> tuple[int, Any]:
    return await over(socket_pair(), protocol)


async def over_tls(protocol: Holder) -> tuple[int, Any]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        asyncio.Protocol, "127.0.0.1", 0, ssl=server_context(), start_serving=True
    )
    transport, _ = await loop.create_connection(
        lambda: protocol,
        *server.sockets[0].getsockname(),
        ssl=client_context(),
        server_hostname="localhost",
    )
    server.close()
    return transport.get_extra_info("socket").fileno(), None


async def endpoint(protocol: Holder) -> tuple[int, Any]:
    loop = asyncio.get_running_loop()
    untyped: Any = loop
    transport, _ = await untyped.create_datagram_endpoint(
        lambda: protocol, local_addr=("127.0.0.1", 0)
    )
    return transport.get_extra_info("socket").fileno(), None


async def reading_pipe(protocol: Holder) -> tuple[int, Any]:
    r, w = os.pipe()
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, opened(r, "rb"))
    return r, opened(w, "wb")


async def writing_pipe(protocol: Holder) -> tuple[int, Any]:
    r, w = os.pipe()
    await asyncio.get_running_loop().connect_write_pipe(lambda: protocol, opened(w, "wb"))
    return w, opened(r, "rb")


Maker = Callable[[Holder], Awaitable[tuple[int, Any]]]
MAKERS = [
    over_tcp,
    over_tcp_accepted,
    over_unix,
    over_tls,
    endpoint,
    reading_pipe,
    writing_pipe,
]
each_kind = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def abandoned(loop: Loop, make: Maker, kept: list[Any] | None = None) -> tuple[int, Any]:
    """The descriptor of a transport that is garbage now, and what its peer is."""
    protocol = Holder()
    made = run(loop, made_by(make, protocol))
    if kept is not None:
        Keeper(protocol, kept)
    return made


async def made_by(make: Maker, protocol: Holder) -> tuple[int, Any]:
    return await make(protocol)


@each_kind
def test_the_collector_reports_and_closes_it_though_a_finalizer_keeps_it(
    new_loop: Factory, make: Maker
) -> None:
    kept: list[Any] = []
    loop = new_loop()
    gc.collect()
    gc.disable()
    try:
        number, peer = abandoned(loop, make, kept)
        loop.close()
        assert not is_closed(number)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.collect()
    finally:
        gc.enable()
    assert len(kept) == 1
    texts = [str(warning.message) for warning in caught]
    named = [text for text in texts if text.startswith("unclosed transport <")]
    assert len(named) >= (2 if make is over_tls else 1), texts
    assert all(warning.category is ResourceWarning for warning in caught)
    assert is_closed(number)
    caught.clear()
    # It may be used, closed and lost again; nothing is reported twice.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        repr(kept[0])
        kept[0].get_extra_info("peername")
        kept.clear()
        tidy()
    assert not [it for it in caught if "unclosed transport" in str(it.message)]
    if peer is not None:
        peer.close()


@each_kind
def test_what_was_called_is_told_where_a_warning_is_an_error(
    new_loop: Factory, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = new_loop()
    told: list[tuple[str, bool, bool, bool]] = []

    def hook(unraisable: Any) -> None:
        what = f"{unraisable.err_msg} {unraisable.object!r}"
        if "unclosed transport" in str(unraisable.exc_value) or "usual" in str(
            unraisable.exc_value
        ):
            told.append(
                (
                    type(unraisable.exc_value).__name__,
                    "__del__" in what,
                    unraisable.err_msg is None,
                    unraisable.object is None,
                )
            )

    class Usual:
        def __del__(self) -> None:
            raise ResourceWarning("usual")

    monkeypatch.setattr(sys, "unraisablehook", hook)
    Usual()
    usual = told.pop()
    number, peer = abandoned(loop, make)
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        tidy()
    tidy()
    assert told
    assert set(told) == {usual}
    assert is_closed(number)
    if peer is not None:
        peer.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("make", [over_tcp, over_unix, endpoint], ids=lambda make: make.__name__)
async def test_one_that_was_brought_back_can_be_closed(loop: Loop, make: Maker) -> None:
    """A paused transport is not held by its loop."""
    if make is endpoint and sys.version_info < (3, 11):
        pytest.skip("endpoints cannot be paused")
    kept: list[Any] = []

    protocol = Holder()
    number, peer = await make(protocol)
    protocol.transport.pause_reading()
    Keeper(protocol, kept)
    del protocol
    await turns()
    tidy()
    assert is_closed(number)
    (transport,) = kept
    back = transport.get_protocol()
    transport.close()
    assert transport.is_closing()
    await until(lambda: hasattr(back, "lost"))
    assert back.lost is None
    if peer is not None:
        peer.close()
    kept.clear()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="wait_closed does not wait")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_thread_may_run_the_collector(loop: Loop, kind: str) -> None:
    """A task that waits for the connection's server goes on."""
    collected = threading.Event()

    def collect() -> None:
        gc.collect()
        collected.set()

    async def main() -> None:
        protocols: list[Holder] = []

        def factory() -> Holder:
            protocols.append(Holder())
            return protocols[-1]

        server = await loop.create_server(factory, sock=listening())
        peer = socket.create_connection(server.sockets[0].getsockname())
        await until(lambda: protocols and hasattr(protocols[0], "transport"))
        await turns()
        protocols[0].transport.pause_reading()
        server.close()
        waiting = asyncio.ensure_future(server.wait_closed())
        await turns()
        assert not waiting.done()
        protocols.clear()
        # The loop waits meanwhile.
        thread = threading.Thread(target=collect)
        loop.call_later(0.01, thread.start)
        await until(lambda: collected.is_set() and waiting.done())
        thread.join()
        peer.close()

    if kind == "asyncio" and sys.version_info < (3, 13):
        pytest.skip("a collected transport does not tell its server")
    if kind == "asyncio":
        # In debug mode it refuses to wake anybody from another thread.
        loop.set_debug(False)
    gc.collect()
    gc.disable()
    try:
        run(loop, main())
    finally:
        gc.enable()


async def test_a_method_like_any_other(loop: Loop) -> None:
    protocol = Holder()
    number, peer = await over_unix(protocol)
    untyped: Any = protocol.transport
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        untyped.__del__()
    assert is_closed(number)
    protocol.transport.close()
    await until(lambda: hasattr(protocol, "lost"))
    peer.close()
