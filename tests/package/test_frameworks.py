"""Third-party programs on the loop: each a small real use of a framework."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import socket
import sys
import textwrap
from typing import Any

import pytest

import ferroloop
from support.frameworks import exchange_over_http, exchange_over_websockets, need, run
from support.programs import finish, start

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.slow,
    # Their warnings are theirs.
    pytest.mark.filterwarnings("default"),
]


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_uvicorn_serves_httpx(http: str) -> None:
    run(exchange_over_http(http))


def test_uvicorns_command_takes_the_loop() -> None:
    need("uvicorn")
    source = """
        import sys, threading, time, urllib.request, uvicorn, asyncio
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                return
            name = type(asyncio.get_running_loop()).__module__.partition(".")[0]
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": name.encode()})
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
        def client():
            while not server.started:
                time.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            print(urllib.request.urlopen(f"http://127.0.0.1:{port}/").read().decode())
            server.should_exit = True
        threading.Thread(target=client).start()
        server.run()
    """
    status, out, err = finish(start(["-m", "ferroloop", "-c", textwrap.dedent(source)]))
    assert (status, out) == (0, "ferroloop\n"), err


def test_aiohttp_serves_itself() -> None:
    aiohttp = need("aiohttp")
    web = importlib.import_module("aiohttp.web")

    async def echo(request: Any) -> Any:
        return web.Response(body=await request.read(), headers={"X-Path": request.path})

    async def chat(request: Any) -> Any:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            await connection.send_str(message.data.upper())
        return connection

    async def stream(request: Any) -> Any:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(bytes(20_000))
        await response.write_eof()
        return response

    async def main() -> None:
        program = web.Application()
        program.router.add_post("/echo", echo)
        program.router.add_get("/chat", chat)
        program.router.add_get("/stream", stream)
        runner = web.AppRunner(program)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def one(number: int) -> None:
                async with session.post("/echo", data=bytes(number)) as response:
                    assert response.status == 200
                    assert len(await response.read()) == number

            await asyncio.gather(*(one(number * 997) for number in range(50)))
            async with session.get("/stream") as response:
                assert len(await response.read()) == 2_000_000
            async with session.ws_connect("/chat") as connection:
                for text in ("one", "two"):
                    await connection.send_str(text)
                    assert (await connection.receive()).data == text.upper()
        await runner.cleanup()

    run(main())


def test_websockets_talks_to_itself() -> None:
    need("websockets")
    run(exchange_over_websockets("ws"))


def test_anyio_works_on_the_loop() -> None:
    anyio = need("anyio")

    async def serve(stream: Any) -> None:
        async with stream:
            while True:
                try:
                    await stream.send((await stream.receive()).upper())
                except anyio.EndOfStream:
                    return

    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, serve)
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(b"hello")
                assert await stream.receive() == b"HELLO"
            assert await anyio.to_thread.run_sync(pow, 2, 5) == 32
            with anyio.move_on_after(0.01) as scope:
                await anyio.sleep(100)
            assert scope.cancelled_caught
            event = anyio.Event()
            group.start_soon(in_a_thread, anyio, event)
            await event.wait()
            group.cancel_scope.cancel()
        await listener.aclose()

    async def in_a_thread(library: Any, event: Any) -> None:
        await library.to_thread.run_sync(lambda: library.from_thread.run_sync(event.set))

    options = {"loop_factory": ferroloop.new_event_loop}
    if sys.version_info < (3, 11):
        pytest.skip("anyio's loop factory on 3.10 comes from another package")
    anyio.run(main, backend_options=options)


def test_anyio_over_a_unix_socket(tmp_path: Any) -> None:
    anyio = need("anyio")
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("no Unix sockets")

    async def serve(stream: Any) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async def main() -> None:
        path = str(tmp_path / "s")
        async with await anyio.create_unix_listener(path) as listener:
            async with anyio.create_task_group() as group:
                group.start_soon(listener.serve, serve)
                async with await anyio.connect_unix(path) as stream:
                    await stream.send(b"hello")
                    assert await stream.receive() == b"hello"
                group.cancel_scope.cancel()

    run(main())
