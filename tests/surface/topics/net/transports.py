"""Stream transports, open and closed."""

from __future__ import annotations

import asyncio
from typing import Any

from surface.probe import KINDS, Probe, case, debug_case


class _Notes(asyncio.Protocol):
    def __init__(self, p: Probe) -> None:
        self.p = p
        self.lost = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.p.note("data", data)

    def eof_received(self) -> None:
        self.p.note("eof", None)

    def pause_writing(self) -> None:
        self.p.note("pause", None)

    def resume_writing(self) -> None:
        self.p.note("resume", None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.p.note("lost", exc)
        self.lost.set()


async def _connected(p: Probe) -> tuple[Any, Any, Any]:
    left, right = p.pair()
    transport, protocol = await p.loop.create_connection(lambda: _Notes(p), sock=left)
    return transport, protocol, right


@case
async def writing(p: Probe) -> None:
    transport, protocol, right = await _connected(p)
    for wrong in (None, 5, "text", [1], object(), 1.5):
        p.attempt(transport.write, wrong)
        p.attempt(transport.writelines, wrong)
    p.attempt(transport.writelines, [1])
    p.attempt(transport.writelines, ["text"])
    p.attempt(transport.write)
    p.attempt(transport.write, b"", 1)
    for data in (b"bytes", bytearray(b"array"), memoryview(b"view"), b""):
        p.attempt(transport.write, data)
    p.attempt(transport.writelines, [b"a", bytearray(b"b"), memoryview(b"c")])
    p.attempt(transport.writelines, [])
    p.attempt(transport.writelines, iter([b"d"]))
    p.attempt(transport.get_write_buffer_size)
    await asyncio.sleep(0)
    p.note("arrived", right.recv(100))
    p.attempt(transport.can_write_eof)
    p.attempt(transport.write_eof)
    p.attempt(transport.write_eof)
    p.attempt(transport.write, b"late")
    p.attempt(transport.writelines, [b"late"])
    transport.close()
    await protocol.lost.wait()


@case
async def limits(p: Probe) -> None:
    transport, protocol, _right = await _connected(p)
    p.attempt(transport.get_write_buffer_limits)
    for options in (
        {},
        {"high": 10},
        {"low": 10},
        {"high": 10, "low": 5},
        {"high": 0},
        {"high": 5, "low": 10},
        {"high": -1},
        {"low": -1},
        {"high": "x"},
        {"low": "x"},
        {"high": 1.5},
        {"high": 1 << 70},
        {"unknown": 1},
    ):
        p.attempt(transport.set_write_buffer_limits, **options)
        p.attempt(transport.get_write_buffer_limits)
    p.attempt(transport.set_write_buffer_limits, 100, 50)
    p.attempt(transport.get_write_buffer_limits)
    transport.close()
    await protocol.lost.wait()


@case
async def reading(p: Probe) -> None:
    transport, protocol, right = await _connected(p)
    p.attempt(transport.is_reading)
    p.attempt(transport.pause_reading)
    p.attempt(transport.pause_reading)
    p.attempt(transport.is_reading)
    p.attempt(transport.resume_reading)
    p.attempt(transport.resume_reading)
    right.send(b"data")
    await asyncio.sleep(0.001)
    other = _Notes(p)
    p.attempt(transport.set_protocol, other)
    p.note("protocol", transport.get_protocol() is other)
    right.send(b"more")
    right.close()
    await other.lost.wait()
    p.attempt(transport.pause_reading)
    p.attempt(transport.resume_reading)
    p.attempt(transport.is_reading)
    p.note("first", protocol.lost.is_set())


@case
async def wrong_protocols(p: Probe) -> None:
    transport, protocol, _ = await _connected(p)
    for wrong in (None, 5, object()):
        p.attempt(transport.set_protocol, wrong)
        p.note("protocol", transport.get_protocol() is wrong)
    p.attempt(transport.set_protocol)
    p.attempt(transport.set_protocol, protocol)
    transport.close()
    await protocol.lost.wait()


@case
async def closing(p: Probe) -> None:
    for method in ("close", "abort"):
        transport, protocol, _ = await _connected(p)
        p.attempt(transport.is_closing)
        p.attempt(getattr(transport, method))
        p.attempt(transport.is_closing)
        p.attempt(transport.close)
        p.attempt(transport.abort)
        for _ in range(7):
            p.attempt(transport.write, b"dropped")
        await protocol.lost.wait()
        p.attempt(transport.write, b"dropped")
        p.attempt(transport.writelines, [b"dropped"])
        p.attempt(transport.write_eof)
        p.attempt(transport.pause_reading)
        p.attempt(transport.get_write_buffer_size)
        p.attempt(transport.close)
        p.attempt(transport.abort)
        p.attempt(transport.get_extra_info, "socket")
        p.attempt(transport.get_extra_info, "peername")


@case
async def telling(p: Probe) -> None:
    transport, protocol, _ = await _connected(p)
    p.extra(transport)
    p.attempt(transport.get_extra_info)
    p.attempt(transport.get_extra_info, "none", "default")
    p.attempt(transport.get_extra_info, "none", default=5)
    p.attempt(transport.get_extra_info, ["unhashable"])
    p.note("kinds", [isinstance(transport, kind) for kind in KINDS])
    sock = transport.get_extra_info("socket")
    p.note("socket", (type(sock), sock.fileno() >= 0, sock.family, sock.type, sock.gettimeout()))
    p.attempt(sock.setblocking, True)
    p.attempt(sock.settimeout, 1)
    transport.close()
    await protocol.lost.wait()
    p.note("closed", sock.fileno())


class _Raises(_Notes):
    """Fails in one of its methods."""

    def __init__(self, p: Probe, where: str) -> None:
        super().__init__(p)
        self.where = where

    def fail(self, where: str) -> None:
        if self.where == where:
            raise ValueError(where)

    def connection_made(self, _transport: Any) -> None:
        self.fail("made")

    def data_received(self, _data: bytes) -> None:
        self.fail("data")

    def eof_received(self) -> None:
        self.fail("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.fail("lost")


@case
async def protocols_that_fail(p: Probe) -> None:
    for where in ("made", "data", "eof", "lost"):
        left, right = p.pair()
        protocol = _Raises(p, where)
        transport, _ = await p.wait(
            p.loop.create_connection, lambda found=protocol: found, sock=left
        )
        right.send(b"data")
        await asyncio.sleep(0.001)
        right.close()
        await protocol.lost.wait()
        await asyncio.sleep(0)
        transport.close()


@case
async def buffered_protocols(p: Probe) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self, buffer: Any) -> None:
            self.buffer = buffer
            self.lost = asyncio.Event()

        def get_buffer(self, sizehint: int) -> Any:
            p.note("hint", sizehint)
            if isinstance(self.buffer, Exception):
                raise self.buffer
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            p.note("updated", nbytes)

        def connection_lost(self, exc: Exception | None) -> None:
            p.note("lost", exc)
            self.lost.set()

    buffers: Any = (
        bytearray(10),
        bytearray(2),
        bytearray(),
        b"read only",
        None,
        5,
        ValueError("no"),
    )
    for buffer in buffers:
        left, right = p.pair()
        protocol = Buffered(buffer)
        transport, _ = await p.loop.create_connection(lambda found=protocol: found, sock=left)
        right.send(b"data")
        await asyncio.sleep(0.001)
        right.close()
        await protocol.lost.wait()
        transport.close()


@debug_case
async def in_debug_mode(p: Probe) -> None:
    transport, protocol, right = await _connected(p)
    right.close()
    await protocol.lost.wait()
    transport.close()
