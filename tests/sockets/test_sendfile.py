"""sendfile and sock_sendfile: what is sent, where the file stands, guards, errors, fallback."""

from __future__ import annotations

import asyncio
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import pytest

from support.attaching import attach, attached
from support.descriptors import arrived
from support.loops import run, turns, until
from support.net.protocols import Recorder
from support.net.sockets import Pair, drain_socket, fill, receive_in_turns, tcp_pair

Loop = asyncio.AbstractEventLoop
DATA = bytes(range(256)) * 8192


@pytest.fixture
def pair() -> Iterator[Pair]:
    with tcp_pair() as pair:
        yield pair


@pytest.fixture
def file(tmp_path: Path) -> Iterator[IO[bytes]]:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        yield file


@pytest.mark.parametrize(
    ("offset", "count"), [(0, None), (1000, None), (0, 5000), (12345, 1 << 20)]
)
@pytest.mark.parametrize("way", ["socket", "transport", "fallback"])
async def test_the_wanted_part_is_sent_and_the_file_stands_behind_it(
    loop: Loop, pair: Pair, file: IO[bytes], way: str, offset: int, count: int | None
) -> None:
    near, far = pair
    expected = DATA[offset:] if count is None else DATA[offset : offset + count]

    receiving = asyncio.ensure_future(receive_in_turns(far, len(expected)))
    if way == "socket":
        sent = await loop.sock_sendfile(near, file, offset, count, fallback=False)
    else:
        transport = await attach(near, Recorder())
        source = file if way == "transport" else io.BytesIO(DATA)
        sent = await loop.sendfile(transport, source, offset, count, fallback=way == "fallback")
        transport.close()
    assert sent == len(expected)
    assert await receiving == expected
    if way != "fallback":
        assert file.tell() == offset + sent


class Noted(io.BytesIO):
    """Notes how much is asked for at a time."""

    asked: list[int]

    def readinto(self, buffer: Any) -> int:
        self.asked.append(len(buffer))
        return super().readinto(buffer)


@pytest.mark.parametrize("way", ["socket", "transport"])
async def test_the_fallback_reads_large_parts(loop: Loop, pair: Pair, way: str, kind: str) -> None:
    """Each of them costs a turn through the executor."""
    near, far = pair
    source = Noted(DATA)
    source.asked = []

    receiving = asyncio.ensure_future(receive_in_turns(far, len(DATA)))
    if way == "socket":
        await loop.sock_sendfile(near, source)
    else:
        transport = await attach(near, Recorder())
        await loop.sendfile(transport, source)
        transport.close()
    assert await receiving == DATA
    small = kind == "asyncio" and way == "transport"
    assert set(source.asked) == {(16 if small else 256) * 1024}


def test_an_empty_file_sends_nothing(loop: Loop, pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file:
        assert run(loop, loop.sock_sendfile(pair[0], file)) == 0


async def test_what_was_written_before_comes_first(loop: Loop, pair: Pair, file: IO[bytes]) -> None:
    near, far = pair

    transport = await attach(near, Recorder())
    full = fill(near)
    transport.write(b"head")
    sending = asyncio.ensure_future(loop.sendfile(transport, file))
    received = await receive_in_turns(far, full + 4 + len(DATA))
    assert received[full:] == b"head" + DATA
    assert await sending == len(DATA)
    transport.write(b"tail")
    assert await receive_in_turns(far, 4) == b"tail"
    transport.close()


async def test_nothing_is_written_or_read_meanwhile(
    loop: Loop, pair: Pair, file: IO[bytes]
) -> None:
    near, far = pair
    descriptor = near.fileno()

    async with attached(near) as (transport, protocol):
        fill(near)
        sending = asyncio.ensure_future(loop.sendfile(transport, file))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="unable to write; sendfile is in progress"):
            transport.write(b"x")
        assert not transport.is_reading()
        far.send(b"later")
        await until(lambda: arrived(descriptor))
        await turns()
        assert not protocol.data
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert transport.is_reading()
        assert await protocol.wait_data(5) == b"later"
        transport.write(b"x")


async def test_a_cancelled_wait_on_a_socket_leaves_it_usable(
    loop: Loop, pair: Pair, file: IO[bytes]
) -> None:
    near, far = pair

    full = fill(near)
    sending = asyncio.ensure_future(loop.sock_sendfile(near, file))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert await drain_socket(far, full) == full
    await loop.sock_sendall(near, b"x")
    assert await receive_in_turns(far, 1) == b"x"


