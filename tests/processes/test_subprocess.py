"""Child processes: starting, their pipes, their exit, signals, cancellation, child watchers."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from ferroloop import _native
from support.errors import Reports
from support.loops import PATIENCE, Factory, run, until

Loop = asyncio.AbstractEventLoop
PIPE = asyncio.subprocess.PIPE
GONE = (asyncio.CancelledError, ProcessLookupError)


class Events(asyncio.SubprocessProtocol):
    """Remembers what a process did, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data = {1: b"", 2: b""}
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.events.append("connection_made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.data[fd] += data
        self.events.append(f"data {fd}")

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        assert exc is None
        self.events.append(f"lost {fd}")

    def process_exited(self) -> None:
        self.events.append("exited")

    def connection_lost(self, exc: Exception | None) -> None:
        assert exc is None
        self.events.append("connection_lost")

    async def finished(self) -> None:
        await until(lambda: "connection_lost" in self.events)


async def started(*args: Any, **kwargs: Any) -> tuple[Any, Events]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(Events, *args, **kwargs)
    return transport, protocol


def is_gone(pid: int) -> bool:
    """Whether no process, not even an unreaped one, has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9)])
async def test_a_process_ends_with_its_status(loop: Loop, command: str, status: int) -> None:
    process = await asyncio.create_subprocess_shell(command)
    assert await process.wait() == status
    assert process.returncode == status
    assert await process.wait() == status
    assert is_gone(process.pid)


async def test_a_process_talks_through_its_pipes(loop: Loop) -> None:
    data = os.urandom(300_000)
    command = "tee /dev/stderr"
    process = await asyncio.create_subprocess_shell(command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert await process.communicate(data) == (data, data)
    assert process.returncode == 0


async def test_the_protocol_hears_everything_in_order(loop: Loop) -> None:
    transport, protocol = await started("cat")
    transport.get_pipe_transport(0).write(b"hello")
    await until(lambda: protocol.data[1] == b"hello")
    transport.get_pipe_transport(0).close()
    await protocol.finished()
    events = protocol.events
    assert events[0] == "connection_made"
    assert events[-1] == "connection_lost"
    assert sorted(events[1:-1]) == ["data 1", "exited", "lost 0", "lost 1", "lost 2"]
    assert transport.get_returncode() == 0
    transport.close()


@pytest.mark.ours_only("asyncio reports the exit one turn later, and may reap in a thread")
@pytest.mark.parametrize("size", [10, 60_000, 900_000])
async def test_all_data_comes_before_the_exit(loop: Loop, size: int) -> None:
    command = f"read line; exec head -c {size} /dev/zero"
    transport, protocol = await started("sh", "-c", command, stderr=None, pipesize=1 << 20)
    transport.get_pipe_transport(0).write(b"go\n")
    # The process ends while the loop is away: both are ready in the same poll.
    os.waitid(os.P_PID, transport.get_pid(), os.WEXITED | os.WNOWAIT)
    await until(lambda: "exited" in protocol.events)
    assert len(protocol.data[1]) == size
    await protocol.finished()
    transport.close()


async def test_an_exit_is_reported_while_a_grandchild_holds_the_pipe(loop: Loop) -> None:
    transport, protocol = await started("sh", "-c", "sleep 1000 & echo $!", stderr=None)
    await until(lambda: "exited" in protocol.events and protocol.data[1])
    assert "lost 1" not in protocol.events
    assert transport.get_returncode() == 0
    os.kill(int(protocol.data[1]), signal.SIGKILL)
    await protocol.finished()
    assert protocol.events[-1] == "connection_lost"
    transport.close()


async def test_pipes_show_up_as_transports(loop: Loop) -> None:
    process, protocol = await started("cat", stderr=subprocess.STDOUT)
    assert isinstance(process, asyncio.SubprocessTransport)
    transport: Any = process
    assert isinstance(transport.get_pipe_transport(0), asyncio.WriteTransport)
    assert isinstance(transport.get_pipe_transport(1), asyncio.ReadTransport)
    assert transport.get_pipe_transport(2) is None
    assert transport.get_extra_info("subprocess").pid == transport.get_pid()
    assert transport.get_protocol() is protocol
    assert f"SubprocessTransport pid={transport.get_pid()} running stdin=<" in repr(transport)
    transport.get_pipe_transport(0).close()
    await protocol.finished()
    assert f"pid={transport.get_pid()} returncode=0" in repr(transport)
    transport.close()
    assert transport.is_closing()


@pytest.mark.parametrize(
    ("name", "number"), [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)]
)
async def test_a_process_is_signalled(loop: Loop, name: str, number: int) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    getattr(process, name)()
    assert await process.wait() == -number


async def test_any_signal_can_be_sent(loop: Loop) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    process.send_signal(signal.SIGHUP)
    assert await process.wait() == -signal.SIGHUP
    transport, protocol = await started("true", stdin=None, stdout=None, stderr=None)
    await until(lambda: "exited" in protocol.events)
    await protocol.finished()
    await asyncio.sleep(0)
    for call in (transport.kill, transport.terminate):
        with pytest.raises(ProcessLookupError):
            call()
    with pytest.raises(ProcessLookupError):
        transport.send_signal(signal.SIGHUP)
    transport.close()


@pytest.mark.ours_only("asyncio's thread may have reaped it")
async def test_a_signal_between_exit_and_its_report_does_nothing(loop: Loop) -> None:
    process = await asyncio.create_subprocess_exec("head", "-c", "1", stdin=PIPE, stdout=-3)
    assert process.stdin is not None
    process.stdin.write(b"x")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    process.kill()
    assert await process.wait() == 0


@pytest.mark.ours_only("which text asyncio logs depends on its child watcher")
async def test_a_child_that_somebody_else_reaped_counts_as_255(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)
    process.kill()
    assert await process.wait() == 255
    text = f"{process.pid}, will" if sys.version_info < (3, 12) else f"{process.pid} exit status"
    assert text in caplog.text
    assert caplog.text.count("will report returncode 255") == 1


@pytest.mark.ours_only("asyncio's watcher raises ProcessLookupError here")
async def test_a_child_that_was_reaped_at_once_counts_as_255(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reaped(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            os.waitpid(self.pid, 0)

    monkeypatch.setattr(subprocess, "Popen", Reaped)
    process = await asyncio.create_subprocess_exec("true")
    assert await process.wait() == 255


async def test_no_thread_and_no_signal_handler_is_needed(loop: Loop, kind: str) -> None:
    if kind == "asyncio" and sys.version_info < (3, 12):
        pytest.skip("asyncio takes a thread")

    threads = threading.active_count()
    handler = signal.getsignal(signal.SIGCHLD)
    processes = [await asyncio.create_subprocess_exec("sleep", "1000") for _ in range(3)]
    assert threading.active_count() == threads
    assert signal.getsignal(signal.SIGCHLD) == handler
    for process in processes:
        process.kill()
        await process.wait()


def test_loops_in_several_threads_run_processes_at_once(new_loop: Factory) -> None:
    failures: list[BaseException] = []

    async def work() -> None:
        for number in range(5):
            process = await asyncio.create_subprocess_shell(f"cat; exit {number}", PIPE, PIPE)
            assert (await process.communicate(b"x" * 1000))[0] == b"x" * 1000
            assert process.returncode == number

    def in_thread() -> None:
        loop = new_loop()
        try:
            run(loop, work())
        except BaseException as exc:
            failures.append(exc)
        finally:
            loop.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        threads = [threading.Thread(target=in_thread) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert not failures


def test_a_cancelled_start_leaves_no_process(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []
    task: asyncio.Task[Any]

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            pids.append(self.pid)
            loop.call_soon(task.cancel)

    async def main() -> None:
        nonlocal task
        monkeypatch.setattr(subprocess, "Popen", Noted)
        starting = asyncio.create_subprocess_exec("sleep", "1000", stdin=PIPE, stdout=PIPE)
        task = asyncio.ensure_future(starting)
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: is_gone(pids[0]))
        await asyncio.sleep(0.01)

    run(loop, main())
    gc.collect()


async def test_closing_the_transport_kills_the_process(loop: Loop) -> None:
    transport, protocol = await started("sleep", "1000")
    transport.close()
    transport.close()
    await protocol.finished()
    assert transport.get_returncode() == -signal.SIGKILL
    assert is_gone(transport.get_pid())


async def test_an_exception_of_the_protocol_is_reported(loop: Loop, reports: Reports) -> None:
    class Failing(Events):
        def process_exited(self) -> None:
            super().process_exited()
            raise ZeroDivisionError

    transport, protocol = await loop.subprocess_exec(
        Failing, "true", stdin=None, stdout=None, stderr=None
    )
    await protocol.finished()
    transport.close()
    assert isinstance(reports.take()["exception"], ZeroDivisionError)


@pytest.mark.ours_only("the fallback is ours")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM, errno.EMFILE])
async def test_processes_are_waited_for_without_descriptors_too(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    class Refused:
        def __init__(self, *args: Any) -> None:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(_native, "ProcessWatch", Refused)
    process = await asyncio.create_subprocess_shell("exit 5")
    assert await process.wait() == 5
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    process.kill()
    assert await process.wait() == -9


async def test_debug_mode_logs_no_arguments(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_debug(True)
    with caplog.at_level("DEBUG", logger="asyncio"):
        process = await asyncio.create_subprocess_exec("echo", "secret", stdout=PIPE)
        await process.communicate()
    assert "execute program 'echo' stdout=<pipe>" in caplog.text
    assert "process 'echo' created: pid" in caplog.text
    assert "exited with return code 0" in caplog.text
    assert "secret" not in caplog.text


def set_child_watcher(watcher: Any) -> None:
    asyncio.set_child_watcher(watcher)  # type: ignore[attr-defined,unused-ignore]  # gone in 3.14


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="child watchers went with 3.14")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestChildWatchers:
    def test_a_watcher_of_the_program_is_told(self, loop: Loop) -> None:
        class Watcher(asyncio.ThreadedChildWatcher):  # type: ignore[misc,name-defined,unused-ignore]  # gone in 3.14
            def __init__(self) -> None:
                super().__init__()
                self.pids: list[int] = []

            def add_child_handler(self, pid: int, callback: Any, *args: Any) -> None:  # type: ignore[override,unused-ignore]  # wider
                self.pids.append(pid)
                super().add_child_handler(pid, callback, *args)

        async def main() -> None:
            process = await asyncio.create_subprocess_shell("exit 4")
            assert await process.wait() == 4
            assert watcher.pids == [process.pid]

        watcher = Watcher()
        set_child_watcher(watcher)
        try:
            run(loop, main())
        finally:
            set_child_watcher(None)

    @pytest.mark.ours_only("asyncio refuses a watcher that is not attached")
    @pytest.mark.parametrize("name", ["SafeChildWatcher", "FastChildWatcher", "PidfdChildWatcher"])
    def test_watchers_of_asyncio_are_left_alone(self, loop: Loop, name: str) -> None:
        async def main() -> None:
            process = await asyncio.create_subprocess_shell("exit 4")
            assert await process.wait() == 4

        watcher = getattr(asyncio, name)()
        set_child_watcher(watcher)
        before = {**vars(watcher)}
        try:
            run(loop, main())
            assert vars(watcher) == before
        finally:
            set_child_watcher(None)
            watcher.close()


@pytest.mark.ours_only("asyncio starts it and leaves it to the collector")
def test_no_process_is_started_on_a_closed_loop(
    loop: Loop, new_loop: Factory, tmp_path: Path
) -> None:
    closed = new_loop()
    closed.close()
    made = tmp_path / "made"
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        run(loop, closed.subprocess_exec(asyncio.SubprocessProtocol, "touch", str(made)))
    assert not made.exists()


@pytest.mark.ours_only("asyncio has lost it since 3.12")
async def test_a_status_that_popen_took_is_reported(loop: Loop) -> None:
    class Polling(asyncio.SubprocessProtocol):
        def __init__(self) -> None:
            self.exited = loop.create_future()

        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            transport.get_extra_info("subprocess").wait()

        def process_exited(self) -> None:
            self.exited.set_result(self.transport.get_returncode())

    transport, protocol = await loop.subprocess_exec(
        Polling, sys.executable, "-c", "raise SystemExit(3)", stdin=None, stdout=None
    )
    assert await protocol.exited == 3
    transport.close()
