"""A small JSON service over HTTP/1.1, on plain asyncio and nothing else.

It keeps notes: `GET /notes` lists them, `POST /notes` with `{"text": "..."}` makes one, `GET /notes/1` reads it,
`DELETE /notes/1` removes it, `GET /wait/0.5` answers half a second later, `GET /health` tells what runs.

    python3 examples/http_service.py --port 8000                  # on asyncio's own loop
    python3 -m ferroloop examples/http_service.py --port 8000     # the same program on ferroloop

The program does not know which loop runs it. One `HttpConnection` is one connection: it reads with the parser of
`http_messages.py`, answers requests in the order in which they came, keeps the connection alive between them, stops
reading while the client does not read, and gives up on a client that stays silent.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import math
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

from http_messages import HttpError, Request, RequestParser, Response, encode_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[..., Response | Awaitable[Response]]

MAX_PIPELINED = 64
"""Requests of one connection that may wait for their answers before it is no longer read from."""


class Router:
    """Finds the handler for a method and a path such as `/notes/{number}`."""

    def __init__(self) -> None:
        """Start without routes."""
        self._fixed: dict[str, dict[str, Handler]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Handler]]] = []

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Answer `method` on `path` with `handler`; each `{name}` in the path becomes a keyword argument."""
        if "{" not in path:
            self._fixed.setdefault(path, {})[method] = handler
            return
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
        for known, methods in self._patterns:
            if known == pattern:
                methods[method] = handler
                return
        self._patterns.append((pattern, {method: handler}))

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """Return the handler and the arguments taken from the path; raise `HttpError` 404 or 405."""
        methods = self._fixed.get(path)
        arguments: dict[str, str] = {}
        if methods is None:
            for pattern, candidates in self._patterns:
                match = pattern.fullmatch(path)
                if match:
                    methods, arguments = candidates, match.groupdict()
                    break
            else:
                raise HttpError(404, "no such page")
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise HttpError(405, "method not allowed", {"Allow": ", ".join(sorted(methods))})
        return handler, arguments


