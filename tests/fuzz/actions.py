"""The actions of random programs: each takes the world, and may raise anything."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import ferroloop
from ferroloop import _native
from support.net.certificates import client_context, server_context

from . import watch
from .protocols import protocol
from .world import World

Action = Callable[[World], None]
ACTIONS: list[Action] = []


def action(function: Action) -> Action:
    """Put a function on the list."""
    ACTIONS.append(function)
    return function


def start(world: World, coroutine: Any) -> None:
    """Run a coroutine of the loop's as a task."""
    world.tasks.append(world.loop.create_task(coroutine))


@action
def call_soon(world: World) -> None:
    world.handles.append(
        world.loop.call_soon(
            world.callback, *[world.value() for _ in range(world.choices.randrange(6))]
        )
    )


@action
def call_soon_in_a_context(world: World) -> None:
    context = world.choice_of(contextvars.Context, contextvars.copy_context, world.value)
    world.handles.append(world.loop.call_soon(world.callback, context=context))


@action
def call_soon_with_anything(world: World) -> None:
    world.handles.append(world.loop.call_soon(world.value(), world.value()))


@action
def call_later(world: World) -> None:
    delay = world.choices.choice([0, 0.001, -1, world.value()])
    world.handles.append(world.loop.call_later(delay, world.callback))


@action
def call_at(world: World) -> None:
    when = world.choices.choice([world.loop.time(), 0, world.value()])
    world.handles.append(world.loop.call_at(when, world.callback, world.value()))


@action
def call_soon_threadsafe(world: World) -> None:
    world.handles.append(world.loop.call_soon_threadsafe(world.callback))


@action
def call_from_a_thread(world: World) -> None:
    thread = threading.Thread(target=world.loop.call_soon_threadsafe, args=(world.callback,))
    thread.start()
    thread.join()


@action
def cancel_a_handle(world: World) -> None:
    world.pick(world.handles).cancel()


@action
def look_at_a_handle(world: World) -> None:
    one, other = world.pick(world.handles), world.pick(world.handles)
    repr(one)
    one == other  # noqa: B015 - what the comparison does is the matter
    hash(one)
    one.cancelled()
    one.get_context()
    if isinstance(one, asyncio.TimerHandle):
        one < other  # noqa: B015 - as above
        one.when()


@action
def forget_handles(world: World) -> None:
    world.handles.clear()


@action
def create_task(world: World) -> None:
    start(world, world.coroutine())


@action
def create_task_of_anything(world: World) -> None:
    start(world, world.value())


@action
def cancel_a_task(world: World) -> None:
    world.pick(world.tasks).cancel(world.value())


@action
def settle_a_future(world: World) -> None:
    future = world.loop.create_future()
    future.add_done_callback(world.callback)
    world.tasks.append(future)
    future.set_result(world.value())


@action
def write(world: World) -> None:
    world.pick_with("write").write(world.data())


@action
def write_and_change(world: World) -> None:
    data = bytearray(world.choices.choice([1, 100, 300_000]))
    world.pick_with("write").write(data)
    data.clear()


@action
def writelines(world: World) -> None:
    lines = [world.data() for _ in range(world.choices.randrange(5))]
    world.pick_with("writelines").writelines(
        world.choices.choice([lines, iter(lines), world.value()])
    )


@action
def write_eof(world: World) -> None:
    world.pick_with("write_eof").write_eof()


@action
def close(world: World) -> None:
    world.pick(world.transports).close()


@action
def abort(world: World) -> None:
    world.pick(world.transports).abort()


@action
def pause_or_resume(world: World) -> None:
    transport = world.pick(world.transports)
    world.choice_of(lambda: transport.pause_reading, lambda: transport.resume_reading)()


@action
def set_protocol(world: World) -> None:
    world.pick(world.transports).set_protocol(protocol(world))


@action
def limits(world: World) -> None:
    transport = world.pick_with("set_write_buffer_limits")
    numbers = [None, 0, 1, 100, 1 << 20, world.value()]
    transport.set_write_buffer_limits(world.choices.choice(numbers), world.choices.choice(numbers))
    transport.get_write_buffer_limits()
    transport.get_write_buffer_size()


