"""HTTP/1.1 messages for `http_service.py`: an incremental request parser and a response encoder; no I/O.

The parser is strict where leniency is dangerous (RFC 9112, section 11.2 on request smuggling): a bare line feed, white
space before a header's colon, folded headers, two differing lengths and a length beside a transfer coding are all
refused. Bodies come with a `Content-Length`; a chunked body is answered with 501.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NO_CONTENT = HTTPStatus.NO_CONTENT.value
MAX_HEAD = 16 * 1024
"""Bytes of request line and headers that are accepted."""
MAX_BODY = 1024 * 1024
"""Bytes of body that are accepted."""

_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/([0-9])\.([0-9])")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}


@dataclass(slots=True)
class Response:
    """An answer: a status and something that becomes JSON (None: no body)."""

    status: int
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpError(Exception):
    """A request that is answered with an error status."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer with `status`, the message as JSON, and further headers."""
        super().__init__(message)
        self.status = status
        self.headers = headers or {}

    def response(self) -> Response:
        """Return the answer that the client gets."""
        return Response(self.status, {"error": str(self)}, self.headers)


@dataclass(slots=True)
class Request:
    """One complete request."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    keep_alive: bool
    body: bytes = b""


class RequestParser:
    """Turns the bytes of one connection into requests, however they are cut into pieces."""

    def __init__(self) -> None:
        """Wait for a request's first byte."""
        self._buffer = bytearray()
        self._request: Request | None = None
        self._body_length = 0
        self.wants_continue = False
        """Whether the client waits for `100 Continue` before it sends the body. Clear it after sending that."""

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield the requests that `data` completes; raise `HttpError` at the first malformed one."""
        self._buffer += data
        while True:
            if self._request is None:
                end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD + 4)
                if end < 0:
                    if len(self._buffer) > MAX_HEAD:
                        raise HttpError(431, "the headers are too long")
                    return
                self._request = self._parse_head(self._buffer[:end].decode("latin-1"))
                del self._buffer[: end + 4]
                self.wants_continue = (
                    self._request.headers.get("expect", "").lower() == "100-continue"
                )
            if len(self._buffer) < self._body_length:
                return
            self.wants_continue = False
            if self._body_length:
                self._request.body = bytes(self._buffer[: self._body_length])
                del self._buffer[: self._body_length]
            request, self._request = self._request, None
            yield request

    def _parse_head(self, head: str) -> Request:
        lines = head.lstrip("\r\n").split("\r\n")
        request_line = _REQUEST_LINE.fullmatch(lines[0])
        if request_line is None:
            raise HttpError(400, "malformed request line")
        method, target, major, minor = request_line.groups()
        if major != "1":
            raise HttpError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            header = _HEADER.fullmatch(line)
            if header is None:
                raise HttpError(400, "malformed header")
            name = header[1].lower()
            if name in ("host", "content-length") and headers.get(name, header[2]) != header[2]:
                raise HttpError(400, f"two differing {name} headers")
            headers[name] = (
                f"{headers[name]}, {header[2]}"
                if name in headers and name not in ("host", "content-length")
                else header[2]
            )
        if minor != "0" and "host" not in headers:
            raise HttpError(400, "no host header")
        self._body_length = _body_length(headers)
        path, _, query = target.partition("?")
        if not path.startswith("/"):
            raise HttpError(400, "the target is not a path")
        connection = headers.get("connection", "").lower()
        keep_alive = "keep-alive" in connection if minor == "0" else "close" not in connection
        return Request(method, unquote(path) if "%" in path else path, query, headers, keep_alive)


def _body_length(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length")
    if "transfer-encoding" in headers:
        if length is not None:
            raise HttpError(400, "both a length and a transfer coding")
        raise HttpError(501, "transfer codings are not spoken here")
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit()):
        raise HttpError(400, "malformed content-length")
    if len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
        raise HttpError(413, "the body is too long")
    return int(length)


def encode_response(response: Response, *, keep_alive: bool) -> tuple[bytes, bytes]:
    """Return the head and the body of an answer as bytes."""
    body = b"" if response.document is None else json.dumps(response.document).encode()
    lines = [_STATUS_LINES[response.status]]
    if response.status != NO_CONTENT:
        lines.append(f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n")
    lines.extend(f"{name}: {value}\r\n" for name, value in response.headers.items())
    lines.append("\r\n" if keep_alive else "Connection: close\r\n\r\n")
    return "".join(lines).encode("latin-1"), body
