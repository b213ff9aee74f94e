"""A client that holds connections open and says nothing: `python -m harness.idle ADDRESS [tls]`.

Each line of input is a number of connections to open; the answer is `open` when they are.
"""

from __future__ import annotations

import resource
import socket
import ssl
import sys


def unchecked() -> ssl.SSLContext:
    """A client's context that checks nothing: the server is ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main(address: str, security: str | None = None) -> None:
    """Opens connections as ordered until its input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, _, port = address.rpartition(":")
    context = unchecked() if security == "tls" else None
    kept: list[socket.socket] = []
    for line in sys.stdin:
        for _ in range(int(line)):
            connection = socket.create_connection((host, int(port)), timeout=20)
            if context is not None:
                connection = context.wrap_socket(connection)
            kept.append(connection)
        print("open", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
