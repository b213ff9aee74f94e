"""Nothing of a finished or failed TLS connection stays, even if the collector never runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.loops import run, until
from support.memory import resident, tidy
from support.net.certificates import certificate_files, client_context, server_context
from support.net.protocols import Recorder
from support.net.sockets import listening
from support.net.tls import peer_of
from support.programs import run_code

Loop = asyncio.AbstractEventLoop


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Once(asyncio.Protocol):
    """Keeps its transport for ever, as many programs do."""

    def __init__(self, seen: list[weakref.ref[Any]]) -> None:
        self.seen = seen
        seen.append(weakref.ref(self))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.seen.append(weakref.ref(transport))

    def connection_lost(self, exc: Exception | None) -> None:
        del self.transport


@pytest.mark.parametrize("end", ["close", "abort", "peer"])
def test_a_finished_connection_is_gone(loop: Loop, end: str) -> None:
    seen: list[weakref.ref[Any]] = []

    async def main() -> None:
        server_side, client_side = server_context(), client_context()
        seen.extend((weakref.ref(server_side), weakref.ref(client_side)))
        server = await loop.create_server(lambda: Once(seen), sock=listening(), ssl=server_side)
        transport, protocol = await loop.create_connection(
            lambda: Once(seen),
            *server.sockets[0].getsockname(),
            ssl=client_side,
            server_hostname="localhost",
        )
        await until(lambda: len(seen) == 6)
        if end == "peer":
            accepted: Any = seen[-2]() or seen[-1]()
            getattr(accepted, "transport", accepted).close()
        else:
            getattr(transport, end)()
        server.close()
        await until(lambda: protocol.__dict__.keys() == {"seen"})

    with no_collector():
        run(loop, main())
        run(loop, until(lambda: not any(ref() for ref in seen)))


@pytest.mark.ours_only("asyncio does so since 3.11, and its other methods raise from then on")
def test_closing_again_lets_go_of_the_session(loop: Loop) -> None:
    async def main() -> weakref.ref[Any]:
        context = client_context()
        server = await loop.create_server(Recorder, sock=listening(), ssl=server_context())
        client = Recorder()
        transport, _ = await loop.create_connection(
            lambda: client,
            *server.sockets[0].getsockname(),
            ssl=context,
            server_hostname="localhost",
        )
        transport.close()
        await client.wait_lost()
        assert transport.get_extra_info("sslcontext") is context
        transport.close()
        assert transport.is_closing()
        assert transport.get_extra_info("sslcontext") is None
        assert transport.get_protocol() is None
        assert not transport.is_reading()
        untyped: Any = transport
        assert untyped.get_write_buffer_size() == untyped.get_read_buffer_size() == 0
        transport.write(b"dropped")
        transport.abort()
        server.close()
        kept.append(transport)
        return weakref.ref(context)

    kept: list[Any] = []
    with no_collector():
        context = run(loop, main())
        assert context() is None


def _refused(context: ssl.SSLContext, port: int) -> dict[str, Any]:
    return {"ssl": context, "server_hostname": "another.name", "host": "127.0.0.1", "port": port}


def _silent(context: ssl.SSLContext, port: int) -> dict[str, Any]:
    return {
        "ssl": context,
        "server_hostname": "localhost",
        "host": "127.0.0.1",
        "port": port,
        "ssl_handshake_timeout": 0.01,
    }


@pytest.mark.parametrize(
    ("options", "error", "answers"),
    [(_refused, ssl.SSLCertVerificationError, True), (_silent, ConnectionAbortedError, False)],
    ids=["refused", "silent"],
)
def test_a_failed_handshake_leaves_nothing(
    loop: Loop,
    options: Callable[[ssl.SSLContext, int], dict[str, Any]],
    error: type[BaseException],
    answers: bool,
    kind: str,
) -> None:
    if kind == "asyncio":
        pytest.skip("depends on the patch release (gh-109534)")
    # Or the report of the refused connection is what stays.
    loop.set_debug(False)
    seen: list[weakref.ref[Any]] = []

    async def connect(place: dict[str, Any]) -> None:
        try:
            await loop.create_connection(lambda: Once(seen), **place)
        except error:
            return
        raise AssertionError("the handshake succeeded")

    async def main() -> None:
        context = client_context()
        seen.append(weakref.ref(context))
        served = server_context()
        seen.append(weakref.ref(served))
        with listening() as listener:
            server = (
                await loop.create_server(lambda: Once(seen), sock=listener.dup(), ssl=served)
                if answers
                else None
            )
            await connect(options(context, listener.getsockname()[1]))
            if server is not None:
                server.close()

    with no_collector():
        run(loop, main())
        run(loop, until(lambda: not any(ref() for ref in seen)))


def test_what_the_collector_finds_it_can_free(loop: Loop) -> None:
    """A program's own cycle through transport and protocol."""
    seen: list[weakref.ref[Any]] = []

    class Cyclic(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            transport.owner = self  # type: ignore[attr-defined]
            seen.append(weakref.ref(self))

    async def main() -> None:
        async with peer_of(Cyclic) as peer:
            await peer.handshake()
            await until(lambda: seen)
            protocol = seen[0]()
            assert protocol is not None
            protocol.transport.abort()
            await protocol.wait_lost()

    run(loop, main())
    tidy()
    assert seen[0]() is None


def test_an_unclosed_loop_ends_quietly(kind: str) -> None:
    """The interpreter frees connections, servers and their classes in an order of its own."""
    certificate, key, authority = certificate_files()
    source = f"""
        import ssl

        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain({str(certificate)!r}, {str(key)!r})
        trusting = ssl.create_default_context(cafile={str(authority)!r})
        accepted = []

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                accepted.append(self)
                self.transport = transport

        async def main():
            loop = asyncio.get_running_loop()
            server = await loop.create_server(Protocol, "127.0.0.1", 0, ssl=served)
            place = server.sockets[0].getsockname()
            transport, protocol = await loop.create_connection(
                Protocol, *place, ssl=trusting, server_hostname="localhost"
            )
            while len(accepted) < 2:
                await asyncio.sleep(0)
            accepted.clear()
            transport.abort()
            server.close()

        loop = new_loop()
        loop.run_until_complete(main())
        """
    quiet = {"PYTHONWARNINGS": "ignore::ResourceWarning"}
    assert run_code(kind.partition("-")[0], source, env=quiet) == (0, "", "")


@pytest.mark.slow
def test_memory_does_not_grow_with_connections(loop: Loop, kind: str) -> None:
    if kind == "asyncio":
        pytest.skip("256 KiB for each connection make its figure jump")

    async def once(place: Any, context: ssl.SSLContext) -> None:
        protocol = Recorder()
        transport, _ = await loop.create_connection(
            lambda: protocol, *place, ssl=context, server_hostname="localhost"
        )
        transport.write(b"x" * 1000)
        transport.close()
        await protocol.wait_lost()

    async def main() -> None:
        server = await loop.create_server(Recorder, sock=listening(), ssl=server_context())
        context, place = client_context(), server.sockets[0].getsockname()
        for _ in range(100):
            await once(place, context)
        before = resident()
        for _ in range(200):
            await once(place, context)
        grown = resident() - before
        assert grown < 200 * 4096, f"{grown // 200} bytes a connection stay"
        server.close()

    run(loop, main(), patience=30)


def test_an_idle_connection_takes_little(loop: Loop, kind: str) -> None:
    if kind == "asyncio":
        pytest.skip("it takes 256 KiB")
    count = 100

    async def main() -> None:
        accepted: list[asyncio.BaseTransport] = []

        class Idle(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.append(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                lost.append(exc)

        lost: list[Exception | None] = []
        server = await loop.create_server(Idle, sock=listening(), ssl=server_context())
        context, place = client_context(), server.sockets[0].getsockname()

        async def more() -> list[asyncio.Transport]:
            opened = []
            for _ in range(count):
                transport, _ = await loop.create_connection(
                    asyncio.Protocol, *place, ssl=context, server_hostname="localhost"
                )
                opened.append(transport)
            return opened

        first = await more()
        before = resident()
        second = await more()
        await until(lambda: len(accepted) == 2 * count)
        # Two ends each; OpenSSL's own share is 17 to 34 KiB an end, by its version.
        assert (resident() - before) / count < 2 * 44 * 1024
        for transport in first + second:
            transport.abort()
        server.close()
        await until(lambda: len(lost) == 2 * count)

    run(loop, main(), patience=30)


@pytest.mark.usefixtures("refusals")
async def test_a_socket_that_goes_away_in_the_handshake_leaves_no_timer(
    loop: Loop, kind: str
) -> None:
    if kind == "asyncio":
        pytest.skip("looks at our queue of timers")

    untyped: Any = loop

    def timers() -> int:
        return sum(not timer.cancelled() for timer in untyped._scheduled)

    server = await loop.create_server(Recorder, sock=listening(), ssl=server_context())
    before = timers()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, server.sockets[0].getsockname())
        await until(lambda: timers() > before)
    await until(lambda: timers() == before)
    server.close()
