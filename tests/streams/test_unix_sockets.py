"""Unix sockets: paths of every kind, stale files, clean-up."""

from __future__ import annotations

import asyncio
import os
import pathlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.loops import run, until
from support.net.protocols import BufferedRecorder, Recorder, returning
from support.places import short_folder

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    with short_folder() as path:
        yield pathlib.Path(path)


async def exchange(server: Any, path: Any) -> None:
    """One connection through the server and back."""
    loop = asyncio.get_running_loop()
    client = Recorder()
    transport, _ = await loop.create_unix_connection(lambda: client, path)
    assert isinstance(transport, asyncio.Transport)
    transport.write(b"x")
    transport.close()
    await client.wait_lost()
    server.close()


@pytest.mark.parametrize("kind_of_path", [str, os.fsencode, pathlib.Path])
async def test_a_path_may_be_text_bytes_or_an_object(
    loop: Loop, folder: pathlib.Path, kind_of_path: Any
) -> None:
    path = kind_of_path(str(folder / "s"))

    server = await loop.create_unix_server(Recorder, path)
    assert server.sockets[0].family == socket.AF_UNIX
    await exchange(server, path)


@pytest.mark.parametrize("as_bytes", [False, True])
async def test_an_abstract_address_leaves_no_file(
    loop: Loop, folder: pathlib.Path, as_bytes: bool
) -> None:
    name = f"\0ferroloop-test-{os.getpid()}"
    path: Any = name.encode() if as_bytes else name

    if as_bytes and type(loop).__module__.startswith("asyncio"):
        pytest.skip("asyncio compares the first byte with a text")
    server = await loop.create_unix_server(Recorder, path)
    await exchange(server, path)
    assert not list(folder.iterdir())


class Empty:
    """A path of nothing."""

    def __fspath__(self) -> str:
        return ""


@pytest.mark.parametrize("path", ["", b"", Empty()], ids=["text", "bytes", "object"])
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
async def test_a_server_on_an_empty_path_is_refused(loop: Loop, path: Any) -> None:
    """The kernel would choose an abstract name."""

    with pytest.raises(IndexError, match="index out of range"):
        await loop.create_unix_server(Recorder, path)
    with pytest.raises(IndexError, match="index out of range"):
        await asyncio.start_unix_server(lambda *_: None, path)
    with pytest.raises(OSError, match="Invalid argument"):
        await loop.create_unix_connection(Recorder, path)


@pytest.mark.parametrize("start_serving", [False, True])
def test_a_socket_without_a_name_cannot_listen(loop: Loop, start_serving: bool) -> None:
    async def main(sock: socket.socket) -> None:
        server = await loop.create_unix_server(Recorder, sock=sock, start_serving=start_serving)
        server.close()

    with socket.socket(socket.AF_UNIX) as sock:
        if sys.version_info >= (3, 13):
            # The file that is to be removed in the end is looked for.
            with pytest.raises(IndexError):
                run(loop, main(sock))
        elif start_serving:
            with pytest.raises(OSError, match="Invalid argument"):
                run(loop, main(sock))
        else:
            run(loop, main(sock))


async def test_an_endpoint_on_an_empty_path_has_no_name(loop: Loop) -> None:
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr="", family=socket.AF_UNIX
    )
    assert transport.get_extra_info("sockname") == ""
    transport.close()


async def test_a_socket_left_by_a_dead_server_is_replaced(loop: Loop, folder: pathlib.Path) -> None:
    path = str(folder / "s")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    assert os.path.exists(path)

    await exchange(await loop.create_unix_server(Recorder, path), path)


async def test_a_file_that_is_no_socket_is_not_replaced(loop: Loop, folder: pathlib.Path) -> None:
    path = folder / "file"
    path.write_text("content")

    with pytest.raises(OSError, match=f"Address {str(path)!r} is already in use"):
        await loop.create_unix_server(Recorder, str(path))
    assert path.read_text() == "content"


async def test_the_file_goes_or_stays_with_the_server_as_in_asyncio(
    loop: Loop, folder: pathlib.Path
) -> None:
    path = str(folder / "s")

    server = await loop.create_unix_server(Recorder, path)
    assert os.path.exists(path)
    server.close()
    assert os.path.exists(path) is (sys.version_info < (3, 13))


