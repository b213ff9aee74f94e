"""TLS that calls OpenSSL directly and TLS that goes through `ssl`'s methods: a program sees no difference."""

from __future__ import annotations

import _ssl
import asyncio
import contextlib
import ctypes
import re
import socket
import ssl
import sys
import sysconfig
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import ferroloop
from support.errors import Reports
from support.loops import run, until
from support.net.certificates import certificate_files, client_context, server_context
from support.net.protocols import BufferedRecorder, Recorder, returning
from support.net.sockets import reset, socket_pair
from support.net.tls import HEADER, Peer, calling_openssl, peer_of
from support.programs import run_code

Protocol = Recorder | BufferedRecorder
Deed = Callable[[Peer, Any], Awaitable[None]]

BOTH = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def is_expected() -> bool:
    """Whether this Python is one whose objects are known, with an OpenSSL that is served."""
    return (
        not sysconfig.get_config_var("Py_GIL_DISABLED")
        and sys.implementation.name == "cpython"
        and ssl.OPENSSL_VERSION.startswith("OpenSSL ")
        and ssl.OPENSSL_VERSION_INFO >= (3,)
    )


def test_openssl_is_called_directly_where_it_is_known() -> None:
    with calling_openssl(directly=True) as direct:
        assert direct == is_expected()
    with calling_openssl(directly=False) as direct:
        assert not direct


@pytest.mark.skipif(not is_expected(), reason="the objects of this Python are not known")
@pytest.mark.parametrize("name", ["_SSLSocket", "MemoryBIO"])
def test_objects_of_another_size_are_not_known(name: str) -> None:
    source = f"""
        import _ssl, ctypes
        from ferroloop import _native

        # Behind the type's own head and its name.
        size = ctypes.c_ssize_t.from_address(id(_ssl.{name}) + object.__basicsize__ + 16)
        assert size.value == _ssl.{name}.__basicsize__
        size.value += 8
        print(_native._call_openssl(True))
        """
    assert run_code("ferroloop", source) == (0, "False\n", "")


#: What may be found where the address of an `SSL` or a `BIO` is looked for, if fields are elsewhere.
WORDS = {
    "nothing": "0",
    "a small number": "8",
    "an odd number": "0x12345",
    "no address": "0xDEADBEEFDEADBEE8",
    "an address of nothing": "nothing_mapped()",
    "an object": "id(socket)",
    "zeros": "ctypes.addressof(zeros)",
    "the other field": "other.value",
}


@pytest.mark.skipif(not is_expected(), reason="the objects of this Python are not known")
@pytest.mark.parametrize("changed", ["socket", "incoming", "outgoing"])
@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
def test_fields_in_another_order_are_refused(changed: str, word: str) -> None:
    """Objects of the known sizes that have something else where OpenSSL's address is expected."""
    source = f"""
        import _ssl, ctypes, mmap, os
        from ferroloop import _native

        zeros = ctypes.create_string_buffer(4096)

        def nothing_mapped():
            page = mmap.mmap(-1, 4096)
            address = ctypes.addressof(ctypes.c_char.from_buffer(page))
            assert ctypes.CDLL(None).munmap(ctypes.c_void_p(address), ctypes.c_size_t(4096)) == 0
            kept.append(page)
            return address

        kept = []
        real = _ssl._SSLContext

        class Reordered:
            _msg_callback, keylog_filename = real._msg_callback, real.keylog_filename

            def __init__(self, protocol):
                self.context = real(protocol)

            def _wrap_bio(self, incoming, outgoing, server_side):
                socket = self.context._wrap_bio(incoming, outgoing, server_side)
                kept.append((socket, incoming, outgoing))
                words = [ctypes.sizeof(ctypes.c_void_p) * index for index in (0, 1)]
                head = id({changed}) + object.__basicsize__
                place = head + words[{changed!r} == "socket"]
                other = ctypes.c_size_t.from_address(head + words[{changed!r} != "socket"])
                ctypes.c_size_t.from_address(place).value = {word}
                return socket

        _ssl._SSLContext = Reordered
        print(_native._call_openssl(True), flush=True)
        os._exit(0)
        """
    assert run_code("ferroloop", source) == (0, "False\n", "")


