"""Sockets that the program holds too, and closes, duplicates or passes on by fork."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from support.errors import Reports
from support.loops import run, run_turns, until
from support.net.protocols import Recorder, returning
from support.net.sockets import listening, reset, tcp_pair, wait_readable
from support.programs import run_code

Loop = asyncio.AbstractEventLoop


async def test_a_duplicate_of_a_connections_socket_does_not_make_it_block(loop: Loop) -> None:
    accepted = Recorder()
    server = await loop.create_server(returning(accepted), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    transport, _ = await loop.create_connection(asyncio.Protocol, *address)
    await until(lambda: accepted.events)
    for end in (transport, accepted.transport):
        sock = end.get_extra_info("socket")
        assert sock._sock.gettimeout() == 0
        with sock.dup() as duplicate:
            assert duplicate.gettimeout() == 0
        assert not os.get_blocking(sock.fileno())
    transport.abort()
    await accepted.wait_lost()
    server.close()


def close_and_reuse(sock: socket.socket, other: socket.socket) -> None:
    """Close a socket; its number is that of another file then."""
    number = sock.fileno()
    sock.close()
    os.dup2(other.fileno(), number)


@pytest.mark.parametrize("how", ["write", "writelines", "write_eof", "sendfile"])
async def test_nothing_goes_to_the_file_that_has_the_number_of_a_socket_closed_by_its_owner(
    loop: Loop, how: str, tmp_path: Path
) -> None:
    with tcp_pair() as (mine, _), tcp_pair() as (other, peer):
        number = mine.fileno()
        protocol = Recorder()
        transport, _ = await loop.create_connection(returning(protocol), sock=mine)
        close_and_reuse(mine, other)
        try:
            if how == "write_eof":
                with pytest.raises(OSError, match="Bad file descriptor"):
                    transport.write_eof()
                transport.abort()
            elif how == "sendfile":
                path = tmp_path / "secret"
                path.write_bytes(b"secret")
                with path.open("rb") as file, suppress(OSError, RuntimeError):
                    await loop.sendfile(transport, file)
                transport.abort()
            else:
                getattr(transport, how)(b"secret" if how == "write" else [b"sec", b"ret"])
                assert isinstance(await protocol.wait_lost(), OSError)
                assert protocol.lost is not None
                assert protocol.lost.args[0] == errno.EBADF
            await protocol.wait_lost()
            other.send(b"own")
            wait_readable(peer)
            assert peer.recv(100) == b"own"
        finally:
            os.close(number)


async def test_no_datagram_goes_to_the_file_that_has_the_number_of_a_closed_socket(
    loop: Loop,
) -> None:
    mine, other, peer = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(3))
    with other, peer:
        for sock in (mine, other, peer):
            sock.bind(("127.0.0.1", 0))
        mine.setblocking(False)
        number = mine.fileno()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=mine)
        close_and_reuse(mine, other)
        try:
            transport.sendto(b"secret", peer.getsockname())
            transport.abort()
            await asyncio.sleep(0)
            other.sendto(b"own", peer.getsockname())
            assert peer.recv(100) == b"own"
        finally:
            os.close(number)


async def numeric(loop: Loop, protocol: Recorder, listener: socket.socket) -> socket.socket:
    await loop.create_connection(returning(protocol), *listener.getsockname())
    return listener.accept()[0]


async def named(loop: Loop, protocol: Recorder, listener: socket.socket) -> socket.socket:
    port = listener.getsockname()[1]
    await loop.create_connection(returning(protocol), "localhost", port, family=socket.AF_INET)
    return listener.accept()[0]


async def given(loop: Loop, protocol: Recorder, listener: socket.socket) -> socket.socket:
    sock = socket.create_connection(listener.getsockname())
    await loop.create_connection(returning(protocol), sock=sock)
    return listener.accept()[0]


async def accepted(loop: Loop, protocol: Recorder, listener: socket.socket) -> socket.socket:
    peer = socket.create_connection(listener.getsockname())
    await loop.connect_accepted_socket(returning(protocol), listener.accept()[0])
    return peer


@pytest.mark.parametrize("way", [numeric, named, given, accepted])
async def test_both_names_of_a_connection_are_known_after_a_reset(
    loop: Loop, way: Callable[[Loop, Recorder, socket.socket], Awaitable[socket.socket]]
) -> None:
    protocol = Recorder()
    with listening() as listener:
        peer = await way(loop, protocol, listener)
        names = peer.getpeername(), peer.getsockname()
        reset(peer)
        await protocol.wait_lost()
        known = map(protocol.transport.get_extra_info, ("sockname", "peername"))
        assert tuple(known) == names


async def test_names_of_a_family_that_only_python_reads(loop: Loop) -> None:
    try:
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        sock.bind((socket.VMADDR_CID_ANY, 0xFFFFFFFF))
    except (AttributeError, OSError) as error:
        pytest.skip(f"this system has no vsock: {error}")

    sock.setblocking(False)
    protocol = Recorder()
    transport, _ = await loop.create_connection(returning(protocol), sock=sock)
    assert transport.get_extra_info("sockname") == sock.getsockname()
    assert transport.get_extra_info("peername") is None
    transport.abort()
    await protocol.wait_lost()


async def test_the_zone_of_a_link_local_address_is_a_number_only(loop: Loop) -> None:
    try:
        lines = Path("/proc/net/if_inet6").read_text("ascii").splitlines()
    except OSError:
        lines = []
    zones = [line.split() for line in lines if line.startswith("fe80")]
    if not zones:
        pytest.skip("no interface has a link-local address")
    digits, index = zones[0][:2]
    groups = ":".join(digits[place : place + 4] for place in range(0, 32, 4))

    host = f"{groups}%{socket.if_indextoname(int(index, 16))}"
    inside = Recorder()
    server = await loop.create_server(returning(inside), host, 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await loop.create_connection(Recorder, host, port)
    await until(lambda: inside.events)
    for end in (transport, inside.transport):
        sock = end.get_extra_info("socket")
        assert end.get_extra_info("sockname") == sock.getsockname()
        assert end.get_extra_info("peername") == sock.getpeername()
        assert "%" not in end.get_extra_info("peername")[0]
    transport.abort()
    await inside.wait_lost()
    server.close()


async def test_a_listening_socket_that_its_owner_closed_is_left_alone(
    loop: Loop, reports: Reports
) -> None:
    listener = listening()

    def factory() -> asyncio.Protocol:
        listener.close()
        recorders.append(Recorder())
        return recorders[-1]

    recorders: list[Recorder] = []
    await loop.create_server(factory, sock=listener)
    with socket.create_connection(listener.getsockname()):
        await until(lambda: recorders)
        for _ in range(20):
            await asyncio.sleep(0)
    if recorders[0].events:
        await recorders[0].wait_lost()
    assert not reports


async def test_connections_that_waited_for_the_server_have_no_delay_either(loop: Loop) -> None:
    # As a service manager hands it over.
    listener = socket.socket(fileno=listening().detach())
    recorders: list[Recorder] = []

    def factory() -> Recorder:
        recorders.append(Recorder())
        return recorders[-1]

    early = [socket.create_connection(listener.getsockname()) for _ in range(3)]
    server = await loop.create_server(factory, sock=listener)
    late = socket.create_connection(listener.getsockname())
    await until(lambda: len(recorders) == 4 and all(it.events for it in recorders))
    for recorder in recorders:
        sock = recorder.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    for client in (*early, late):
        client.close()
    for recorder in recorders:
        await recorder.wait_lost()
    server.close()


class Pretender:
    """Says that it is a socket, as proxies and mocks do, and is one only in what it passes on."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    @property  # type: ignore[misc] # that is what they do
    def __class__(self) -> type[socket.socket]:  # type: ignore[override]
        return socket.socket

    def __getattr__(self, name: str) -> Any:
        if name == "sock":
            raise AttributeError(name)
        return getattr(self.sock, name)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("datagrams", [False, True])
