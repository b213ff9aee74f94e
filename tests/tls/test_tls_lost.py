"""A TLS transport that the program still uses when the connection is over."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from support.loops import run
from support.net.protocols import Recorder
from support.net.tls import served

Loop = asyncio.AbstractEventLoop


async def test_writing_nothing_after_close_counts_as_a_write(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    protocol = Recorder()

    async with served(protocol):
        transport: Any = protocol.transport
        transport.writelines([])
        transport.abort()
        for _ in range(5):
            transport.writelines([])
        assert not caplog.records
        transport.writelines([b""])
        transport.writelines(None)
        await protocol.wait_lost()
    assert [record.message for record in caplog.records] == ["SSL connection is closed"] * 2


def test_a_lost_transport_takes_another_protocol(loop: Loop) -> None:
    protocol = Recorder()

    async def main() -> None:
        async with served(protocol):
            transport: Any = protocol.transport
            transport.abort()
            await protocol.wait_lost()
            assert transport.get_protocol() is None
            following = Recorder()
            transport.set_protocol(following)
            assert transport.get_protocol() is following
            transport.write(b"dropped")
            transport.resume_reading()
            transport.close()
            transport.abort()
            await asyncio.sleep(0)
            assert not following.events

    run(loop, main())
    gc.collect()
