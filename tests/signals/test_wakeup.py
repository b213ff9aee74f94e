"""The wake-up descriptor: who hears signals while loops come and go, and what the program had set."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable

import pytest

from support.loops import Factory, run, run_turns, until
from support.programs import run_code

Loop = asyncio.AbstractEventLoop


def test_the_wakeup_descriptor_of_the_program_is_put_back(loop: Loop) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    try:
        run(loop, asyncio.sleep(0))
        run_turns(loop)
        assert signal.set_wakeup_fd(writer) == writer
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("order", ["as made", "while the other runs"])
def test_signals_are_never_written_to_who_got_a_closed_loops_number(kind: str, order: str) -> None:
    status, out, err = run_code(
        kind,
        f"""
        import os, signal, socket

        async def add(loop, number):
            loop.add_signal_handler(number, print)

        first, second = new_loop(), new_loop()
        if {order!r} == "as made":
            first.add_signal_handler(signal.SIGUSR1, print)
            second.add_signal_handler(signal.SIGUSR2, print)
        else:
            first.run_until_complete(add(second, signal.SIGUSR2))
        first.close()
        pairs = [socket.socketpair() for _ in range(8)]
        second.close()
        signal.signal(signal.SIGUSR1, lambda *args: None)
        os.kill(os.getpid(), signal.SIGUSR1)
        for pair in pairs:
            for end in pair:
                end.setblocking(False)
                try:
                    print("stray", end.recv(10))
                except BlockingIOError:
                    pass
        print(signal.set_wakeup_fd(-1))
        """,
    )
    assert (status, out.split(), err) == (0, ["-1"], "")


async def test_adding_a_handler_takes_signals_back_from_another_loop(
    loop: Loop, new_loop: Factory
) -> None:
    got: list[str] = []

    loop.add_signal_handler(signal.SIGTERM, got.append, "TERM")
    other = new_loop()
    other.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGHUP, got.append, "HUP")
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: sorted(got) == ["HUP", "TERM"])
    other.close()


def test_a_closed_descriptor_of_the_program_is_not_put_back(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno())
    try:
        loop.add_signal_handler(signal.SIGUSR1, print)
        theirs.close()
        loop.remove_signal_handler(signal.SIGUSR1)
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(-1)
        ours.close()


def test_what_the_program_set_beside_a_loop_with_handlers_is_put_back(
    loop: Loop, new_loop: Factory
) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    other = new_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    try:
        signal.set_wakeup_fd(theirs.fileno())
        other.run_until_complete(asyncio.sleep(0))
        assert signal.set_wakeup_fd(-1) == theirs.fileno()
    finally:
        other.close()
        loop.remove_signal_handler(signal.SIGUSR1)
        signal.set_wakeup_fd(-1)
        ours.close()
        theirs.close()


def test_a_number_that_became_a_blocking_file_is_not_put_back(kind: str, new_loop: Factory) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    number = theirs.fileno()
    signal.set_wakeup_fd(number)
    loop = new_loop()

    async def replace() -> None:
        theirs.close()
        os.dup2(ours.fileno(), number)
        os.set_blocking(number, True)

    try:
        loop.run_until_complete(replace())
        loop.close()
        # asyncio's run had left it where it was.
        assert signal.set_wakeup_fd(-1) == (number if kind == "asyncio" else -1)
    finally:
        signal.set_wakeup_fd(-1)
        os.close(number)
        ours.close()


TURNS = [0, 1, 2, 10, 40]


async def handle_after(loop: Loop, turns: int, handler: Callable[[], object]) -> None:
    """Handle SIGUSR1 after so many turns, for five turns."""
    for _ in range(turns):
        await asyncio.sleep(0)
    loop.add_signal_handler(signal.SIGUSR1, handler)
    for _ in range(5):
        await asyncio.sleep(0)
    loop.remove_signal_handler(signal.SIGUSR1)


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("watches", [False, True])
def test_a_handler_is_not_told_of_a_signal_from_before_it(
    loop: Loop, turns: int, *, watches: bool
) -> None:
    """A Python handler has heard it, and the loop had none."""
    heard: list[str] = []
    ours, peer = socket.socketpair()

    async def main() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        await handle_after(loop, turns, lambda: heard.append("loop"))

    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("program"))
    if watches:
        loop.add_reader(ours, print)
    try:
        run(loop, main())
        assert heard == ["program"]
    finally:
        loop.remove_reader(ours)
        signal.signal(signal.SIGUSR1, before)
        ours.close()
        peer.close()


@pytest.mark.parametrize("turns", TURNS)
def test_a_pending_signal_is_for_a_handler_that_is_there_by_the_next_turn(
    loop: Loop, turns: int
) -> None:
    heard: list[str] = []

    async def main() -> None:
        loop.add_signal_handler(signal.SIGUSR1, heard.append, "first")
        os.kill(os.getpid(), signal.SIGUSR1)
        loop.remove_signal_handler(signal.SIGUSR1)
        await handle_after(loop, turns, lambda: heard.append("second"))

    run(loop, main())
    assert heard == (["second"] if turns < 2 else [])


def test_a_handler_is_not_told_of_a_signal_of_an_earlier_run(loop: Loop) -> None:
    """Each run has one turn, as where another toolkit drives the loop."""
    heard: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append("program"))
    try:
        loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
        for _ in range(3):
            loop.call_soon(loop.stop)
            loop.run_forever()
        loop.add_signal_handler(signal.SIGUSR1, heard.append, "loop")
        run_turns(loop)
        loop.remove_signal_handler(signal.SIGUSR1)
        assert heard == ["program"]
    finally:
        signal.signal(signal.SIGUSR1, before)


FOREVER = """
    import functools, signal

    loop = new_loop()
    again = functools.partial(loop.call_soon)
    again.__setstate__((loop.call_soon, (again,), {}, None))
    loop.call_soon(again)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        loop.run_forever()
    except KeyboardInterrupt:
        print("interrupted")
    loop.close()
"""


def test_a_signal_ends_a_run_whose_callbacks_run_no_python_code(kind: str) -> None:
    """Nothing is watched, and no bytecode runs in which CPython would see the signal."""
    status, out, err = run_code(kind, FOREVER)
    assert (status, out, err) == (0, "interrupted\n", "")