def test_an_object_that_claims_to_be_a_socket_is_accepted(loop: Loop, datagrams: bool) -> None:
    kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM

    async def main() -> socket.socket:
        mine, peer = socket.socketpair(type=kind)
        mine.setblocking(False)
        given: Any = Pretender(mine)
        if datagrams:
            await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=given)
        else:
            protocol = Recorder()
            transport, _ = await loop.create_connection(returning(protocol), sock=given)
            peer.sendall(b"in")
            assert await protocol.wait_data(2) == b"in"
            transport.write(b"out")
            await asyncio.sleep(0)
            assert peer.recv(10) == b"out"
        return peer

    with pytest.warns(ResourceWarning, match="unclosed transport"):
        with run(loop, main()):
            loop.close()
            gc.collect()


class Told(socket.socket):
    """Notes that it was closed."""

    closings = 0

    def close(self) -> None:
        type(self).closings += 1
        super().close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_unclosed_transport_closes_its_socket_as_the_program_would(loop: Loop) -> None:
    async def main() -> Any:
        mine, peer = socket.socketpair()
        sock = Told(fileno=mine.detach())
        file = sock.makefile("rwb", buffering=0)
        await loop.create_connection(asyncio.Protocol, sock=sock)
        return file, peer

    before = Told.closings
    file, peer = run(loop, main())
    loop.close()
    gc.collect()
    assert Told.closings == before + 1
    file.write(b"still open")
    assert peer.recv(100) == b"still open"
    file.close()
    peer.close()


