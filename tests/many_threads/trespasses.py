"""Calls that only the loop's thread may make, made from other threads: the process must survive.

Exceptions are allowed. What must not happen is that the process crashes, that the
collector finds what it cannot visit, or that the loop cannot be stopped afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import ferroloop
from support.loops import Factory
from support.net.certificates import client_context, server_context

from .crew import LONGEST, collecting, running, together

ROUNDS = 150

Deed = Callable[[], object]


def _at_once(deeds: list[Deed], threads: int = 3) -> None:
    """Do the deeds in a random order of its own in each of several threads."""

    def work() -> None:
        order = random.Random(threading.get_ident())
        for _ in range(ROUNDS):
            with contextlib.suppress(Exception):
                order.choice(deeds)()

    together(*[work] * threads)


def _within(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(main, loop).result(LONGEST)


def scheduling_from_other_threads(new_loop: Factory) -> None:
    """call_soon, call_later, their handles, and the parts of the loop that they go to."""
    with running(new_loop, reports=[]) as (loop,), collecting():
        private: Any = loop
        handles: list[asyncio.Handle] = [loop.call_soon_threadsafe(int)]

        def keep(handle: asyncio.Handle) -> None:
            handles[:] = [*handles[-5:], handle]

        _at_once(
            [
                lambda: keep(loop.call_soon(int, 1, context=None)),
                lambda: keep(loop.call_later(0.0001, int)),
                lambda: keep(loop.call_at(loop.time(), int)),
                lambda: random.choice(handles).cancel(),
                lambda: repr(random.choice(handles)),
                lambda: random.choice(handles)._run(),
                lambda: loop.create_future().set_result(None),
                lambda: loop.create_task(asyncio.sleep(0)),
                lambda: list(private._ready),
                lambda: list(private._scheduled),
                lambda: private.metrics(),
                lambda: loop.set_debug(bool(random.getrandbits(1))),
                lambda: loop.set_task_factory(None),
                lambda: loop.run_forever(),
                lambda: loop.close(),
            ]
        )


def watching_from_other_threads(new_loop: Factory) -> None:
    """add_reader and add_writer of the same descriptors."""
    pairs = [socket.socketpair() for _ in range(3)]
    try:
        with running(new_loop, reports=[]) as (loop,), collecting():
            _at_once(
                [
                    deed
                    for here, there in pairs
                    for deed in (
                        lambda here=here: loop.add_reader(here, int),
                        lambda here=here: loop.add_writer(here, int),
                        lambda here=here: loop.remove_reader(here),
                        lambda here=here: loop.remove_writer(here),
                        lambda there=there: there.send(b"x"),
                    )
                ]
            )
            for here, _ in pairs:
                with contextlib.suppress(Exception):
                    _within(loop, _unwatch(loop, here))
    finally:
        for here, there in pairs:
            here.close()
            there.close()


async def _unwatch(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    loop.remove_reader(sock)
    loop.remove_writer(sock)


def _on_transport(transport: Any, protocol: asyncio.BaseProtocol) -> list[Deed]:
    """Every call of a transport except those that end it."""
    return [
        lambda: transport.write(b"data" * random.randrange(100)),
        lambda: transport.write(bytearray(70_000)),
        lambda: transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")]),
        lambda: transport.pause_reading(),
        lambda: transport.resume_reading(),
        lambda: transport.is_reading(),
        lambda: transport.is_closing(),
        lambda: transport.get_write_buffer_size(),
        lambda: transport.set_write_buffer_limits(random.randrange(100_000)),
        lambda: transport.get_write_buffer_limits(),
        lambda: transport.set_protocol(protocol),
        lambda: transport.get_protocol(),
        lambda: transport.get_extra_info("socket"),
        lambda: transport.get_extra_info("peername"),
        lambda: transport._extra,
        lambda: repr(transport),
    ]


def _ending(transport: Any) -> list[Deed]:
    return [
        lambda: transport.close(),
        lambda: transport.abort(),
        lambda: transport.write_eof(),
        lambda: transport.write(b"late"),
        lambda: transport.__del__(),
        lambda: repr(transport),
        lambda: transport.get_extra_info("socket"),
    ]


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(data[:100])


def _abuse(new_loop: Factory, connect: Callable[..., Coroutine[Any, Any, Any]]) -> None:
    with running(new_loop, reports=[]) as (loop,), collecting():
        for _ in range(3):
            transports, more, close = _within(loop, connect(loop))
            deeds = [deed for it in transports for deed in _on_transport(it, Echo())]
            _at_once(deeds + more)
            _at_once([deed for it in transports for deed in _ending(it)])
            _within(loop, close())


async def _socket_pair(loop: asyncio.AbstractEventLoop) -> Any:
    here, there = socket.socketpair()
    transports = [(await loop.connect_accepted_socket(Echo, sock))[0] for sock in (here, there)]

    async def close() -> None:
        for transport in transports:
            transport.abort()

    return transports, [], close


def using_connections_from_other_threads(new_loop: Factory) -> None:
    """Both ends of connections over socket pairs."""
    _abuse(new_loop, _socket_pair)


async def _tls(loop: asyncio.AbstractEventLoop) -> Any:
    server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context())
    transport, _ = await loop.create_connection(
        Echo,
        *server.sockets[0].getsockname(),
        ssl=client_context(),
        server_hostname="localhost",
    )
    tls: ssl.SSLObject = transport.get_extra_info("ssl_object")

    async def close() -> None:
        transport.abort()
        server.close()

    # Not `read` and `write`: `ssl` itself crashes on them while its `MemoryBIO`s are used, without a loop too.
    more: list[Deed] = [
        lambda: tls.pending(),
        lambda: tls.getpeercert(True),
        lambda: tls.cipher(),
        lambda: tls.version(),
        lambda: tls.selected_alpn_protocol(),
        lambda: tls.session,
    ]
    return [transport], more, close


def using_tls_from_other_threads(new_loop: Factory) -> None:
    """A TLS connection, and the `ssl_object` below it."""
    _abuse(new_loop, _tls)


async def _pipe(loop: asyncio.AbstractEventLoop) -> Any:
    reading, writing = os.pipe()
    reader, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(reading, "rb", 0))
    writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writing, "wb", 0))

    async def close() -> None:
        writer.abort()
        reader.close()

    return [writer, reader], [], close


def using_pipes_from_other_threads(new_loop: Factory) -> None:
    """Both ends of pipes."""
    _abuse(new_loop, _pipe)


async def _datagrams(loop: asyncio.AbstractEventLoop) -> Any:
    here, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    address = here.get_extra_info("sockname")
    there, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)

    async def close() -> None:
        here.abort()
        there.abort()

    more: list[Deed] = [
        lambda: there.sendto(b"data"),
        lambda: there.sendto(bytearray(1000)),
        lambda: here.sendto(b"data", address),
    ]
    return [here, there], more, close


def using_datagrams_from_other_threads(new_loop: Factory) -> None:
    """Both ends of a connected pair of endpoints."""
    _abuse(new_loop, _datagrams)


def using_streams_from_other_threads(new_loop: Factory) -> None:
    """Readers and writers of ours, and the reader's buffer, of which everybody can have a view."""
    with running(new_loop, reports=[]) as (loop,), collecting():
        here, there = socket.socketpair()
        reader, writer = _within(loop, ferroloop.open_connection(sock=here))
        other_reader, other_writer = _within(loop, ferroloop.open_connection(sock=there))

        async def read(source: Any) -> None:
            for _ in range(50):
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(source.read(100), 0.001)

        def step(coroutine: Any) -> None:
            with contextlib.closing(coroutine):
                coroutine.send(None)

        ends = ((reader, writer), (other_reader, other_writer))
        begun = [asyncio.run_coroutine_threadsafe(read(source), loop) for source, _ in ends]
        _at_once(
            [
                deed
                for source, sink in ends
                for deed in (
                    lambda sink=sink: sink.write(b"line\n" * random.randrange(20)),
                    lambda sink=sink: step(sink.drain()),
                    lambda source=source: step(source.read(10)),
                    lambda source=source: step(source.readline()),
                    lambda source=source: step(source.readexactly(3)),
                    lambda source=source: source.feed_data(b"fed"),
                    lambda source=source: bytes(source._buffer),
                    lambda source=source: source._buffer.extend(b"more"),
                    lambda source=source: source._buffer.clear(),
                    lambda source=source: memoryview(source._buffer)[:1].tobytes(),
                    lambda source=source: setattr(source, "_buffer", bytearray()),
                    lambda source=source: source.at_eof(),
                    lambda source=source: repr(source),
                )
            ]
        )
        for future in begun:
            # It may wait for ever: in debug mode a wake-up by another thread is refused.
            future.cancel()

        async def close() -> None:
            writer.transport.abort()
            other_writer.transport.abort()

        _within(loop, close())