def told(error: BaseException | None) -> tuple[object, ...]:
    """Everything that an exception tells, but the line of CPython's source."""
    names = ("errno", "reason", "library", "verify_code", "verify_message")
    text = re.sub(r"_ssl\.c:\d+", "_ssl.c", str(error))
    args = [re.sub(r"_ssl\.c:\d+", "_ssl.c", str(it)) for it in getattr(error, "args", ())]
    return (type(error), text, args, *(getattr(error, name, None) for name in names))


def both_ways(
    deed: Deed,
    *,
    context: Callable[[], ssl.SSLContext] = server_context,
    peer_context: Callable[[], ssl.SSLContext] = client_context,
    factory: Callable[[], Any] = Recorder,
) -> tuple[Any, Any]:
    """What the protocol of a server saw when the peer did something, directly and not."""

    async def once() -> Any:
        made: list[Any] = []

        def make() -> Any:
            made.append(factory())
            return made[-1]

        async with peer_of(make, context()) as other:
            peer = Peer(other.sock, peer_context())
            await peer.handshake()
            await until(lambda: made and made[0].events)
            await deed(peer, made[0])
            await made[0].wait_lost()
        return made[0]

    seen = []
    for directly in (True, False):
        loop = ferroloop.new_event_loop()
        reports = Reports()
        loop.set_exception_handler(reports.handle)
        with calling_openssl(directly=directly):
            protocol = run(loop, once())
        loop.close()
        protocol.reported = [(it["message"], told(it.get("exception"))) for it in reports]
        seen.append(protocol)
    return seen[0], seen[1]


def assert_same(seen: tuple[Any, Any], error: type[BaseException] | None) -> None:
    """Both protocols saw the same, and that error."""
    directly, indirectly = seen
    assert told(directly.lost) == told(indirectly.lost)
    assert directly.data == indirectly.data
    assert directly.events == indirectly.events
    assert directly.reported == indirectly.reported
    assert isinstance(directly.lost, error or type(None))


def bound_to(
    version: ssl.TLSVersion, make: Callable[[], ssl.SSLContext] = server_context
) -> Callable[[], ssl.SSLContext]:
    """The same contexts for one version of TLS only."""

    def limited() -> ssl.SSLContext:
        context = make()
        context.minimum_version = context.maximum_version = version
        return context

    return limited


async def tampered(peer: Peer, _: Any) -> None:
    record = bytearray(peer.records(b"good") + peer.records(b"bad"))
    record[-1] ^= 0xFF
    await peer.send_raw(bytes(record))


async def foreign(peer: Peer, _: Any) -> None:
    await peer.send_raw(b"QUIT\r\n" * 4)


async def too_long(peer: Peer, _: Any) -> None:
    await peer.send_raw(b"\x17\x03\x03\x7f\xff" + b"x" * 64)


async def empty(peer: Peer, _: Any) -> None:
    await peer.send_raw(b"\x17\x03\x03\x00\x00")


async def of_no_kind(peer: Peer, _: Any) -> None:
    await peer.send_raw(b"\x14\x03\x03\x00\x01\x02" + b"\x18\x03\x03\x00\x03\x01\x00\x01")


async def of_another_version(peer: Peer, _: Any) -> None:
    record = peer.records(b"data")
    await peer.send_raw(record[:1] + b"\x02\x00" + record[3:])


async def followed(peer: Peer, _: Any) -> None:
    """A second attempt would find a record that is in order."""
    await peer.send_raw(b"\x17\x03\x03\x00\x18" + bytes(24) + peer.records(b"good"))


async def alert_of_another_version(peer: Peer, _: Any) -> None:
    """OpenSSL answers those with no alert of its own where nothing is encrypted."""
    await peer.send_raw(b"\x15\x03\x01\x00\x02\x02\x28" + peer.records(b"good"))


async def alert(peer: Peer, _: Any) -> None:
    await peer.send_raw(b"\x15\x03\x03\x00\x02\x02\x28")


