"""TLS through an SSLObject of the program's own class: its methods are called as asyncio calls them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest

import ferroloop
from support.errors import Reports
from support.loops import Factory, run, until
from support.net.certificates import server_context
from support.net.protocols import BufferedRecorder, Recorder, returning
from support.net.tls import Peer, context_of, peer_of, served

Loop = asyncio.AbstractEventLoop

#: How much asyncio asks an SSLObject for.
MOST = 256 * 1024

#: asyncio of 3.10 reads into no buffer and writes memoryviews; its order of events is another one.
LATE = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio of 3.10 calls otherwise")


class ViewRecorder(BufferedRecorder):
    """Lends a memoryview, of which a part is no copy."""

    def get_buffer(self, sizehint: int) -> Any:
        super().get_buffer(sizehint)
        return memoryview(self.buffer)

    async def wait_data(self, size: int) -> bytes:
        await until(lambda: len(self.data) >= size)
        return bytes(self.data)


class Short(ssl.SSLObject):
    """Knows nothing of buffers."""

    def read(self, len: int = 1024) -> Any:  # type: ignore[override]  # noqa: A002 - that is its name
        return super().read(len)


async def test_a_read_may_take_a_length_only(loop: Loop) -> None:
    protocol = Recorder()
    async with peer_of(returning(protocol), context_of(Short)) as peer:
        await peer.handshake()
        await peer.send(b"one", b"two")
        assert await protocol.wait_data(6) == b"onetwo"
        protocol.transport.write(b"answer")
        assert await peer.read(6) == b"answer"
        await peer.send_raw(peer.close_notify())
        assert await protocol.wait_lost() is None
    assert protocol.events[-2:] == ["eof_received", "connection_lost"]


@LATE
async def test_a_read_without_a_buffer_does_not_do_for_a_buffered_protocol(
    loop: Loop, reports: Reports
) -> None:
    protocol = ViewRecorder()
    async with peer_of(returning(protocol), context_of(Short)) as peer:
        await peer.handshake()
        await peer.send(b"data")
        assert isinstance(await protocol.wait_lost(), TypeError)
    assert reports.take()["message"] == "Fatal error on SSL protocol"


def test_before_311_a_read_without_a_buffer_does_for_a_buffered_protocol() -> None:
    if sys.version_info >= (3, 11):
        pytest.skip("asyncio reads into the buffer")

    async def main() -> None:
        protocol = ViewRecorder(2)
        async with peer_of(returning(protocol), context_of(Short)) as peer:
            await peer.handshake()
            await peer.send(b"data!")
            assert await protocol.wait_data(5) == b"data!"
            assert protocol.events.count("buffer_updated") == 3
            protocol.transport.abort()
            await protocol.wait_lost()

    for factory in (asyncio.SelectorEventLoop, ferroloop.new_event_loop):
        loop = factory()
        run(loop, main())
        loop.close()


def described(value: Any) -> Any:
    """An argument, as far as it says how something was called."""
    if isinstance(value, memoryview):
        return ("memoryview", len(value))
    return value


class Calls(ssl.SSLObject):
    """Remembers how it was read and written."""

    seen: list[Any]

    def read(self, *args: Any) -> Any:
        try:
            result = super().read(*args)
        except ssl.SSLWantReadError:
            self.seen.append(("read", *map(described, args), "nothing"))
            raise
        self.seen.append(("read", *map(described, args), result))
        return result

    def write(self, *args: Any) -> int:
        self.seen.append(("write", *map(described, args)))
        return super().write(*args)


@LATE
async def test_the_calls_are_those_of_asyncio(loop: Loop) -> None:
    Calls.seen = []
    protocol = Recorder()
    async with served(protocol, context_of(Calls)) as peer:
        Calls.seen.clear()
        await peer.send(b"one", b"two")
        await protocol.wait_data(6)
        protocol.transport.write(b"a")
        protocol.transport.writelines([b"b", b"c" * 40_000])
        protocol.transport.write(b"")
        assert await peer.read(40_002) == b"ab" + b"c" * 40_000
        assert Calls.seen == [
            ("read", MOST, b"one"),
            ("read", MOST, b"two"),
            ("read", MOST, "nothing"),
            ("write", b"a"),
            ("write", b"b"),
            ("write", b"c" * 40_000),
        ]
        Calls.seen.clear()
        await peer.send_raw(peer.records(b"last") + peer.close_notify())
        await protocol.wait_lost()
        assert Calls.seen[:2] == [("read", MOST, b"last"), ("read", MOST, b"")]
    assert protocol.data == b"onetwolast"


@LATE
async def test_the_calls_for_a_buffered_protocol_are_those_of_asyncio(loop: Loop) -> None:
    Calls.seen = []
    protocol = ViewRecorder(10)
    async with served(protocol, context_of(Calls)) as peer:
        Calls.seen.clear()
        await peer.send_raw(peer.records(b"one", b"twotwo", b"three"))
        await protocol.wait_data(14)
        assert Calls.seen == [
            ("read", 10, ("memoryview", 10), 3),
            ("read", 7, ("memoryview", 7), 6),
            ("read", 1, ("memoryview", 1), 1),
            ("read", 10, ("memoryview", 10), 4),
            ("read", 6, ("memoryview", 6), "nothing"),
        ]
        assert protocol.data == b"onetwotwothree"
        protocol.transport.abort()
        await protocol.wait_lost()


async def test_a_negative_count_writes_the_end_again(loop: Loop) -> None:
    counts = iter([-2, 0])

    class Lying(ssl.SSLObject):
        def write(self, data: Any) -> int:
            return next(counts, super().write(data))

    protocol = Recorder()
    async with served(protocol, context_of(Lying)) as peer:
        protocol.transport.write(b"answer")
        assert await peer.read(10) == b"answererer"
        protocol.transport.abort()
        await protocol.wait_lost()


async def test_what_a_program_keeps_shows_nothing_of_other_connections(loop: Loop) -> None:
    kept: list[Any] = []

    class Keeping(ssl.SSLObject):
        def read(self, *args: Any) -> Any:
            kept.extend(memoryview(it) for it in args if not isinstance(it, int))
            return super().read(*args)

        def write(self, data: Any) -> int:
            kept.append(memoryview(data))
            return super().write(data)

    async def exchange(context: ssl.SSLContext, protocol: Any, text: bytes) -> None:
        async with served(protocol, context) as peer:
            await peer.send(text)
            await until(lambda: protocol.data)
            protocol.transport.write(text)
            protocol.transport.write(text)
            assert await peer.read(2 * len(text)) == text * 2
            protocol.transport.abort()
            await protocol.wait_lost()

    await exchange(context_of(Keeping), Recorder(), b"mine")
    await exchange(context_of(Keeping), ViewRecorder(), b"mine")
    assert kept
    await exchange(server_context(), Recorder(), b"secret")
    await exchange(server_context(), ViewRecorder(), b"secret")
    assert b"mine" in b"".join(map(bytes, kept))
    assert b"secret" not in b"".join(map(bytes, kept))


async def test_what_a_program_writes_is_called_for_at_once(loop: Loop) -> None:
    """The object may rely on this, whatever size the transport below has asked for."""
    sizes: list[int] = []

    class Counting(ssl.SSLObject):
        def write(self, data: Any) -> int:
            sizes.append(len(data))
            return super().write(data)

    protocol = Recorder()
    async with served(protocol, context_of(Counting)) as peer:
        total = 0
        while "pause_writing" not in protocol.events:
            protocol.transport.write(bytes(100_000))
            total += 100_000
            assert sum(sizes) == total
        assert len(await peer.read(total)) == total
        await until(lambda: "resume_writing" in protocol.events)
        assert sum(sizes) == total
        protocol.transport.abort()
        await protocol.wait_lost()


class Wrapped:
    """No SSLObject, but with the methods that are called."""

    def __init__(self, inner: ssl.SSLObject) -> None:
        self._inner = inner

    def do_handshake(self) -> None:
        self._inner.do_handshake()

    def unwrap(self) -> None:
        self._inner.unwrap()

    def read(self, len: int) -> bytes:  # noqa: A002 - that is its name
        return self._inner.read(len)

    def write(self, data: Any) -> int:
        return self._inner.write(data)

    def getpeercert(self) -> None:
        return None

    cipher = compression = getpeercert


async def test_an_object_that_is_no_ssl_object_is_called(loop: Loop) -> None:
    class Context(ssl.SSLContext):
        def wrap_bio(self, *args: Any, **options: Any) -> Any:
            return Wrapped(super().wrap_bio(*args, **options))

    def context() -> ssl.SSLContext:
        made = Context(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made

    far = Recorder()
    server = await loop.create_server(returning(far), "127.0.0.1", 0, ssl=server_context())
    near = Recorder()
    host, port = server.sockets[0].getsockname()
    await loop.create_connection(
        returning(near), host, port, ssl=context(), server_hostname="localhost"
    )
    assert isinstance(near.transport.get_extra_info("ssl_object"), Wrapped)
    near.transport.write(b"there")
    assert await far.wait_data(5) == b"there"
    far.transport.write(b"and back")
    assert await near.wait_data(8) == b"and back"
    near.transport.close()
    assert await near.wait_lost() is None
    assert await far.wait_lost() is None
    server.close()


class Memory:
    """What a program puts in the place of a MemoryBIO."""

    seen: ClassVar[set[str]] = set()
    #: What it says of its size, once there is something to say.
    lies: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        self.inner = REAL_MEMORY()

    def read(self, size: int = -1) -> Any:
        self.seen.add("read")
        return bytearray(self.inner.read(size))

    def write(self, data: Any) -> int:
        self.seen.add("write")
        return self.inner.write(data)

    @property
    def pending(self) -> Any:
        self.seen.add("pending")
        return self.lies[0] if self.lies else self.inner.pending


REAL_MEMORY = ssl.MemoryBIO


class Unpacking(ssl.SSLContext):
    """Takes such memories."""

    def wrap_bio(self, incoming: Any, outgoing: Any, *args: Any, **options: Any) -> Any:
        return super().wrap_bio(incoming.inner, outgoing.inner, *args, **options)


@contextlib.asynccontextmanager
async def in_memories(
    protocol: asyncio.BaseProtocol, patch: pytest.MonkeyPatch
) -> AsyncIterator[Peer]:
    """A peer of a connection in such memories."""
    patch.setattr(ssl, "MemoryBIO", Memory)
    near, far = socket.socketpair()
    with near, far:
        connecting = asyncio.ensure_future(
            asyncio.get_running_loop().create_unix_connection(
                returning(protocol), sock=near, ssl=unpacking(), server_hostname="localhost"
            )
        )
        await asyncio.sleep(0)
        patch.undo()
        peer = Peer(far, server_side=True)
        await peer.receive()
        await peer.handshake()
        await connecting
        yield peer


def unpacking() -> ssl.SSLContext:
    made = Unpacking(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


LIES: dict[str, Any] = {
    "huge": 10**30,
    "most": sys.maxsize,
    "negative": -1,
    "none": None,
    "text": "all",
}


@pytest.mark.parametrize("make", [Recorder, ViewRecorder])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_memory_that_lies_breaks_nothing_but_its_connection(
    new_loop: Factory, lie: Any, make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        protocol = make()
        async with in_memories(protocol, monkeypatch) as peer:
            Memory.lies.append(lie)
            await peer.send(b"data")
            await until(lambda: protocol.data or protocol.lost)
            Memory.lies.clear()
            protocol.transport.abort()
            await protocol.wait_lost()
            assert isinstance(protocol.lost, (Exception, type(None)))

    loop = new_loop()
    loop.set_exception_handler(Reports().handle)
    run(loop, main())
    loop.close()


async def test_a_memory_of_another_class_is_called(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    Memory.seen.clear()
    protocol = Recorder()
    async with in_memories(protocol, monkeypatch) as peer:
        await peer.send(b"data")
        await protocol.wait_data(4)
        protocol.transport.write(b"answer")
        assert await peer.read(6) == b"answer"
        protocol.transport.abort()
        await protocol.wait_lost()
    assert Memory.seen == {"read", "write", "pending"}
