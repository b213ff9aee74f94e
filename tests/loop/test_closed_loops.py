"""Connections that outlive their loop are freed when they end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
from typing import Any

import pytest

from support.errors import Reports
from support.loops import PATIENCE, run, run_turns, until
from support.net.certificates import client_context, server_context
from support.net.protocols import Recorder

Loop = asyncio.AbstractEventLoop


@pytest.mark.parametrize("ending", ["close", "abort", "write and close", "write_eof and close"])
@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_connection_ended_after_its_loop_was_closed_leaves_nothing(
    loop: Loop, reports: Reports, ending: str, side: str
) -> None:
    accepted = Recorder()

    async def main() -> tuple[Any, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            if side == "client":
                transport, _ = await loop.create_connection(asyncio.Protocol, *address)
                return transport, listener.accept()[0]
            server = await loop.create_server(lambda: accepted, sock=listener)
            far = socket.create_connection(address)
            await until(lambda: accepted.events)
            server.close()
            return accepted.transport, far

    transport, far = run(loop, main())
    del accepted.transport
    loop.close()
    with far:
        # asyncio refuses, and leaves the connection to the collector.
        with contextlib.suppress(RuntimeError):
            if ending.startswith("write_eof"):
                transport.write_eof()
            elif ending.startswith("write"):
                transport.write(b"last")
            (transport.abort if ending == "abort" else transport.close)()
        del transport
        gc.collect()
        far.settimeout(PATIENCE)
        assert far.recv(100) in {b"", b"last"}
    reports.clear()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("ending", ["close", "abort"])
def test_an_endpoint_ended_after_its_loop_was_closed_leaves_its_port(
    loop: Loop, ending: str
) -> None:
    endpoint = loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    transport, _ = run(loop, endpoint)
    address = transport.get_extra_info("sockname")
    loop.close()
    with contextlib.suppress(RuntimeError):
        getattr(transport, ending)()
    del transport, _
    gc.collect()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(address)


@pytest.mark.ours_only("asyncio raises and leaves the connection to the collector")
@pytest.mark.parametrize("ending", ["close", "abort"])
@pytest.mark.parametrize("unsent", [0, 8_000_000])
def test_tls_ended_after_its_loop_was_closed_ends_the_connection(
    loop: Loop, reports: Reports, ending: str, unsent: int
) -> None:
    async def main() -> tuple[Recorder, Recorder]:
        listener = socket.create_server(("127.0.0.1", 0))
        far, near = Recorder(), Recorder()
        server = await loop.create_server(lambda: far, sock=listener, ssl=server_context())
        await loop.create_connection(
            lambda: near, *listener.getsockname(), ssl=client_context(), server_hostname="localhost"
        )
        await until(lambda: far.events)
        far.transport.pause_reading()
        server.close()
        return near, far

    near, far = run(loop, main())
    number = near.transport.get_extra_info("socket").fileno()
    assert number >= 0
    loop.close()
    if unsent:
        near.transport.write(bytes(unsent))
    getattr(near.transport, ending)()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    far.transport.abort()
    reports.clear()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="wait_closed does not wait before 3.12")
@pytest.mark.ours_only("asyncio raises and leaves the connection to the collector")
def test_a_connection_whose_server_is_waited_for_ends_in_silence(loop: Loop) -> None:
    accepted = Recorder()
    waiting: list[asyncio.Task[None]] = []

    async def main() -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0))
        server = await loop.create_server(lambda: accepted, sock=listener)
        far = socket.create_connection(listener.getsockname())
        await until(lambda: accepted.events)
        waiting.append(loop.create_task(server.wait_closed()))
        server.close()
        return far

    with run(loop, main()) as far:
        run_turns(loop, 1)
        loop.close()
        accepted.transport.close()
        far.settimeout(PATIENCE)
        assert far.recv(1) == b""
    # It stays pending: asyncio must not warn about it.
    waiting[0]._log_destroy_pending = False  # type: ignore[attr-defined]
