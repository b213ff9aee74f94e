"""The other end of a counted workload: a process that sends, waits for the answer and sends again.

    python -m cases.counted_client FD COUNT ANSWER [MESSAGE]
    python -m cases.counted_client FD COUNT ANSWER [MESSAGE] --trust CERTIFICATE

It is not counted itself. ANSWER is the length of an answer in bytes, or `http` for a response with a
`Content-Length`. Its output ends when it is done.
"""

from __future__ import annotations

import argparse
import re
import socket
import ssl


def _receive(sock: socket.socket, length: int) -> None:
    while length:
        data = sock.recv(length)
        if not data:
            raise ConnectionError("the server closed the connection")
        length -= len(data)


def _receive_response(sock: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError(f"the server closed the connection after {head!r}")
        head += data
    head, _, body = head.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    assert length is not None, head
    _receive(sock, int(length[1]) - len(body))


def main() -> None:
    """Talks `COUNT` times over the inherited socket."""
    parser = argparse.ArgumentParser()
    parser.add_argument("descriptor", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("answer")
    parser.add_argument("message", nargs="?", default="x" * 1023 + "\n")
    parser.add_argument("--trust")
    options = parser.parse_args()
    sock = socket.socket(fileno=options.descriptor)
    message = options.message.encode()
    if options.trust:
        context = ssl.create_default_context(cafile=options.trust)
        sock = context.wrap_socket(sock, server_hostname="localhost")
    for _ in range(options.count):
        sock.sendall(message)
        if options.answer == "http":
            _receive_response(sock)
        else:
            _receive(sock, int(options.answer))
    sock.close()


if __name__ == "__main__":
    main()
