"""A TLS peer that mutates its records, against an echo server on both ways of TLS and on asyncio.

Each program is one connection. Which record is mutated, and how, is decided by the seed, so that
the loops face the same attacks; what the records hold differs, because TLS's keys do.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import socket
import ssl
import sys
from typing import ClassVar

import ferroloop
from support.descriptors import new_since, open_descriptors
from support.net.certificates import client_context, server_context
from support.net.tls import HEADER, INDIRECT, Peer, calling_openssl

from . import watch

KINDS = ("asyncio", "ferroloop", INDIRECT)
#: How long a peer waits for an answer before it gives up; the server may be waiting too.
PATIENCE = 0.05
#: asyncio of 3.10 has another TLS, which logs less.
COMPARED = sys.version_info >= (3, 11)


class Counter(logging.Handler):
    """Counts what is logged."""

    def __init__(self) -> None:
        """Start at nothing."""
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line; a panic in it ends everything."""
        self.lines.append(record.getMessage())
        if record.exc_info:
            watch.check(record.exc_info[1])


class Kept(asyncio.BaseProtocol):
    """Keeps its transport, and counts while it has one."""

    #: The protocols whose connection is open.
    alive: ClassVar[set[Kept]] = set()
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.alive.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count no more."""
        self.alive.discard(self)


class Echo(Kept, asyncio.Protocol):
    """Sends everything back."""

    def data_received(self, data: bytes) -> None:
        """Echo."""
        self.transport.write(data)


class BufferedEcho(Kept, asyncio.BufferedProtocol):
    """Sends everything back, from a small buffer."""

    def __init__(self) -> None:
        """Make the buffer."""
        self.buffer = bytearray(700)

    def get_buffer(self, sizehint: int) -> bytearray:
        """The buffer."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Echo."""
        self.transport.write(self.buffer[:nbytes])


def split(data: bytes) -> list[bytes]:
    """The records in what OpenSSL wants to send."""
    records = []
    while len(data) >= HEADER:
        end = HEADER + int.from_bytes(data[3:HEADER], "big")
        records.append(data[:end])
        data = data[end:]
    return records


def mutate(choices: random.Random, records: list[bytes]) -> list[bytes]:
    """The records with one of them changed, or their order."""
    place = choices.randrange(len(records))
    record = bytearray(records[place])
    how = choices.choice(["flip", "header", "truncate", "duplicate", "reorder", "insert", "drop"])
    position = choices.randrange(1 << 16) % len(record)
    if how == "flip":
        record[position] ^= 1 << choices.randrange(8)
    elif how == "header":
        record[choices.randrange(HEADER)] = choices.randrange(256)
    elif how == "truncate":
        del record[position:]
    elif how == "duplicate":
        record += bytes(record)
    elif how == "insert":
        length = choices.choice([0, 1, 50, 16384, 20000])
        kind = choices.choice([0, 20, 21, 22, 23, 24, 255])
        header = bytes([kind, 3, 3, length >> 8, length & 255])
        record = bytearray(header + choices.randbytes(length)) + record
    elif how == "drop":
        record.clear()
    changed = [*records[:place], bytes(record), *records[place + 1 :]]
    if how == "reorder":
        choices.shuffle(changed)
    return changed


class Attacker(Peer):
    """A peer whose records are mutated from a certain flush on."""

    def __init__(self, sock: socket.socket, choices: random.Random) -> None:
        """Take the socket, and what decides."""
        super().__init__(sock, client_context())
        self.choices = choices
        #: Most attacks come after the handshake, which takes two flushes.
        self.harmless = choices.choice([0, 1, 2, 2, 3, 3, 4, 5])

    async def send_raw(self, data: bytes) -> None:
        """Send records, perhaps mutated, perhaps in pieces."""
        records = split(data)
        if not records:
            return
        self.harmless -= 1
        if self.harmless < 0:
            records = mutate(self.choices, records)
        data = b"".join(records)
        while data:
            size = self.choices.choice([len(data), len(data), 1 + len(data) // 2])
            await super().send_raw(data[:size])
            data = data[size:]


async def attack(address: tuple[str, int], choices: random.Random) -> None:
    """One connection, which may end anyhow."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock, contextlib.suppress(OSError, ssl.SSLError, AssertionError):
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        peer = Attacker(sock, choices)
        try:
            await asyncio.wait_for(peer.handshake(), PATIENCE)
            for _ in range(choices.randrange(1, 5)):
                messages = [
                    bytes(choices.choice([1, 100, 20000])) for _ in range(choices.randrange(1, 4))
                ]
                await peer.send(*messages)
                await asyncio.wait_for(peer.read(sum(map(len, messages))), PATIENCE)
            if choices.random() < 0.5:
                await peer.send_raw(peer.close_notify())
        except asyncio.TimeoutError:
            pass


async def program(seed: int, connections: int) -> None:
    """A server, and attacks on it one after the other."""
    loop = asyncio.get_running_loop()
    choices = random.Random(seed)
    protocol = choices.choice([Echo, BufferedEcho])
    server = await loop.create_server(
        protocol, "127.0.0.1", 0, ssl=server_context(), ssl_handshake_timeout=5
    )
    for _ in range(connections):
        await attack(server.sockets[0].getsockname(), choices)
    server.close()
    deadline = loop.time() + 10
    while Kept.alive:
        if loop.time() > deadline:
            watch.fail(f"connections stay: {[kept.transport for kept in Kept.alive]}")
        await asyncio.sleep(0.001)


def lines_of(kind: str, seed: int, connections: int) -> list[str]:
    """What a kind of loop logs; a descriptor that stays open is a fault."""
    counter = Counter()
    logger = logging.getLogger("asyncio")
    logger.addHandler(counter)
    logger.propagate = False
    before = open_descriptors()
    loop = asyncio.SelectorEventLoop() if kind == "asyncio" else ferroloop.new_event_loop()
    try:
        with calling_openssl(directly=kind != INDIRECT):
            loop.run_until_complete(program(seed, connections))
    finally:
        loop.close()
        del loop
        # What is logged of futures and tasks that are destroyed.
        gc.collect()
        logger.removeHandler(counter)
    left = new_since(before)
    if left and kind != "asyncio":
        watch.fail(f"descriptors stay open on {kind}: {left}")
    return counter.lines


def fuzz(seed: int) -> None:
    """Attack servers on every kind of loop; ours may not log more lines than asyncio's."""
    logging.disable(logging.NOTSET)
    counts = {kind: lines_of(kind, seed, 6) for kind in KINDS}
    for kind in KINDS[1:]:
        if COMPARED and len(counts[kind]) > len(counts["asyncio"]):
            watch.fail(f"{kind} logs {counts[kind]}, asyncio {counts['asyncio']}")
