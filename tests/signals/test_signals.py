"""Signal handlers of the loop, and Ctrl-C wherever it comes."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest

from support.loops import PATIENCE, Factory, run, run_turns, until
from support.programs import code, finish, interrupt_when, run_code, start

Loop = asyncio.AbstractEventLoop


@pytest.fixture(autouse=True)
def _dispositions_are_put_back() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    yield
    after = [signal.getsignal(number) for number in numbers]
    assert after == before
    left = signal.set_wakeup_fd(wakeup)
    assert left == wakeup, "the wake-up descriptor was not put back"


def kill(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_a_handler_runs_in_the_loop(loop: Loop) -> None:
    seen: list[object] = []

    def handler(*arguments: object) -> None:
        assert asyncio.get_running_loop() is loop
        seen.append(arguments)
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, handler, 1, "two")
    loop.call_soon(kill, signal.SIGUSR1)
    loop.run_forever()
    assert seen == [(1, "two")]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_a_parked_loop_is_woken_by_a_signal(loop: Loop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    parent = os.getpid()
    sender = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.05; kill -USR1 {parent}"])
    loop.run_forever()
    sender.wait()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_the_last_handler_of_a_signal_counts(loop: Loop) -> None:
    seen: list[int] = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 2)
    kill(signal.SIGUSR1)
    run(loop, until(lambda: seen))
    loop.remove_signal_handler(signal.SIGUSR1)
    assert seen == [2]


def test_several_signals_each_find_their_handler(loop: Loop) -> None:
    seen: set[str] = set()
    loop.add_signal_handler(signal.SIGUSR1, seen.add, "one")
    loop.add_signal_handler(signal.SIGUSR2, seen.add, "two")
    kill(signal.SIGUSR1)
    kill(signal.SIGUSR2)
    run(loop, until(lambda: len(seen) == 2))
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.remove_signal_handler(signal.SIGUSR2)


def test_a_handler_runs_in_the_context_in_which_it_was_added(loop: Loop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    def main() -> None:
        variable.set("of the adding")
        loop.add_signal_handler(signal.SIGUSR1, lambda: seen.append(variable.get()))

    contextvars.copy_context().run(main)
    kill(signal.SIGUSR1)
    run(loop, until(lambda: seen))
    loop.remove_signal_handler(signal.SIGUSR1)
    assert seen == ["of the adding"]


def test_a_handlers_exception_is_reported(loop: Loop, reports: list[dict[str, Any]]) -> None:
    def handler() -> None:
        raise LookupError

    loop.add_signal_handler(signal.SIGUSR1, handler)
    kill(signal.SIGUSR1)
    run(loop, until(lambda: reports))
    loop.remove_signal_handler(signal.SIGUSR1)
    assert isinstance(reports.pop()["exception"], LookupError)


def test_closing_the_loop_removes_its_handlers(new_loop: Factory) -> None:
    loop = new_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGINT, print)
    assert signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_removing_sigints_handler_brings_back_keyboard_interrupt(loop: Loop) -> None:
    loop.add_signal_handler(signal.SIGINT, print)
    loop.remove_signal_handler(signal.SIGINT)
    loop.call_soon(kill, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_turns(loop, 3)


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (0, ValueError, "invalid signal number 0"),
        (-1, ValueError, "invalid signal number -1"),
        (1000, ValueError, "invalid signal number 1000"),
        (signal.SIGKILL, RuntimeError, f"sig {int(signal.SIGKILL)} cannot be caught"),
        ("text", TypeError, "sig must be an int, not 'text'"),
        (None, TypeError, "sig must be an int, not None"),
    ],
)
def test_what_cannot_be_handled_is_refused(
    loop: Loop, number: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"^{text}$"):
        loop.add_signal_handler(number, print)
    if error is not RuntimeError:
        with pytest.raises(error, match=f"^{text}$"):
            loop.remove_signal_handler(number)


def test_a_coroutine_is_no_handler(loop: Loop) -> None:
    async def coroutine() -> None:
        """Never runs."""

    with pytest.raises(TypeError, match=r"^coroutines cannot be used with add_signal_handler\(\)$"):
        loop.add_signal_handler(signal.SIGUSR1, coroutine)
    made = coroutine()
    with pytest.raises(TypeError):
        loop.add_signal_handler(signal.SIGUSR1, made)  # type: ignore[arg-type] # what is tested
    made.close()


def test_only_the_main_thread_can_add_one(new_loop: Factory) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        loop = new_loop()
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except (RuntimeError, ValueError) as error:
            errors.append(error)
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [RuntimeError]


def test_a_loop_of_another_thread_leaves_signals_alone(new_loop: Factory) -> None:
    runs, end = threading.Event(), threading.Event()

    async def main() -> None:
        runs.set()
        await until(end.is_set)

    def work() -> None:
        loop = new_loop()
        run(loop, main())
        loop.close()

    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as executor:
        working = executor.submit(work)
        assert runs.wait(PATIENCE)
        assert signal.set_wakeup_fd(-1) == -1
        assert signal.getsignal(signal.SIGINT) is before
        end.set()
        working.result(PATIENCE)


def test_a_python_handler_runs_while_the_loop_is_parked(loop: Loop) -> None:
    seen: list[int] = []

    def handler(number: int, _: object) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        run(loop, until(lambda: seen))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert seen == [signal.SIGALRM]


def test_what_a_python_handler_raises_leaves_the_loop(loop: Loop) -> None:
    class Alarm(Exception):
        pass

    def handler(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    loop.call_later(60, loop.stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Alarm):
            loop.run_forever()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not loop.is_running()
    run(loop, asyncio.sleep(0))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_python_handler_of_another_signal_takes_nothing_away(loop: Loop, when: str) -> None:
    seen: list[str] = []

    def handler(*_: object) -> None:
        seen.append("the program's")

    def add() -> None:
        loop.add_signal_handler(signal.SIGUSR1, seen.append, "the loop's")

    previous = signal.getsignal(signal.SIGUSR2)
    try:
        if when == "after":
            add()
        signal.signal(signal.SIGUSR2, handler)
        if when == "before":
            add()
        kill(signal.SIGUSR1)
        run(loop, until(lambda: len(seen) == 1))
        kill(signal.SIGUSR2)
        run(loop, until(lambda: len(seen) == 2))
    finally:
        signal.signal(signal.SIGUSR2, previous)
        loop.remove_signal_handler(signal.SIGUSR1)
    assert seen == ["the loop's", "the program's"]


def test_a_python_handler_of_the_same_signal_runs_beside_the_loops(loop: Loop) -> None:
    """CPython tells the wake-up descriptor of every signal that has a handler in Python."""
    seen: list[str] = []

    def handler(*_: object) -> None:
        seen.append("the program's")

    loop.add_signal_handler(signal.SIGUSR1, seen.append, "the loop's")
    try:
        signal.signal(signal.SIGUSR1, handler)
        for _ in range(2):
            seen.clear()
            loop.call_soon(kill, signal.SIGUSR1)
            run(loop, until(lambda: len(seen) == 2))
            assert sorted(seen) == ["the loop's", "the program's"]
        # It ends both, as asyncio's does.
        assert loop.remove_signal_handler(signal.SIGUSR1) is True
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_a_signal_that_the_program_ignores_later_is_ignored(loop: Loop) -> None:
    seen: list[str] = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "ignored")
    loop.add_signal_handler(signal.SIGUSR2, seen.append, "heard")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    kill(signal.SIGUSR1)
    kill(signal.SIGUSR2)
    run(loop, until(lambda: seen))
    run_turns(loop, 3)
    assert seen == ["heard"]
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "heard again")
    kill(signal.SIGUSR1)
    run(loop, until(lambda: len(seen) == 2))
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.remove_signal_handler(signal.SIGUSR2)


def restarts(number: signal.Signals) -> bool:
    """Whether the kernel starts a system call again that the signal has interrupted."""
    flag = 0x10000000  # SA_RESTART
    # struct sigaction of libc: the handler, 1024 bits of mask, then the flags.
    action = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.sigaction(int(number), None, action) == 0, os.strerror(ctypes.get_errno())
    (flags,) = struct.unpack_from("i", action, struct.calcsize("P") + 1024 // 8)
    return bool(flags & flag)


def test_system_calls_of_others_are_not_interrupted_by_a_handled_signal(loop: Loop) -> None:
    before = signal.signal(signal.SIGUSR2, print)
    try:
        assert not restarts(signal.SIGUSR2), "CPython's own handlers interrupt"
        for _ in range(2):
            loop.add_signal_handler(signal.SIGUSR1, print)
            assert restarts(signal.SIGUSR1)
        signal.siginterrupt(signal.SIGUSR1, True)
        assert not restarts(signal.SIGUSR1)
        loop.add_signal_handler(signal.SIGUSR1, print)
        assert restarts(signal.SIGUSR1)
        assert not restarts(signal.SIGUSR2)
        loop.remove_signal_handler(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR2, before)


PARKED = """
    loop = new_loop()
    try:
        loop.call_soon(lambda: print("parked", flush=True))
        loop.run_forever()
    except KeyboardInterrupt:
        print("interrupted", loop.is_running())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    print("closed")
