"""subprocess_exec, subprocess_shell, asyncio.create_subprocess_* and the transport."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import Any

from surface.probe import Probe, case, no_protocol, raising

P = asyncio.SubprocessProtocol
PIPE = subprocess.PIPE


@case
async def wrong_arguments(p: Probe) -> None:
    run, shell = p.loop.subprocess_exec, p.loop.subprocess_shell
    await p.wait(run)
    await p.wait(shell)
    await p.wait(run, P)
    await p.wait(shell, P)
    for call in (run, shell):
        await p.wait(call, P, 5)
        await p.wait(call, P, None)
        await p.wait(call, P, "true", universal_newlines=True)
        await p.wait(call, P, "true", text=True)
        await p.wait(call, P, "true", encoding="utf-8")
        await p.wait(call, P, "true", errors="strict")
        await p.wait(call, P, "true", bufsize=1)
        await p.wait(call, P, "true", bufsize=-1)
        await p.wait(call, P, "true", unknown=1)
        await p.wait(call, P, "true", stdin="x")
        await p.wait(call, P, "true", stdout=-99)
        await p.wait(call, P, "true", cwd="/no/such/folder")
        await p.wait(call, P, "true", cwd=5)
        await p.wait(call, P, "true", env=5)
        await p.wait(call, P, "true", env={"a=b": "c"})
    await p.wait(run, P, "true", shell=True)
    await p.wait(shell, P, "true", shell=False)
    await p.wait(shell, P, ["true"])
    await p.wait(run, P, ["true"])
    await p.wait(run, P, "/no/such/program")
    await p.wait(run, P, "/")
    await p.wait(run, P, "true\0false")
    await p.wait(run, P, "")
    await p.wait(run, P, "true", preexec_fn=5)
    await p.wait(run, P, "true", pass_fds=5)
    if sys.version_info >= (3, 11):  # before, Popen leaves its pipes open
        await p.wait(run, P, "true", user=-2)
    await p.wait(run, P, "true", umask="x")
    await p.wait(run, None, "true")
    await asyncio.sleep(0.001)


@case
async def high_level_arguments(p: Probe) -> None:
    await p.wait(asyncio.create_subprocess_exec)
    await p.wait(asyncio.create_subprocess_exec, "/no/such/program")
    await p.wait(asyncio.create_subprocess_exec, "true", text=True)
    await p.wait(asyncio.create_subprocess_shell, 5)
    await p.wait(asyncio.create_subprocess_exec, 5)


class _Seen(P):
    def __init__(self, p: Probe) -> None:
        self.p = p
        self.ended = asyncio.Event()
        self.lost = asyncio.Event()
        self.data: dict[int, bytes] = {}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.data[fd] = self.data.get(fd, b"") + data

    def process_exited(self) -> None:
        self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.p.note("lost", (exc, sorted(self.data.items())))
        self.lost.set()


@case
async def transports(p: Probe) -> None:
    transport, protocol = await p.loop.subprocess_exec(lambda: _Seen(p), "cat", stderr=None)
    p.note("kind", isinstance(transport, asyncio.SubprocessTransport))
    p.note("pid", type(transport.get_pid()))
    p.attempt(transport.get_pid, 1)
    p.attempt(transport.get_protocol, 1)
    p.attempt(transport.get_extra_info)
    p.attempt(transport.get_extra_info, "none", 5)
    p.attempt(transport.set_protocol)
    p.attempt(transport.set_protocol, protocol)
    p.attempt(transport.get_returncode)
    for fd in (0, 1, 2, 3, -1, "x"):
        p.attempt(transport.get_pipe_transport, fd)
    p.note("extra", type(transport.get_extra_info("subprocess")).__name__)
    p.note("protocol", transport.get_protocol() is protocol)
    p.attempt(transport.is_closing)
    p.attempt(transport.send_signal)
    p.attempt(transport.send_signal, "x")
    p.attempt(transport.send_signal, 9999)
    writing = transport.get_pipe_transport(0)
    writing.write(b"through")
    writing.write_eof()
    await protocol.ended.wait()
    await protocol.lost.wait()
    p.attempt(transport.get_returncode)
    p.attempt(transport.send_signal, signal.SIGTERM)
    p.attempt(transport.terminate)
    p.attempt(transport.kill)
    p.attempt(transport.close)
    p.attempt(transport.close)
    p.attempt(transport.is_closing)
    p.attempt(transport.get_pid().__class__)
    p.note("repr", repr(transport).partition(" pid")[0][-20:])


@case
async def signals(p: Probe) -> None:
    for method in ("terminate", "kill", "close"):
        transport, protocol = await p.loop.subprocess_exec(lambda: _Seen(p), "sleep", "100")
        p.attempt(getattr(transport, method))
        await protocol.lost.wait()
        p.attempt(transport.get_returncode)
        transport.close()
    process = await asyncio.create_subprocess_exec("sleep", "100")
    p.attempt(process.send_signal, signal.SIGUSR1)
    await p.wait(process.wait)
    p.note("status", process.returncode)


@case
async def results(p: Probe) -> None:
    process = await p.wait(asyncio.create_subprocess_exec, "cat", stdin=PIPE, stdout=PIPE)
    await p.wait(process.communicate, b"input")
    p.note("status", process.returncode)
    transport: Any = process._transport
    while transport._proc is not None:  # which the last turns of the transport let go
        await asyncio.sleep(0)
    p.attempt(process.terminate)
    process = await p.wait(
        asyncio.create_subprocess_shell, "echo out; echo err >&2; exit 3", stdout=PIPE, stderr=PIPE
    )
    await p.wait(process.communicate)
    await p.wait(process.wait)
    p.note("status", process.returncode)
    process = await p.wait(
        asyncio.create_subprocess_shell,
        "echo out; echo err >&2",
        stdout=PIPE,
        stderr=subprocess.STDOUT,
    )
    await p.wait(process.communicate)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import os; print(sorted(os.environ))"), stdout=PIPE, env={"A": "b"}
    )
    out: Any = process.stdout
    await p.wait(lambda: out.read(5))
    await p.wait(process.communicate)


@case
async def protocols_that_fail(p: Probe) -> None:
    raises = raising(P, "connection_made")
    await p.wait(p.loop.subprocess_exec, no_protocol, "true")
    made = await p.wait(p.loop.subprocess_exec, raises, "true")
    # Closed while the process ends, it would be reaped by one of two that race for it.
    await made[0]._wait()
    made[0].close()
    await asyncio.sleep(0.001)
