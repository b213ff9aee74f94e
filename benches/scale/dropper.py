"""A client that makes and drops connections: `python -m scale.dropper ADDRESS [tls]`.

Each line of input is how many; the answer is `done`. Four ways of ending take turns: a message and a close, a
message and a reset, a reset without a word (with TLS: before the handshake), and a close that does not wait
for the answer.
"""

from __future__ import annotations

import socket
import sys

from harness.idle import unchecked
from scale.soak_load import RESET

MESSAGE = b"m" * 64


def main(address: str, security: str | None = None) -> None:
    """Makes connections as ordered until its input ends."""
    host, _, port = address.rpartition(":")
    context = unchecked() if security == "tls" else None
    for line in sys.stdin:
        for number in range(int(line)):
            way = number % 4
            connection = socket.create_connection((host, int(port)), timeout=20)
            if way == 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()
                continue
            if context is not None:
                connection = context.wrap_socket(connection)
            connection.sendall(MESSAGE)
            if way < 2 and len(connection.recv(100)) != len(MESSAGE):
                raise RuntimeError("another message came back")
            if way == 1:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
