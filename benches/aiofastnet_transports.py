"""ferroloop's native transports and aiofastnet's on the same loop: microseconds of processor a round trip.

    python benches/aiofastnet_transports.py     # needs aiofastnet and trustme

aiofastnet's functions are called as aiohttp's `net_helpers` calls them. Both ends are in one process; the
figures are medians of rounds in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import ssl
import statistics
import time
from typing import Any

import aiofastnet
import trustme

import ferroloop
from cases.echo import EchoProtocol


class Asker(asyncio.Protocol):
    """The client's end: sends a message, waits for all of it, and again."""

    def __init__(self, message: bytes, times: int, done: asyncio.Future[None]) -> None:
        """Send `message` so many `times`, then settle `done`."""
        self.message, self.times, self.done = message, times, done
        self.came = 0

    def connection_made(self, transport: Any) -> None:
        """Send the first one."""
        self.transport = transport
        self.transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        """Send the next one when the last has come back."""
        self.came += len(data)
        if self.came < len(self.message):
            return
        self.came = 0
        self.times -= 1
        if self.times:
            self.transport.write(self.message)
        else:
            self.done.set_result(None)


async def measure(
    kind: str, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None, size: int, times: int
) -> float:
    """Microseconds of processor for one round trip of `size` bytes."""
    loop = asyncio.get_running_loop()
    listen: Any = loop.create_server
    connect: Any = loop.create_connection
    if kind == "aiofastnet":
        listen = functools.partial(aiofastnet.create_server, loop)
        connect = functools.partial(aiofastnet.create_connection, loop)
    server = await listen(EchoProtocol, "127.0.0.1", 0, ssl=tls and tls[0])
    port = server.sockets[0].getsockname()[1]
    done: asyncio.Future[None] = loop.create_future()
    options = {"ssl": tls[1], "server_hostname": "localhost"} if tls else {}
    factory = functools.partial(Asker, bytes(size), times, done)
    transport, _ = await connect(factory, "127.0.0.1", port, **options)
    begun = time.process_time()
    await done
    passed = time.process_time() - begun
    transport.close()
    server.close()
    await asyncio.sleep(0.01)
    return passed / times * 1e6


def main() -> None:
    """Print a line for each size, plain and over TLS."""
    parser = argparse.ArgumentParser(description="Compare transports on ferroloop's loop.")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    for name, tls in (("plain", None), ("TLS", (server, client))):
        for size, times in ((1024, 3000), (65536, 600)):
            found: dict[str, list[float]] = {"native": [], "aiofastnet": []}
            for _ in range(options.rounds):
                for kind, figures in found.items():
                    figures.append(ferroloop.run(measure(kind, tls, size, times)))
            texts = [f"{kind} {statistics.median(figures):.1f}" for kind, figures in found.items()]
            print(f"{name}, {size} bytes: {', '.join(texts)} us")


if __name__ == "__main__":
    main()
