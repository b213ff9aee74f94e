"""Connections that outlive their loop: nothing of them is left when they are ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from typing import Any

import pytest

from support.errors import Reports
from support.loops import PATIENCE, run, until
from support.protocols import Recorder

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
