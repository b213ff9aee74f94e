"""Errors that other code left in the thread's OpenSSL queue do not end a connection."""

from __future__ import annotations

import _ssl
import asyncio
import ssl

import pytest

from support.net.certificates import server_context
from support.net.protocols import BufferedRecorder, Recorder
from support.net.tls import served

Loop = asyncio.AbstractEventLoop

pytestmark = [
    pytest.mark.ours_only("asyncio takes them for those of the connection"),
    pytest.mark.skipif(
        not hasattr(_ssl, "__file__") or not ssl.OPENSSL_VERSION.startswith("OpenSSL 3"),
        reason="only an OpenSSL 3 that is a library of its own can be asked to forget them",
    ),
]

BOTH = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def leave_an_error() -> None:
    """As `hashlib.new` does for what it does not know, since 3.15."""
    with pytest.raises(ValueError, match="unknown object"):
        _ssl.txt2obj("no such object", name=True)


def context_of(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = server_context()
    context.minimum_version = context.maximum_version = version
    return context


@BOTH
@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
async def test_the_peers_close_notify_is_an_end(
    loop: Loop, version: ssl.TLSVersion, factory: type[Recorder | BufferedRecorder]
) -> None:
    protocol = factory()
    async with served(protocol, context_of(version)) as peer:
        await peer.send_raw(peer.records(b"last") + peer.close_notify())
        leave_an_error()
        assert await protocol.wait_lost() is None
        assert protocol.data == b"last"
        assert protocol.events[-2:] == ["eof_received", "connection_lost"]


@BOTH
async def test_closing_waits_for_the_peers_close_notify(
    loop: Loop, version: ssl.TLSVersion
) -> None:
    protocol = Recorder()
    async with served(protocol, context_of(version)) as peer:
        leave_an_error()
        protocol.transport.close()
        assert await peer.read(1) == b""
        await peer.send_raw(peer.close_notify())
        leave_an_error()
        assert await protocol.wait_lost() is None
