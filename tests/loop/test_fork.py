"""os.fork() and multiprocessing in and around a running loop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.loops import Factory, turns, until
from support.net.pipes import reading
from support.net.protocols import Recorder
from support.programs import finish, run_code, start

Loop = asyncio.AbstractEventLoop

pytestmark = [
    # Since 3.12 Python warns of fork in a process with threads, which a test before may have left.
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]


def in_child(body: Callable[[], object]) -> None:
    """Run `body` in a forked child, which must not raise and takes what it says to its end."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(r)
            body()
            status = 0
        except BaseException:
            os.write(w, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(w)
    with open(r, "rb") as report:
        said = report.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said


def polled() -> list[str]:
    """What the epoll sets of this process watch, by their lines in /proc."""
    return [
        line
        for number in os.listdir("/proc/self/fdinfo")
        if Path(f"/proc/self/fdinfo/{number}").exists()
        for line in Path(f"/proc/self/fdinfo/{number}").read_text(encoding="utf-8").splitlines()
        if line.startswith("tfd:")
    ]


async def test_a_child_sees_no_running_loop(loop: Loop) -> None:
    def body() -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()

    in_child(body)
    assert asyncio.get_running_loop() is loop


async def test_a_child_can_run_a_loop_of_its_own(loop: Loop, new_loop: Factory) -> None:
    async def inside() -> int:
        process = await asyncio.create_subprocess_shell("exit 3")
        await asyncio.sleep(0.001)
        return await process.wait()

    def body() -> None:
        own = new_loop()
        assert own.run_until_complete(inside()) == 3
        own.close()

    in_child(body)
    await asyncio.sleep(0)


@pytest.mark.ours_only("asyncio's child shares the parent's epoll set")
@pytest.mark.parametrize(
    "use",
    [
        lambda loop: loop.call_soon(print),
        lambda loop: loop.call_soon_threadsafe(print),
        lambda loop: loop.call_later(1, print),
        lambda loop: loop.add_reader(0, print),
        lambda loop: loop.run_forever(),
        lambda loop: loop.run_until_complete(loop.create_future()),
    ],
)
async def test_a_child_cannot_use_its_parents_loop(
    loop: Loop, use: Callable[[Any], object]
) -> None:
    def body() -> None:
        with pytest.raises(RuntimeError, match="closed: a forked child cannot use"):
            use(loop)
        assert loop.is_closed()
        assert not loop.is_running()
        loop.close()

    in_child(body)
    in_child(body)


@pytest.mark.ours_only("asyncio's child shares the parent's epoll set")
async def test_closing_things_in_a_child_does_not_disturb_the_parent(loop: Loop) -> None:
    r, w = os.pipe()
    protocol = Recorder()
    transport, _ = await reading(r, protocol)
    other, far = os.pipe()
    heard: list[bytes] = []
    loop.add_reader(other, lambda: heard.append(os.read(other, 10)))

    def body() -> None:
        transport.close()
        loop.remove_reader(other)
        loop.close()
        assert not polled()

    before = polled()
    in_child(body)
    assert polled() == before
    os.write(w, b"still here")
    os.write(far, b"x")
    assert await protocol.wait_data(10) == b"still here"
    await until(lambda: heard == [b"x"])
    loop.remove_reader(other)
    os.close(other)
    os.close(far)
    os.close(w)
    await protocol.wait_lost()


async def test_signals_of_a_child_are_not_its_parents(loop: Loop, kind: str) -> None:
    if kind == "asyncio" and sys.version_info < (3, 12):
        pytest.skip("asyncio resets the wake-up descriptor since 3.12")

    heard: list[int] = []
    loop.add_signal_handler(signal.SIGUSR1, heard.append, 1)

    def body() -> None:
        assert signal.set_wakeup_fd(-1) == -1
        os.kill(os.getpid(), signal.SIGUSR1)

    in_child(body)
    await turns()
    assert not heard
    os.kill(os.getpid(), signal.SIGUSR1)
    await until(lambda: heard == [1])
    loop.remove_signal_handler(signal.SIGUSR1)


def test_a_child_runs_none_of_its_parents_callbacks_or_cleanups(kind: str) -> None:
    status, out, err = run_code(
        kind,
        """
        import os, sys

        async def waiting():
            try:
                await asyncio.sleep(1000)
            finally:
                print("cleaned up", flush=True)

        async def main():
            task = asyncio.ensure_future(waiting())
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(print, "queued")
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
            await asyncio.sleep(0)
            task.cancel()

        loop = new_loop()
        loop.run_until_complete(main())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        """,
    )
    assert (status, out, err) == (0, "queued\ncleaned up\n", "")


PROGRAM = """
import asyncio, importlib, multiprocessing, sys

async def inside():
    await asyncio.sleep(0.001)
    process = await asyncio.create_subprocess_exec("echo", "from a grandchild", stdout=-1)
    return (await process.communicate())[0].decode()

def new_loop(kind):
    return importlib.import_module(kind).new_event_loop()

def work(kind, results):
    loop = new_loop(kind)
    results.send(loop.run_until_complete(inside()))
    loop.close()

async def main(kind, method):
    loop = asyncio.get_running_loop()
    processes = multiprocessing.get_context(method)
    receiving, sending = processes.Pipe(duplex=False)
    process = processes.Process(target=work, args=(kind, sending))
    process.start()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    await ended.wait()
    loop.remove_reader(process.sentinel)
    process.join()
    print(process.exitcode, receiving.recv(), end="")

if __name__ == "__main__":
    loop = new_loop(sys.argv[1])
    loop.run_until_complete(main(*sys.argv[1:]))
    loop.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing_works_inside_a_running_loop(
    kind: str, method: str, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    status, out, err = finish(start([str(program), kind, method]))
    assert (status, out, err) == (0, "0 from a grandchild\n", "")


async def test_a_connection_that_a_child_keeps_does_not_reach_its_parent_again(loop: Loop) -> None:
    accepted: list[Recorder] = []

    def factory() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    first, second = socket.create_connection(address), socket.socket()
    await until(lambda: accepted and accepted[0].events)
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        # Lives, with its copy of the connection, until the parent has seen enough.
        os.close(w)
        os.read(r, 1)
        os._exit(0)
    accepted[0].transport.abort()
    await accepted[0].wait_lost()
    first.send(b"nobody reads this")
    second.connect(address)
    second.send(b"mine")
    await until(lambda: len(accepted) == 2)
    assert await accepted[1].wait_data(4) == b"mine"
    assert accepted[0].events == ["connection_made", "connection_lost"]
    os.close(w)
    os.waitpid(pid, 0)
    os.close(r)
    accepted[1].transport.abort()
    await accepted[1].wait_lost()
    first.close()
    second.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("runner", ["run", "Runner"])
def test_a_child_that_exits_within_a_coroutine_keeps_its_status(kind: str, runner: str) -> None:
    if runner == "Runner" and sys.version_info < (3, 11):
        pytest.skip("since 3.11")
    if sys.version_info >= (3, 14):
        pytest.skip("the interpreter itself ends such a task with a RuntimeError")
    status, out, err = run_code(
        kind,
        f"""
        import os, sys

        async def main():
            child = os.fork()
            if not child:
                sys.exit(3)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

        if {runner!r} == "Runner":
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(main())
        else:
            loop = new_loop()
            loop.run_until_complete(main())
            loop.close()
        """,
        env={"PYTHONWARNINGS": "ignore::DeprecationWarning"},
    )
    assert (status, out.split(), err) == (0, ["3"], "")
