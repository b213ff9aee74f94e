"""Servers: every method, as in each Python version."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import sys
from typing import Any

import pytest

from support.errors import Reports
from support.loops import run, run_turns, until
from support.net.protocols import Recorder, returning
from support.net.sockets import listening

Loop = asyncio.AbstractEventLoop
since_313 = pytest.mark.skipif(sys.version_info < (3, 13), reason="since 3.13")


class Serving:
    """A server whose protocols are at hand."""

    def __init__(self) -> None:
        self.protocols: list[Recorder] = []

    def factory(self) -> Recorder:
        self.protocols.append(Recorder())
        return self.protocols[-1]

    async def start(self, **options: Any) -> Any:
        loop = asyncio.get_running_loop()
        self.server: Any = await loop.create_server(self.factory, "127.0.0.1", 0, **options)
        return self.server

    async def connect(self) -> Recorder:
        """A client, once its connection has been accepted."""
        count = len(self.protocols)
        client = Recorder()
        address = self.server.sockets[0].getsockname()
        await asyncio.get_running_loop().create_connection(lambda: client, *address)
        await until(lambda: len(self.protocols) > count and self.protocols[-1].events)
        return client


async def test_a_server_serves_and_tells_about_itself(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start()
    assert server.is_serving()
    assert server.get_loop() is loop
    (sock,) = server.sockets
    assert type(sock).__name__ == "TransportSocket"
    assert type(server.sockets) is tuple
    assert sock.getsockname()[1] > 0
    client = await serving.connect()
    client.transport.write(b"hello")
    await serving.protocols[0].wait_data(5)
    client.transport.close()
    await serving.protocols[0].wait_lost()
    server.close()
    await server.wait_closed()
    assert not server.is_serving()
    assert server.sockets == ()
    assert isinstance(server, asyncio.AbstractServer)


async def test_a_server_need_not_serve_at_once(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start(start_serving=False)
    assert not server.is_serving()
    # The port is known all the same.
    assert server.sockets[0].getsockname()[1] > 0
    await server.start_serving()
    await server.start_serving()
    assert server.is_serving()
    client = await serving.connect()
    client.transport.abort()
    await serving.protocols[0].wait_lost()
    server.close()


async def test_closing_stops_accepting_and_leaves_connections(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start()
    address = server.sockets[0].getsockname()
    client = await serving.connect()
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Recorder, *address)
    client.transport.write(b"still")
    assert await serving.protocols[0].wait_data(5) == b"still"
    client.transport.abort()
    await serving.protocols[0].wait_lost()
    await server.wait_closed()


@pytest.mark.skipif(sys.version_info < (3, 12, 1), reason="since 3.12.1 it waits (gh-79033)")
async def test_wait_closed_waits_for_the_connections(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start()
    client = await serving.connect()
    waiting = loop.create_task(server.wait_closed())
    await asyncio.sleep(0)
    server.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    client.transport.abort()
    await waiting
    # Once more, when there is nothing to wait for.
    await server.wait_closed()


@pytest.mark.skipif(sys.version_info < (3, 12, 1), reason="since 3.12.1 it waits (gh-79033)")
async def test_a_cancelled_wait_closed_leaves_the_others_waiting(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start()
    client = await serving.connect()
    server.close()
    first = loop.create_task(server.wait_closed())
    second = loop.create_task(server.wait_closed())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    client.transport.abort()
    await second
    assert first.cancelled()


async def test_serve_forever_serves_until_it_is_cancelled(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start(start_serving=False)
    task = loop.create_task(server.serve_forever())
    await until(server.is_serving)
    with pytest.raises(RuntimeError, match="is already being awaited on serve_forever"):
        await server.serve_forever()
    client = await serving.connect()
    client.transport.abort()
    await serving.protocols[0].wait_lost()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not server.is_serving()
    with pytest.raises(RuntimeError, match="is closed"):
        await server.serve_forever()


async def test_closing_ends_serve_forever(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start()
    task = loop.create_task(server.serve_forever())
    await asyncio.sleep(0)
    server.close()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_async_with_closes_the_server(loop: Loop) -> None:
    serving = Serving()
    async with await serving.start() as server:
        assert server.is_serving()
    assert not server.is_serving()
    assert server.sockets == ()


async def test_a_connection_that_was_never_there_is_not_counted_out(loop: Loop) -> None:
    server: Any = await loop.create_server(Recorder, "127.0.0.1", 0)
    if sys.version_info < (3, 13):
        with pytest.raises(AssertionError):
            server._detach()
    else:
        server._detach(Recorder())
    if hasattr(server, "_active_count"):
        assert server._active_count == 0
    client = Recorder()
    await loop.create_connection(lambda: client, *server.sockets[0].getsockname())
    client.transport.close()
    await client.wait_lost()
    server.close()
    await server.wait_closed()


@since_313
async def test_close_clients_closes_every_connection(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start()
    clients = [await serving.connect() for _ in range(3)]
    server.close()
    server.close_clients()
    for protocol in serving.protocols:
        assert await protocol.wait_lost() is None
    for client in clients:
        await client.wait_lost()
    await server.wait_closed()


@since_313
async def test_close_clients_lets_them_send_what_they_have(loop: Loop) -> None:
    size = 4_000_000

    serving = Serving()
    server = await serving.start()
    client = await serving.connect()
    client.transport.pause_reading()
    serving.protocols[0].transport.write(bytes(size))
    server.close()
    server.close_clients()
    assert not serving.protocols[0].is_lost
    client.transport.resume_reading()
    await client.wait_lost()
    assert len(client.data) == size
    await server.wait_closed()


@since_313
async def test_abort_clients_drops_every_connection(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start()
    client = await serving.connect()
    serving.protocols[0].transport.pause_reading()
    client.transport.pause_reading()
    serving.protocols[0].transport.write(bytes(10_000_000))
    server.close()
    server.abort_clients()
    await serving.protocols[0].wait_lost()
    await server.wait_closed()
    client.transport.abort()
    await client.wait_lost()


@since_313
async def test_connections_that_are_gone_are_not_closed_again(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start()
    client = await serving.connect()
    client.transport.abort()
    await serving.protocols[0].wait_lost()
    server.close_clients()
    server.abort_clients()
    server.close()
    await server.wait_closed()
    assert serving.protocols[0].events.count("connection_lost") == 1


async def test_a_listening_socket_can_be_given(loop: Loop) -> None:
    sock = listening()
    server = await loop.create_server(Recorder, sock=sock)
    assert server.sockets[0].getsockname() == sock.getsockname()
    server.close()
    await asyncio.sleep(0)
    assert sock.fileno() == -1


async def test_several_hosts_are_served(loop: Loop) -> None:
    serving = Serving()
    server: Any = await loop.create_server(serving.factory, ["127.0.0.1", "127.0.0.2"], 0)
    addresses = {sock.getsockname()[0] for sock in server.sockets}
    assert addresses == {"127.0.0.1", "127.0.0.2"}
    for sock in server.sockets:
        client = Recorder()
        await loop.create_connection(returning(client), *sock.getsockname())
        client.transport.abort()
    await until(lambda: len(serving.protocols) == 2)
    await until(lambda: all(protocol.is_lost for protocol in serving.protocols))
    server.close()


async def test_one_host_twice_is_bound_once(loop: Loop) -> None:
    server: Any = await loop.create_server(Recorder, ["127.0.0.1", "127.0.0.1"], 0)
    assert len(server.sockets) == 1
    server.close()


async def on_both_protocols(first: Any, then: Any) -> list[Any]:
    """Servers on one port: a free one of the first host; another program may have it elsewhere."""
    loop = asyncio.get_running_loop()
    for attempt in range(20):
        server: Any = await loop.create_server(Recorder, first, 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return [server, await loop.create_server(Recorder, then, port)]
        except OSError as error:
            server.close()
            if error.errno != errno.EADDRINUSE or attempt == 19:
                raise
    raise AssertionError


@pytest.mark.parametrize(("first", "then"), [("::", "0.0.0.0"), ("0.0.0.0", "::")])
async def test_one_port_is_served_by_one_server_for_each_protocol(
    loop: Loop, first: str, then: str
) -> None:
    for server in await on_both_protocols(first, then):
        (sock,) = server.sockets
        if sock.family == socket.AF_INET6:
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        server.close()


@pytest.mark.parametrize("host", [None, "", ["::", "0.0.0.0"]])
async def test_every_interface_means_a_socket_for_each_protocol(loop: Loop, host: Any) -> None:
    # The port is free on one of them; no other program binds it on both in the meantime.
    for attempt in range(20):
        with listening(socket.AF_INET6) as free:
            port = free.getsockname()[1]
        serving = Serving()
        try:
            server: Any = await loop.create_server(serving.factory, host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt == 19:
                raise
            continue
        break
    assert {sock.getsockname()[:2] for sock in server.sockets} == {
        ("0.0.0.0", port),
        ("::", port),
    }
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, port)) as client:
            await until(lambda: serving.protocols and serving.protocols[-1].events)
            transport = serving.protocols[-1].transport
            # An IPv4 client is not seen as ::ffff:127.0.0.1.
            assert transport.get_extra_info("peername") == client.getsockname()
            transport.abort()
            await serving.protocols.pop().wait_lost()
    server.close()


async def test_options_of_sockets(loop: Loop) -> None:
    for options, option, expected in (
        ({}, socket.SO_REUSEADDR, True),
        ({"reuse_address": False}, socket.SO_REUSEADDR, False),
        ({"reuse_port": True}, socket.SO_REUSEPORT, True),
    ):
        server = await Serving().start(**options)
        sock = server.sockets[0]
        assert bool(sock.getsockopt(socket.SOL_SOCKET, option)) is expected
        server.close()


@since_313
async def test_keep_alive_is_an_option(loop: Loop) -> None:
    server = await Serving().start(keep_alive=True)
    assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    server.close()


async def test_an_address_in_use_is_named(loop: Loop) -> None:
    with listening() as taken:
        address = taken.getsockname()
        with pytest.raises(OSError, match="while attempting to bind on address") as caught:
            await loop.create_server(Recorder, *address)
        assert caught.value.errno == 98
        assert os.strerror(98).lower() in str(caught.value)
        assert repr(address) in str(caught.value)


async def test_the_collector_may_run_while_a_transport_is_being_made(loop: Loop) -> None:
    """CPython collects when it needs an object's dictionary, before the fields are written."""
    serving = Serving()
    server = await serving.start(backlog=200)
    address = server.sockets[0].getsockname()
    sockets = [socket.create_connection(address) for _ in range(150)]
    # No dictionary comes from the interpreter's list of freed ones.
    taken: list[dict[str, int]] = [{} for _ in range(200)]
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        await until(lambda: len(serving.protocols) == 150)
    finally:
        gc.set_threshold(*threshold)
    assert not any(taken)
    for sock in sockets:
        sock.close()
    await until(lambda: all(protocol.is_lost for protocol in serving.protocols))
    server.close()


async def test_the_transport_of_a_connection_knows_both_addresses(loop: Loop) -> None:
    serving = Serving()
    server = await serving.start()
    client = await serving.connect()
    transport = serving.protocols[0].transport
    assert transport.get_extra_info("peername") == client.transport.get_extra_info("sockname")
    assert transport.get_extra_info("sockname") == client.transport.get_extra_info("peername")
    assert isinstance(transport, asyncio.Transport)
    client.transport.abort()
    await serving.protocols[0].wait_lost()
    server.close()


def test_closing_the_loop_with_a_server_leaves_nothing_open(loop: Loop, reports: Reports) -> None:
    async def main() -> Any:
        return await Serving().start()

    server = run(loop, main())
    server.close()
    run_turns(loop, 2)
    loop.close()
    assert not reports
