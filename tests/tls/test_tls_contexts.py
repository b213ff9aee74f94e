"""Everything that an SSLContext can carry works: it is CPython's own, and so is what it makes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from support.errors import Reports
from support.loops import until
from support.net.certificates import client_context, client_identity, server_context
from support.net.protocols import Recorder
from support.net.sockets import listening

Loop = asyncio.AbstractEventLoop


@contextlib.asynccontextmanager
async def connected(
    loop: Loop,
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    server_hostname: str = "localhost",
) -> AsyncIterator[tuple[Recorder, Recorder]]:
    """The protocols of both ends of one connection."""
    accepted: list[Recorder] = []

    def make() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    listener = await loop.create_server(make, sock=listening(), ssl=server)
    near = Recorder()
    try:
        await loop.create_connection(
            lambda: near,
            *listener.sockets[0].getsockname(),
            ssl=client,
            server_hostname=server_hostname,
        )
        await until(lambda: accepted[0].events)
        yield near, accepted[0]
        near.transport.close()
        await near.wait_lost()
        await accepted[0].wait_lost()
    finally:
        listener.close()


def info(protocol: Recorder, name: str) -> Any:
    return protocol.transport.get_extra_info(name)


async def exchange(near: Recorder, far: Recorder) -> None:
    near.transport.write(b"question")
    await far.wait_data(8)
    far.transport.write(b"answer")
    await near.wait_data(6)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_a_version_can_be_asked_for(loop: Loop, version: str) -> None:
    client = client_context()
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    async with connected(loop, server_context(), client) as (near, far):
        await exchange(near, far)
        for end in (near, far):
            assert info(end, "ssl_object").version() == version.replace("_", ".")
            assert info(end, "cipher")[1] in {"TLSv1.2", "TLSv1.3"}
            assert info(end, "compression") is None


@pytest.mark.usefixtures("refusals")
async def test_versions_that_do_not_meet_are_an_error(loop: Loop) -> None:
    server, client = server_context(), client_context()
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        async with connected(loop, server, client):
            pass


async def test_the_sni_callback_switches_contexts(loop: Loop) -> None:
    seen: list[tuple[str | None, ssl.SSLContext]] = []

    first, second = server_context(), server_context()
    second.set_alpn_protocols(["second"])

    def choose(tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        seen.append((name, context))
        tls.context = second

    first.sni_callback = choose
    client = client_context()
    client.set_alpn_protocols(["second"])
    async with connected(loop, first, client) as (near, far):
        await exchange(near, far)
        assert info(near, "ssl_object").selected_alpn_protocol() == "second"
        assert info(far, "ssl_object").context is second
        assert info(far, "sslcontext") is first
    assert seen == [("localhost", first)]
    first.sni_callback = None


@pytest.mark.usefixtures("refusals")
async def test_an_sni_callback_can_refuse(loop: Loop) -> None:
    server = server_context()
    server.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        async with connected(loop, server, client_context()):
            pass


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_a_client_certificate_is_asked_for_and_told(loop: Loop, version: str) -> None:
    server = server_context()
    server.maximum_version = ssl.TLSVersion[version]
    server.verify_mode = ssl.CERT_REQUIRED
    client = client_context()
    client_identity(client, server)
    async with connected(loop, server, client) as (near, far):
        await exchange(near, far)
        assert ("DNS", "localhost") in info(far, "peercert")["subjectAltName"]
        assert info(far, "ssl_object").getpeercert(binary_form=True)


@pytest.mark.usefixtures("refusals")
async def test_a_missing_client_certificate_is_refused(loop: Loop) -> None:
    server = server_context()
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        async with connected(loop, server, client_context()):
            pass


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_a_session_is_resumed(loop: Loop, version: str) -> None:
    class Resuming(ssl.SSLContext):
        """The way for programs to hand a session in: asyncio's calls have no parameter for it."""

        session: Any = None

        def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
            return super().wrap_bio(*args, **{**options, "session": self.session})

    server = server_context()
    trusted = client_context()
    client = Resuming(ssl.PROTOCOL_TLS_CLIENT)
    for authority in trusted.get_ca_certs(binary_form=True):
        client.load_verify_locations(cadata=authority)
    client.maximum_version = ssl.TLSVersion[version]
    async with connected(loop, server, client) as (near, far):
        # TLS 1.3 sends its tickets after the handshake.
        await exchange(near, far)
        assert not info(near, "ssl_object").session_reused
        client.session = info(near, "ssl_object").session
        assert client.session.has_ticket
    async with connected(loop, server, client) as (near, far):
        await exchange(near, far)
        assert info(near, "ssl_object").session_reused
    client.session = None


