"""sock_sendall on sockets that take little at a time, or go away between two turns."""

from __future__ import annotations

import array
import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from support.loops import run
from support.net.sockets import fill, receive_exactly

Loop = asyncio.AbstractEventLoop


class Slow(socket.socket):
    """Sends a thousand bytes at once, which no loop can know."""

    def send(self, data: Any, flags: int = 0, /) -> int:
        return super().send(memoryview(data).cast("B")[:1000], flags)


@pytest.fixture
def slow() -> Iterator[tuple[Slow, socket.socket]]:
    """A slow sender and its peer."""
    left, far = socket.socketpair()
    near = Slow(fileno=left.detach())
    near.setblocking(False)
    with near, far:
        yield near, far


@pytest.mark.ours_only("asyncio counts items, and never ends")
def test_all_bytes_of_long_items_are_sent(loop: Loop, slow: tuple[Slow, socket.socket]) -> None:
    near, far = slow
    items = array.array("I", range(5_000))
    run(loop, loop.sock_sendall(near, items))
    assert receive_exactly(far, 20_000) == items.tobytes()


def test_others_have_their_turn(loop: Loop, slow: tuple[Slow, socket.socket]) -> None:
    near, far = slow
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(count)

    loop.call_soon(count)
    run(loop, loop.sock_sendall(near, bytes(20_000)))
    assert turns >= 20
    assert receive_exactly(far, 20_000) == bytes(20_000)


@pytest.mark.ours_only("asyncio watches a socket that is gone")
async def test_closing_it_between_two_turns_is_reported(
    loop: Loop, slow: tuple[Slow, socket.socket]
) -> None:
    near, _ = slow

    task = asyncio.ensure_future(loop.sock_sendall(near, bytes(20_000)))
    await asyncio.sleep(0)
    near.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await task


@pytest.mark.ours_only("asyncio sends in the callback of the event")
def test_closing_it_when_it_could_go_on_is_reported(loop: Loop) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:

        async def main() -> None:
            fill(near)
            task = asyncio.ensure_future(loop.sock_sendall(near, bytes(1_000_000)))
            await asyncio.sleep(0)
            waits: Any = task

            def close_in_time() -> None:
                # The event has come, and the task runs behind this callback.
                if waits._fut_waiter.done():
                    near.close()
                else:
                    loop.call_soon(close_in_time)

            close_in_time()
            far.recv(1 << 20)
            with pytest.raises(OSError, match="Bad file descriptor"):
                await task

        run(loop, main())
