"""KeyboardInterrupt and SystemExit leave the loop at once and leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from support.errors import Reports
from support.loops import run, run_turns
from support.net.protocols import Recorder
from support.net.sockets import socket_pair

Loop = asyncio.AbstractEventLoop
INTERRUPTS = [KeyboardInterrupt, SystemExit]


def raiser(exception: type[BaseException]) -> Callable[..., None]:
    def callback(*_: object) -> None:
        raise exception("from a callback")

    return callback


@pytest.mark.parametrize("exception", INTERRUPTS)
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
def test_one_out_of_a_callback_leaves_run_forever(
    loop: Loop, exception: type[BaseException], method: str
) -> None:
    arguments = (0,) if method == "call_later" else ()
    getattr(loop, method)(*arguments, raiser(exception))
    with pytest.raises(exception, match="from a callback"):
        loop.run_forever()
    assert not loop.is_running()


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_what_was_queued_behind_it_runs_later(loop: Loop, exception: type[BaseException]) -> None:
    seen: list[int] = []
    loop.call_soon(seen.append, 1)
    loop.call_soon(raiser(exception))
    loop.call_soon(seen.append, 2)
    loop.call_soon(seen.append, 3)
    with pytest.raises(exception):
        loop.run_forever()
    assert seen == [1]
    loop.call_soon(seen.append, 4)
    run_turns(loop)
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_no_stop_is_left_behind(loop: Loop, exception: type[BaseException]) -> None:
    def both() -> None:
        loop.stop()
        raise exception

    loop.call_soon(both)
    with pytest.raises(exception):
        loop.run_forever()
    seen: list[int] = []

    async def main() -> None:
        for number in range(5):
            seen.append(number)
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_one_out_of_a_task_leaves_the_loop_and_ends_the_task(
    loop: Loop, exception: type[BaseException]
) -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        raise exception("from a task")

    task = loop.create_task(main())
    with pytest.raises(exception, match="from a task"):
        loop.run_until_complete(task)
    assert task.done()
    assert isinstance(task.exception(), exception)
    # The done-callback that would have stopped that run must not stop this one.
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        loop.call_soon(loop.stop)
        loop.run_until_complete(loop.create_future())


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_the_running_loop_is_reset(loop: Loop, exception: type[BaseException]) -> None:
    loop.call_soon(raiser(exception))
    with pytest.raises(exception):
        loop.run_forever()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    loop.close()
    assert loop.is_closed()


@pytest.mark.parametrize("exception", INTERRUPTS)
def test_one_out_of_a_reader_leaves_the_loop(loop: Loop, exception: type[BaseException]) -> None:
    with socket_pair() as (near, far):
        far.send(b"x")
        loop.add_reader(near, raiser(exception))
        with pytest.raises(exception):
            loop.run_forever()
        # The descriptor is still readable, and the loop still sees it.
        seen: list[bytes] = []

        def readable() -> None:
            seen.append(near.recv(1))
            loop.stop()

        loop.add_reader(near, readable)
        loop.run_forever()
        loop.remove_reader(near)
    assert seen == [b"x"]


@pytest.mark.parametrize("exception", INTERRUPTS)
@pytest.mark.parametrize(
    "method", ["connection_made", "data_received", "eof_received", "connection_lost"]
)
def test_one_out_of_a_protocol_leaves_the_loop(
    loop: Loop, exception: type[BaseException], method: str, reports: Reports
) -> None:
    protocol = Recorder()
    setattr(protocol, method, raiser(exception))

    async def connect() -> asyncio.Transport:
        transport, _ = await loop.create_unix_connection(lambda: protocol, sock=near)
        return transport

    with socket_pair() as (near, far):
        far.send(b"data")
        far.close()

        def everything() -> None:
            transport = run(loop, connect())
            run_turns(loop, 5)
            transport.abort()
            run_turns(loop, 5)

        with pytest.raises(exception, match="from a callback"):
            everything()
        assert not loop.is_running()
        setattr(protocol, method, lambda *_: None)
        run_turns(loop, 5)
        for transport in list(getattr(loop, "_transports", {}).values()):
            transport.abort()
        if method == "connection_made":
            near.close()
        elif protocol.transport is not None:
            protocol.transport.abort()
        run_turns(loop, 5)
    reports.clear()


def test_other_base_exceptions_are_reported_and_the_loop_goes_on(
    loop: Loop, reports: Reports
) -> None:
    class Odd(BaseException):
        pass

    seen: list[int] = []
    loop.call_soon(raiser(Odd))
    loop.call_soon(seen.append, 1)
    run_turns(loop)
    assert seen == [1]
    assert isinstance(reports.take()["exception"], Odd)


def test_generator_exit_and_cancelled_error_are_reported_too(loop: Loop, reports: Reports) -> None:
    for exception in (GeneratorExit, asyncio.CancelledError, StopIteration):
        loop.call_soon(raiser(exception))
        run_turns(loop)
        assert isinstance(reports.take()["exception"], exception)
