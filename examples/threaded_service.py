"""The service of `http_service.py` on several event loops in one process, one loop a thread.

    python3.14t -m ferroloop examples/threaded_service.py --port 8000 --threads 4

On a free-threaded Python the threads run at once, each on a core of its own, and share the notes, which a lock protects.
On any other Python the program behaves the same and uses one core. Every thread listens at the same port by a socket of
its own (`SO_REUSEPORT`), so the kernel spreads new connections over the threads. Signals come to the main thread, which
serves nothing: on SIGTERM or SIGINT it tells every loop to stop accepting and to finish its requests, then it waits for
the threads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from http_service import IDLE_SECONDS, HttpConnection, Notes, Router, announce, finish

if TYPE_CHECKING:
    from http_messages import Request, Response


class SharedNotes(Notes):
    """Notes for several threads: one lock, held for a moment and never across an `await`."""

    def __init__(self) -> None:
        """Make the lock."""
        super().__init__()
        self._lock = threading.Lock()

    def list(self, request: Request) -> Response:
        """All notes."""
        with self._lock:
            return super().list(request)

    def create(self, request: Request) -> Response:
        """Keep `{"text": ...}` under a new number."""
        with self._lock:
            return super().create(request)

    def read(self, request: Request, number: str) -> Response:
        """One note."""
        with self._lock:
            return super().read(request, number)

    def delete(self, request: Request, number: str) -> Response:
        """Forget one note."""
        with self._lock:
            return super().delete(request, number)


class Worker:
    """One thread's server. The loop and everything on it belong to that thread; only the notes are shared."""

    def __init__(self, listener: socket.socket, notes: Notes) -> None:
        """Serve on `listener`, which the worker closes."""
        self._listener = listener
        self._router = Router()
        notes.routes(self._router)
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    def run(self) -> None:
        """Serve in the calling thread until `stop`; raise what goes wrong."""
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise

    async def _serve(self) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        connections: set[HttpConnection] = set()
        server = await loop.create_server(
            lambda: HttpConnection(self._router, connections, IDLE_SECONDS),
            sock=self._listener,
            backlog=1024,
        )
        self._started.set_result((loop, stopping))
        await stopping.wait()
        await finish(server, connections)

    async def wait_started(self) -> None:
        """Return when the server accepts connections; raise if it could not be started."""
        await asyncio.wrap_future(self._started)

    def stop(self) -> None:
        """End `run`, from another thread; does nothing if it has ended or failed."""
        if self._started.exception() is not None:
            return
        loop, stopping = self._started.result()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(stopping.set)


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Return sockets that listen at the same address, before any of them accepts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listeners = []
    for _ in range(count):
        listener = socket.create_server((host, port), family=family, backlog=1024, reuse_port=True)
        listener.setblocking(False)
        port = listener.getsockname()[1]
        listeners.append(listener)
    return listeners


async def supervise(listeners: list[socket.socket]) -> None:
    """Run a worker for each socket, in threads, until SIGINT, SIGTERM or the failure of one."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    place = listeners[0].getsockname()
    notes = SharedNotes()
    workers = [Worker(listener, notes) for listener in listeners]
    with ThreadPoolExecutor(len(workers), thread_name_prefix="serve") as pool:
        running = [loop.run_in_executor(pool, worker.run) for worker in workers]
        try:
            for worker in workers:
                await worker.wait_started()
            announce(place)
            asking = asyncio.ensure_future(asked.wait())
            either: list[asyncio.Future[Any]] = [asking, *running]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            asking.cancel()
        finally:
            for worker in workers:
                worker.stop()
            ended = await asyncio.gather(*running, return_exceptions=True)
    for error in ended:
        if error is not None:
            raise error


def main() -> None:
    """Read the command line and serve."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="A JSON service over HTTP/1.1, a loop a thread.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=8000, help="0 takes any free port; the one taken is printed"
    )
    parser.add_argument(
        "--threads", type=int, default=cores, help="how many loops serve (default: a loop a core)"
    )
    arguments = parser.parse_args()
    asyncio.run(supervise(listen(arguments.host, arguments.port, max(1, arguments.threads))))


if __name__ == "__main__":
    main()