async def cut(peer: Peer, _: Any) -> None:
    await peer.send_raw(peer.records(b"whole") + peer.records(b"never seen")[: HEADER + 3])
    peer.sock.shutdown(socket.SHUT_WR)


async def close_notify(peer: Peer, _: Any) -> None:
    await peer.send_raw(peer.records(b"last") + peer.close_notify())


@BOTH
@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
@pytest.mark.parametrize(
    "deed",
    [
        *(tampered, foreign, too_long, empty, of_no_kind, of_another_version, followed),
        *(alert, alert_of_another_version),
    ],
    ids=lambda deed: deed.__name__,
)
def test_what_openssl_refuses_to_read_is_the_same_exception(
    deed: Deed, factory: Callable[[], Any], version: ssl.TLSVersion
) -> None:
    seen = both_ways(deed, context=bound_to(version), factory=factory)
    assert_same(seen, ssl.SSLError)


@BOTH
@pytest.mark.parametrize("deed", [cut, close_notify], ids=lambda deed: deed.__name__)
def test_ends_are_the_same(deed: Deed, version: ssl.TLSVersion) -> None:
    assert_same(both_ways(deed, context=bound_to(version)), None)


@BOTH
def test_what_openssl_refuses_to_write_is_the_same_exception(version: ssl.TLSVersion) -> None:
    async def written_behind_goodbye(peer: Peer, protocol: Recorder) -> None:
        tls = protocol.transport.get_extra_info("ssl_object")
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        protocol.transport.write(b"too late")

    seen = both_ways(written_behind_goodbye, context=bound_to(version))
    assert_same(seen, ssl.SSLError)
    assert seen[0].lost.reason == "PROTOCOL_IS_SHUTDOWN"


def test_a_write_that_meets_a_reset_is_the_same_exception() -> None:
    async def written_into_a_reset(peer: Peer, protocol: Recorder) -> None:
        protocol.transport.pause_reading()
        reset(peer.sock)
        # A write of a callback of its own is sent when that returns.
        asyncio.get_running_loop().call_soon(protocol.transport.write, b"anybody there?")

    assert_same(both_ways(written_into_a_reset), ConnectionResetError)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_certificate_asked_for_late_is_judged_the_same(trusted: bool) -> None:
    certificate, key, authority = certificate_files()

    def asking() -> ssl.SSLContext:
        context = bound_to(ssl.TLSVersion.TLSv1_3)()
        context.verify_mode = ssl.CERT_REQUIRED
        context.post_handshake_auth = True
        if trusted:
            context.load_verify_locations(authority)
        return context

    def answering() -> ssl.SSLContext:
        context = client_context()
        context.post_handshake_auth = True
        context.load_cert_chain(certificate, key)
        return context

    async def asked(peer: Peer, protocol: Recorder) -> None:
        protocol.transport.get_extra_info("ssl_object").verify_client_post_handshake()
        protocol.transport.write(b"who are you?")
        await peer.read(12)
        await peer.send(b"me")
        if trusted:
            assert await protocol.wait_data(2) == b"me"
            assert protocol.transport.get_extra_info("ssl_object").getpeercert()
            protocol.transport.abort()

    seen = both_ways(asked, context=asking, peer_context=answering)
    assert_same(seen, None if trusted else ssl.SSLCertVerificationError)
    if not trusted:
        assert seen[0].lost.verify_message


#: OpenSSL's, which `ssl` has no name for: a full handshake, even if the client could resume a session.
OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION = 0x10000


def renegotiate(tls: ssl.SSLObject) -> None:
    """Begin another handshake, which `ssl` has no method for."""
    place = id(tls._sslobj) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)  # type: ignore[attr-defined]
    begin = ctypes.CDLL(_ssl.__file__).SSL_renegotiate
    assert begin(ctypes.c_void_p.from_address(place)) == 1
    tls.do_handshake()


