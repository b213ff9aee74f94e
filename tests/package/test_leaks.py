"""Nothing stays behind: descriptors, transports, protocols, memory."""

from __future__ import annotations

import asyncio
import gc
import socket
import sysconfig
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from support.attaching import attach
from support.descriptors import open_descriptors
from support.loops import Factory, run, run_turns, until
from support.memory import count_of, resident, tidy
from support.net.protocols import BufferedRecorder, Recorder, returning
from support.net.sockets import listening, reset, socket_pair

Loop = asyncio.AbstractEventLoop
TRANSPORTS = ("StreamTransport", "_SelectorSocketTransport")


class Endless:
    """A server whose connections come and go, and how many of them there are now."""

    def __init__(self) -> None:
        self.open = 0
        self.seen = 0

    def factory(self) -> asyncio.Protocol:
        return Counted(self)

    def has_seen(self, count: int) -> bool:
        return self.seen >= count


class Counted(asyncio.Protocol):
    """Keeps its transport after the end, as many programs do."""

    def __init__(self, owner: Endless) -> None:
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._owner.open += 1
        self._owner.seen += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.open -= 1


def drop_by_end(sock: socket.socket) -> None:
    sock.close()


def drop_with_data(sock: socket.socket) -> None:
    sock.send(b"x" * 100)
    sock.close()


DROPS: list[Callable[[socket.socket], None]] = [drop_by_end, drop_with_data, reset]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ten_thousand_connections_leave_nothing(loop: Loop) -> None:
    if loop.get_debug():
        pytest.skip("tracebacks are kept in debug mode, and take long")
    endless = Endless()

    async def churn(address: Any, count: int) -> None:
        target = endless.seen + count
        for start in range(0, count, 50):
            sockets = [socket.create_connection(address) for _ in range(50)]
            for number, sock in enumerate(sockets):
                DROPS[(start + number) % 3](sock)
            await until(partial(endless.has_seen, target - count + start + 50))
        await until(lambda: endless.seen == target and not endless.open)

    async def main() -> None:
        server = await loop.create_server(endless.factory, sock=listening(backlog=128))
        address = server.sockets[0].getsockname()
        # The first thousands fill caches and free lists.
        await churn(address, 2000)
        tidy()
        descriptors, memory = len(open_descriptors()), resident()
        transports, protocols = count_of(*TRANSPORTS), count_of("Counted")
        await churn(address, 10_000)
        tidy()
        assert count_of(*TRANSPORTS) <= transports
        assert count_of("Counted") <= protocols
        assert len(open_descriptors()) == descriptors
        # A few hundred bytes a connection would be one lost object. Free-threaded builds have an
        # allocator of their own, whose pages come and go in larger steps.
        free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")
        assert resident() - memory < (6_000_000 if free_threaded else 2_000_000)
        server.close()

    run(loop, main(), 100)
    assert endless.seen == 12_000


@pytest.mark.slow
def test_thousands_of_own_connections_leave_nothing(loop: Loop) -> None:
    async def once() -> None:
        with socket_pair() as (near, far):
            protocol = Recorder()
            transport = await attach(near, protocol)
            transport.write(b"x")
            far.send(b"y")
            await until(lambda: protocol.data)
            transport.close()
            await protocol.wait_lost()

    async def main() -> None:
        for _ in range(200):
            await once()
        tidy()
        before = count_of(*TRANSPORTS, "Recorder", "Handle", "TimerHandle", "socket")
        for _ in range(1000):
            await once()
        tidy()
        assert count_of(*TRANSPORTS, "Recorder", "Handle", "TimerHandle", "socket") <= before

    run(loop, main(), 60)


Maker = Callable[[], Awaitable[tuple[Any, ...]]]


async def of_a_stream(
    protocol: Any, act: Callable[[socket.socket, Any], object]
) -> tuple[Any, Any]:
    """The protocol and the transport of a connection that an action leads to its end."""
    near, far = socket.socketpair()
    near.setblocking(False)
    transport = await attach(near, protocol)
    with far:
        act(far, transport)
        await protocol.wait_lost()
    return protocol, transport


async def of_a_connection() -> tuple[Any, ...]:
    return await of_a_stream(Recorder(), lambda far, _: far.close())


async def of_an_aborted_connection() -> tuple[Any, ...]:
    def act(_: socket.socket, transport: Any) -> None:
        transport.write(bytes(10_000_000))
        transport.abort()

    return await of_a_stream(Recorder(), act)


async def of_a_buffered_connection() -> tuple[Any, ...]:
    def act(far: socket.socket, _: Any) -> None:
        far.send(b"x")
        far.close()

    return await of_a_stream(BufferedRecorder(), act)


async def of_a_replaced_protocol() -> tuple[Any, ...]:
    near, far = socket.socketpair()
    near.setblocking(False)
    first, second = Recorder(), Recorder()
    transport = await attach(near, first)
    transport.set_protocol(second)
    far.close()
    await second.wait_lost()
    return first, second, transport


