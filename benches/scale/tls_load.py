"""An echo load over TLS: `python -m scale.tls_load ADDRESS CONNECTIONS SIZE SECONDS [RATE]`.

Without a rate each connection sends again when it has its answer. With one, requests are due at fixed
times, and latency counts from then, as in the native `load`; so does the JSON that is printed.
"""

from __future__ import annotations

import gc
import json
import selectors
import socket
import ssl
import sys
import time
from collections import deque

from harness.idle import unchecked


class Load:
    """The connections, and when each request was due."""

    def __init__(self, address: str, connections: int, size: int) -> None:
        """Connects."""
        host, _, port = address.rpartition(":")
        context = unchecked()
        self._message = b"m" * size
        self._selector = selectors.EpollSelector()
        self._free: deque[ssl.SSLSocket] = deque()
        self._due: dict[ssl.SSLSocket, float] = {}
        self._received: dict[ssl.SSLSocket, int] = {}
        self.latencies: list[float] = []
        for _ in range(connections):
            raw = socket.create_connection((host, int(port)), timeout=20)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = context.wrap_socket(raw)
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ)
            self._received[connection] = 0
            self._free.append(connection)

    def _send(self, due: float) -> None:
        connection = self._free.popleft()
        self._due[connection] = due
        # The answer to the last one has come, so the socket's buffer is empty.
        if connection.send(self._message) != len(self._message):
            raise RuntimeError("a message does not fit into the socket's buffer")

    def _poll(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            connection = key.fileobj
            assert isinstance(connection, ssl.SSLSocket)
            try:
                count = len(connection.recv(65536))
            except ssl.SSLWantReadError:
                continue
            if not count:
                raise RuntimeError("the server closed the connection")
            self._received[connection] += count
            if self._received[connection] >= len(self._message):
                self._received[connection] = 0
                self._free.append(connection)
                self.latencies.append(time.perf_counter() - self._due[connection])

    def closed(self, seconds: float) -> int:
        """As fast as answers come; returns how many were due without an answer, which is none."""
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            while self._free:
                self._send(now)
            self._poll(0.1)
        return 0

    def open(self, seconds: float, rate: float) -> int:
        """At fixed times; returns how many were due and had no answer at the end."""
        start, sent = time.perf_counter(), 0
        while (now := time.perf_counter()) - start < seconds:
            while self._free and start + sent / rate <= now:
                self._send(start + sent / rate)
                sent += 1
            self._poll(0 if self._free else 0.1)
        return max(0, int(seconds * rate) - len(self.latencies))


def main(address: str, connections: str, size: str, seconds: str, rate: str | None = None) -> None:
    """Loads the server and prints what was found."""
    load = Load(address, int(connections), int(size))
    gc.disable()
    start = time.perf_counter()
    behind = load.closed(float(seconds)) if rate is None else load.open(float(seconds), float(rate))
    passed = time.perf_counter() - start
    found = sorted(load.latencies)
    parts = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    latency = {
        name: round(found[min(len(found) - 1, int(len(found) * part))] * 1e6, 1)
        for name, part in parts.items()
    }
    done = {"per_second": len(found) / passed, "done": len(found), "seconds": passed}
    print(json.dumps({**done, "latency_us": latency, "behind": behind, "errors": 0}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
