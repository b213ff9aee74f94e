"""connect_read_pipe and connect_write_pipe."""

from __future__ import annotations

import asyncio
import socket
import sys

from surface.probe import Probe, case, no_protocol, raising

P = asyncio.Protocol


class Writer(asyncio.BaseProtocol):
    """Notes the loss of a writing end."""

    def __init__(self, p: Probe, lost: asyncio.Event) -> None:
        self.p, self.lost = p, lost

    def connection_lost(self, exc: Exception | None) -> None:
        self.p.note("lost", exc)
        self.lost.set()


@case
async def wrong_arguments(p: Probe) -> None:
    file = p.stack.enter_context((p.folder() / "file").open("w+"))
    closed = p.stack.enter_context((p.folder() / "file").open("w+"))
    closed.close()
    for call in (p.loop.connect_read_pipe, p.loop.connect_write_pipe):
        await p.wait(call)
        await p.wait(call, P)
        for wrong in (None, 5, "text", object(), file, closed, p.closed()):
            await p.wait(call, P, wrong)
        made = await p.wait(call, P, p.open(socket.SOCK_DGRAM))
        if made:
            made[0].close()
        await p.wait(call, None, p.pipe()[0])
        await asyncio.sleep(0)


@case
async def reading(p: Probe) -> None:
    lost = asyncio.Event()

    class Reader(P):
        def data_received(self, data: bytes) -> None:
            p.note("data", data)

        def eof_received(self) -> None:
            p.note("eof", None)

        def connection_lost(self, exc: Exception | None) -> None:
            p.note("lost", exc)
            lost.set()

    end, other = p.pipe()
    transport, protocol = await p.wait(p.loop.connect_read_pipe, Reader, end)
    p.note("kind", isinstance(transport, asyncio.ReadTransport))
    p.note("extra", transport.get_extra_info("pipe") is end)
    p.attempt(transport.is_closing)
    if sys.version_info >= (3, 11):
        p.attempt(transport.is_reading)
    p.attempt(transport.pause_reading)
    p.attempt(transport.pause_reading)
    p.attempt(transport.resume_reading)
    p.attempt(transport.resume_reading)
    p.note("protocol", transport.get_protocol() is protocol)
    p.attempt(transport.set_protocol, protocol)
    other.write(b"data")
    other.close()
    await lost.wait()
    p.attempt(transport.close)
    p.attempt(transport.is_closing)
    p.note("closed", end.closed)
    p.attempt(transport.resume_reading)


@case
async def writing(p: Probe) -> None:
    lost = asyncio.Event()
    other, end = p.pipe()
    transport, _ = await p.wait(p.loop.connect_write_pipe, lambda: Writer(p, lost), end)
    p.note("kind", isinstance(transport, asyncio.WriteTransport))
    for wrong in (None, 5, "text", [1]):
        p.attempt(transport.write, wrong)
    for data in (b"bytes", bytearray(b"array"), memoryview(b"view"), b""):
        p.attempt(transport.write, data)
    p.attempt(transport.writelines, [b"a", b"b"])
    p.note("arrived", other.read(100))
    p.attempt(transport.get_write_buffer_size)
    p.attempt(transport.get_write_buffer_limits)
    p.attempt(transport.set_write_buffer_limits, 5)
    p.attempt(transport.get_write_buffer_limits)
    p.attempt(transport.set_write_buffer_limits, 5, 10)
    p.attempt(transport.can_write_eof)
    p.attempt(transport.write_eof)
    p.attempt(transport.write, b"late")
    p.attempt(transport.write_eof)
    await lost.wait()
    p.attempt(transport.is_closing)
    p.attempt(transport.abort)
    p.attempt(transport.write, b"later")


@case
async def the_reader_goes_away(p: Probe) -> None:
    lost = asyncio.Event()
    other, end = p.pipe()
    transport, _ = await p.loop.connect_write_pipe(lambda: Writer(p, lost), end)
    other.close()
    await lost.wait()
    for _ in range(6):
        p.attempt(transport.write, b"x")


@case
async def protocols_that_fail(p: Probe) -> None:
    raises = raising(P, "connection_made")
    for number, call in enumerate((p.loop.connect_read_pipe, p.loop.connect_write_pipe)):
        await p.wait(call, no_protocol, p.pipe()[number])
        made = await p.wait(call, raises, p.pipe()[number])
        if made:
            made[0].close()
        await asyncio.sleep(0.001)


@case
async def losses_that_fail(p: Probe) -> None:
    raises = raising(P, "connection_lost")
    for number, call in enumerate((p.loop.connect_read_pipe, p.loop.connect_write_pipe)):
        transport, _ = await call(raises, p.pipe()[number])
        transport.close()
        await asyncio.sleep(0.001)
        p.attempt(transport.is_closing)