async def of_streams() -> tuple[Any, ...]:
    near, far = socket.socketpair()
    near.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=near)
    far.send(b"line\n")
    assert await reader.readline() == b"line\n"
    writer.close()
    await writer.wait_closed()
    far.close()
    return reader, writer, writer.transport


async def of_a_server() -> tuple[Any, ...]:
    loop = asyncio.get_running_loop()
    accepted: list[Recorder] = []

    def factory() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    server = await loop.create_server(factory, sock=listening())
    client = Recorder()
    await loop.create_connection(lambda: client, *server.sockets[0].getsockname())
    client.transport.close()
    await until(lambda: accepted and accepted[0].is_lost)
    server.close()
    await server.wait_closed()
    return server, accepted[0], accepted[0].transport, client


async def of_a_task() -> tuple[Any, ...]:
    async def work() -> None:
        await asyncio.sleep(0)

    coroutine = work()
    task = asyncio.get_running_loop().create_task(coroutine)
    await task
    return (task,)


async def of_a_timeout() -> tuple[Any, ...]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    try:
        await asyncio.wait_for(future, 0.001)
    except asyncio.TimeoutError:
        pass
    return (future,)


@pytest.mark.parametrize(
    "make",
    [
        of_a_connection,
        of_an_aborted_connection,
        of_a_buffered_connection,
        of_a_replaced_protocol,
        of_streams,
        of_a_server,
        of_a_task,
        of_a_timeout,
    ],
    ids=lambda make: make.__name__,
)
def test_finished_objects_are_freed_while_the_loop_is_open(loop: Loop, make: Maker) -> None:
    async def main() -> list[weakref.ref[Any]]:
        return [weakref.ref(thing) for thing in await make()]

    references = run(loop, main())
    run_turns(loop, 3)
    tidy()
    left = [reference() for reference in references if reference() is not None]
    assert not left, left


@pytest.mark.parametrize("make", [of_a_connection, of_an_aborted_connection, of_a_server])
def test_what_is_finished_is_freed_with_the_loop(new_loop: Factory, make: Maker) -> None:
    loop = new_loop()

    async def main() -> list[weakref.ref[Any]]:
        return [weakref.ref(thing) for thing in await make()]

    references = run(loop, main())
    references.append(weakref.ref(loop))
    loop.close()
    del loop
    tidy()
    assert not [reference() for reference in references if reference() is not None]


def test_a_loop_that_holds_everything_is_collected(new_loop: Factory) -> None:
    """Handles, timers, readers and tasks that refer to the loop are cycles through it."""
    loop = new_loop()

    class Payload:
        pass

    payload: Any = Payload()
    payload.loop = loop
    gone = weakref.ref(payload), weakref.ref(loop)
    near, far = socket.socketpair()
    loop.call_soon(print, payload)
    loop.call_later(1000, print, payload)
    loop.call_soon_threadsafe(print, payload)
    loop.add_reader(near, print, payload)
    loop.set_exception_handler(lambda *_, p=payload: None)
    loop.set_task_factory(lambda in_loop, coro, p=payload, **kw: asyncio.Task(coro, loop=in_loop))
    loop.remove_reader(near)
    loop.close()
    near.close()
    far.close()
    del loop, payload
    tidy()
    assert gone[0]() is None and gone[1]() is None


def test_an_open_transport_of_a_dead_loop_is_collected(new_loop: Factory) -> None:
    loop = new_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    protocol = Recorder()
    run(loop, attach(near, protocol))
    gone = weakref.ref(protocol)
    loop.close()
    with pytest.warns(ResourceWarning):
        del loop, protocol
        tidy()
    tidy()  # asyncio's warning holds its transport, and weak references to it since 3.15
    assert gone() is None
    near.close()
    far.close()


async def test_cancelled_waits_do_not_pile_up_anything(loop: Loop) -> None:
    event = asyncio.Event()

    async def once() -> None:
        task = loop.create_task(event.wait())
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass

    for _ in range(100):
        await once()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(1000):
        await once()
    gc.collect()
    assert len(gc.get_objects()) - before < 200


def test_closing_the_loop_drops_what_callbacks_hold(new_loop: Factory) -> None:
    loop = new_loop()

    class Payload:
        pass

    payload = Payload()
    gone = weakref.ref(payload)
    loop.call_soon(print, payload)
    loop.call_later(1000, print, payload)
    loop.close()
    del payload
    gc.collect()
    assert gone() is None


def test_the_collector_may_start_while_a_transport_is_made(loop: Loop) -> None:
    """On 3.11 it does so before the transport has its first value, when it needs a new dict."""
    hoard: list[dict[str, int]] = []

    def make() -> Recorder:
        # No spare ones are left then.
        hoard.extend({} for _ in range(100))
        return Recorder()

    async def main() -> None:
        server = await loop.create_server(make, sock=listening())
        for round_ in range(24):
            # At which allocation it starts depends on what was made before.
            gc.set_threshold(1 + round_ % 8)
            client = Recorder()
            await loop.create_connection(returning(client), *server.sockets[0].getsockname())
            client.transport.abort()
            await client.wait_lost()
        server.close()

    before = gc.get_threshold()
    try:
        run(loop, main())
    finally:
        gc.set_threshold(*before)
