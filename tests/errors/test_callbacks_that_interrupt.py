"""KeyboardInterrupt and SystemExit that callbacks and protocols raise: they leave the loop, and nothing is lost."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from support.errors import Reports
from support.loops import run, run_turns, until
from support.net.datagrams import datagram_pair
from support.net.protocols import BufferedRecorder, Recorder
from support.net.sockets import socket_pair

Loop = asyncio.AbstractEventLoop
INTERRUPTS = [KeyboardInterrupt, SystemExit]


def raiser(exception: type[BaseException]) -> Callable[..., None]:
    def callback(*_: object) -> None:
        raise exception("from a callback")

    return callback


@pytest.mark.parametrize("exception", INTERRUPTS)
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
def test_an_interrupt_of_a_callback_leaves_run_forever(
    loop: Loop, exception: type[BaseException], method: str
) -> None:
    arguments = (0,) if method == "call_later" else ()
    getattr(loop, method)(*arguments, raiser(exception))
    with pytest.raises(exception, match="from a callback"):
        loop.run_forever()
    assert not loop.is_running()


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_callbacks_queued_behind_an_interrupt_run_later(
    loop: Loop, exception: type[BaseException]
) -> None:
    seen: list[int] = []
    loop.call_soon(seen.append, 1)
    loop.call_soon(raiser(exception))
    loop.call_soon(seen.append, 2)
    loop.call_soon(seen.append, 3)
    with pytest.raises(exception):
        loop.run_forever()
    assert seen == [1]
    loop.call_soon(seen.append, 4)
    run_turns(loop)
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_an_interrupt_after_a_stop_leaves_no_stop_behind(
    loop: Loop, exception: type[BaseException]
) -> None:
    def both() -> None:
        loop.stop()
        raise exception

    loop.call_soon(both)
    with pytest.raises(exception):
        loop.run_forever()
    seen: list[int] = []

    async def main() -> None:
        for number in range(5):
            seen.append(number)
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_an_interrupt_of_a_task_leaves_the_loop_and_ends_the_task(
    loop: Loop, exception: type[BaseException]
) -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        raise exception("from a task")

    task = loop.create_task(main())
    with pytest.raises(exception, match="from a task"):
        loop.run_until_complete(task)
    assert task.done()
    assert isinstance(task.exception(), exception)
    # The done-callback that would have stopped that run must not stop this one.
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        loop.call_soon(loop.stop)
        loop.run_until_complete(loop.create_future())


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_an_interrupt_leaves_no_running_loop_behind(
    loop: Loop, exception: type[BaseException]
) -> None:
    loop.call_soon(raiser(exception))
    with pytest.raises(exception):
        loop.run_forever()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    loop.close()
    assert loop.is_closed()


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_an_interrupt_of_a_reader_leaves_the_loop(
    loop: Loop, exception: type[BaseException]
) -> None:
    with socket_pair() as (near, far):
        far.send(b"x")
        loop.add_reader(near, raiser(exception))
        with pytest.raises(exception):
            loop.run_forever()
        # The descriptor is still readable, and the loop still sees it.
        seen: list[bytes] = []

        def readable() -> None:
            seen.append(near.recv(1))
            loop.stop()

        loop.add_reader(near, readable)
        loop.run_forever()
        loop.remove_reader(near)
    assert seen == [b"x"]


@pytest.mark.parametrize("exception", INTERRUPTS)
@pytest.mark.parametrize(
    "method", ["connection_made", "data_received", "eof_received", "connection_lost"]
)
def test_an_interrupt_of_a_protocol_leaves_the_loop(
    loop: Loop, exception: type[BaseException], method: str, reports: Reports
) -> None:
    protocol = Recorder()
    setattr(protocol, method, raiser(exception))

    async def connect() -> asyncio.Transport:
        transport, _ = await loop.create_unix_connection(lambda: protocol, sock=near)
        return transport

    with socket_pair() as (near, far):
        far.send(b"data")
        far.close()

        def everything() -> None:
            transport = run(loop, connect())
            run_turns(loop, 5)
            transport.abort()
            run_turns(loop, 5)

        with pytest.raises(exception, match="from a callback"):
            everything()
        assert not loop.is_running()
        setattr(protocol, method, lambda *_: None)
        run_turns(loop, 5)
        for transport in list(getattr(loop, "_transports", {}).values()):
            transport.abort()
        if method == "connection_made":
            near.close()
        elif protocol.transport is not None:
            protocol.transport.abort()
        run_turns(loop, 5)
    reports.clear()


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_an_interrupt_of_the_exception_handler_leaves_the_loop(
    loop: Loop, exception: type[BaseException]
) -> None:
    loop.set_exception_handler(raiser(exception))
    loop.call_soon(raiser(ValueError))
    with pytest.raises(exception):
        run_turns(loop)
    run_turns(loop)


def interrupting(name: str) -> Any:
    """A protocol whose method of that name raises KeyboardInterrupt the first time."""
    base: Any = BufferedRecorder if name == "get_buffer" else Recorder
    own = getattr(base, name)

    def method(self: Any, *args: object) -> Any:
        if not self.__dict__.setdefault("interrupted", False):
            self.interrupted = True
            raise KeyboardInterrupt
        return own(self, *args)

    return type("Protocol", (base,), {name: method})()


@pytest.mark.parametrize("name", ["get_buffer", "eof_received"])
def test_an_event_whose_method_was_interrupted_comes_again(loop: Loop, name: str) -> None:
    ours, peer = socket.socketpair()
    protocol = interrupting(name)

    async def connect() -> None:
        await loop.create_connection(lambda: protocol, sock=ours)

    with peer:
        run(loop, connect())
        peer.send(b"x")
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(KeyboardInterrupt):
            run(loop, protocol.wait_lost())
        run(loop, protocol.wait_lost())
    assert protocol.data == b"x"
    assert protocol.events[-2:] == ["eof_received", "connection_lost"]


class InterruptedEndpoint(asyncio.DatagramProtocol):
    """Raises KeyboardInterrupt in the method of that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_lost = False

    def interrupt(self, name: str) -> None:
        if name == self.name:
            raise KeyboardInterrupt

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.interrupt("datagram_received")

    def resume_writing(self) -> None:
        self.interrupt("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


def waiting(sock: socket.socket) -> list[bytes]:
    """The datagrams that can be received without waiting."""
    data = []
    with suppress(BlockingIOError):
        while True:
            data.append(sock.recv(100))
    return data


@pytest.mark.parametrize("name", ["datagram_received", "resume_writing"])
def test_an_interrupted_endpoint_sends_what_it_holds(kind: str, loop: Loop, name: str) -> None:
    if (kind, name) == ("asyncio", "resume_writing") and sys.version_info[:2] == (3, 13):
        pytest.skip("its count of what waits is off after a datagram that was put back (3.13)")
    protocol = InterruptedEndpoint(name)
    arrived: list[bytes] = []

    async def fill(near: socket.socket) -> tuple[Any, int]:
        transport: Any
        transport, _ = await loop.create_datagram_endpoint(lambda: protocol, sock=near)
        transport.set_write_buffer_limits(0)
        count = 0
        while not transport.get_write_buffer_size():
            transport.sendto(b"%d" % count)
            count += 1
        return transport, count

    def arrive(peer: socket.socket) -> int:
        arrived.extend(waiting(peer))
        return len(arrived)

    with datagram_pair() as (near, peer):
        transport, count = run(loop, fill(near))
        if name == "resume_writing":
            transport.close()
        else:
            peer.send(b"x")
        arrive(peer)
        with pytest.raises(KeyboardInterrupt):
            run(loop, until(lambda: False))
        run(loop, until(lambda: arrive(peer) == count))
        transport.close()
        run(loop, until(lambda: protocol.is_lost))
    assert arrived == [b"%d" % number for number in range(count)]
