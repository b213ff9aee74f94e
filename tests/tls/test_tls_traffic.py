"""Random traffic over TLS arrives whole and in order, with random sizes, pauses and kinds of protocol."""

from __future__ import annotations

import asyncio
import random
import ssl
from typing import Any

import pytest

from support.loops import run, until
from support.net.certificates import client_context, server_context
from support.net.sockets import listening

Loop = asyncio.AbstractEventLoop

SIZES = (1, 5, 100, 1000, 16_383, 16_384, 16_385, 20_000, 65_536, 200_000)


class End:
    """One end: writes pieces of a known stream, pauses at random, and checks what arrives."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.got = self.sent = 0
        self.transport: Any = None
        self.writable = True

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True

    def take(self, data: Any) -> None:
        assert bytes(data) == stream(self.got, len(data))
        self.got += len(data)
        if self.rng.random() < 0.2:
            self.transport.pause_reading()
            loop = asyncio.get_running_loop()
            loop.call_later(self.rng.random() * 0.002, self.go_on)

    def go_on(self) -> None:
        if self.transport is not None:
            self.transport.resume_reading()

    def write(self) -> None:
        pieces = []
        for _ in range(self.rng.randrange(1, 4)):
            size = self.rng.choice(SIZES)
            pieces.append(stream(self.sent, size))
            self.sent += size
        if self.rng.random() < 0.3:
            self.transport.writelines(pieces)
        else:
            for piece in pieces:
                self.transport.write(piece)


class Plain(End, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.take(data)


class Lending(End, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> memoryview:
        self.buffer = memoryview(bytearray(self.rng.choice(SIZES)))
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.take(self.buffer[:nbytes])


def stream(start: int, size: int) -> bytes:
    """Bytes `start` to `start + size` of a stream with a period of a prime."""
    period = bytes(range(251))
    skip = start % 251
    return (period * (size // 251 + 2))[skip : skip + size]


@pytest.mark.parametrize("seed", range(12))
def test_random_traffic_arrives_whole(loop: Loop, seed: int) -> None:
    rng = random.Random(seed)
    accepted: list[End] = []

    def end() -> Any:
        kind = rng.choice((Plain, Lending))
        return kind(random.Random(rng.random()))

    def accept() -> Any:
        accepted.append(end())
        return accepted[-1]

    async def main() -> None:
        client = client_context()
        client.maximum_version = rng.choice((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
        server = await loop.create_server(accept, sock=listening(), ssl=server_context())
        near = end()
        await loop.create_connection(
            lambda: near, *server.sockets[0].getsockname(), ssl=client, server_hostname="localhost"
        )
        await until(lambda: accepted and accepted[0].transport)
        far = accepted[0]
        for _ in range(60):
            writer = rng.choice((near, far))
            if writer.writable:
                writer.write()
            if rng.random() < 0.4:
                await asyncio.sleep(rng.random() * 0.001)
        await until(lambda: near.got == far.sent and far.got == near.sent)
        near.transport.close()
        await until(lambda: near.transport is None and far.transport is None)
        server.close()

    run(loop, main(), patience=25)
