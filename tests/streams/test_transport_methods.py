"""Every method of asyncio's abstract transports is there on each of ours, and refuses as asyncio's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from support.loops import Factory, run, turns, until
from support.net.certificates import client_context, server_context
from support.net.sockets import tcp_pair

ABSTRACT = [getattr(asyncio, name) for name in asyncio.transports.__all__]
METHODS = sorted({name for cls in ABSTRACT for name in dir(cls) if not name.startswith("_")})


class AnyProtocol(asyncio.Protocol, asyncio.DatagramProtocol, asyncio.SubprocessProtocol):
    """One for a transport of any kind."""


#: What each is called with; without anything where it is not named.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "get_extra_info": ("nothing of that name",),
    "get_pipe_transport": (7,),
    "send_signal": (0,),
    "sendto": (b"",),
    "set_protocol": (AnyProtocol(),),
    "set_write_buffer_limits": (10, 5),
    "write": (b"",),
    "writelines": ([b""],),
}
#: What is not the same for two processes.
DIFFERENT = {"get_pid"}


@contextlib.asynccontextmanager
async def tcp(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Any]:
    with tcp_pair() as (near, _):
        yield (await loop.create_connection(asyncio.Protocol, sock=near))[0]
        await turns()


@contextlib.asynccontextmanager
async def accepted(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Any]:
    with tcp_pair() as (near, _):
        yield (await loop.connect_accepted_socket(asyncio.Protocol, near))[0]
        await turns()


@contextlib.asynccontextmanager
async def unix(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Any]:
    near, far = socket.socketpair()
    with far:
        yield (await loop.create_unix_connection(asyncio.Protocol, sock=near))[0]
        await turns()


@contextlib.asynccontextmanager
async def tls(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Any]:
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=server_context())
    address = server.sockets[0].getsockname()
    yield (
        await loop.create_connection(
            asyncio.Protocol, *address, ssl=client_context(), server_hostname="localhost"
        )
    )[0]
    server.close()
    await asyncio.wait_for(server.wait_closed(), 5)
    await turns()


@contextlib.asynccontextmanager
async def datagrams(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Any]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        yield (
            await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=peer.getsockname()
            )
        )[0]
        await turns()


@contextlib.asynccontextmanager
async def on_a_pipe(
    connect: Callable[..., Any], near: int, mode: str, far: int
) -> AsyncIterator[Any]:
    with open(near, mode, 0) as pipe:
        yield (await connect(asyncio.Protocol, pipe))[0]
        os.close(far)
        await turns()


def read_pipe(loop: asyncio.AbstractEventLoop) -> contextlib.AbstractAsyncContextManager[Any]:
    reading, writing = os.pipe()
    return on_a_pipe(loop.connect_read_pipe, reading, "rb", writing)


def write_pipe(loop: asyncio.AbstractEventLoop) -> contextlib.AbstractAsyncContextManager[Any]:
    reading, writing = os.pipe()
    return on_a_pipe(loop.connect_write_pipe, writing, "wb", reading)


@contextlib.asynccontextmanager
async def process(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Any]:
    pipe = -1
    transport, _ = await loop.subprocess_exec(
        asyncio.SubprocessProtocol, "cat", stdin=pipe, stdout=pipe, stderr=pipe
    )
    yield transport
    transport.close()
    await asyncio.wait_for(transport._wait(), 5)  # type: ignore[attr-defined]
    await turns()


async def outcomes(make: Callable[..., Any], name: str, *, closed: bool) -> list[str]:
    """What a method gives or raises, with arguments that suit it and without any that it needs."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    found: list[str] = []
    async with make(loop) as transport:
        if closed:
            transport.close()
            await turns()
            if isinstance(transport, asyncio.SubprocessTransport):
                await until(lambda: transport._proc is None)  # type: ignore[attr-defined]
        method = getattr(transport, name, None)
        for arguments in (ARGUMENTS.get(name, ()), (), (object(), object(), object())):
            try:
                result = method(*arguments) if method else "there is none"
            except Exception as error:
                found.append(type(error).__name__)
            else:
                found.append(repr(result) if isinstance(result, (int, str)) else "given")
        # An endpoint of asyncio's that was closed ends with an error of its own.
        with contextlib.suppress(AttributeError):
            getattr(transport, "abort", transport.close)()
    return found


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize(
    "make", [tcp, accepted, unix, tls, datagrams, read_pipe, write_pipe, process]
)
def test_a_method_does_what_asyncios_does(
    new_loop: Factory, make: Callable[..., Any], closed: bool
) -> None:
    """Every method of every kind of transport, on our loop and on asyncio's."""
    if make is tls and sys.version_info < (3, 11):
        pytest.skip("asyncio of 3.10 has another implementation of TLS")
    seen: dict[str, list[list[str]]] = {name: [] for name in METHODS if name not in DIFFERENT}
    for factory in (asyncio.SelectorEventLoop, new_loop):
        loop = factory()
        try:
            for name, found in seen.items():
                found.append(run(loop, outcomes(make, name, closed=closed)))
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
    different = {name: found for name, found in seen.items() if found[0] != found[1]}
    # Both are to be listed in docs/compatibility.md: lost endpoints and pipes, and newer methods.
    if make is write_pipe and closed:
        assert different.pop("abort", [["AttributeError"]])[0][0] == "AttributeError"
    if make in (tcp, accepted, unix) and closed and (3, 12) <= sys.version_info < (3, 13, 6):
        # Its own fault, which is mended here: a lost connection takes no chunks.
        assert different.pop("writelines", [["TypeError"]])[0][0] == "TypeError"
    if sys.version_info < (3, 11):
        for name in ("is_reading", "pause_reading", "resume_reading"):
            if make is datagrams or (make is read_pipe and name == "is_reading"):
                assert different.pop(name, [["NotImplementedError"]])[0][0] == "NotImplementedError"
    assert not different


@pytest.mark.parametrize("make", [write_pipe, datagrams])
def test_the_other_direction_is_refused(new_loop: Factory, make: Callable[..., Any]) -> None:
    refused = {
        write_pipe: ["pause_reading", "resume_reading", "is_reading"],
        datagrams: ["write", "writelines", "write_eof", "can_write_eof"],
    }[make]
    loop = new_loop()
    try:
        for name in refused:
            assert run(loop, outcomes(make, name, closed=False))[0] == "NotImplementedError"
    finally:
        loop.close()


@pytest.mark.parametrize(
    "make", [tcp, accepted, unix, tls, datagrams, read_pipe, write_pipe, process]
)
def test_a_transport_is_an_instance_of_the_same_classes(
    new_loop: Factory, make: Callable[..., Any]
) -> None:
    if make is tls and sys.version_info < (3, 11):
        pytest.skip("asyncio of 3.10 has another implementation of TLS")

    async def classes() -> list[str]:
        async with make(asyncio.get_running_loop()) as transport:
            found = [cls.__name__ for cls in ABSTRACT if isinstance(transport, cls)]
            transport.close()
        return found

    seen = []
    for factory in (asyncio.SelectorEventLoop, new_loop):
        loop = factory()
        try:
            seen.append(run(loop, classes()))
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
    if make is datagrams and "DatagramTransport" not in seen[0]:
        # asyncio's endpoints have not always been of that class.
        seen[1] = [name for name in seen[1] if name != "DatagramTransport"]
    assert seen[0] == seen[1]
