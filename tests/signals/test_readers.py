"""add_reader and add_writer: level-triggered, on any descriptor, changed at any time."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref
from collections.abc import Iterator

import pytest

from support.loops import Factory, run, run_turns, until
from support.net.sockets import Pair, fill, socket_pair

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket_pair() as pair:
        yield pair


def test_a_reader_gets_its_arguments_when_there_is_data(loop: Loop, pair: Pair) -> None:
    near, far = pair
    seen: list[tuple[object, ...]] = []

    def readable(*arguments: object) -> None:
        seen.append((*arguments, near.recv(100)))

    loop.add_reader(near, readable, 1, "two")
    run_turns(loop, 3)
    assert not seen
    far.send(b"data")
    run_turns(loop, 3)
    assert seen == [(1, "two", b"data")]
    loop.remove_reader(near)


def test_a_partly_read_descriptor_is_reported_again(loop: Loop, pair: Pair) -> None:
    near, far = pair
    seen: list[bytes] = []
    loop.add_reader(near, lambda: seen.append(near.recv(1)))
    far.send(b"level")
    run_turns(loop, 10)
    assert b"".join(seen) == b"level"
    loop.remove_reader(near)


def test_an_unread_descriptor_is_reported_every_turn(loop: Loop, pair: Pair) -> None:
    near, far = pair
    seen: list[int] = []
    far.send(b"x")
    loop.add_reader(near, seen.append, 1)
    run_turns(loop, 10)
    # asyncio's first turn may be the one that registers; every later one reports.
    assert len(seen) >= 9
    loop.remove_reader(near)


def test_a_writer_is_called_every_turn_while_there_is_room(loop: Loop, pair: Pair) -> None:
    near, _ = pair
    seen: list[int] = []
    loop.add_writer(near, seen.append, 1)
    run_turns(loop, 10)
    assert len(seen) >= 9
    assert loop.remove_writer(near) is True
    seen.clear()
    run_turns(loop, 3)
    assert not seen


def test_a_full_descriptor_is_not_writable_until_it_is_read(loop: Loop, pair: Pair) -> None:
    near, far = pair
    fill(near)
    seen: list[int] = []
    loop.add_writer(near, seen.append, 1)
    run_turns(loop, 3)
    assert not seen
    with pytest.raises(BlockingIOError):
        while True:
            far.recv(1 << 20)
    run_turns(loop, 3)
    assert seen
    loop.remove_writer(near)


def test_a_reader_and_a_writer_of_one_descriptor_do_not_disturb_each_other(
    loop: Loop, pair: Pair
) -> None:
    near, far = pair
    seen: list[str] = []
    loop.add_reader(near, lambda: seen.append(f"read {near.recv(1)!r}"))
    loop.add_writer(near, lambda: seen.append("write"))
    far.send(b"ab")
    run_turns(loop, 5)
    assert seen.count("write") >= 4
    assert [s for s in seen if s != "write"] == ["read b'a'", "read b'b'"]
    assert loop.remove_writer(near) is True
    seen.clear()
    far.send(b"c")
    run_turns(loop, 3)
    assert seen == ["read b'c'"]
    loop.add_writer(near, lambda: seen.append("write again"))
    assert loop.remove_reader(near) is True
    seen.clear()
    far.send(b"d")
    run_turns(loop, 3)
    assert set(seen) == {"write again"}
    loop.remove_writer(near)


def test_reading_comes_before_writing_of_one_descriptor(loop: Loop, pair: Pair) -> None:
    near, far = pair
    seen: list[str] = []
    far.send(b"x")
    loop.add_writer(near, seen.append, "write")
    loop.add_reader(near, seen.append, "read")
    run_turns(loop)
    assert seen == ["read", "write"]
    loop.remove_reader(near)
    loop.remove_writer(near)


def test_what_becomes_readable_and_writable_at_once_is_told_of_both(loop: Loop, pair: Pair) -> None:
    near, far = pair
    fill(near)
    seen: list[object] = []

    def writable() -> None:
        seen.append("write")
        loop.remove_writer(near)

    loop.add_writer(near, writable)
    loop.add_reader(near, lambda: seen.append(near.recv(100)))
    run_turns(loop, 3)
    assert not seen
    for _ in range(3):
        # Between two turns, so one wait finds both changes.
        with pytest.raises(BlockingIOError):
            while True:
                far.recv(1 << 20)
        far.send(b"data")
        run_turns(loop, 2)
        assert seen == [b"data", "write"]
        seen.clear()
        fill(near)
        loop.add_writer(near, writable)
    loop.remove_reader(near)
    loop.remove_writer(near)


def test_a_reader_may_remove_the_writer_of_the_same_event(loop: Loop, pair: Pair) -> None:
    near, far = pair
    seen: list[bytes] = []

    def readable() -> None:
        seen.append(near.recv(100))
        assert loop.remove_writer(near) is True

    far.send(b"data")
    loop.add_writer(near, pytest.fail, "the writer was removed")
    loop.add_reader(near, readable)
    run_turns(loop, 3)
    assert seen == [b"data"]
    loop.remove_reader(near)


def test_adding_again_replaces_and_cancels_the_old_one(loop: Loop, pair: Pair) -> None:
    near, far = pair
    seen: list[str] = []
    loop.add_reader(near, seen.append, "old")
    loop.add_reader(near, seen.append, "new")
    far.send(b"x")
    run_turns(loop)
    assert set(seen) == {"new"}
    assert loop.remove_reader(near) is True
    assert loop.remove_reader(near) is False


def test_removing_what_is_not_there_is_false(loop: Loop, pair: Pair) -> None:
    near, _ = pair
    assert loop.remove_reader(near) is False
    assert loop.remove_writer(near) is False
    loop.add_reader(near, print)
    assert loop.remove_writer(near) is False
    assert loop.remove_reader(near.fileno()) is True


def test_number_and_object_mean_the_same_descriptor(loop: Loop, pair: Pair) -> None:
    near, far = pair
    seen: list[str] = []
    loop.add_reader(near.fileno(), seen.append, "number")
    loop.add_reader(near, seen.append, "object")
    far.send(b"x")
    run_turns(loop)
    assert set(seen) == {"object"}
    assert loop.remove_reader(near.fileno()) is True


def test_a_reader_may_remove_itself(loop: Loop, pair: Pair) -> None:
    near, far = pair
    seen: list[bool] = []
    loop.add_reader(near, lambda: seen.append(loop.remove_reader(near)))
    far.send(b"x")
    run_turns(loop, 3)
    assert seen == [True]


def test_a_reader_may_replace_itself(loop: Loop, pair: Pair) -> None:
    near, far = pair
    seen: list[str] = []

    def first() -> None:
        seen.append(f"first {near.recv(1)!r}")
        loop.add_reader(near, second)

    def second() -> None:
        seen.append(f"second {near.recv(1)!r}")

    loop.add_reader(near, first)
    far.send(b"ab")
    run_turns(loop, 4)
    loop.remove_reader(near)
    assert seen == ["first b'a'", "second b'b'"]


def test_a_removed_reader_does_not_run_even_when_it_was_queued(loop: Loop, pair: Pair) -> None:
    near, far = pair
    with socket_pair() as (other, other_far):
        seen: list[str] = []
        far.send(b"x")
        other_far.send(b"x")

        def either(name: str) -> None:
            seen.append(name)
            loop.remove_reader(near)
            loop.remove_reader(other)

        loop.add_reader(near, either, "near")
        loop.add_reader(other, either, "other")
        run_turns(loop, 3)
        assert len(seen) == 1


def test_a_reader_may_close_its_descriptor_after_removing_it(loop: Loop) -> None:
    seen: list[bytes] = []
    with socket_pair() as (near, far):

        def readable() -> None:
            seen.append(near.recv(1))
            loop.remove_reader(near)
            near.close()

        loop.add_reader(near, readable)
        far.send(b"x")
        run_turns(loop, 3)
    assert seen == [b"x"]


def test_the_number_of_a_closed_descriptor_can_be_used_again(loop: Loop) -> None:
    for _ in range(50):
        seen: list[bytes] = []
        with socket_pair() as (near, far):
            loop.add_reader(near, lambda sock, to: to.append(sock.recv(9)), near, seen)
            far.send(b"x")
            run_turns(loop)
            assert seen == [b"x"]
            assert loop.remove_reader(near)


def test_a_number_closed_without_removing_and_used_again_reports_to_its_new_owner(
    loop: Loop,
) -> None:
    """What programs do wrong and epoll forgives: the kernel drops a closed descriptor itself."""
    run_turns(loop)  # what a loop opens for its first run must not get the number
    near, far = socket.socketpair()
    number = near.fileno()
    loop.add_reader(near, print)
    near.close()
    far.close()
    run_turns(loop)
    near, far = socket.socketpair()
    with near, far:
        if near.fileno() != number:
            os.dup2(near.fileno(), number)
            near.close()
            near = socket.socket(fileno=number)
        near.setblocking(False)
        seen: list[bytes] = []
        with near:
            loop.remove_reader(number)
            loop.add_reader(number, lambda: seen.append(near.recv(9)))
            far.send(b"x")
            run_turns(loop, 2)
            loop.remove_reader(number)
    assert seen == [b"x"]


def test_the_end_of_a_peer_is_readable(loop: Loop, pair: Pair) -> None:
    near, far = pair
    seen: list[bytes] = []

    def readable() -> None:
        seen.append(near.recv(10))
        loop.remove_reader(near)

    loop.add_reader(near, readable)
    far.close()
    run_turns(loop, 3)
    assert seen == [b""]


def test_a_broken_pipe_is_writable(loop: Loop) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    seen: list[int] = []
    loop.add_writer(writer, seen.append, 1)
    run_turns(loop, 3)
    assert not seen
    os.close(reader)
    run_turns(loop, 3)
    loop.remove_writer(writer)
    os.close(writer)
    assert seen


def test_pipes_can_be_read(loop: Loop) -> None:
    reader, writer = os.pipe()
    seen: list[bytes] = []
    loop.add_reader(reader, lambda: seen.append(os.read(reader, 2)))
    os.write(writer, b"abcd")
    run_turns(loop, 4)
    loop.remove_reader(reader)
    os.close(reader)
    os.close(writer)
    assert seen == [b"ab", b"cd"]


def test_a_regular_file_is_refused_as_epoll_does(loop: Loop) -> None:
    with open(__file__, "rb") as file:
        with pytest.raises(PermissionError):
            loop.add_reader(file, print)
        # Nothing is left behind that would make the next one fail differently.
        with pytest.raises(PermissionError):
            loop.add_reader(file, print)
        assert loop.remove_reader(file) is False


def test_listening_sockets_become_readable_with_a_connection(loop: Loop) -> None:
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop.add_reader(listener, seen.append, 1)
        run_turns(loop)
        assert not seen
        with socket.create_connection(listener.getsockname()):
            run(loop, until(lambda: seen))
        loop.remove_reader(listener)


def test_three_hundred_descriptors_are_each_reported(loop: Loop) -> None:
    seen: set[int] = set()
    pairs = [socket.socketpair() for _ in range(300)]
    for number, (near, far) in enumerate(pairs):
        loop.add_reader(near, seen.add, number)
        far.send(b"x")
    run(loop, until(lambda: len(seen) == len(pairs)))
    for near, far in pairs:
        assert loop.remove_reader(near)
        near.close()
        far.close()


def test_a_reader_keeps_its_callback_and_lets_it_go(loop: Loop, pair: Pair) -> None:
    near, _ = pair

    class Payload:
        def callback(self) -> None:
            """Never called."""

    payload = Payload()
    gone = weakref.ref(payload)
    loop.add_reader(near, payload.callback)
    del payload
    gc.collect()
    assert gone() is not None
    loop.remove_reader(near)
    run_turns(loop)
    gc.collect()
    assert gone() is None


def test_closing_the_loop_lets_readers_go(new_loop: Factory, pair: Pair) -> None:
    near, far = pair

    class Payload:
        def callback(self) -> None:
            """Never called."""

    loop = new_loop()
    payload = Payload()
    gone = weakref.ref(payload)
    loop.add_reader(near, payload.callback)
    loop.add_writer(far, payload.callback)
    run_turns(loop)
    loop.close()
    del payload, loop
    gc.collect()
    assert gone() is None
    assert near.fileno() >= 0


def test_a_closed_loop_refuses(loop: Loop, pair: Pair) -> None:
    near, _ = pair
    loop.close()
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            method(near, print)
    for remove in (loop.remove_reader, loop.remove_writer):
        try:
            assert remove(near) is False
        except RuntimeError as error:
            assert str(error) == "Event loop is closed"  # noqa: PT017 - either is right


def test_a_descriptor_of_a_transport_is_refused(loop: Loop, pair: Pair) -> None:
    near, _ = pair

    async def main() -> None:
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=near)
        for method in (loop.add_reader, loop.add_writer):
            with pytest.raises(RuntimeError, match=r"is used by transport"):
                method(near, print)
        for remove in (loop.remove_reader, loop.remove_writer):
            with pytest.raises(RuntimeError, match=r"is used by transport"):
                remove(near.fileno())
        transport.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(loop, main())


def test_a_writer_that_waits_sees_the_data_of_a_connect(loop: Loop) -> None:
    """The way of `sock_connect`: writable means connected."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.socket()
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.connect(listener.getsockname())
        seen: list[int] = []
        loop.add_writer(sock, seen.append, 1)
        run(loop, until(lambda: seen))
        loop.remove_writer(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        sock.close()


def test_a_number_that_is_no_descriptor_is_refused_however_large(loop: Loop) -> None:
    for number in (2**31 - 1, 500_000_000):
        for watch in (loop.add_reader, loop.add_writer):
            with pytest.raises(OSError, match="Bad file descriptor"):
                watch(number, int)


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_an_object_that_was_closed_can_still_be_removed(loop: Loop, direction: str) -> None:
    class Callback:
        def __call__(self) -> None:
            """Never called."""

    ours, peer = socket.socketpair()
    callback = Callback()
    released = weakref.ref(callback)
    getattr(loop, f"add_{direction}")(ours, callback)
    del callback
    ours.close()
    assert getattr(loop, f"remove_{direction}")(ours) is True
    gc.collect()
    assert released() is None
    peer.close()
