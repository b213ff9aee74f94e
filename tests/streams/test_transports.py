"""Stream transports, from connection_made to connection_lost."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import weakref
from typing import Any

import pytest

from support.attaching import attach
from support.errors import Reports
from support.loops import run, run_turns, until
from support.net.pipes import emptied
from support.net.protocols import Lenient, Recorder
from support.net.sockets import Pair, receive_exactly, reset, tcp_pair

Loop = asyncio.AbstractEventLoop


def test_a_transport_is_what_asyncio_calls_one(loop: Loop, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        assert isinstance(transport, asyncio.Transport)
        assert isinstance(transport, asyncio.ReadTransport)
        assert isinstance(transport, asyncio.WriteTransport)
        assert isinstance(transport, asyncio.BaseTransport)
        assert not isinstance(transport, asyncio.DatagramTransport)
        transport.abort()

    run(loop, main())
    run_turns(loop, 2)


async def test_data_goes_both_ways(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()

    transport = await attach(near, protocol)
    assert protocol.events == ["connection_made"]
    assert protocol.transport is transport
    far.send(b"to the loop")
    assert await protocol.wait_data(11) == b"to the loop"
    transport.write(b"from the loop")
    await asyncio.sleep(0)
    assert receive_exactly(far, 13) == b"from the loop"
    transport.close()
    await protocol.wait_lost()
    assert protocol.lost is None
    assert protocol.events == ["connection_made", "data_received", "connection_lost"]
    assert far.recv(10) == b""


async def test_later_data_does_not_change_what_a_protocol_keeps(loop: Loop, pair: Pair) -> None:
    near, far = pair
    messages = [bytes([number]) * size for number in range(8) for size in (700, 1024, 1000, 20)]
    kept: dict[bytes, bytes | memoryview] = {}

    class Keeping(Recorder):
        """Keeps two messages of three, one of them as a view only."""

        def data_received(self, data: bytes) -> None:
            number = len(self.events)
            super().data_received(data)
            assert hash(data) == hash(bytes(bytearray(data)))
            if number % 3:
                kept[messages[number - 1]] = data if number % 3 == 1 else memoryview(data)

    protocol = Keeping()
    transport = await attach(near, protocol)
    received = 0
    for message in messages:
        far.send(message)
        received += len(message)
        await protocol.wait_data(received)
    assert protocol.data == b"".join(messages)
    assert len(kept) > len(messages) / 2
    for message, data in kept.items():
        assert data == message
    transport.close()
    await protocol.wait_lost()


async def test_the_end_of_the_peer_ends_the_connection(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()

    transport = await attach(near, protocol)
    far.send(b"last words")
    far.close()
    assert await protocol.wait_lost() is None
    assert transport.is_closing()
    assert bytes(protocol.data) == b"last words"
    assert protocol.events[-2:] == ["eof_received", "connection_lost"]
    assert near.fileno() == -1


async def test_a_protocol_may_keep_writing_after_the_peers_end(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Lenient()

    transport = await attach(near, protocol)
    far.shutdown(socket.SHUT_WR)
    await until(lambda: "eof_received" in protocol.events)
    assert not transport.is_closing()
    transport.write(b"answer")
    transport.close()
    await protocol.wait_lost()
    assert receive_exactly(far, 6) == b"answer"
    assert far.recv(1) == b""
    assert protocol.events.count("eof_received") == 1


async def test_what_becomes_readable_and_writable_at_once_is_read_and_written(
    loop: Loop, pair: Pair
) -> None:
    near, far = pair
    protocol = Recorder()
    size = 1 << 20

    transport = await attach(near, protocol)
    transport.write(bytes(size))
    assert transport.get_write_buffer_size()
    await until(lambda: protocol.events[-1] == "pause_writing")
    sent = received = 0
    while received < size:
        # No turn lies between the two, so the loop finds both at once.
        received += len(emptied(far.fileno()))
        far.send(b"data")
        sent += 4
        await protocol.wait_data(sent)
    assert received == size
    await until(lambda: "resume_writing" in protocol.events)
    assert not transport.get_write_buffer_size()
    transport.close()
    await protocol.wait_lost()


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_an_end_while_reading_holds_for_the_writing_of_the_same_event(
    loop: Loop, pair: Pair, end: str
) -> None:
    near, far = pair

    class Protocol(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            getattr(self.transport, end)()

    protocol = Protocol()
    size = 1 << 20

    transport = await attach(near, protocol)
    transport.write(bytes(size))
    await until(lambda: protocol.events[-1] == "pause_writing")
    received = len(emptied(far.fileno()))
    far.send(b"data")
    await protocol.wait_data(4)

    def lost() -> bool:
        nonlocal received
        received += len(emptied(far.fileno()))
        return protocol.is_lost

    await until(lost)
    received += len(emptied(far.fileno()))
    assert received == size if end == "close" else received < size
    assert protocol.events.count("connection_lost") == 1
    if end == "abort":
        assert protocol.events[-2:] == ["data_received", "connection_lost"]


def test_a_reset_ends_the_connection_with_its_error(loop: Loop) -> None:
    protocol = Recorder()

    async def main(near: socket.socket, far: socket.socket) -> None:
        await attach(near, protocol)
        reset(far)
        error = await protocol.wait_lost()
        assert type(error) is ConnectionResetError

    with tcp_pair() as (near, far):
        run(loop, main(near, far))
    assert "eof_received" not in protocol.events


def test_a_reset_ends_only_its_own_connection(loop: Loop) -> None:
    first, second = Recorder(), Recorder()

    async def main(one: Pair, two: Pair) -> None:
        await attach(one[0], first)
        transport = await attach(two[0], second)
        reset(one[1])
        await first.wait_lost()
        two[1].send(b"still here")
        await second.wait_data(10)
        transport.abort()
        await second.wait_lost()

    with tcp_pair() as one, tcp_pair() as two:
        run(loop, main(one, two))


async def test_close_comes_after_what_was_written(loop: Loop, pair: Pair) -> None:
    near, far = pair
    far.setblocking(True)
    protocol = Recorder()
    size = 3_000_000
    received: list[bytes] = []

    def read_all() -> None:
        while part := far.recv(1 << 16):
            received.append(part)

    transport = await attach(near, protocol)
    transport.write(bytes(size))
    transport.close()
    assert transport.is_closing()
    assert "connection_lost" not in protocol.events
    await loop.run_in_executor(None, read_all)
    await protocol.wait_lost()
    assert sum(map(len, received)) == size
    assert protocol.lost is None


async def test_abort_drops_what_was_not_sent(loop: Loop, pair: Pair) -> None:
    near, _ = pair
    protocol = Recorder()

    transport = await attach(near, protocol)
    transport.write(bytes(10_000_000))
    assert transport.get_write_buffer_size() > 0
    transport.abort()
    assert transport.is_closing()
    assert "connection_lost" not in protocol.events
    await protocol.wait_lost()
    assert transport.get_write_buffer_size() == 0
    assert protocol.lost is None
    assert protocol.events.count("connection_lost") == 1


@pytest.mark.parametrize("first", ["close", "abort"])
@pytest.mark.parametrize("second", ["close", "abort"])
def test_the_connection_is_lost_once(loop: Loop, pair: Pair, first: str, second: str) -> None:
    protocol = Recorder()

    async def main() -> None:
        transport = await attach(pair[0], protocol)
        getattr(transport, first)()
        getattr(transport, second)()
        # Not from within the call: a protocol is told by the loop.
        assert "connection_lost" not in protocol.events
        await protocol.wait_lost()
        getattr(transport, "close")()  # noqa: B009 - as above

    run(loop, main())
    run_turns(loop, 3)
    assert protocol.events.count("connection_lost") == 1


async def test_nothing_is_read_after_close(loop: Loop, pair: Pair) -> None:
    near, far = pair
    protocol = Recorder()

    transport = await attach(near, protocol)
    far.send(b"too late")
    transport.close()
    await protocol.wait_lost()
    assert protocol.data == b""


async def test_close_within_data_received_stops_the_delivery(loop: Loop, pair: Pair) -> None:
    near, far = pair

    class Protocol(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.close()

    protocol = Protocol()

    await attach(near, protocol)
    far.send(bytes(200_000) if far.family == socket.AF_INET else bytes(100_000))
    await protocol.wait_lost()
    assert protocol.events.count("data_received") == 1


def test_extra_info_tells_about_the_socket(loop: Loop) -> None:
    async def main(near: socket.socket, far: socket.socket) -> None:
        names = near.getsockname(), near.getpeername()
        transport = await attach(near, Recorder())
        assert transport.get_extra_info("sockname") == names[0]
        assert transport.get_extra_info("peername") == names[1]
        sock = transport.get_extra_info("socket")
        assert type(sock).__name__ == "TransportSocket"
        assert sock.family == socket.AF_INET
        assert sock.type == socket.SOCK_STREAM
        assert sock.getsockname() == names[0]
        assert sock.fileno() == near.fileno()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert transport.get_extra_info("nothing") is None
        default = object()
        assert transport.get_extra_info("nothing", default) is default
        assert transport.get_extra_info("sslcontext") is None
        transport.abort()
        await asyncio.sleep(0)

    with tcp_pair() as (near, far):
        run(loop, main(near, far))


def test_the_addresses_are_there_after_the_end(loop: Loop) -> None:
    async def main(near: socket.socket, far: socket.socket) -> None:
        protocol = Recorder()
        transport = await attach(near, protocol)
        peer = transport.get_extra_info("peername")
        transport.abort()
        await protocol.wait_lost()
        assert transport.get_extra_info("peername") == peer

    with tcp_pair() as (near, far):
        run(loop, main(near, far))


async def test_the_text_of_a_transport_tells_its_state(loop: Loop, pair: Pair) -> None:
    near, _ = pair

    protocol = Recorder()
    transport = await attach(near, protocol)
    text = repr(transport)
    assert re.match(rf"<\w+Transport fd={near.fileno()} ", text)
    assert "read=polling" in text
    assert "write=<idle, bufsize=0>" in text
    transport.pause_reading()
    assert "read=idle" in repr(transport)
    transport.write(bytes(10_000_000))
    assert "write=<polling, bufsize=" in repr(transport)
    transport.close()
    assert "closing" in repr(transport)
    transport.abort()
    await protocol.wait_lost()
    assert " closed" in repr(transport)


async def test_a_protocol_can_be_exchanged_in_mid_stream(loop: Loop, pair: Pair) -> None:
    near, far = pair
    first, second = Recorder(), Recorder()

    transport = await attach(near, first)
    far.send(b"one")
    await first.wait_data(3)
    assert transport.get_protocol() is first
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    far.send(b"two")
    await second.wait_data(3)
    transport.close()
    await second.wait_lost()
    assert first.data == b"one" and second.data == b"two"
    assert first.events == ["connection_made", "data_received"]
    # The new one is told what happens from then on, and not that a connection was made.
    assert second.events == ["data_received", "connection_lost"]


async def test_a_protocol_can_be_exchanged_within_data_received(loop: Loop, pair: Pair) -> None:
    near, far = pair
    second = Recorder()

    class First(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(second)
            second.data_received(b"handed over,")

    first = First()

    await attach(near, first)
    far.send(b"one")
    await first.wait_data(3)
    far.send(b"two")
    await second.wait_data(15)
    first.transport.abort()
    await second.wait_lost()
    assert second.data == b"handed over,two"


async def test_methods_set_on_the_instance_or_later_on_the_class_are_called(
    loop: Loop, pair: Pair
) -> None:
    near, far = pair

    class Protocol(Recorder):
        pass

    protocol = Protocol()
    seen: list[str] = []

    await attach(near, protocol)
    far.send(b"1")
    await protocol.wait_data(1)

    def of_the_class(self: Recorder, data: bytes) -> None:
        seen.append(f"class {data!r}")

    Protocol.data_received = of_the_class  # type: ignore[method-assign] # what is tested
    protocol.transport.set_protocol(protocol)
    far.send(b"2")
    await until(lambda: seen)
    protocol.transport.abort()
    await protocol.wait_lost()
    assert seen == ["class b'2'"]


async def test_connection_made_comes_before_the_first_data(loop: Loop, pair: Pair) -> None:
    near, far = pair
    far.send(b"early")
    protocol = Recorder()

    await attach(near, protocol)
    await protocol.wait_data(5)
    protocol.transport.abort()
    await protocol.wait_lost()
    assert protocol.events[:2] == ["connection_made", "data_received"]


async def test_a_connection_may_be_closed_in_connection_made(loop: Loop, pair: Pair) -> None:
    near, far = pair
    far.send(b"never seen")

    class Protocol(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            transport.close()

    protocol = Protocol()

    await attach(near, protocol)
    await protocol.wait_lost()
    assert protocol.events == ["connection_made", "connection_lost"]


def test_a_lost_connection_is_let_go(loop: Loop, pair: Pair) -> None:
    async def main() -> weakref.ref[Recorder]:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.close()
        await protocol.wait_lost()
        return weakref.ref(protocol)

    gone = run(loop, main())
    run_turns(loop, 2)
    gc.collect()
    assert gone() is None


def test_an_unclosed_transport_warns(loop: Loop, reports: Reports) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with far:
        holder: list[Any] = []

        async def main() -> None:
            holder.append(await attach(near, asyncio.Protocol()))

        run(loop, main())
        loop.close()
        with pytest.warns(ResourceWarning, match="unclosed transport"):
            holder.clear()
            gc.collect()
    reports.clear()
    near.close()


async def test_a_lost_transport_says_which_number_it_had(loop: Loop, pair: Pair) -> None:
    number = pair[0].fileno()

    protocol = Recorder()
    transport = await attach(pair[0], protocol)
    transport.write(b"x" * 10_000_000)
    transport.abort()
    await protocol.wait_lost()
    assert repr(transport).endswith(f" closed fd={number}>")