"""


def test_ctrl_c_leaves_a_parked_loop_that_can_go_on(kind: str) -> None:
    process = start(code(kind, PARKED))
    status, out, err = interrupt_when(process, "parked")
    assert (status, err) == (0, "")
    assert out.split("\n") == ["interrupted False", "closed", ""]


BUSY = """
    loop = new_loop()
    def spin():
        loop.call_soon(spin)
    loop.call_soon(spin)
    loop.call_soon(lambda: print("busy", flush=True))
    try:
        loop.run_forever()
    except KeyboardInterrupt:
        print("interrupted")
    loop.close()
"""


@pytest.mark.ours_only(
    "asyncio may be interrupted while it ends the run, and then still counts as running"
)
def test_ctrl_c_leaves_a_busy_loop(kind: str) -> None:
    status, out, err = interrupt_when(start(code(kind, BUSY)), "busy")
    assert (status, out, err) == (0, "interrupted\n", "")


RUNNER = """
    async def main():
        print("waiting", flush=True)
        try:
            await asyncio.sleep(1000)
        finally:
            print("cleaned up", flush=True)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
"""


@pytest.mark.skipif(not hasattr(asyncio, "Runner"), reason="since 3.11")
def test_ctrl_c_cancels_a_runners_main_task(kind: str) -> None:
    status, out, err = interrupt_when(start(code(kind, RUNNER)), "waiting")
    assert out == "cleaned up\n"
    assert "KeyboardInterrupt" in err
    assert "never retrieved" not in err
    assert status == -signal.SIGINT


SLOW = """
    import time
    async def main():
        print("blocking", flush=True)
        while True:
            # In pieces: a signal between the interpreter's check and the system call would be
            # noticed only after it.
            time.sleep(0.05)
    loop = new_loop()
    try:
        loop.run_until_complete(main())
    except KeyboardInterrupt:
        print("interrupted")
    loop.close()