async def test_keys_are_logged(loop: Loop, tmp_path: Path) -> None:
    log = tmp_path / "keys"

    client = client_context()
    client.keylog_filename = str(log)
    async with connected(loop, server_context(), client) as (near, far):
        await exchange(near, far)
    assert "CLIENT_TRAFFIC_SECRET_0" in log.read_text(encoding="ascii")


@pytest.mark.usefixtures("refusals")
async def test_another_hosts_certificate_is_refused_in_openssls_words(loop: Loop) -> None:
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        async with connected(loop, server_context(), client_context(), "another.name"):
            pass
    assert caught.value.verify_message == (
        "Hostname mismatch, certificate is not valid for 'another.name'."
    )


@pytest.mark.usefixtures("refusals")
async def test_an_unknown_authority_is_refused_in_openssls_words(loop: Loop) -> None:
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        async with connected(loop, server_context(), ssl.create_default_context()):
            pass
    assert "unable to get local issuer certificate" in str(caught.value)


async def test_a_class_of_ones_own_makes_the_objects(loop: Loop) -> None:
    class Counting(ssl.SSLObject):
        calls: ClassVar[list[str]] = []

        def read(self, *args: Any) -> Any:
            self.calls.append("read")
            return super().read(*args)

        def write(self, data: Any) -> int:
            self.calls.append("write")
            return super().write(data)

    client = client_context()
    client.sslobject_class = Counting
    async with connected(loop, server_context(), client) as (near, far):
        await exchange(near, far)
        assert type(info(near, "ssl_object")) is Counting
    assert {"read", "write"} <= set(Counting.calls)


@pytest.mark.usefixtures("refusals")
async def test_the_default_context_is_made_for_true(loop: Loop) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        async with connected(loop, server_context(), True):  # type: ignore[arg-type]
            pass
    with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None"):
        await loop.create_server(Recorder, ssl=True)  # type: ignore[call-overload]


@pytest.mark.ours_only("3.13.0 to 3.13.x and 3.14.0 to 3.14.7 accept any peer (gh-156793)")
@pytest.mark.skipif(sys.version_info < (3, 13), reason="goes by the patch release before 3.13")
async def test_start_tls_that_is_to_check_a_name_has_to_be_given_one(loop: Loop) -> None:
    near, far = socket.socketpair()
    with far:
        transport, protocol = await loop.create_connection(asyncio.Protocol, sock=near)
        with pytest.raises(ValueError, match="check_hostname requires server_hostname"):
            await loop.start_tls(transport, protocol, client_context())
        transport.close()


@pytest.mark.ours_only("asyncio leaves the connection to the collector")
async def test_a_session_that_cannot_be_made_is_reported_with_its_protocol(
    loop: Loop, reports: Reports
) -> None:
    loop.set_debug(True)
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[0]

    options: dict[str, Any] = {"ssl": server_context(), "ssl_handshake_timeout": 0}
    server = await loop.create_server(factory, sock=listening(), **options)
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, server.sockets[0].getsockname())
        await until(lambda: reports)
    server.close()
    report = reports.take()
    assert set(report) == {"exception", "message", "protocol"}
    assert report["protocol"] is made[0]
    assert isinstance(report["exception"], ValueError)
