"""Real programs over TLS: openssl and curl as clients, frameworks on both ends, PostgreSQL."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import shutil
import ssl
from typing import Any

import pytest

from support.frameworks import exchange_over_http, exchange_over_websockets, need, run
from support.net.certificates import certificate_files, client_context, server_context
from support.net.postgres import postgres
from support.net.sockets import listening

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.slow,
    # Their warnings are theirs.
    pytest.mark.filterwarnings("default"),
]

BODY = bytes(range(256)) * 4096


def need_program(name: str) -> str:
    """A program, or a skipped test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"the program {name} is not installed")
    return found


async def output_of(*command: str, stdin: bytes = b"") -> bytes:
    """What a program writes that ends well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin)
    assert process.returncode == 0, err
    return out


class Http(asyncio.Protocol):
    """Answers each request with the same large body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
            self.transport.write(BODY)


async def http_server(context: ssl.SSLContext | None = None) -> tuple[Any, int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Http, sock=listening(), ssl=context or server_context())
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_fetches_twice_over_one_connection(version: str) -> None:
    curl = need_program("curl")

    async def main() -> None:
        server, port = await http_server()
        address = f"https://localhost:{port}/"
        fetched = await output_of(
            *(curl, "-sS", "--ipv4", "--cacert", str(certificate_files()[2])),
            *(f"--tlsv{version}", "--tls-max", version, address, address),
        )
        assert fetched == BODY * 2
        server.close()

    run(main())


def test_openssls_client_exchanges_data_and_close_notify() -> None:
    openssl = need_program("openssl")
    lost: list[Exception | None] = []

    class Shout(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data.upper())
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            lost.append(exc)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Shout, sock=listening(), ssl=server_context())
        port = server.sockets[0].getsockname()[1]
        answer = await output_of(
            *(openssl, "s_client", "-quiet", "-verify_return_error"),
            *("-CAfile", str(certificate_files()[2]), "-servername", "localhost"),
            *("-connect", f"127.0.0.1:{port}"),
            stdin=b"hello\n" * 10,
        )
        assert answer == b"HELLO\n" * 10
        server.close()

    run(main())
    assert lost == [None]


class Count(asyncio.Protocol):
    """Tells the length of what it gets, and sends it back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"%d bytes\n" % len(data))
        self.transport.write(data)


async def talk(context: ssl.SSLContext, options: list[str], command: bytes, sign: bytes) -> None:
    """A line to the server and back with openssl's client, before and after one of its commands."""
    openssl = need_program("openssl")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Count, sock=listening(), ssl=context)
    port = server.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(openssl, "s_client", *options),
        *("-CAfile", str(certificate_files()[2]), "-connect", f"127.0.0.1:{port}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    seen = b""
    for line, answer in (
        (b"one\n", b"4 bytes\none\n"),
        (command, sign),
        (b"three\n", b"6 bytes\nthree\n"),
    ):
        process.stdin.write(line)
        while answer not in seen:
            part = await process.stdout.read(4096)
            assert part, seen
            seen += part
    process.stdin.write(b"Q\n")
    await process.communicate()
    server.close()


def test_openssls_client_renegotiates() -> None:
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if hasattr(ssl, "OP_NO_RENEGOTIATION"):
        context.options &= ~ssl.OP_NO_RENEGOTIATION
    # OpenSSL 3 lets no client ask for it unless it is told to: OP_ALLOW_CLIENT_RENEGOTIATION.
    context.options |= 1 << 8
    run(talk(context, ["-tls1_2", "-legacy_renegotiation"], b"R\n", b"RENEGOTIATING"))


def test_openssls_client_asks_for_new_keys() -> None:
    run(talk(server_context(), ["-tls1_3"], b"K\n", b"KEYUPDATE"))


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_uvicorn_with_certificates_serves_httpx(http: str) -> None:
    certificate, key, _ = certificate_files()
    tls = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    run(exchange_over_http(http, "https", verify=client_context(), **tls))


def test_aiohttp_serves_itself_over_tls() -> None:
    aiohttp = need("aiohttp")
    web = importlib.import_module("aiohttp.web")

    async def echo(request: Any) -> Any:
        return web.Response(body=await request.read())

    async def main() -> None:
        program = web.Application(client_max_size=1 << 24)
        program.router.add_post("/echo", echo)
        runner = web.AppRunner(program)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context()).start()
        port = runner.addresses[0][1]
        connector = aiohttp.TCPConnector(ssl=client_context())
        base = f"https://localhost:{port}"
        async with aiohttp.ClientSession(base, connector=connector) as session:

            async def one(number: int) -> None:
                async with session.post("/echo", data=bytes(number)) as response:
                    assert len(await response.read()) == number

            await asyncio.gather(*(one(number * 99_991) for number in range(20)))
        await runner.cleanup()

    run(main())


def test_websockets_talks_to_itself_over_tls() -> None:
    need("websockets")
    tls = {"server_tls": server_context(), "ssl": client_context()}
    run(exchange_over_websockets("wss", **tls))


def test_asyncpg_talks_to_postgresql_over_tls() -> None:
    asyncpg = need("asyncpg")

    async def main(port: int) -> None:
        pool = await asyncpg.create_pool(
            host="localhost",
            port=port,
            user="postgres",
            ssl=client_context(),
            min_size=2,
            max_size=4,
        )
        async with pool:
            used = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
            assert await pool.fetchval(used) is True
            numbers = await asyncio.gather(
                *(pool.fetchval("select $1::int * 2", number) for number in range(50))
            )
            assert numbers == [number * 2 for number in range(50)]
            text = "x" * 1_000_000
            assert await pool.fetchval("select $1::text", text) == text
            rows = await pool.fetch("select n, repeat('y', 1000) from generate_series(1, 5000) n")
            assert len(rows) == 5000
            async with pool.acquire() as connection:
                with pytest.raises(asyncpg.PostgresError):
                    await connection.fetchval("select 1 / 0")
                with pytest.raises(asyncio.TimeoutError):
                    await connection.fetchval("select pg_sleep(30)", timeout=0.05)
                assert await connection.fetchval("select 1") == 1

    with postgres() as port:
        run(main(port), patience=60)