@action
def extra_info(world: World) -> None:
    transport = world.pick(world.transports)
    name = world.choices.choice(["socket", "peername", "sockname", "ssl_object", "pipe"])
    transport.get_extra_info(world.choices.choice([name, world.value()]), world.value())
    repr(transport)
    transport.is_closing()


@action
def forget_transports(world: World) -> None:
    for transport in world.transports[::2]:
        transport.close()
    del world.transports[::2]


@action
def shut_the_peer(world: World) -> None:
    sock = world.pick(world.sockets)
    world.choice_of(
        lambda: sock.close,
        lambda: lambda: sock.shutdown(socket.SHUT_WR),
        lambda: lambda: sock.recv(1 << 20),
        lambda: lambda: sock.send(bytes(100_000)),
        lambda: lambda: sock.send(b"a line\n"),
    )()


@action
def shut_a_transports_socket(world: World) -> None:
    sock = world.pick(world.transports).get_extra_info("socket")
    sock.shutdown(world.choices.choice([socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR]))


@action
def watch_a_socket(world: World) -> None:
    add = world.choice_of(lambda: world.loop.add_reader, lambda: world.loop.add_writer)
    add(world.choices.choice([world.pick(world.sockets), world.value()]), world.callback)


@action
def watch_no_more(world: World) -> None:
    remove = world.choice_of(lambda: world.loop.remove_reader, lambda: world.loop.remove_writer)
    remove(world.choices.choice([world.pick(world.sockets), world.value()]))


@action
def handle_a_signal(world: World) -> None:
    world.loop.add_signal_handler(signal.SIGUSR1, world.callback)
    os.kill(os.getpid(), signal.SIGUSR1)


@action
def handle_no_signal(world: World) -> None:
    world.loop.remove_signal_handler(signal.SIGUSR1)


@action
def use_the_executor(world: World) -> None:
    world.tasks.append(world.loop.run_in_executor(None, world.choices.choice([int, world.value()])))


@action
def connect_a_pair(world: World) -> None:
    ours, _ = world.pair()
    start(world, world.loop.create_connection(lambda: protocol(world), sock=ours))


@action
def connect_by_tls(world: World) -> None:
    ours, theirs = socket.socketpair()
    _native._call_openssl(world.choices.random() < 0.5)
    start(
        world,
        world.loop.connect_accepted_socket(lambda: protocol(world), theirs, ssl=server_context()),
    )
    start(
        world,
        world.loop.create_connection(
            lambda: protocol(world), sock=ours, ssl=client_context(), server_hostname="localhost"
        ),
    )


@action
def start_tls(world: World) -> None:
    start(
        world,
        world.loop.start_tls(
            world.pick(world.transports),
            protocol(world),
            client_context(),
            server_hostname="localhost",
            ssl_handshake_timeout=0.05,
        ),
    )


@action
def serve(world: World) -> None:
    async def serving() -> None:
        server = await world.loop.create_server(lambda: protocol(world), "127.0.0.1", 0)
        world.servers.append(server)
        address = server.sockets[0].getsockname()
        await world.loop.create_connection(lambda: protocol(world), *address)

    start(world, serving())


@action
def end_a_server(world: World) -> None:
    server = world.pick(world.servers)
    world.choice_of(
        lambda: server.close, lambda: server.close_clients, lambda: server.abort_clients
    )()


@action
def open_an_endpoint(world: World) -> None:
    address = ("127.0.0.1", 0)
    start(world, world.loop.create_datagram_endpoint(lambda: protocol(world), local_addr=address))


@action
def send_a_datagram(world: World) -> None:
    transport = world.pick_with("sendto")
    own = transport.get_extra_info("sockname")
    transport.sendto(world.data(), world.choices.choice([None, own, world.value()]))


@action
def open_pipes(world: World) -> None:
    reading, writing = os.pipe()
    start(world, world.loop.connect_read_pipe(lambda: protocol(world), os.fdopen(reading, "rb", 0)))
    start(
        world, world.loop.connect_write_pipe(lambda: protocol(world), os.fdopen(writing, "wb", 0))
    )


