"""create_connection: addresses, races between them, cancellation, and what goes wrong."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from functools import partial
from typing import Any

import pytest

from support.loops import run, until
from support.net.protocols import Recorder, returning
from support.net.sockets import listening, reset, silent_listener

Loop = asyncio.AbstractEventLoop


def free_port() -> int:
    """A port of this machine without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def finish(transport: asyncio.BaseTransport, protocol: Recorder) -> None:
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
    await protocol.wait_lost()


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
async def test_a_connection_by_address(loop: Loop, family: socket.AddressFamily, host: str) -> None:
    protocol = Recorder()

    with listening(family) as listener:
        port = listener.getsockname()[1]
        transport, made = await loop.create_connection(lambda: protocol, host, port)
        assert made is protocol
        assert transport.get_extra_info("peername")[:2] == (host, port)
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await finish(transport, protocol)


async def test_a_connection_by_name(loop: Loop) -> None:
    protocol = Recorder()

    with listening() as listener:
        transport, _ = await loop.create_connection(
            lambda: protocol, "localhost", listener.getsockname()[1], family=socket.AF_INET
        )
        await finish(transport, protocol)


async def test_a_local_address_can_be_chosen(loop: Loop) -> None:
    protocol = Recorder()

    with listening() as listener:
        transport, _ = await loop.create_connection(
            lambda: protocol, *listener.getsockname(), local_addr=("127.0.0.9", 0)
        )
        assert transport.get_extra_info("sockname")[0] == "127.0.0.9"
        await finish(transport, protocol)


async def test_a_local_address_in_use_is_named(loop: Loop) -> None:
    with listening() as listener, listening() as taken:
        with pytest.raises(OSError, match="error while attempting to bind on address"):
            await loop.create_connection(
                Recorder, *listener.getsockname(), local_addr=taken.getsockname()
            )


async def test_a_closed_port_is_refused_with_the_address(loop: Loop) -> None:
    port = free_port()

    with pytest.raises(ConnectionRefusedError) as caught:
        await loop.create_connection(Recorder, "127.0.0.1", port)
    assert str(caught.value) == f"[Errno 111] Connect call failed ('127.0.0.1', {port})"


def several(addresses: list[tuple[str, int]]) -> Any:
    """A `getaddrinfo` that finds these addresses."""

    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        return [
            (
                socket.AF_INET6 if ":" in host else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (host, port, 0, 0) if ":" in host else (host, port),
            )
            for host, port in addresses
        ]

    return getaddrinfo


class Resolving:
    """A loop's class with another resolver: nothing may be set on a loop itself."""

    def __init__(self, loop: Loop, addresses: list[tuple[str, int]]) -> None:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(type(loop), "getaddrinfo", several(addresses))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


async def test_the_next_address_is_tried_when_one_fails(loop: Loop) -> None:
    protocol = Recorder()

    with listening() as listener:
        good = listener.getsockname()
        with Resolving(loop, [("127.0.0.1", free_port()), good]):
            transport, _ = await loop.create_connection(lambda: protocol, "name", 1)
        assert transport.get_extra_info("peername") == good
        await finish(transport, protocol)


async def test_the_error_of_every_address_is_reported(loop: Loop) -> None:
    first, second = ("127.0.0.1", free_port()), ("127.0.0.2", free_port())

    with Resolving(loop, [first, second]):
        with pytest.raises(OSError, match="Multiple exceptions: ") as caught:
            await loop.create_connection(Recorder, "name", 1)
    assert str(first) in str(caught.value) and str(second) in str(caught.value)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="since 3.12")
async def test_all_errors_come_as_a_group(loop: Loop) -> None:
    untyped: Any = loop

    with Resolving(loop, [("127.0.0.1", free_port()), ("127.0.0.2", free_port())]):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - a group is no name in 3.10
            await untyped.create_connection(Recorder, "name", 1, all_errors=True)
    errors = caught.value.exceptions  # type: ignore[attr-defined] # ExceptionGroup
    assert [type(error) for error in errors] == [ConnectionRefusedError] * 2


async def test_happy_eyeballs_overtakes_an_address_that_does_not_answer(loop: Loop) -> None:
    protocol = Recorder()
    silent, waiting = silent_listener()

    with listening() as listener:
        good = listener.getsockname()
        with Resolving(loop, [silent.getsockname(), good]):
            transport, _ = await loop.create_connection(
                lambda: protocol, "name", 1, happy_eyeballs_delay=0.01
            )
        assert transport.get_extra_info("peername") == good
        await finish(transport, protocol)
    silent.close()
    for sock in waiting:
        sock.close()