@pytest.mark.skipif(not is_expected(), reason="the objects of this Python are not known")
def test_a_name_that_changes_in_another_handshake_is_the_same_exception() -> None:
    def context(name: str) -> ssl.SSLContext:
        made = bound_to(ssl.TLSVersion.TLSv1_2, lambda: server_context(name))()
        made.options |= ssl.OP_NO_TICKET | OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION
        return made

    async def renamed() -> Recorder:
        protocol = Recorder()
        with socket_pair() as (near, far):
            peer = Peer(far, context("localhost"), server_side=True)
            connecting = asyncio.ensure_future(
                asyncio.get_running_loop().create_unix_connection(
                    returning(protocol),
                    sock=near,
                    ssl=client_context("another.name"),
                    server_hostname="localhost",
                )
            )
            await peer.receive()
            await peer.handshake()
            await connecting
            peer.tls.context = context("another.name")
            renegotiate(peer.tls)
            for _ in ("the request", "the certificate"):
                await peer.flush()
                await peer.receive()
                with contextlib.suppress(ssl.SSLError):
                    peer.tls.read(1)
            await protocol.wait_lost()
        return protocol

    seen = []
    for directly in (True, False):
        loop = ferroloop.new_event_loop()
        with calling_openssl(directly=directly):
            seen.append(run(loop, renamed()))
        loop.close()
    assert told(seen[0].lost) == told(seen[1].lost)
    assert isinstance(seen[0].lost, ssl.SSLCertVerificationError)
    assert "'localhost'" in str(seen[0].lost)


def test_an_exception_of_a_message_callback_is_the_same() -> None:
    class Stop(Exception):
        pass

    def context() -> ssl.SSLContext:
        made = server_context()
        armed.clear()

        def callback(*_what: Any) -> None:
            if armed:
                raise Stop("in a callback")

        made._msg_callback = callback  # type: ignore[attr-defined]
        return made

    armed: list[bool] = []

    async def read(peer: Peer, _: Any) -> None:
        armed.append(True)
        await peer.send(b"data")

    assert_same(both_ways(read, context=context), Stop)


def test_keys_are_logged_either_way(tmp_path: Path) -> None:
    logs = [tmp_path / "first", tmp_path / "second"]
    paths = iter(logs)

    def context() -> ssl.SSLContext:
        made = server_context()
        made.keylog_filename = str(next(paths))
        return made

    assert_same(both_ways(close_notify, context=context), None)
    assert all("SERVER_TRAFFIC_SECRET_0" in log.read_text() for log in logs)


def test_an_error_is_not_left_for_the_next_connection() -> None:
    async def main() -> None:
        servers: list[Recorder] = []

        def make() -> Recorder:
            servers.append(Recorder())
            return servers[-1]

        async with peer_of(make) as broken:
            await broken.handshake()
            await until(lambda: servers[0].events)
            async with peer_of(make) as other:
                await other.handshake()
                await until(lambda: len(servers) == 2 and servers[1].events)
                await tampered(broken, None)
                await servers[0].wait_lost()
                await other.send(b"still there")
                assert await servers[1].wait_data(11) == b"still there"
                # OpenSSL's own queue of errors, which every connection of the thread shares.
                with pytest.raises(ssl.SSLWantReadError):
                    servers[1].transport.get_extra_info("ssl_object").read(1)
                servers[1].transport.abort()
                await servers[1].wait_lost()

    loop = ferroloop.new_event_loop()
    run(loop, main())
    loop.close()


async def test_a_program_may_use_the_ssl_object_itself(loop: asyncio.AbstractEventLoop) -> None:
    recorder = Recorder()
    async with peer_of(lambda: recorder) as peer:
        await peer.handshake()
        await until(lambda: recorder.events)
        tls = recorder.transport.get_extra_info("ssl_object")
        assert tls.version() == peer.tls.version()
        assert tls.pending() == 0
        await peer.send(b"to the protocol")
        await recorder.wait_data(15)
        tls.write(b"past the transport, ")
        recorder.transport.write(b"through it")
        assert await peer.read(30) == b"past the transport, through it"
        with pytest.raises(ssl.SSLWantReadError):
            tls.read(1)
        await peer.send(b"!")
        assert await recorder.wait_data(16) == b"to the protocol!"
        recorder.transport.abort()
        await recorder.wait_lost()