@action
def use_a_socket(world: World) -> None:
    sock, loop = world.pick(world.sockets), cast("Any", world.loop)
    coroutine = world.choice_of(
        lambda: loop.sock_recv(sock, world.choices.choice([1, 100, 0, -1, 1 << 20])),
        lambda: loop.sock_recv_into(sock, world.value()),
        lambda: loop.sock_recvfrom(sock, 10),
        lambda: loop.sock_recvfrom_into(sock, world.value(), world.value()),
        lambda: loop.sock_sendall(sock, world.data()),
        lambda: loop.sock_sendto(sock, world.data(), world.value()),
        lambda: loop.sock_connect(sock, world.value()),
        lambda: loop.sock_accept(sock),
    )
    start(world, coroutine)


@action
def open_streams(world: World) -> None:
    async def opening() -> None:
        package: Any = world.choices.choice([asyncio, ferroloop])
        ours, _ = world.pair()
        reader, writer = await package.open_connection(sock=ours)
        world.streams.append((reader, writer))
        world.transports.append(writer.transport)

    start(world, opening())


@action
def use_streams(world: World) -> None:
    reader, writer = world.pick(world.streams)
    writer.write(world.data())
    coroutine = world.choice_of(
        reader.readline,
        lambda: reader.read(world.choices.choice([-1, 0, 1, 1 << 20, world.value()])),
        lambda: reader.readexactly(world.choices.choice([0, 1, 5000, world.value()])),
        lambda: reader.readuntil(world.value()),
        writer.drain,
    )
    start(world, coroutine)


@action
def feed_a_reader(world: World) -> None:
    reader, writer = world.pick(world.streams)
    world.choice_of(
        lambda: lambda: reader.feed_data(world.data()),
        lambda: reader.feed_eof,
        lambda: lambda: reader.set_exception(world.value()),
        lambda: lambda: reader.set_transport(world.value()),
        lambda: lambda: repr((reader, writer)),
        lambda: writer.close,
    )()


@action
def report(world: World) -> None:
    world.loop.call_exception_handler(
        world.choices.choice([{"message": world.value()}, world.value()])
    )


@action
def set_handlers(world: World) -> None:
    world.loop.set_exception_handler(world.value())
    world.loop.default_exception_handler({"message": "x", "exception": ValueError(world.value())})


@action
def keep_the_handler(world: World) -> None:
    world.loop.set_exception_handler(watch.on_report)


@action
def collect(world: World) -> None:
    gc.collect(world.choices.randrange(3))


@action
def stop(world: World) -> None:
    world.loop.stop()


@action
def debug(world: World) -> None:
    world.loop.set_debug(world.choices.random() < 0.5)


@action
def look_at_the_loop(world: World) -> None:
    loop: Any = world.loop
    repr(loop)
    loop.metrics()
    list(loop._ready)
    list(loop._scheduled)
    loop.slow_callback_duration = world.choices.choice([0, 1.0, world.value()])


@action
def run_within(world: World) -> None:
    world.loop.run_until_complete(world.value())


@action
def task_factory(world: World) -> None:
    factory = world.choices.choice([None, None, world.value()])
    world.loop.set_task_factory(factory)


@action
def send_a_file(world: World) -> None:
    with open(__file__, "rb") as file:
        coroutine = world.loop.sendfile(
            world.pick(world.transports), file, world.value(), world.value()
        )
    start(world, coroutine)


@action
def iterate(world: World) -> None:
    async def numbers() -> Any:
        for number in range(3):
            world.act()
            yield number
            await asyncio.sleep(0)

    async def reading() -> None:
        async for _ in numbers():
            world.act()
            if world.choices.random() < 0.5:
                return

    start(world, reading())


@action
def run_a_process(world: World) -> None:
    if world.choices.random() < 0.05:
        start(world, world.loop.subprocess_exec(lambda: protocol(world), "/bin/cat"))


@action
def raise_something(_world: World) -> None:
    raise ValueError("from an action")


@action
def sleep_a_moment(_world: World) -> None:
    time.sleep(0.0005)


def fuzz(seed: int) -> None:
    """Run the random program of a seed."""
    loop = ferroloop.new_event_loop()
    world = World(loop, seed)
    world.table = ACTIONS
    asyncio.set_event_loop(loop)
    try:
        world.run()
    finally:
        asyncio.set_event_loop(None)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        sys.stdout.flush()
