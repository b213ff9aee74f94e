"""Datagram endpoints: delivery, errors, flow control, addresses, ends, what they refuse."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from support.loops import run, until
from support.net.datagrams import Endpoint, endpoint, send_all

Loop = asyncio.AbstractEventLoop
HERE = ("127.0.0.1", 0)
takes_empty = sys.version_info >= (3, 13)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_datagrams_go_to_and_fro(loop: Loop, host: str) -> None:
    server = await endpoint(local_addr=(host, 0))
    client = await endpoint(remote_addr=server.address[:2])
    client.transport.sendto(b"there")
    await server.wait_data(b"there")
    assert server.datagrams[0][1] == client.address
    server.transport.sendto(b"and back", server.datagrams[0][1])
    await client.wait_data(b"and back")
    assert client.datagrams[0][1] == server.address
    await client.close()
    await server.close()
    assert client.events == ["connection_made", "connection_lost None"]


async def test_a_burst_comes_whole_and_in_order(loop: Loop) -> None:
    sent = [str(number).encode() * (number % 7) for number in range(1, 101)]
    sent = [data or b"-" for data in sent]

    server = await endpoint(local_addr=HERE)
    client = await endpoint(remote_addr=server.address)
    for data in sent:
        client.transport.sendto(data)
    await server.wait_data(*sent)
    await client.close()
    await server.close()


async def test_what_a_datagram_makes_ready_runs_before_the_next_datagram(loop: Loop) -> None:
    order: list[object] = []

    def note(server: Endpoint) -> None:
        order.append(server.data[-1])
        loop.call_soon(order.append, "callback")

    server = await endpoint(Endpoint(note), local_addr=HERE)
    send_all(server.address, b"1", b"2", b"3")
    await until(lambda: len(order) == 6)
    await server.close()
    assert order == [b"1", "callback", b"2", "callback", b"3", "callback"]


async def test_nothing_comes_after_close_within_a_burst(loop: Loop) -> None:
    server = await endpoint(Endpoint(lambda it: it.transport.close()), local_addr=HERE)
    send_all(server.address, b"1", b"2", b"3")
    await until(lambda: len(server.events) == 2)
    assert server.data == [b"1"]


async def test_pausing_within_a_burst_keeps_the_rest(loop: Loop) -> None:
    def pause(server: Endpoint) -> None:
        cast("Any", server.transport).pause_reading()

    if sys.version_info < (3, 11):
        pytest.skip("asyncio's datagram transports pause since 3.11")
    server = await endpoint(Endpoint(pause), local_addr=HERE)
    transport = cast("Any", server.transport)
    send_all(server.address, b"1", b"2", b"3")
    for count in (1, 2, 3):
        await server.wait_count(count)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(server.datagrams) == count
        assert not transport.is_reading()
        transport.resume_reading()
    assert server.data == [b"1", b"2", b"3"]
    await server.close()


async def test_the_largest_datagram_is_not_cut(loop: Loop) -> None:
    server = await endpoint(local_addr=HERE)
    client = await endpoint(remote_addr=server.address)
    data = os.urandom(65507)
    client.transport.sendto(data)
    await server.wait_data(data)
    client.transport.sendto(bytes(65508))
    assert [type(error) for error in client.errors] == [OSError]
    await client.close()
    await server.close()


async def test_empty_datagrams_are_sent_since_3_13(loop: Loop) -> None:
    server = await endpoint(local_addr=HERE)
    client = await endpoint(remote_addr=server.address)
    client.transport.sendto(b"")
    client.transport.sendto(b"end")
    await server.wait_data(*([b"", b"end"] if takes_empty else [b"end"]))
    await client.close()
    await server.close()


@pytest.mark.parametrize("kind_of_data", [bytearray, memoryview])
async def test_other_buffers_are_sent(loop: Loop, kind_of_data: Any) -> None:
    server = await endpoint(local_addr=HERE)
    client = await endpoint(remote_addr=server.address)
    client.transport.sendto(kind_of_data(b"data"))
    await server.wait_data(b"data")
    await client.close()
    await server.close()


async def test_an_endpoint_with_a_peer_sends_to_that_peer_only(loop: Loop) -> None:
    server = await endpoint(local_addr=HERE)
    client = await endpoint(remote_addr=server.address)
    client.transport.sendto(b"1", server.address)
    with pytest.raises(ValueError, match=r"Invalid address: must be None or \('127.0.0.1'"):
        client.transport.sendto(b"2", ("127.0.0.1", 1))
    await server.wait_data(b"1")
    await client.close()
    await server.close()


async def test_an_ipv6_peer_is_named_with_flow_and_scope(loop: Loop) -> None:
    server = await endpoint(local_addr=("::1", 0))
    host, port = server.address[:2]
    client = await endpoint(remote_addr=(host, port))
    assert client.transport.get_extra_info("peername") == (host, port, 0, 0)
    client.transport.sendto(b"1", (host, port, 0, 0))
    for other in ((host, port), (host, port, 0), (host, port, 1, 0), (host, port, 0, 1)):
        with pytest.raises(ValueError, match=r"Invalid address: must be None or \('::1'"):
            client.transport.sendto(b"2", other)
    client.transport.sendto(b"3")
    await server.wait_data(b"1", b"3")
    assert server.datagrams[0][1] == client.address
    assert len(client.address) == 4
    await client.close()
    await server.close()


def link_local() -> tuple[str, str, int]:
    """An address that means something on one interface only, its name and its number."""
    for line in Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines():
        address, index, _, scope, flags, name = line.split()
        if scope == "20" and not int(flags, 16) & 0x40:  # of a link, and no longer tentative
            packed = bytes.fromhex(address)
            return socket.inet_ntop(socket.AF_INET6, packed), name, int(index, 16)
    pytest.skip("no interface has a link-local address")


async def test_the_scope_of_a_link_local_peer_counts(loop: Loop) -> None:
    host, name, number = link_local()

    server = await endpoint(local_addr=(f"{host}%{name}", 0))
    assert server.address[2:] == (0, number)
    port = server.address[1]
    client = await endpoint(remote_addr=(f"{host}%{name}", port))
    assert client.transport.get_extra_info("peername") == server.address
    client.transport.sendto(b"there", server.address)
    for scope in (0, number + 1):
        with pytest.raises(ValueError, match="Invalid address: must be None or"):
            client.transport.sendto(b"elsewhere", (host, port, 0, scope))
    await server.wait_data(b"there")
    sender = server.datagrams[0][1]
    assert sender == client.address
    assert sender[2:] == (0, number)
    server.transport.sendto(b"back", sender)
    await client.wait_data(b"back")
    assert client.datagrams[0][1] == server.address
    await client.close()
    await server.close()


async def test_what_is_longer_than_256_kib_is_cut_there(loop: Loop) -> None:
    """UDP has no such datagrams, Unix sockets have."""
    limit = 256 * 1024

    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    far.setblocking(False)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * limit)
    if far.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < limit + 10_000:
        near.close()
        far.close()
        pytest.skip("no buffers of that size here (net.core.wmem_max)")

    with far:
        receiver = await endpoint(sock=near)
        for size in (limit - 1, limit, limit + 1, limit + 5000, 1):
            data = os.urandom(size)
            far.send(data)
            await until(lambda: receiver.datagrams)
            assert receiver.data == [data[:limit]]
            receiver.datagrams.clear()
        assert not receiver.errors
        await receiver.close()


async def test_a_name_is_sent_to_as_the_socket_would(loop: Loop) -> None:
    server = await endpoint(local_addr=HERE)
    client = await endpoint(family=socket.AF_INET)
    client.transport.sendto(b"data", ("localhost", server.address[1]))
    await server.wait_data(b"data")
    await client.close()
    await server.close()


class Full:
    """A connected Unix endpoint whose peer reads nothing, until it is told to."""

    def __init__(self) -> None:
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.peer.bind("")
        self.peer.setblocking(False)
        self.near = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.near.connect(self.peer.getsockname())

    async def open(self) -> Endpoint:
        made = await endpoint(sock=self.near)
        for _ in range(10_000):
            made.transport.sendto(bytes(1000))
            if cast("Any", made.transport).get_write_buffer_size():
                return made
        raise AssertionError("the socket is never full")

    def read(self) -> int:
        count = 0
        try:
            while True:
                count += len(self.peer.recv(2000))
        except BlockingIOError:
            return count


async def test_a_full_socket_pauses_the_protocol_and_loses_nothing(loop: Loop) -> None:
    full = Full()
    with full.peer:
        client = await full.open()
        transport = cast("Any", client.transport)
        header = 8 if takes_empty else 0
        assert transport.get_write_buffer_size() == 1000 + header
        transport.set_write_buffer_limits(high=2500)
        for _ in range(3):
            transport.sendto(bytes(1000))
        assert transport.get_write_buffer_size() >= 4000
        assert client.events == ["connection_made", "pause_writing"]
        read = 0

        def resumed() -> bool:
            nonlocal read
            read += full.read()
            return client.events[-1] == "resume_writing"

        await until(resumed)
        transport.close()
        await until(lambda: full.read() >= 0 and client.events[-1] == "connection_lost None")


def test_close_sends_what_waits_and_abort_drops_it(loop: Loop) -> None:
    async def main(end: str, drains: bool) -> None:
        full = Full()
        with full.peer:
            client = await full.open()
            client.transport.sendto(b"last")
            getattr(client.transport, end)()
            assert client.transport.is_closing()
            received: list[bytes] = []

            def lost() -> bool:
                try:
                    received.append(full.peer.recv(2000))
                except BlockingIOError:
                    return client.events[-1] == "connection_lost None"
                return False

            await until(lost)
            assert (b"last" in received) is drains

    run(loop, main("close", True))
    run(loop, main("abort", False))


async def test_sends_after_the_loss_warn_and_are_dropped(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    server = await endpoint(local_addr=HERE)
    client = await endpoint(remote_addr=server.address)
    await client.close()
    for _ in range(4):
        client.transport.sendto(b"lost")
    assert not caplog.records
    client.transport.sendto(b"lost")
    assert [it.message for it in caplog.records] == ["socket.send() raised exception."]
    await server.close()
    assert not server.data


async def test_what_is_known_of_an_endpoint(loop: Loop) -> None:
    server = await endpoint(local_addr=HERE)
    client = await endpoint(remote_addr=server.address)
    transport = client.transport
    assert isinstance(transport, asyncio.Transport)
    if sys.version_info >= (3, 12):
        assert isinstance(transport, asyncio.DatagramTransport)
    sock = transport.get_extra_info("socket")
    assert type(sock).__name__ == "TransportSocket"
    assert transport.get_extra_info("sockname") == sock.getsockname()
    assert transport.get_extra_info("peername") == server.address
    assert server.transport.get_extra_info("peername") is None
    assert transport.get_extra_info("nothing", 7) == 7
    assert cast("Any", transport).get_protocol() is client
    assert f"fd={sock.fileno()} read=polling write=<idle, bufsize=0>" in repr(transport)
    fd = sock.fileno()
    transport.close()
    assert "closing" in repr(transport)
    await client.close()
    assert repr(transport).endswith(f"closed fd={fd}>")
    assert transport.get_extra_info("peername") == server.address
    await server.close()


async def test_unix_endpoints_replace_a_stale_file(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(path)

    server = await endpoint(family=socket.AF_UNIX, local_addr=path)
    client = await endpoint(family=socket.AF_UNIX, remote_addr=path)
    client.transport.sendto(b"unnamed")
    await server.wait_data(b"unnamed")
    assert server.datagrams[0][1] is None
    await client.close()
    await server.close()


async def test_abstract_unix_endpoints_answer_each_other(loop: Loop) -> None:
    name = f"\0ferroloop-{os.getpid()}-{id(loop)}"

    server = await endpoint(family=socket.AF_UNIX, local_addr=name)
    client = await endpoint(family=socket.AF_UNIX, local_addr=f"{name}-client", remote_addr=name)
    client.transport.sendto(b"there")
    await server.wait_data(b"there")
    assert server.datagrams[0][1] == f"{name}-client".encode()
    server.transport.sendto(b"back", server.datagrams[0][1])
    await client.wait_data(b"back")
    await client.close()
    await server.close()


async def test_a_broadcasting_endpoint_is_not_connected(loop: Loop) -> None:
    server = await endpoint(local_addr=HERE)
    client = await endpoint(remote_addr=server.address, allow_broadcast=True)
    assert client.transport.get_extra_info("peername") is None
    sock = client.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
    client.transport.sendto(b"data")
    await server.wait_data(b"data")
    await client.close()
    await server.close()


class Noting(asyncio.DatagramProtocol):
    """Notes the class of each message and a copy of it, and keeps every third one."""

    def __init__(self) -> None:
        self.seen: list[tuple[type, bytes]] = []
        self.kept: list[tuple[bytes, bytes]] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        copy = bytes(bytearray(data))
        self.seen.append((type(data), copy))
        if len(self.seen) % 3 == 0:
            self.kept.append((data, copy))


async def test_a_message_of_a_class_of_the_program_stays_its_own(loop: Loop) -> None:
    """The loop fills a `bytes` again that nobody has kept, but no object of another class."""

    class Own(bytes):
        tag = ""

    class Socket(socket.socket):
        def recvfrom(self, *args: Any) -> tuple[bytes, Any]:
            data, address = super().recvfrom(*args)
            own = Own(data)
            own.tag = "the program's"
            return own, address

    sock = Socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(HERE)
    sock.setblocking(False)
    first, theirs = await loop.create_datagram_endpoint(Noting, sock=sock)
    second, plain = await loop.create_datagram_endpoint(Noting, local_addr=HERE)
    client = await endpoint(local_addr=HERE)
    for number, size in enumerate((600, 600, 590), start=1):
        client.transport.sendto(b"x" * size, sock.getsockname())
        await until(lambda: len(theirs.seen) == number)  # noqa: B023
        client.transport.sendto(b"y" * size, second.get_extra_info("sockname"))
        await until(lambda: len(plain.seen) == number)  # noqa: B023
    assert plain.seen == [(bytes, b"y" * size) for size in (600, 600, 590)]
    assert theirs.seen == [(Own, b"x" * size) for size in (600, 600, 590)]
    first.close()
    second.close()
    await client.close()


async def test_later_datagrams_do_not_change_what_a_protocol_keeps(loop: Loop) -> None:
    transport, protocol = await loop.create_datagram_endpoint(Noting, local_addr=HERE)
    client = await endpoint(remote_addr=transport.get_extra_info("sockname"))
    sent = [bytes([number]) * 700 for number in range(40)]
    for data in sent:
        client.transport.sendto(data)
    await until(lambda: len(protocol.seen) == len(sent))
    assert [data for _, data in protocol.seen] == sent
    assert len(protocol.kept) == 13
    for data, copy in protocol.kept:
        assert data == copy
    transport.close()
    await client.close()