async def test_happy_eyeballs_interleaves_the_families(loop: Loop) -> None:
    protocol = Recorder()

    with listening(socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        refused = free_port()
        addresses = [("127.0.0.1", refused), ("127.0.0.2", refused), ("::1", port)]
        with Resolving(loop, addresses):
            transport, _ = await loop.create_connection(
                lambda: protocol, "name", 1, happy_eyeballs_delay=10, interleave=1
            )
        assert transport.get_extra_info("peername")[0] == "::1"
        await finish(transport, protocol)


@pytest.mark.parametrize("delay", [None, 0.001])
def test_a_cancelled_connect_leaks_nothing(loop: Loop, delay: float | None) -> None:
    silent, waiting = silent_listener()

    async def main() -> None:
        for turns in range(8):
            with Resolving(loop, [silent.getsockname(), silent.getsockname()]):
                task = loop.create_task(
                    loop.create_connection(Recorder, "name", 1, happy_eyeballs_delay=delay)
                )
                for _ in range(turns):
                    await asyncio.sleep(0.0005)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    run(loop, main())
    silent.close()
    for sock in waiting:
        sock.close()
    gc.collect()


def over(protocol: Recorder) -> bool:
    """Whether a protocol was never told of a connection, or of its end as well."""
    return not protocol.events or protocol.is_lost


@pytest.mark.ours_only("asyncio leaves a transport to the collector")
async def test_a_connect_cancelled_at_any_turn_leaks_nothing(loop: Loop) -> None:
    """From the first step to the last, also between the transport's making and its use."""
    outcomes: set[str] = set()

    with listening() as listener:
        for turns in range(12):
            protocol = Recorder()
            task = loop.create_task(
                loop.create_connection(returning(protocol), *listener.getsockname())
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                transport, _ = await task
            except asyncio.CancelledError:
                outcomes.add("cancelled")
                await until(partial(over, protocol))
            else:
                outcomes.add("connected")
                await finish(transport, protocol)
    assert outcomes == {"cancelled", "connected"}


async def test_a_factory_is_called_once_and_only_for_a_connection(loop: Loop) -> None:
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    with pytest.raises(OSError, match="Connect call failed"):
        await loop.create_connection(factory, "127.0.0.1", free_port())
    assert not made
    with listening() as listener:
        transport, protocol = await loop.create_connection(factory, *listener.getsockname())
        assert made == [protocol]
        await finish(transport, made[0])


async def test_a_socket_that_blocks_is_made_not_to(loop: Loop) -> None:
    protocol = Recorder()

    with listening() as listener:
        sock = socket.create_connection(listener.getsockname())
        assert sock.gettimeout() is None or sock.getblocking()
        transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
        assert sock.gettimeout() == 0
        await finish(transport, protocol)


async def test_a_peer_that_resets_at_once_is_no_error_of_the_loop(loop: Loop) -> None:
    with listening() as listener:
        for _ in range(20):
            protocol = Recorder()
            await loop.create_connection(returning(protocol), *listener.getsockname())
            accepted, _ = listener.accept()
            reset(accepted)
            assert isinstance(await protocol.wait_lost(), ConnectionResetError)


@pytest.mark.slow
async def test_hundreds_of_connections_at_once(loop: Loop) -> None:
    accepted: list[Recorder] = []

    def factory() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    server = await loop.create_server(factory, sock=listening(backlog=512))
    address = server.sockets[0].getsockname()
    clients = [Recorder() for _ in range(200)]
    await asyncio.gather(
        *(loop.create_connection(returning(client), *address) for client in clients)
    )
    await until(lambda: len(accepted) == 200 and all(p.events for p in accepted))
    for client in clients:
        client.transport.write(b"x")
    await until(lambda: all(protocol.data for protocol in accepted))
    for client in clients:
        client.transport.close()
    await until(lambda: all(protocol.is_lost for protocol in (*accepted, *clients)))
    server.close()


def test_a_connection_is_made_by_the_sock_connect_of_a_subclass(loop: Loop) -> None:
    kind: Any = type(loop)
    seen: list[Any] = []

    class Counting(kind):  # type: ignore[misc] # a class found at run time
        async def sock_connect(self, sock: socket.socket, address: Any) -> None:
            seen.append(address)
            await super().sock_connect(sock, address)

    async def main(counting: Any) -> None:
        with listening() as listener:
            address = listener.getsockname()
            protocol = Recorder()
            transport, _ = await counting.create_connection(lambda: protocol, *address)
            assert seen == [address]
            await finish(transport, protocol)

    counting = Counting()
    run(counting, main(counting))
    counting.close()
