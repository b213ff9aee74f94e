"""Child processes: what subprocess_exec and subprocess_shell do once for each.

Owns nothing. The loop's thread may call, which need not be the main thread.
Up to CPython 3.13 a program may have set a child watcher of its own class; that one is
told of each process, as asyncio tells it, while asyncio's own watchers are neither asked nor
touched.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ferroloop._compat import child_watcher_in_charge, logger
from ferroloop._process.process import SubprocessTransport

if TYPE_CHECKING:
    from ferroloop._loop.base import LoopBase, ProtocolFactory

__all__ = (
    "child_watcher_callback",
    "make_subprocess_transport",
    "subprocess_exec",
    "subprocess_shell",
)


async def subprocess_exec(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    program: Any,
    *args: Any,
    stdin: Any = subprocess.PIPE,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    universal_newlines: bool = False,
    shell: bool = False,
    bufsize: int = 0,
    encoding: str | None = None,
    errors: str | None = None,
    text: bool | None = None,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """Run `program` with `args`; return (transport, protocol) once the pipes are connected.

    `kwargs` are those of subprocess.Popen. Raises ValueError for arguments that would make text of
    the pipes' bytes, and what Popen raises: OSError, TypeError, SubprocessError.
    Mirrors asyncio's `subprocess_exec`.
    """
    _refuse_text(universal_newlines, shell, False, bufsize, text, encoding, errors)
    protocol = protocol_factory()
    title = f"execute program {program!r}" if loop.get_debug() else ""
    if title:
        _log_start(title, stdin, stdout, stderr)
    transport = await loop._make_subprocess_transport(
        protocol, (program, *args), False, stdin, stdout, stderr, bufsize, **kwargs
    )
    if title and loop.get_debug():
        logger.info("%s: %r", title, transport)
    return transport, protocol


async def subprocess_shell(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    cmd: Any,
    *,
    stdin: Any = subprocess.PIPE,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    universal_newlines: bool = False,
    shell: bool = True,
    bufsize: int = 0,
    encoding: str | None = None,
    errors: str | None = None,
    text: bool | None = None,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """Run the shell command `cmd`, str or bytes; else as subprocess_exec.

    Mirrors asyncio's `subprocess_shell`.
    """
    if not isinstance(cmd, (bytes, str)):
        raise ValueError("cmd must be a string")
    _refuse_text(universal_newlines, shell, True, bufsize, text, encoding, errors)
    protocol = protocol_factory()
    title = f"run shell command {cmd!r}" if loop.get_debug() else ""
    if title:
        _log_start(title, stdin, stdout, stderr)
    transport = await loop._make_subprocess_transport(
        protocol, cmd, True, stdin, stdout, stderr, bufsize, **kwargs
    )
    if title and loop.get_debug():
        logger.info("%s: %r", title, transport)
    return transport, protocol


def _refuse_text(
    universal_newlines: bool,
    shell: bool,
    wanted_shell: bool,
    bufsize: int,
    text: bool | None,
    encoding: str | None,
    errors: str | None,
) -> None:
    """Raise asyncio's ValueError for the first argument that a byte stream cannot have."""
    if universal_newlines:
        raise ValueError("universal_newlines must be False")
    if bool(shell) is not wanted_shell:
        raise ValueError(f"shell must be {wanted_shell}")
    if bufsize != 0:
        raise ValueError("bufsize must be 0")
    if text:
        raise ValueError("text must be False")
    if encoding is not None:
        raise ValueError("encoding must be None")
    if errors is not None:
        raise ValueError("errors must be None")


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
    """A program's own child watcher tells, in any thread, that the process has exited."""
    loop.call_soon_threadsafe(transp._process_exited, returncode)


def _log_start(title: str, stdin: Any, stdout: Any, stderr: Any) -> None:
    """Log what is about to run; not its arguments, which may hold a password."""
    info = [title]
    if stdin is not None:
        info.append(f"stdin={_stream_name(stdin)}")
    if stdout is not None and stderr == subprocess.STDOUT:
        info.append(f"stdout=stderr={_stream_name(stdout)}")
    else:
        if stdout is not None:
            info.append(f"stdout={_stream_name(stdout)}")
        if stderr is not None:
            info.append(f"stderr={_stream_name(stderr)}")
    logger.debug(" ".join(info))


def _stream_name(stream: Any) -> str:
    names = {subprocess.PIPE: "<pipe>", subprocess.STDOUT: "<stdout>"}
    return names.get(stream, repr(stream)) if isinstance(stream, int) else repr(stream)