@pytest.mark.parametrize("native", [True, False])
async def test_a_peer_that_goes_away_is_a_connection_error(
    loop: Loop, pair: Pair, file: IO[bytes], native: bool
) -> None:
    near, far = pair
    async with attached(near) as (transport, _):
        source = file if native else io.BytesIO(DATA * 4)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        sending = asyncio.ensure_future(loop.sendfile(transport, source))
        await receive_in_turns(far, 1 << 12)
        far.close()
        with pytest.raises(ConnectionError):
            await sending


async def test_the_protocol_gets_its_place_back_after_a_fallback(loop: Loop, pair: Pair) -> None:
    near, far = pair

    protocol = Recorder()
    transport = await attach(near, protocol)
    sending = asyncio.ensure_future(loop.sendfile(transport, io.BytesIO(DATA)))
    assert await receive_in_turns(far, len(DATA)) == DATA
    assert await sending == len(DATA)
    assert transport.get_protocol() is protocol
    assert transport.is_reading()
    far.send(b"data")
    assert await protocol.wait_data(4) == b"data"
    transport.close()
    await protocol.wait_lost()


async def test_no_fallback_means_an_error(loop: Loop, pair: Pair) -> None:
    near, _ = pair

    with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
        await loop.sock_sendfile(near, io.BytesIO(DATA), fallback=False)
    transport = await attach(near, Recorder())
    with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
        await loop.sendfile(transport, io.BytesIO(DATA), fallback=False)
    assert transport.is_reading()
    transport.write(b"x")
    transport.close()


def test_a_pipe_falls_back(loop: Loop, pair: Pair) -> None:
    near, far = pair
    here, there = os.pipe()
    os.write(there, b"piped")
    os.close(there)
    with open(here, "rb", buffering=0) as file:

        async def main() -> None:
            with pytest.raises((OSError, asyncio.SendfileNotAvailableError)):
                await loop.sock_sendfile(near, file, 1, 5, fallback=False)

        run(loop, main())
    with pytest.raises(BlockingIOError):
        far.recv(1)


def test_a_transport_that_is_closing_or_cannot_is_refused(
    loop: Loop, pair: Pair, file: IO[bytes]
) -> None:
    near, _ = pair

    async def main() -> None:
        transport = await attach(near, Recorder())
        transport.close()
        with pytest.raises(RuntimeError, match="Transport is closing"):
            await loop.sendfile(transport, file)
        endpoint, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        with pytest.raises(RuntimeError, match="sendfile is not supported for transport"):
            await loop.sendfile(cast("Any", endpoint), file)
        endpoint.close()

    run(loop, main())


@pytest.mark.parametrize(
    ("offset", "count", "error", "text"),
    [
        (-1, None, ValueError, r"offset must be a non-negative integer \(got -1\)"),
        (1.5, None, TypeError, r"offset must be a non-negative integer \(got 1.5\)"),
        (0, 0, ValueError, r"count must be a positive integer \(got 0\)"),
        (0, "1", TypeError, r"count must be a positive integer \(got '1'\)"),
    ],
)
def test_wrong_numbers_are_refused(
    loop: Loop, pair: Pair, file: IO[bytes], offset: Any, count: Any, error: Any, text: str
) -> None:
    with pytest.raises(error, match=text):
        run(loop, loop.sock_sendfile(pair[0], file, offset, count))


def test_text_files_datagrams_and_blocking_sockets_are_refused(
    loop: Loop, pair: Pair, file: IO[bytes]
) -> None:
    with open(__file__, encoding="utf-8") as text, pytest.raises(ValueError, match="binary mode"):
        run(loop, loop.sock_sendfile(pair[0], cast("Any", text)))
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        with pytest.raises(ValueError, match="only SOCK_STREAM"):
            run(loop, loop.sock_sendfile(sock, file))
    loop.set_debug(True)
    pair[0].setblocking(True)
    with pytest.raises(ValueError, match="must be non-blocking"):
        run(loop, loop.sock_sendfile(pair[0], file))


def test_closing_during_a_transfer_ends_it(loop: Loop, pair: Pair, file: IO[bytes]) -> None:
    near, _ = pair

    async def main() -> None:
        protocol = Recorder()
        transport = await attach(near, protocol)
        fill(near)
        sending = asyncio.ensure_future(loop.sendfile(transport, file))
        for _ in range(3):
            await asyncio.sleep(0)
        transport.abort()
        await until(lambda: protocol.is_lost)
        await asyncio.wait([sending], timeout=5)
        assert isinstance(sending.exception(), ConnectionError)

    if type(loop).__module__.startswith("asyncio"):
        pytest.skip("asyncio's transfer hangs then")
    run(loop, main())