@pytest.mark.skipif(sys.version_info < (3, 13), reason="since 3.13")
async def test_the_clean_up_can_be_declined(loop: Loop, folder: pathlib.Path) -> None:
    path = str(folder / "s")

    server = await loop.create_unix_server(
        Recorder,
        path,
        cleanup_socket=False,  # type: ignore[call-arg,unused-ignore] # since 3.13
    )
    server.close()
    assert os.path.exists(path)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="since 3.13")
async def test_a_file_that_another_server_made_meanwhile_is_kept(
    loop: Loop, folder: pathlib.Path
) -> None:
    path = str(folder / "s")

    old = await loop.create_unix_server(Recorder, path)
    new = await loop.create_unix_server(Recorder, path)
    old.close()
    assert os.path.exists(path)
    new.close()
    assert not os.path.exists(path)


async def test_a_closed_port_is_an_error_with_the_kernels_errno(
    loop: Loop, folder: pathlib.Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await loop.create_unix_connection(Recorder, str(folder / "nobody"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "deaf"))
        with pytest.raises(ConnectionRefusedError):
            await loop.create_unix_connection(Recorder, str(folder / "deaf"))


async def test_a_path_that_is_too_long_is_an_error(loop: Loop, folder: pathlib.Path) -> None:
    path = str(folder / ("x" * 200))

    with pytest.raises(OSError, match="AF_UNIX path too long"):
        await loop.create_unix_connection(Recorder, path)
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        await loop.create_unix_server(Recorder, path)


async def test_a_unix_transport_tells_its_addresses(loop: Loop, folder: pathlib.Path) -> None:
    path = str(folder / "s")
    accepted: list[Recorder] = []

    def factory() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    server = await loop.create_unix_server(factory, path)
    client = Recorder()
    await loop.create_unix_connection(lambda: client, path)
    await until(lambda: accepted and accepted[0].events)
    assert client.transport.get_extra_info("peername") == path
    assert client.transport.get_extra_info("sockname") == ""
    assert accepted[0].transport.get_extra_info("sockname") == path
    assert accepted[0].transport.get_extra_info("peername") == ""
    client.transport.abort()
    await accepted[0].wait_lost()
    server.close()


async def test_a_socket_can_be_given(loop: Loop, folder: pathlib.Path) -> None:
    path = str(folder / "s")

    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    server = await loop.create_unix_server(Recorder, sock=sock)
    client = socket.socket(socket.AF_UNIX)
    client.setblocking(False)
    client.connect(path)
    protocol = Recorder()
    transport, _ = await loop.create_unix_connection(lambda: protocol, sock=client)
    transport.close()
    await protocol.wait_lost()
    server.close()


async def test_streams_over_a_unix_socket(loop: Loop, folder: pathlib.Path) -> None:
    path = str(folder / "s")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, path)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"hello\n")
    assert await reader.read() == b"HELLO\n"
    writer.close()
    await writer.wait_closed()
    server.close()


@pytest.mark.parametrize("how", ["plain", "large", "buffered", "streams"])
async def test_what_follows_a_message_with_descriptors_is_read_too(loop: Loop, how: str) -> None:
    """The kernel ends a read with such a message, and reports no second edge for what follows."""
    size = 40_000 if how == "large" else 100

    mine, peer = socket.socketpair()
    with peer:
        peer.setblocking(False)
        sent = bytearray()

        def send(letter: bytes, numbers: list[int]) -> None:
            sent.extend(letter * size)
            assert socket.send_fds(peer, [letter * size], numbers) == size

        protocol: Any = BufferedRecorder(size * 5) if how == "buffered" else Recorder()
        if how == "streams":
            reader, writer = await asyncio.open_connection(sock=mine)
            transport: Any = writer.transport
        else:
            transport, _ = await loop.create_connection(returning(protocol), sock=mine)
        if how == "large":
            # Then the next read is a large one.
            send(b"-", [])
            await protocol.wait_data(size)
        for letter, numbers in ((b"a", []), (b"b", [0]), (b"c", []), (b"d", [0]), (b"e", [])):
            send(letter, numbers)
        if how == "streams":
            assert await reader.readexactly(len(sent)) == sent
        else:
            await until(lambda: len(protocol.data) >= len(sent))
            assert protocol.data == sent
        transport.abort()
        await asyncio.sleep(0)
