"""A program that uses every public name of ferroloop, for type checkers; it is never run.

`assert_type` says what a checker has to find out. `tests/package/test_types.py` has mypy and basedpyright
read it and looks that nothing public is missing here.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import IO, Any

from typing_extensions import assert_type

import ferroloop


class Echo(asyncio.Protocol):
    """A protocol of the program's own, whose type has to come back."""


class Datagrams(asyncio.DatagramProtocol):
    """Likewise."""


class Child(asyncio.SubprocessProtocol):
    """Likewise."""


def note(number: int, text: str = "") -> None:
    """A callback that takes an argument."""


def handle_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler."""


async def connect(loop: ferroloop.Loop, sock: socket.socket, context: ssl.SSLContext) -> None:
    """Connections."""
    transport, protocol = await loop.create_connection(Echo, "localhost", 80)
    assert_type(transport, asyncio.Transport)
    assert_type(protocol, Echo)
    pair = await loop.create_connection(
        Echo,
        "localhost",
        443,
        ssl=context,
        local_addr=("127.0.0.1", 0),
        happy_eyeballs_delay=0.25,
        all_errors=True,
    )
    assert_type(pair, tuple[asyncio.Transport, Echo])
    pair = await loop.create_connection(lambda: Echo(), sock=sock)
    pair = await loop.create_unix_connection(Echo, "/run/socket")
    assert_type(pair, tuple[asyncio.Transport, Echo])
    pair = await loop.connect_accepted_socket(Echo, sock, ssl=context)
    assert_type(pair, tuple[asyncio.Transport, Echo])
    upgraded = await loop.start_tls(transport, protocol, context, server_hostname="localhost")
    assert_type(upgraded, asyncio.Transport | None)
    endpoint, datagrams = await loop.create_datagram_endpoint(
        Datagrams, local_addr=("127.0.0.1", 0)
    )
    assert_type(endpoint, asyncio.DatagramTransport)
    assert_type(datagrams, Datagrams)


async def serve(loop: ferroloop.Loop, sock: socket.socket, context: ssl.SSLContext) -> None:
    """Servers."""
    server = await loop.create_server(Echo, ["127.0.0.1", "::1"], 8000, keep_alive=True)
    closes: asyncio.Server = server
    assert_type(server.sockets, tuple[socket.socket, ...])
    async with server:
        await server.serve_forever()
    server = await loop.create_server(Echo, sock=sock, ssl=context)
    server = await loop.create_unix_server(Echo, "/run/socket", cleanup_socket=True)
    closes.close()


async def run_children(loop: ferroloop.Loop, file: IO[bytes]) -> None:
    """Processes and pipes."""
    child, protocol = await loop.subprocess_exec(Child, "ls", "-l", stdout=None, cwd="/")
    assert_type(child, asyncio.SubprocessTransport)
    assert_type(protocol, Child)
    child, protocol = await loop.subprocess_shell(Child, "ls -l")
    assert_type(await loop.connect_read_pipe(Echo, file), tuple[asyncio.ReadTransport, Echo])
    assert_type(await loop.connect_write_pipe(Echo, file), tuple[asyncio.WriteTransport, Echo])


async def use_sockets(
    loop: ferroloop.Loop, sock: socket.socket, file: IO[bytes], transport: asyncio.Transport
) -> None:
    """The sock_* calls, files and names."""
    await loop.sock_connect(sock, ("127.0.0.1", 80))
    accepted, _ = await loop.sock_accept(sock)
    assert_type(accepted, socket.socket)
    assert_type(await loop.sock_recv(sock, 100), bytes)
    assert_type(await loop.sock_recv_into(sock, bytearray(100)), int)
    data, _ = await loop.sock_recvfrom(sock, 100)
    assert_type(data, bytes)
    count, _ = await loop.sock_recvfrom_into(sock, bytearray(100))
    assert_type(count, int)
    await loop.sock_sendall(sock, memoryview(b"data"))
    assert_type(await loop.sock_sendto(sock, b"data", ("127.0.0.1", 80)), int)
    assert_type(await loop.sock_sendfile(sock, file), int)
    assert_type(await loop.sendfile(transport, file, fallback=False), int)
    for family, kind, _, _, _ in await loop.getaddrinfo("localhost", "http"):
        assert family in socket.AddressFamily
        assert_type(kind, socket.SocketKind)
    assert_type(await loop.getnameinfo(("127.0.0.1", 80)), tuple[str, str])


def schedule(loop: ferroloop.Loop, sock: socket.socket) -> None:
    """Callbacks, tasks, watchers, signals."""
    assert_type(loop.call_soon(note, 1, "text"), asyncio.Handle)
    loop.call_soon_threadsafe(note, 1, "text", context=copy_context())
    timer = loop.call_later(0.5, note, 1, "text")
    assert_type(timer, asyncio.TimerHandle)
    timer = loop.call_at(loop.time() + 1.0, note, 1, "text")
    future: asyncio.Future[int] = loop.create_future()
    task = loop.create_task(double(future), name="double")
    assert_type(task, asyncio.Task[int])
    loop.set_task_factory(loop.get_task_factory())
    loop.add_reader(sock, note, 1, "text")
    loop.add_writer(sock.fileno(), note, 1, "text")
    assert_type(loop.remove_reader(sock) or loop.remove_writer(sock), bool)
    loop.add_signal_handler(signal.SIGTERM, note, 1, "text")
    assert_type(loop.remove_signal_handler(signal.SIGTERM), bool)
    with ThreadPoolExecutor() as executor:
        loop.set_default_executor(executor)
        assert_type(loop.run_in_executor(None, len, "text"), asyncio.Future[int])


def look(loop: ferroloop.Loop) -> None:
    """Errors, debug mode, metrics."""
    loop.set_exception_handler(handle_error)
    handler = loop.get_exception_handler()
    if handler is not None:
        handler(loop, {"message": "text"})
    loop.default_exception_handler({"message": "text"})
    loop.call_exception_handler({"message": "text"})
    loop.set_debug(not loop.get_debug())
    loop.slow_callback_duration = 0.5
    before: ferroloop.Metrics = loop.metrics()
    assert_type(loop.metrics().utilization(before), float)
    assert_type(before.turns + before.waits, int)


async def double(future: asyncio.Future[int]) -> int:
    """A coroutine with a result."""
    return 2 * await future


async def answer(reader: ferroloop.StreamReader, writer: ferroloop.StreamWriter) -> None:
    """A handler that is typed with ferroloop's streams."""
    writer.write(await reader.readexactly(4) + await reader.read() + await reader.readline())
    writer.writelines([b"a", b"b"])
    await reader.readuntil(b"\r\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def answer_on_asyncio(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A handler that is typed with asyncio's streams."""
    writer.write(await reader.read())


async def use_streams() -> None:
    """Streams."""
    async with await ferroloop.start_server(answer, "127.0.0.1", 8000, backlog=10) as server:
        await server.start_serving()
    assert_type(await ferroloop.start_unix_server(answer_on_asyncio, "/run/socket"), asyncio.Server)
    reader, writer = await ferroloop.open_connection("127.0.0.1", 8000, limit=1000)
    assert_type(reader, ferroloop.StreamReader)
    assert_type(writer, ferroloop.StreamWriter)
    pair = await ferroloop.open_unix_connection("/run/socket")
    assert_type(pair, tuple[ferroloop.StreamReader, ferroloop.StreamWriter])
    loop = asyncio.get_running_loop()
    ferroloop.StreamReaderProtocol(ferroloop.StreamReader(1000, loop), answer, loop)


def on_stall(stall: ferroloop.Stall) -> None:
    """What is told of a stall."""
    assert_type((stall.seconds, stall.ended, stall.callback), tuple[float, bool, str | None])
    assert_type(stall.stack, list[traceback.FrameSummary])
    assert_type(stall.task_name, str | None)


def on_slow(call: ferroloop.SlowCallback) -> None:
    """What is told of a slow callback."""
    assert_type((call.seconds, call.name), tuple[float, str])


def watch(loop: ferroloop.Loop) -> None:
    """Monitors and their figures."""
    with ferroloop.Monitor(
        loop, stall_after=0.25, on_stall=on_stall, slow_after=0.1, on_slow=on_slow
    ) as monitor:
        assert_type(monitor.turns, ferroloop.Histogram)
        assert_type(monitor.delays.percentile(99), float)
        assert_type(monitor.stalls, list[ferroloop.Stall])
        assert_type(monitor.slow_callbacks, list[ferroloop.SlowCallback])
        assert_type(monitor.callbacks(10), list[ferroloop.CallbackTotal])
        assert_type(monitor.tasks(), dict[str, int])
        assert_type(monitor.descriptors(), dict[str, int])
        assert_type(monitor.executor(), ferroloop.ExecutorState | None)
        assert_type(monitor.lookups(), list[str])
        cancel = monitor.every(1.0, monitor.tasks)
        cancel()


async def main() -> str:
    """What a program runs."""
    await asyncio.sleep(1)
    return "text"


def run() -> None:
    """How a program comes to a loop."""
    assert_type(ferroloop.run(main()), str)
    assert_type(ferroloop.run(main(), debug=True, loop_factory=ferroloop.Loop), str)
    loop = ferroloop.new_event_loop()
    assert_type(loop, ferroloop.Loop)
    assert_type(loop.run_until_complete(main()), str)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor(1.0))
    if not (loop.is_running() or loop.is_closed()):
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
    other: asyncio.AbstractEventLoop = ferroloop.EventLoopPolicy().new_event_loop()
    other.close()
    ferroloop.install()
    assert_type(ferroloop.__version__, str)
    assert_type(ferroloop.NATIVE, bool)
