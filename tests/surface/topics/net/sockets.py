"""The sock_* calls, sendfile, readers and writers."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import sys
from typing import Any

from surface.probe import Probe, case, debug_case

LOCAL = "127.0.0.1"


def _callback(*_args: Any) -> None:
    """Something to call."""


@case
async def wrong_sockets(p: Probe) -> None:
    loop = p.loop
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (loop.sock_recv, (1,)),
        (loop.sock_recv_into, (bytearray(1),)),
        (loop.sock_sendall, (b"x",)),
        (loop.sock_connect, ((LOCAL, 9),)),
        (loop.sock_accept, ()),
    ]
    if sys.version_info >= (3, 11):
        calls += [
            (loop.sock_recvfrom, (1,)),
            (loop.sock_recvfrom_into, (bytearray(1),)),
            (loop.sock_sendto, (b"x", (LOCAL, 9))),
        ]
    for call, args in calls:
        await p.wait(call)
        for wrong in (None, 5, "text", object(), p.closed()):
            await p.wait(call, wrong, *args)
        await p.wait(call, p.open(), *args, unknown=1)
    for wrong in (p.tls_socket(),):
        for call, args in calls:
            await p.wait(call, wrong, *args)


@debug_case
async def blocking_sockets(p: Probe) -> None:
    loop, sock = p.loop, p.open()
    sock.setblocking(True)
    await p.wait(loop.sock_recv, sock, 1)
    await p.wait(loop.sock_recv_into, sock, bytearray(1))
    await p.wait(loop.sock_sendall, sock, b"x")
    await p.wait(loop.sock_connect, sock, (LOCAL, 9))
    await p.wait(loop.sock_accept, sock)
    with io.BytesIO(b"x") as file:
        await p.wait(loop.sock_sendfile, sock, file)


@case
async def wrong_values(p: Probe) -> None:
    loop = p.loop
    left, right = p.pair()
    for size in (-1, "x", None, 1.5):
        await p.wait(loop.sock_recv, left, size)
    for buffer in (b"read only", None, 5, "text"):
        await p.wait(loop.sock_recv_into, left, buffer)
    for data in (None, 5, "text", [1]):
        await p.wait(loop.sock_sendall, left, data)
    for address in (None, 5, "x", (LOCAL,), (LOCAL, "x"), (LOCAL, -1), (LOCAL, 1 << 20), (5, 5)):
        await p.wait(loop.sock_connect, p.open(), address)
    await p.wait(loop.sock_connect, p.open(), ("::1", 9))
    await p.wait(loop.sock_connect, p.open(family=socket.AF_UNIX), "/no/such/folder/s")
    await p.wait(loop.sock_connect, p.open(family=socket.AF_UNIX), 5)
    await p.wait(loop.sock_accept, p.open())
    await p.wait(loop.sock_accept, left)
    await p.wait(loop.sock_recv, p.open(), 1)
    await p.wait(loop.sock_sendall, p.open(socket.SOCK_DGRAM), b"x")
    right.close()
    await p.wait(loop.sock_recv, left, 1)
    await p.wait(loop.sock_sendall, left, b"x")
    if sys.version_info >= (3, 11):
        left, _right = p.pair()
        _right.send(b"x")
        for size in (-1, "x", None):
            await p.wait(loop.sock_recvfrom, left, size)
        await p.wait(loop.sock_recvfrom_into, left, bytearray(1), 5)
        await p.wait(loop.sock_recvfrom_into, left, bytearray(1), -1)
        await p.wait(loop.sock_recvfrom_into, left, b"")
        for address in (None, 5, (LOCAL, -1), ("::1", 9)):
            await p.wait(loop.sock_sendto, p.open(socket.SOCK_DGRAM), b"x", address)
        await p.wait(loop.sock_sendto, p.open(socket.SOCK_DGRAM), "text", (LOCAL, 9))


@case
async def results(p: Probe) -> None:
    loop = p.loop
    left, right = p.pair()
    await p.wait(loop.sock_sendall, left, b"hello world")
    await p.wait(loop.sock_sendall, left, b"")
    await p.wait(loop.sock_sendall, left, bytearray(b" and"))
    await p.wait(loop.sock_recv, right, 5)
    await p.wait(loop.sock_recv, right, 0)
    await p.wait(loop.sock_recv_into, right, bytearray(3))
    await p.wait(loop.sock_recv_into, right, memoryview(bytearray(100)))
    waiting = asyncio.ensure_future(loop.sock_recv(right, 5))
    await asyncio.sleep(0.001)
    waiting.cancel()
    await p.wait(lambda: waiting)
    listener, port = p.listening()
    client = p.open()
    await p.wait(loop.sock_connect, client, (LOCAL, port))
    made = await p.wait(loop.sock_accept, listener)
    if made:
        p.note("blocking", made[0].getblocking())
        p.stack.enter_context(made[0])
    await p.wait(loop.sock_connect, client, (LOCAL, port))
    await p.wait(asyncio.wait_for, loop.sock_accept(listener), 0.001)
    if sys.version_info >= (3, 11):
        one, two = p.open(socket.SOCK_DGRAM), p.open(socket.SOCK_DGRAM)
        one.bind((LOCAL, 0))
        two.bind((LOCAL, 0))
        await p.wait(loop.sock_sendto, one, b"datagram", two.getsockname())
        await p.wait(loop.sock_recvfrom, two, 100)
        await p.wait(loop.sock_sendto, one, b"datagram", two.getsockname())
        await p.wait(loop.sock_recvfrom_into, two, bytearray(100))
        await p.wait(loop.sock_sendto, one, b"", two.getsockname())
        await p.wait(loop.sock_recvfrom, two, 100)


@case
async def owned_by_a_transport(p: Probe) -> None:
    loop = p.loop
    left, _ = p.pair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
    await p.wait(loop.sock_recv, left, 1)
    await p.wait(loop.sock_connect, left, "/no/such/folder/s")
    p.attempt(loop.add_reader, left, _callback)
    p.attempt(loop.add_writer, p.number(left), _callback)
    p.attempt(loop.remove_reader, left)
    p.attempt(loop.remove_writer, p.number(left))
    transport.close()
    await asyncio.sleep(0.001)
    p.attempt(loop.remove_reader, left)


@case
async def sendfile(p: Probe) -> None:
    loop = p.loop
    path = p.folder() / "file"
    path.write_bytes(bytes(range(256)) * 8)
    file = p.stack.enter_context(path.open("rb"))
    text = p.stack.enter_context(path.open(encoding="latin-1"))
    left, right = p.pair()
    for offset in (-1, "x", None, 1.5):
        await p.wait(loop.sock_sendfile, left, file, offset)
    for count in (0, -1, "x", 1.5):
        await p.wait(loop.sock_sendfile, left, file, 0, count)
    await p.wait(loop.sock_sendfile, left, text)
    await p.wait(loop.sock_sendfile, left, None)
    await p.wait(loop.sock_sendfile, left, 5)
    await p.wait(loop.sock_sendfile, p.open(socket.SOCK_DGRAM), file)
    await p.wait(loop.sock_sendfile, p.closed(), file)
    await p.wait(loop.sock_sendfile, left, io.BytesIO(b"memory"), fallback=False)
    await p.wait(loop.sock_sendfile, left, io.BytesIO(b"memory"))
    await p.wait(loop.sock_sendfile, left, io.BytesIO(b"memory"), 2, 3)
    await p.wait(loop.sock_sendfile, left, file)
    p.note("position", file.tell())
    await p.wait(loop.sock_sendfile, left, file, 10, 20)
    p.note("position", file.tell())
    await p.wait(loop.sock_sendfile, left, file, 5000)
    p.note("position", file.tell())
    p.note("arrived", len(right.recv(10_000)))
    await p.wait(loop.sock_sendfile)
    await p.wait(loop.sock_sendfile, left)


@case
async def sendfile_on_transports(p: Probe) -> None:
    loop = p.loop
    path = p.folder() / "file"
    path.write_bytes(bytes(1000))
    file = p.stack.enter_context(path.open("rb"))
    left, right = p.pair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
    for wrong in (None, 5, object()):
        await p.wait(loop.sendfile, wrong, file)
    for wrong in (None, 5, io.StringIO("text")):
        await p.wait(loop.sendfile, transport, wrong)
    text = p.stack.enter_context(path.open(encoding="latin-1"))
    await p.wait(loop.sendfile, transport, text)
    await p.wait(loop.sendfile, transport, file, -1)
    await p.wait(loop.sendfile, transport, file, 0, -1)
    await p.wait(loop.sendfile, transport, file, 0, 0)
    await p.wait(loop.sendfile, transport, file, "x")
    await p.wait(loop.sendfile, transport, io.BytesIO(b"memory"), fallback=False)
    await p.wait(loop.sendfile, transport, io.BytesIO(b"memory"))
    await p.wait(loop.sendfile, transport, file)
    await p.wait(loop.sendfile, transport, file, 990, 100)
    p.note("position", file.tell())
    p.note("arrived", len(right.recv(10_000)))
    endpoint, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, (LOCAL, 0))
    await p.wait(loop.sendfile, endpoint, file)
    endpoint.close()
    transport.close()
    await p.wait(loop.sendfile, transport, file)
    await asyncio.sleep(0.001)


@case
async def readers_and_writers(p: Probe) -> None:
    loop = p.loop
    left, right = p.pair()
    for add in (loop.add_reader, loop.add_writer):
        p.attempt(add)
        p.attempt(add, left)
        p.attempt(add, left, _callback, unknown=1)
        for wrong in (-1, "text", object(), None, 1_000_000, 1 << 40, 1.5, True, p.closed()):
            p.attempt(add, wrong, _callback)
    for remove in (loop.remove_reader, loop.remove_writer):
        p.attempt(remove)
        p.attempt(remove, left)
        for wrong in (-1, "text", object(), None, 1_000_000, 1 << 40, 1.5, p.closed()):
            p.attempt(remove, wrong)
    p.attempt(loop.add_reader, left, _callback)
    p.attempt(loop.add_reader, p.number(left), _callback, 1, 2)
    p.attempt(loop.add_writer, left, _callback)
    p.attempt(loop.remove_reader, p.number(left))
    p.attempt(loop.remove_reader, left)
    p.attempt(loop.remove_writer, left)
    p.attempt(loop.remove_writer, left)
    seen = asyncio.Event()
    p.attempt(loop.add_reader, left, seen.set)
    right.send(b"x")
    await seen.wait()
    p.attempt(loop.remove_reader, left)
    with (p.folder() / "file").open("w") as file:
        p.attempt(loop.add_reader, file, _callback)
        p.attempt(loop.add_writer, p.number(file), _callback)
        p.attempt(loop.remove_writer, p.number(file))
    reading, writing = os.pipe()
    p.attempt(loop.add_reader, p.number(reading), _callback)
    os.close(writing)
    p.attempt(loop.remove_reader, reading)
    os.close(reading)


@debug_case
async def readers_in_debug_mode(p: Probe) -> None:
    async def coroutine() -> None:
        """No callback."""

    left, _ = p.pair()
    for wrong in (5, None, coroutine):
        p.attempt(p.loop.add_reader, left, wrong)
        p.attempt(p.loop.remove_reader, left)
    p.attempt(p.loop.add_writer, left, _callback)
    p.attempt(p.loop.remove_writer, left)
