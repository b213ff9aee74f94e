"""Child processes: subprocess_exec and subprocess_shell.

Only the loop's thread may call; it need not be the main thread. The two calls are asyncio's own code,
which calls `make_subprocess_transport`. Up to CPython 3.13 a program may have set a child watcher of its
own class. It is told of each process, as on asyncio. asyncio's own watchers are not used.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from ferroloop._compat import (
    LOG_SUBPROCESS,
    SUBPROCESS_EXEC,
    SUBPROCESS_SHELL,
    borrow,
    child_watcher_in_charge,
)
from ferroloop._process.process import SubprocessTransport

if TYPE_CHECKING:
    from ferroloop._loop.base import LoopBase

__all__ = (
    "child_watcher_callback",
    "log_subprocess",
    "make_subprocess_transport",
    "subprocess_exec",
    "subprocess_shell",
)


subprocess_exec = borrow(
    SUBPROCESS_EXEC,
    """Run `program` with `args`; return (transport, protocol) once the pipes are connected.

    `kwargs` are those of subprocess.Popen. Raises ValueError for arguments that would make text of
    the pipes' bytes, and what Popen raises: OSError, TypeError, SubprocessError.
    asyncio's own code; the process is started and waited for by ferroloop.
    """,
)

subprocess_shell = borrow(
    SUBPROCESS_SHELL,
    """Run the shell command `cmd`, str or bytes; else as subprocess_exec.""",
)

log_subprocess = LOG_SUBPROCESS


async def make_subprocess_transport(
    loop: LoopBase,
    protocol: asyncio.BaseProtocol,
    args: Any,
    shell: bool,
    stdin: Any,
    stdout: Any,
    stderr: Any,
    bufsize: int,
    extra: dict[str, Any] | None = None,
    **kwargs: Any,
) -> SubprocessTransport:
    """Start the process and wait until its pipes are connected.

    If that is cancelled or fails, the process is killed and reaped first.
    Mirrors asyncio's `_make_subprocess_transport`.
    """
    # Before the process starts: asyncio finds out afterwards and leaves the process alone.
    loop._check_closed()
    waiter = loop.create_future()

    arguments = (loop, protocol, args, shell, stdin, stdout, stderr, bufsize, waiter, extra)
    watcher = child_watcher_in_charge()
    if watcher is None:
        transport = SubprocessTransport(*arguments, **kwargs)
        transport.watch_exit()
        return await _connected(transport, waiter)
    with watcher as entered:
        if sys.version_info < (3, 12):
            watcher = entered
        if not watcher.is_active():
            raise RuntimeError(
                "asyncio.get_child_watcher() is not activated, subprocess support is not installed."
            )
        transport = SubprocessTransport(*arguments, **kwargs)
        watcher.add_child_handler(transport.get_pid(), loop._child_watcher_callback, transport)
        return await _connected(transport, waiter)


async def _connected(
    transport: SubprocessTransport, waiter: asyncio.Future[None]
) -> SubprocessTransport:
    try:
        await waiter
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        transport.close()
        await asyncio.tasks.shield(transport._wait())
        raise
    return transport


def child_watcher_callback(
    loop: LoopBase, pid: int, returncode: int, transp: SubprocessTransport
) -> None:
    """Called by a program's own child watcher, in any thread, when the process has exited."""
    loop.call_soon_threadsafe(transp._process_exited, returncode)