class Interruption(BaseException):
    """What a signal handler may raise anywhere."""


def test_a_descriptor_is_closed_once_if_making_its_socket_is_interrupted(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = socket.socket.__init__

    def interrupted(self: socket.socket, *args: Any, **kwargs: Any) -> None:
        own(self, *args, **kwargs)
        raise Interruption

    async def main() -> None:
        with listening() as listener:
            listener.setblocking(False)
            with socket.create_connection(listener.getsockname()):
                with monkeypatch.context() as patch:
                    patch.setattr(socket.socket, "__init__", interrupted)
                    try:
                        await loop.sock_accept(listener)
                    except Interruption:
                        # While the exception holds the half-made socket.
                        other = os.open(os.devnull, os.O_RDONLY)
                gc.collect()
                os.fstat(other)
                os.close(other)

    # asyncio leaves the half-made socket to the collector, which warns.
    with pytest.warns(ResourceWarning, match="unclosed") if is_asyncio(loop) else nullcontext():
        run(loop, main())
        gc.collect()


def is_asyncio(loop: Loop) -> bool:
    return type(loop).__module__.startswith("asyncio")


def test_a_program_that_ends_with_an_open_connection_says_nothing(kind: str) -> None:
    status, out, err = run_code(
        kind,
        """
        import socket

        async def main():
            global kept
            with socket.create_server(("127.0.0.1", 0)) as listener:
                kept, _ = await asyncio.get_running_loop().create_connection(
                    asyncio.Protocol, *listener.getsockname()
                )
                kept.get_extra_info("socket")

        loop = new_loop()
        loop.run_until_complete(main())
        """,
        env={"PYTHONWARNINGS": "ignore::ResourceWarning"},
    )
    assert (status, out, err) == (0, "", "")


def watched() -> list[int]:
    """The descriptors that the process's epoll sets watch."""
    found: list[int] = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            if "eventpoll" not in os.readlink(link):
                continue
        except FileNotFoundError:
            continue
        lines = Path(f"/proc/self/fdinfo/{link.name}").read_text("ascii").splitlines()
        found.extend(int(line.split()[1]) for line in lines if line.startswith("tfd:"))
    return found


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_connection_that_a_child_keeps_does_not_wake_its_parent(loop: Loop) -> None:
    async def main() -> None:
        protocol = Recorder()
        server = await loop.create_server(returning(protocol), "127.0.0.1", 0)
        before = set(watched())
        with socket.create_connection(server.sockets[0].getsockname()):
            await until(lambda: protocol.events)
            await asyncio.sleep(0)
            (number,) = set(watched()) - before
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
            protocol.transport.abort()
            await protocol.wait_lost()
            left = watched()
            os.close(writer)
            os.close(reader)
            os.waitpid(child, 0)
            assert number not in left
        server.close()

    run(loop, main())
    run_turns(loop)


async def test_what_was_written_comes_before_what_the_program_does_to_the_socket(
    loop: Loop,
) -> None:
    ours, peer = socket.socketpair()

    with peer:
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        transport.write(b"1")
        os.write(transport.get_extra_info("socket").fileno(), b"2")
        transport.write(b"3")
        transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
        data = b""
        while part := peer.recv(100):
            data += part
        assert data == b"123"
        transport.close()
        assert await protocol.wait_lost() is None


async def test_two_socket_objects_of_one_descriptor_can_both_be_waited_for(loop: Loop) -> None:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    twin = socket.socket(fileno=ours.fileno())
    twin.setblocking(False)
    size = 1 << 20

    def taken(count: int) -> None:
        while count:
            count -= len(peer.recv(65536))

    with peer, ours:
        received = loop.create_task(loop.sock_recv(ours, 10))
        await asyncio.sleep(0)
        sent = loop.create_task(loop.sock_sendall(twin, bytes(size)))
        await asyncio.sleep(0)
        await loop.run_in_executor(None, taken, size)
        await sent
        peer.send(b"back")
        assert await received == b"back"
        twin.detach()


async def test_two_waits_by_two_objects_of_one_descriptor_leave_the_loop_asleep(loop: Loop) -> None:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    twin = socket.socket(fileno=ours.fileno())
    twin.setblocking(False)

    with peer, ours:
        sent = loop.create_task(loop.sock_sendall(ours, bytes(1 << 22)))
        await asyncio.sleep(0)
        received = loop.create_task(loop.sock_recv(twin, 10))
        for _ in range(3):
            await asyncio.sleep(0)
        # Only this task is queued in each turn: the other tasks are not woken without need.
        for _ in range(10):
            assert not list(getattr(loop, "_ready", ()))
            await asyncio.sleep(0)
        for task in (sent, received):
            task.cancel()
        await asyncio.wait([sent, received])
        twin.detach()