class HttpConnection(asyncio.Protocol):
    """One client connection."""

    def __init__(
        self, router: Router, connections: set[HttpConnection], idle_seconds: float
    ) -> None:
        """Belong to `connections` while connected; close after `idle_seconds` of silence."""
        self._router = router
        self._connections = connections
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser()
        self._pending: collections.deque[Request | HttpError] = collections.deque()
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._client_reads = True
        self._stopping = False
        self._last_activity = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the service's connections and start the silence timer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)
        self._last_activity = self._loop.time()
        self._idle_timer = self._loop.call_later(self._idle_seconds, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what was not answered."""
        self._connections.discard(self)
        self._pending.clear()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Take in what came; answer every request that is complete."""
        self._last_activity = self._loop.time()
        try:
            for request in self._parser.feed(data):
                self._pending.append(request)
        except HttpError as error:
            self._pending.append(error)
            self._transport.pause_reading()  # nothing sensible can follow
        if self._parser.wants_continue and not self._pending and self._task is None:
            self._parser.wants_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(self._pending) > MAX_PIPELINED:
            self._transport.pause_reading()
        self._answer_pending()

    def eof_received(self) -> bool:
        """Answer what was asked before the client closed its side, then close ours."""
        self._stopping = True
        return self._task is not None or bool(self._pending)

    def pause_writing(self) -> None:
        """Stop answering: the client does not read."""
        self._client_reads = False

    def resume_writing(self) -> None:
        """Go on answering."""
        self._client_reads = True
        self._answer_pending()

    def stop(self) -> None:
        """Close as soon as nothing is left to answer."""
        self._stopping = True
        if self._task is None and not self._pending:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    def _answer_pending(self) -> None:
        while self._pending and self._task is None and self._client_reads:
            request = self._pending.popleft()
            if isinstance(request, HttpError):
                self._send(None, request.response())
                return
            try:
                handler, arguments = self._router.find(request.method, request.path)
                answer = handler(request, **arguments)
            except HttpError as error:
                answer = error.response()
            except Exception as error:
                answer = self._report(request, error)
            if isinstance(answer, Response):
                self._send(request, answer)
            else:
                self._task = self._loop.create_task(self._answer_later(request, answer))
        if self._pending or not self._client_reads:
            return
        if self._stopping and self._task is None:
            self._transport.close()
        elif not self._transport.is_reading() and not self._transport.is_closing():
            self._transport.resume_reading()

    async def _answer_later(self, request: Request, answer: Awaitable[Response]) -> None:
        try:
            response = await answer
        except HttpError as error:
            response = error.response()
        except Exception as error:
            response = self._report(request, error)
        self._task = None
        self._send(request, response)
        self._answer_pending()

    def _send(self, request: Request | None, response: Response) -> None:
        """Write the answer; after an error in the message itself (no request), close."""
        keep_alive = (
            request is not None
            and request.keep_alive
            and not (self._stopping and not self._pending)
        )
        head, body = encode_response(response, keep_alive=keep_alive)
        self._transport.write(head)
        if request is None or request.method != "HEAD":
            self._transport.write(body)
        if not keep_alive:
            self._pending.clear()
            self._transport.close()

    def _report(self, request: Request, error: Exception) -> Response:
        self._loop.call_exception_handler(
            {
                "message": f"{request.method} {request.path} failed",
                "exception": error,
                "protocol": self,
            }
        )
        return HttpError(500, "internal error").response()

    def _close_if_idle(self) -> None:
        silent = self._loop.time() - self._last_activity
        if self._task is None and silent >= self._idle_seconds:
            self._transport.close()
        else:
            again = max(self._idle_seconds - silent, self._idle_seconds / 4)
            self._idle_timer = self._loop.call_later(again, self._close_if_idle)


class Notes:
    """What the service is about: numbered notes in memory."""

    def __init__(self) -> None:
        """Begin with one note, so that there is something to read."""
        self._notes = {1: "The loop runs."}
        self._next = 2

    def routes(self, router: Router) -> None:
        """Put this service's pages on `router`."""
        router.add("GET", "/health", self.health)
        router.add("GET", "/notes", self.list)
        router.add("POST", "/notes", self.create)
        router.add("GET", "/notes/{number}", self.read)
        router.add("DELETE", "/notes/{number}", self.delete)
        router.add("GET", "/wait/{seconds}", self.wait)

    def health(self, _request: Request) -> Response:
        """Tell which loop and Python run."""
        loop = type(asyncio.get_running_loop())
        return Response(
            200,
            {"loop": f"{loop.__module__}.{loop.__qualname__}", "python": sys.version.split()[0]},
        )

    def list(self, _request: Request) -> Response:
        """All notes."""
        return Response(
            200,
            {"notes": [{"number": number, "text": text} for number, text in self._notes.items()]},
        )

    def create(self, request: Request) -> Response:
        """Keep `{"text": ...}` under a new number."""
        try:
            document: Any = json.loads(request.body)
        except ValueError:
            raise HttpError(400, "the body is not JSON") from None
        text = document.get("text") if isinstance(document, dict) else None
        if not isinstance(text, str):
            raise HttpError(422, 'the body must be {"text": a string}')
        number, self._next = self._next, self._next + 1
        self._notes[number] = text
        return Response(201, {"number": number, "text": text}, {"Location": f"/notes/{number}"})

    def read(self, _request: Request, number: str) -> Response:
        """One note."""
        key = self._key(number)
        return Response(200, {"number": key, "text": self._notes[key]})

    def delete(self, _request: Request, number: str) -> Response:
        """Forget one note."""
        del self._notes[self._key(number)]
        return Response(204)

    async def wait(self, _request: Request, seconds: str) -> Response:
        """Answer later, as a service does that waits for another."""
        try:
            delay = float(seconds)
        except ValueError:
            delay = math.nan
        if not 0 <= delay <= 60:  # noqa: PLR2004 - the bound is explained by its message
            raise HttpError(422, "wait for 0 to 60 seconds")
        await asyncio.sleep(delay)
        return Response(200, {"waited": delay})

    def _key(self, number: str) -> int:
        if number.isascii() and number.isdigit() and int(number) in self._notes:
            return int(number)
        raise HttpError(404, "no such note")


IDLE_SECONDS = 75.0
"""How long a client may be silent."""


async def serve(host: str, port: int, *, idle_seconds: float = IDLE_SECONDS) -> None:
    """Serve until SIGINT or SIGTERM, then let running requests finish for at most five seconds."""
    loop = asyncio.get_running_loop()
    router = Router()
    Notes().routes(router)
    connections: set[HttpConnection] = set()
    server = await loop.create_server(
        lambda: HttpConnection(router, connections, idle_seconds), host, port, backlog=1024
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    for listening in server.sockets:
        announce(listening.getsockname())
    await stop.wait()
    await finish(server, connections)


def announce(place: tuple[Any, ...]) -> None:
    """Print where the service listens."""
    address, port, *_ = place
    print(f"listening on http://{f'[{address}]' if ':' in address else address}:{port}", flush=True)


async def finish(server: asyncio.Server, connections: set[HttpConnection]) -> None:
    """Accept nothing more, and let running requests finish for at most five seconds."""
    loop = asyncio.get_running_loop()
    server.close()
    for connection in list(connections):
        connection.stop()
    deadline = loop.time() + 5
    while connections and loop.time() < deadline:  # noqa: ASYNC110 - once, at the very end
        await asyncio.sleep(0.01)
    for connection in list(connections):
        connection.abort()
    await server.wait_closed()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A JSON service over HTTP/1.1 on plain asyncio.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=8000, help="0 takes any free port; the one taken is printed"
    )
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
