"""The return values of a program's SSLObject are never used as lengths; the outcome is asyncio's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

import ferroloop
from support.errors import Reports
from support.loops import PATIENCE, run, until
from support.net.protocols import returning
from support.net.tls import calling_openssl, context_of, peer_of

#: How much asyncio asks an SSLObject for.
MOST = 256 * 1024

LATE = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio of 3.10 calls otherwise")


class Odd:
    """A number only where an index will do."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class Seen(NamedTuple):
    """What came of a connection."""

    told: list[Any]
    lost: Any
    reports: list[Any]
    data: list[bytes]


class Noting:
    """What protocols of both kinds remember, by value."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.lost: Any = "not yet"
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def eof_received(self) -> None:
        self.told.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = (type(exc), str(exc))


class Plain(Noting, asyncio.Protocol):
    """Remembers what it is given."""

    def data_received(self, data: Any) -> None:
        self.told.append(data)


class Buffered(Noting, asyncio.BufferedProtocol):
    """Remembers what it is told of its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(b"." * 100)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: Any) -> None:
        self.told.append((nbytes, bytes(self.buffer[:nbytes] if nbytes < 10**9 else self.buffer)))
        self.buffer[:] = b"." * 100


async def _seen(kind: Callable[[], Any], cls: type[ssl.SSLObject]) -> Seen:
    loop = asyncio.get_running_loop()
    reports = Reports()
    loop.set_exception_handler(reports.handle)
    protocol = kind()
    async with peer_of(returning(protocol), context_of(cls)) as peer:
        await peer.handshake()
        await until(lambda: protocol.transport is not None)
        armed.append(True)
        await peer.send(b"hello")
        await until(lambda: not armed)
        await asyncio.sleep(0)
        if protocol.lost == "not yet":
            protocol.transport.write(b"answer")
            protocol.transport.close()
        got = []
        with contextlib.suppress(AssertionError, OSError):
            got.append(await peer.read(100))
        with contextlib.suppress(OSError):
            await peer.send_raw(peer.close_notify())
        await until(lambda: protocol.lost != "not yet")
    return Seen(
        protocol.told,
        protocol.lost,
        [(it["message"], type(it["exception"]), str(it["exception"])) for it in reports],
        got,
    )


#: Not empty until the object of a test's class has done what it is there for.
armed: list[bool] = []


def everywhere(kind: Callable[[], Any], cls: type[ssl.SSLObject]) -> Iterator[Seen]:
    """What comes of it on asyncio, and on ferroloop in both ways."""
    for factory, directly in (
        (asyncio.SelectorEventLoop, True),
        (ferroloop.new_event_loop, True),
        (ferroloop.new_event_loop, False),
    ):
        armed.clear()
        loop = factory()
        with calling_openssl(directly=directly):
            yield run(loop, asyncio.wait_for(_seen(kind, cls), PATIENCE))
        loop.close()


def assert_the_same_everywhere(kind: Callable[[], Any], cls: type[ssl.SSLObject]) -> None:
    first, *others = everywhere(kind, cls)
    for other in others:
        assert other == first


def reading(lie: Callable[[Any], Any]) -> type[ssl.SSLObject]:
    """A class whose next read, once it is armed, gives something else than it should."""

    class Lying(ssl.SSLObject):
        def read(self, *args: Any) -> Any:
            result = super().read(*args)
            if armed:
                armed.clear()
                return lie(result)
            return result

    return Lying


COUNTS: dict[str, Callable[[int], Any]] = {
    "more": lambda count: count + 60_000,
    "a little more": lambda count: count + 1,
    "less": lambda count: count - 1,
    "none": lambda count: 0,
    "negative": lambda count: -count,
    "no number": lambda count: None,
    "text": str,
    "fraction": float,
    "true": lambda count: True,
    "huge": lambda count: 10**30,
    "most": lambda count: sys.maxsize,
    "least": lambda count: -sys.maxsize - 1,
    "odd": Odd,
    "bytes": lambda count: b"x" * count,
}


@LATE
@pytest.mark.parametrize("lie", COUNTS.values(), ids=COUNTS)
def test_what_a_read_into_a_buffer_returns_is_no_length(lie: Callable[[int], Any]) -> None:
    assert_the_same_everywhere(Buffered, reading(lie))


VALUES: dict[str, Callable[[bytes], Any]] = {
    "longer": lambda data: data + bytes(MOST),
    "shorter": lambda data: data[:1],
    "empty": lambda data: b"",
    "none": lambda data: None,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "text": lambda data: data.decode(),
    "number": len,
}


@LATE
@pytest.mark.parametrize("lie", VALUES.values(), ids=VALUES)
def test_what_a_read_returns_is_given_to_the_protocol(lie: Callable[[bytes], Any]) -> None:
    assert_the_same_everywhere(Plain, reading(lie))


WRITTEN = {name: lie for name, lie in COUNTS.items() if name not in ("negative", "least", "none")}


@LATE
@pytest.mark.parametrize("lie", WRITTEN.values(), ids=WRITTEN)
def test_what_a_write_returns_is_no_length(lie: Callable[[int], Any]) -> None:
    lies: list[bool] = []

    def arm(data: bytes) -> bytes:
        lies.append(True)
        return data

    class Lying(reading(arm)):  # type: ignore[misc] # made for this test
        def write(self, data: Any) -> Any:
            count = super().write(data)
            if lies:
                lies.clear()
                return lie(count)
            return count

    assert_the_same_everywhere(Plain, Lying)
