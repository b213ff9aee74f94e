"""The sock_* calls: data, waiting, cancellation, two at once, what they refuse."""

from __future__ import annotations

import array
import asyncio
import contextlib
import gc
import inspect
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from support.loops import run, run_turns, until
from support.net.sockets import Pair, drain_socket, fill, listening, socket_pair, tcp_pair

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket_pair() as pair:
        yield pair


def datagram_socket(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A UDP socket of this machine that does not block."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def newer(loop: Loop) -> Any:
    """The loop, with methods that the oldest Python does not know."""
    return loop


needs_datagram_calls = pytest.mark.skipif(sys.version_info < (3, 11), reason="new in 3.11")


def test_they_are_coroutine_functions(loop: Loop) -> None:
    for name in ("recv", "recv_into", "sendall", "accept", "connect"):
        assert inspect.iscoroutinefunction(getattr(loop, f"sock_{name}"))


def test_nothing_happens_before_the_coroutine_runs(loop: Loop, pair: Pair) -> None:
    near, far = pair
    waiting = loop.sock_sendall(near, b"data")
    with pytest.raises(BlockingIOError):
        far.recv(10)
    run(loop, waiting)
    assert far.recv(10) == b"data"


def test_data_that_is_there_comes_without_a_turn(loop: Loop, pair: Pair) -> None:
    near, far = pair
    far.send(b"data")
    call = loop.sock_recv(near, 100)
    with pytest.raises(StopIteration) as caught:
        call.send(None)
    assert caught.value.value == b"data"


async def test_receiving_waits_for_data_and_then_for_the_end(loop: Loop, pair: Pair) -> None:
    near, far = pair

    waiting = asyncio.ensure_future(loop.sock_recv(near, 100))
    await asyncio.sleep(0)
    far.send(b"data")
    assert await waiting == b"data"
    waiting = asyncio.ensure_future(loop.sock_recv(near, 100))
    await asyncio.sleep(0)
    far.close()
    assert await waiting == b""


def test_no_more_is_received_than_asked_for(loop: Loop, pair: Pair) -> None:
    near, far = pair
    far.send(b"abcdef")
    assert run(loop, loop.sock_recv(near, 2)) == b"ab"
    assert run(loop, loop.sock_recv(near, 0)) == b""
    space = bytearray(3)
    assert run(loop, loop.sock_recv_into(near, space)) == 3
    assert space == b"cde"
    assert run(loop, loop.sock_recv_into(near, bytearray())) == 0
    assert run(loop, loop.sock_recv(near, 100)) == b"f"


def test_a_buffer_of_wide_items_is_filled_by_bytes(loop: Loop, pair: Pair) -> None:
    near, far = pair
    far.send(b"abcdefgh")
    space = array.array("H", bytes(6))
    assert run(loop, loop.sock_recv_into(near, space)) == 6
    assert space.tobytes() == b"abcdef"
    assert run(loop, loop.sock_recv(near, 100)) == b"gh"


@pytest.mark.parametrize("size", [1, 32 * 1024, 65536, 1 << 20])
async def test_large_messages_come_whole(loop: Loop, size: int) -> None:
    data = os.urandom(3 << 20)

    with tcp_pair() as (near, far):
        sending = asyncio.ensure_future(loop.sock_sendall(far, data))
        count = 3 << 20 if size > 1 else 1000
        received = bytearray()
        while len(received) < count:
            received += await loop.sock_recv(near, size)
        assert received == data[: len(received)]
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


@pytest.mark.parametrize("kind_of_data", [bytes, bytearray, memoryview])
def test_everything_is_sent_through_a_full_socket(
    loop: Loop, pair: Pair, kind_of_data: Any
) -> None:
    near, far = pair
    size = 2 << 20
    data = kind_of_data(bytes(size))

    async def main() -> int:
        reading = asyncio.ensure_future(drain_socket(far, size))
        await loop.sock_sendall(near, data)
        return await reading

    assert run(loop, main()) == size


def test_a_buffer_that_is_being_sent_cannot_be_resized(loop: Loop, pair: Pair) -> None:
    near, far = pair
    data = bytearray(2 << 20)

    async def main() -> None:
        sending = asyncio.ensure_future(loop.sock_sendall(near, data))
        await asyncio.sleep(0)
        with pytest.raises(BufferError):
            data.clear()
        assert await drain_socket(far, len(data)) == len(data)
        await sending
        del sending

    run(loop, main())
    gc.collect()
    data.clear()


async def test_both_directions_of_a_socket_wait_at_once(loop: Loop, pair: Pair) -> None:
    near, far = pair

    full = fill(near)
    sending = asyncio.ensure_future(loop.sock_sendall(near, b"last"))
    receiving = asyncio.ensure_future(loop.sock_recv(near, 10))
    await asyncio.sleep(0)
    far.send(b"here")
    assert await receiving == b"here"
    assert not sending.done()
    assert await drain_socket(far, full + 4) == full + 4
    await sending


async def test_the_second_of_two_readers_gets_the_data(loop: Loop, pair: Pair) -> None:
    near, far = pair

    first = asyncio.ensure_future(loop.sock_recv(near, 10))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(loop.sock_recv(near, 10))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert first.cancelled()
    far.send(b"data")
    assert await second == b"data"


async def test_a_cancelled_call_leaves_the_data_to_the_next_one(loop: Loop, pair: Pair) -> None:
    near, far = pair

    waiting = asyncio.ensure_future(loop.sock_recv(near, 10))
    await asyncio.sleep(0)
    waiting.cancel()
    far.send(b"data")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await loop.sock_recv(near, 10) == b"data"


@pytest.mark.ours_only("asyncio has received by then, and drops what it received")
def test_a_call_cancelled_after_its_event_has_taken_nothing(loop: Loop, pair: Pair) -> None:
    near, far = pair
    waiting = loop.create_task(loop.sock_recv(near, 10))
    run_turns(loop)
    far.send(b"data")
    # The event of this turn queues the wake-up; the cancellation comes before it.
    loop.call_soon(lambda: loop.call_soon(waiting.cancel))
    run_turns(loop, 3)
    assert waiting.cancelled() or waiting.result() == b"data"
    if waiting.cancelled():
        assert near.recv(10) == b"data"


async def test_a_cancelled_accept_drops_no_connection(loop: Loop) -> None:
    with listening() as listener, socket.socket() as client:
        listener.setblocking(False)
        waiting = asyncio.ensure_future(loop.sock_accept(listener))
        await asyncio.sleep(0)
        waiting.cancel()
        client.connect(listener.getsockname())
        with pytest.raises(asyncio.CancelledError):
            await waiting
        accepted, address = await loop.sock_accept(listener)
        with accepted:
            assert address == client.getsockname()


async def test_an_accepted_socket_is_like_asyncios(loop: Loop) -> None:
    with listening() as listener, socket.socket() as client:
        listener.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        accepted, address = await accepting
        with accepted:
            assert type(accepted) is socket.socket
            assert accepted.gettimeout() == 0.0
            assert not os.get_blocking(accepted.fileno())
            assert not accepted.get_inheritable()
            ours = (accepted.family, accepted.type, accepted.proto)
            assert ours == (listener.family, listener.type, listener.proto)
            assert address == client.getsockname()


async def test_a_unix_listener_accepts(loop: Loop) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("")
        listener.listen()
        listener.setblocking(False)
        client.connect(listener.getsockname())
        accepted, address = await loop.sock_accept(listener)
        accepted.close()
        assert address == ""


@needs_datagram_calls
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_datagrams_come_with_their_sender(loop: Loop, family: socket.AddressFamily) -> None:
    with datagram_socket(family) as near, datagram_socket(family) as far:
        waiting = asyncio.ensure_future(newer(loop).sock_recvfrom(near, 100))
        await asyncio.sleep(0)
        assert await newer(loop).sock_sendto(far, b"data", near.getsockname()) == 4
        assert await waiting == (b"data", far.getsockname())
        space = bytearray(10)
        into = asyncio.ensure_future(newer(loop).sock_recvfrom_into(near, space))
        await asyncio.sleep(0)
        await newer(loop).sock_sendto(far, b"more", near.getsockname())
        assert await into == (4, far.getsockname())
        assert space[:4] == b"more"


@needs_datagram_calls
def test_a_stream_has_no_sender(loop: Loop, pair: Pair) -> None:
    near, far = pair
    far.send(b"data")
    assert run(loop, newer(loop).sock_recvfrom(near, 10)) == (b"data", None)


@needs_datagram_calls
def test_a_count_limits_what_is_received_into_a_buffer(loop: Loop) -> None:
    with datagram_socket() as near, datagram_socket() as far:
        far.sendto(b"data", near.getsockname())
        space = bytearray(10)
        count, _ = run(loop, newer(loop).sock_recvfrom_into(near, space, 2))
        assert (count, bytes(space[:3])) == (2, b"da\0")
        # asyncio asks for as many bytes as the buffer has items.
        far.sendto(b"more", near.getsockname())
        items = array.array("H", bytes(6))
        count, _ = run(loop, newer(loop).sock_recvfrom_into(near, items))
        assert (count, items.tobytes()) == (3, b"mor\0\0\0")


def test_blocking_sockets_are_refused_in_debug_mode(loop: Loop, pair: Pair) -> None:
    near, _ = pair
    near.setblocking(True)
    loop.set_debug(True)
    calls = [
        loop.sock_recv(near, 1),
        loop.sock_recv_into(near, bytearray(1)),
        loop.sock_sendall(near, b"x"),
        loop.sock_accept(near),
        loop.sock_connect(near, "/nowhere"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="the socket must be non-blocking"):
            run(loop, call)


@pytest.mark.parametrize(
    "arguments", [("x",), (None,), (-1,), (1.5,)], ids=["str", "None", "negative", "float"]
)
def test_a_wrong_size_is_refused_as_by_the_socket(
    loop: Loop, pair: Pair, arguments: tuple[Any]
) -> None:
    near, _ = pair
    with pytest.raises((TypeError, ValueError)) as expected:
        near.recv(*arguments)
    with pytest.raises(expected.type) as caught:
        run(loop, loop.sock_recv(near, *arguments))
    assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("data", ["text", None, 7])
def test_what_is_no_buffer_is_refused_as_by_the_socket(loop: Loop, pair: Pair, data: Any) -> None:
    near, _ = pair
    with pytest.raises(TypeError) as expected:
        near.send(data)
    with pytest.raises(TypeError) as caught:
        run(loop, loop.sock_sendall(near, data))
    assert str(caught.value) == str(expected.value)


def test_a_closed_socket_is_refused(loop: Loop, pair: Pair) -> None:
    near, _ = pair
    near.close()
    for call in (loop.sock_recv(near, 1), loop.sock_sendall(near, b"x")):
        with pytest.raises(OSError, match="Bad file descriptor"):
            run(loop, call)


def test_errors_of_the_connection_are_raised(loop: Loop, pair: Pair) -> None:
    near, far = pair
    far.close()
    with pytest.raises(BrokenPipeError):
        run(loop, loop.sock_sendall(near, b"x"))


def test_a_descriptor_of_a_transport_is_refused_once_it_would_wait(loop: Loop, pair: Pair) -> None:
    near, _ = pair

    async def main() -> None:
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=near)
        try:
            with pytest.raises(RuntimeError, match="is used by transport"):
                await loop.sock_recv(near, 1)
        finally:
            transport.close()

    run(loop, main())


async def test_a_number_that_is_another_socket_now_is_watched_anew(loop: Loop) -> None:
    for _ in range(3):
        with socket_pair() as (near, far):
            waiting = asyncio.ensure_future(loop.sock_recv(near, 10))
            await asyncio.sleep(0)
            far.send(b"data")
            assert await waiting == b"data"


async def test_a_duplicate_that_stays_open_causes_no_events(loop: Loop) -> None:
    with contextlib.ExitStack() as kept:
        for _ in range(3):
            with socket_pair() as (near, far):
                kept.enter_context(near.dup())
                waiting = asyncio.ensure_future(loop.sock_recv(near, 10))
                await asyncio.sleep(0)
                far.send(b"data")
                assert await waiting == b"data"


async def test_the_loop_does_not_keep_a_forgotten_socket_open(loop: Loop) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    # An unclosed socket warns, which is what it is here for.
    warnings.simplefilter("ignore", ResourceWarning)
    with far:
        waiting = asyncio.ensure_future(loop.sock_recv(near, 10))
        await asyncio.sleep(0)
        far.send(b"data")
        assert await waiting == b"data"
        del near, waiting
        await asyncio.sleep(0)
        gc.collect()
        assert far.recv(10) == b""


async def test_a_users_writer_does_not_disturb_a_waiting_receive(loop: Loop, pair: Pair) -> None:
    near, far = pair

    waiting = asyncio.ensure_future(loop.sock_recv(near, 10))
    await asyncio.sleep(0)
    called: list[int] = []
    loop.add_writer(near, called.append, 1)
    await until(lambda: called)
    far.send(b"data")
    assert await waiting == b"data"
    assert loop.remove_writer(near)


async def test_a_users_reader_takes_the_place_of_a_waiting_receive(loop: Loop, pair: Pair) -> None:
    near, far = pair

    waiting = asyncio.ensure_future(loop.sock_recv(near, 10))
    await asyncio.sleep(0)
    seen: list[bytes] = []
    loop.add_reader(near, lambda: seen.append(near.recv(10)))
    far.send(b"data")
    await until(lambda: seen)
    assert not waiting.done()
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    far.send(b"more")
    await until(lambda: len(seen) == 2)
    assert loop.remove_reader(near)
    assert seen == [b"data", b"more"]


class Renamed(socket.socket):
    """A socket with a recv of its own."""

    def recv(self, *arguments: Any) -> bytes:
        return super().recv(*arguments).upper()


def test_a_subclass_is_asked_itself(loop: Loop, pair: Pair) -> None:
    near, far = pair
    with Renamed(near.family, near.type, fileno=near.detach()) as sock:
        sock.setblocking(False)

        async def main() -> bytes:
            waiting = asyncio.ensure_future(loop.sock_recv(sock, 10))
            await asyncio.sleep(0)
            far.send(b"data")
            return await waiting

        assert run(loop, main()) == b"DATA"
