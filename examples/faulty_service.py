"""A service with a fault to find: every now and then all its answers are late.

    python examples/faulty_service.py                   # shows the fault: some answers take long
    python -m ferroloop --report page.html examples/faulty_service.py     # the page says where
    python examples/faulty_service.py --mended          # the same service without the fault

It serves a shop's stock over HTTP and puts itself under load for `--seconds`: a crowd that asks for
stock, and customers who sign in. Then it prints how long the crowd waited. With `--port` it serves until it
is stopped and leaves the load to you:

    curl http://127.0.0.1:8000/stock/apple
    curl -d 'ada secret' http://127.0.0.1:8000/sign-in

docs/guides/finding-what-blocks-the-loop.md finds the fault step by step.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import signal
import time

STOCK = {"apple": 312, "pear": 17, "quince": 4}
#: Work for the processor on purpose, as a password's hash has to be.
ROUNDS = 800_000


def password_hash(password: str) -> bytes:
    """Return what is kept of a password."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"a salt", ROUNDS)


class Shop:
    """The service: stock for everybody, and customers who sign in."""

    def __init__(self, *, mended: bool) -> None:
        """Know one customer."""
        self.mended = mended
        self.customers = {"ada": password_hash("secret")}
        self.connections: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection in turn."""
        task = asyncio.current_task()
        self.connections[task] = writer
        try:
            while request := await read_request(reader):
                status, body = await self.answer(*request)
                text = json.dumps(body).encode()
                head = f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n"
                writer.write(head.encode() + text)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            del self.connections[task]

    async def finish(self) -> None:
        """Close every connection and wait until none is served any more."""
        for writer in self.connections.values():
            writer.close()
        tasks = [task for task in self.connections if task is not None]
        if tasks:
            await asyncio.wait(tasks)

    async def answer(self, path: str, body: str) -> tuple[str, dict[str, object]]:
        """Return the status and the body of an answer."""
        _, topic, *rest = path.split("/")
        if topic == "stock" and rest and rest[0] in STOCK:
            return "200 OK", {"item": rest[0], "left": STOCK[rest[0]]}
        if topic == "sign-in":
            name, _, password = body.partition(" ")
            if await self.signs_in(name, password):
                return "200 OK", {"welcome": name}
            return "403 Forbidden", {"error": "wrong name or password"}
        return "404 Not Found", {"error": "no such page"}

    async def signs_in(self, name: str, password: str) -> bool:
        """Whether a customer gave the right password."""
        if self.mended:
            given = await asyncio.to_thread(password_hash, password)
        else:
            given = password_hash(password)
        return self.customers.get(name) == given


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str] | None:
    """Return the path and the body of the next request; None at the end."""
    first = await reader.readline()
    if not first:
        return None
    length = 0
    while (line := await reader.readline()) not in {b"\r\n", b""}:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    path = first.split()[1].decode("latin-1")
    return path, (await reader.readexactly(length)).decode()


async def ask(port: int, request: str, pause: float, waited: list[float]) -> None:
    """Send a request again and again over one connection; note how long each answer took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            began = time.monotonic()
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.split(b":")[1]))
            waited.append(time.monotonic() - began)
            await asyncio.sleep(pause)
    finally:
        writer.close()


async def load(port: int, seconds: float) -> None:
    """Put the service under load and print how long the crowd waited."""
    waited: list[float] = []
    stock = "GET /stock/apple HTTP/1.1\r\nHost: shop\r\n\r\n"
    sign_in = "POST /sign-in HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nada secret"
    crowd = [asyncio.ensure_future(ask(port, stock, 0.005, waited)) for _ in range(20)]
    crowd.append(asyncio.ensure_future(ask(port, sign_in, 1.0, [])))
    await asyncio.sleep(seconds)
    # On a very busy machine the first answer takes longer than that.
    while not waited:  # noqa: ASYNC110 - an event for this would be longer than the program needs
        await asyncio.sleep(0.01)
    for client in crowd:
        client.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    waited.sort()
    middle, last = waited[len(waited) // 2], waited[-1]
    print(
        f"{len(waited)} answers: half within {middle * 1e3:.1f} ms, the slowest {last * 1e3:.0f} ms"
    )


async def main(shop: Shop, port: int | None, seconds: float) -> None:
    """Serve, and put the service under load unless a port was given."""
    server = await asyncio.start_server(shop.serve, "127.0.0.1", port or 0)
    async with server:
        address = server.sockets[0].getsockname()
        if port is None:
            await load(address[1], seconds)
            await shop.finish()
            return
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        print(f"Serving on http://{address[0]}:{address[1]}", flush=True)
        await stopped.wait()
        await shop.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A service with a fault to find.")
    parser.add_argument("--port", type=int, help="serve here until stopped, without a load")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the load (5)")
    parser.add_argument("--mended", action="store_true", help="without the fault")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(Shop(mended=options.mended), options.port, options.seconds))