"""


def test_ctrl_c_interrupts_a_callback_that_blocks(kind: str) -> None:
    status, out, err = interrupt_when(start(code(kind, SLOW)), "blocking")
    assert (status, out) == (0, "interrupted\n"), err


MANY = """
    import os, signal
    loop = new_loop()
    seen = 0
    def handler():
        global seen
        seen += 1
        if seen == 1:
            loop.call_later(0.01, loop.stop)
    loop.add_signal_handler(signal.SIGUSR1, handler)
    def flood():
        # Far more than the wake-up's buffer takes; asyncio writes a traceback for each that is over.
        for _ in range(10_000):
            os.kill(os.getpid(), signal.SIGUSR1)
    loop.call_soon(flood)
    loop.run_forever()
    loop.close()
    print("seen", seen > 0)
"""


@pytest.mark.slow
def test_a_flood_of_signals_overruns_nothing(kind: str) -> None:
    status, out, err = run_code(kind, MANY)
    assert (status, out) == (0, "seen True\n")
    assert kind == "asyncio" or not err


TERMINATED = """
    import signal
    loop = new_loop()
    async def main():
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        print("ready", flush=True)
        await stop.wait()
        print("leaving in order")
    loop.run_until_complete(main())
    loop.close()
"""


def test_a_server_can_leave_in_order_on_sigterm(kind: str) -> None:
    process = start(code(kind, TERMINATED))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert finish(process)[:2] == (0, "leaving in order\n")


@pytest.mark.parametrize("raises", [False, True])
def test_what_a_python_handler_writes_is_sent(loop: Loop, *, raises: bool) -> None:
    """It runs where the wait was interrupted, which is within no callback."""
    here, there = socket.socketpair()
    there.settimeout(20)
    transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=here))

    def handler(*_: object) -> None:
        transport.write(b"from the handler")
        if raises:
            raise KeyError
        loop.call_soon_threadsafe(loop.stop)

    def park() -> None:
        # Only the interrupted wait reports the signal.
        signal.set_wakeup_fd(-1)
        signal.setitimer(signal.ITIMER_REAL, 0.02)

    before = signal.signal(signal.SIGALRM, handler)
    loop.call_soon(park)
    loop.call_later(20, loop.stop)
    try:
        with pytest.raises(KeyError) if raises else nullcontext():
            loop.run_forever()
        assert there.recv(100) == b"from the handler"
    finally:
        signal.signal(signal.SIGALRM, before)
        there.close()
        transport.abort()
    run_turns(loop)