def _on_server(server: Any) -> list[Deed]:
    address = server.sockets[0].getsockname()

    def call() -> None:
        with socket.create_connection(address, LONGEST) as sock:
            sock.send(b"data")

    return [
        call,
        call,
        call,
        lambda: server.sockets,
        lambda: server.is_serving(),
        lambda: server.close_clients(),
        lambda: server.abort_clients(),
        lambda: random.randrange(20) or server.close(),
    ]


async def _end(server: Any) -> None:
    server.close()
    server.abort_clients()


def closing_a_server_from_other_threads(new_loop: Factory) -> None:
    """Server.close, close_clients and what else it has, all of it directly."""
    with running(new_loop, reports=[]) as (loop,), collecting():
        for _ in range(3):
            server = _within(loop, loop.create_server(Echo, "127.0.0.1", 0))
            _at_once(_on_server(server))
            _within(loop, _end(server))


def running_a_loop_from_several_threads(new_loop: Factory) -> None:
    """run_forever and run_until_complete of one loop, from several threads at once."""
    for _ in range(3):
        loop = new_loop()
        loop.set_exception_handler(lambda *_: None)

        left = threading.Semaphore(0)

        def run(loop: asyncio.AbstractEventLoop = loop, left: threading.Semaphore = left) -> None:
            for _ in range(50):
                with contextlib.suppress(Exception):
                    loop.run_forever()
            left.release()

        def stop(loop: asyncio.AbstractEventLoop = loop, left: threading.Semaphore = left) -> None:
            for _ in range(3):
                while not left.acquire(timeout=0.0001):
                    loop.call_soon_threadsafe(loop.stop)

        together(run, run, run, stop)
        if not loop.is_closed():
            loop.close()


TRESPASSES: dict[str, Callable[[Factory], None]] = {
    function.__name__: function
    for function in (
        scheduling_from_other_threads,
        watching_from_other_threads,
        using_connections_from_other_threads,
        using_tls_from_other_threads,
        using_pipes_from_other_threads,
        using_datagrams_from_other_threads,
        using_streams_from_other_threads,
        closing_a_server_from_other_threads,
        running_a_loop_from_several_threads,
    )
}
