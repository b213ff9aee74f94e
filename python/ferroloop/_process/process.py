"""The transport of one child process, and the watch of its exit.

Owns the watch of the process: a native one on a descriptor of the process, or a thread where the
system has no such descriptors. Only the loop's thread may call.
The calls of the transport, the order of its protocol's events and the end of wait() differ between
patch releases of CPython, so the transport derives from asyncio's own base class. Only starting,
signalling and reaping are implemented here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._compat import BaseSubprocessTransport, logger
from ferroloop._process.popen import start

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ferroloop._loop.base import LoopBase

__all__ = ("SubprocessTransport",)

#: How often the report of an exit waits for data: 256 KiB each time, and a pipe holds 1 MiB.
_MOST_TURNS = 8

if sys.version_info >= (3, 12):
    _REAPED = "child process pid %d exit status already read:  will report returncode 255"
else:
    _REAPED = "Unknown child process pid %d, will report returncode 255"


class SubprocessTransport(BaseSubprocessTransport):  # type: ignore[misc]  # the base is Any: not in typeshed
    """A child process, started by subprocess.Popen."""

    _loop: LoopBase
    _watch: _native.ProcessWatch | _ThreadWatch | None = None

    def _start(
        self,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        **kwargs: Any,
    ) -> None:
        """Start the process; the base class calls it once."""
        self._proc = start(args, shell, stdin, stdout, stderr, bufsize, kwargs)

    def _call(self, cb: Any, *data: Any) -> None:
        """Queue a call of the protocol, if its pipes are connected, or else once they are.

        In debug mode the handle has the names for a report.
        """
        if not self._loop.get_debug():
            super()._call(cb, *data)
        elif self._pending_calls is not None:
            super()._call(_EarlyCall(self, cb), *data)
        else:
            self._note_about(self._loop.call_soon(cb, *data))

    def _call_connection_lost(self, exc: Exception | None) -> None:
        if self._loop.get_debug():
            self._note_about(self._loop._current_handle)
        super()._call_connection_lost(exc)

    def _note_about(self, handle: asyncio.Handle | None) -> None:
        """Have the report of a slow callback name this transport and the protocol."""
        if isinstance(handle, _native.Handle):
            handle._about = (self, self._protocol, None)

    def watch_exit(self) -> None:
        """Begin to wait for the exit of the process."""
        try:
            self._watch = _native.ProcessWatch(self._loop, self._pid, self._on_exit)
        except ProcessLookupError:
            # Other code has reaped it already, for example a handler of SIGCHLD.
            self._loop.call_soon(self._on_exit)
        except OSError:
            # No descriptors of processes on this system or in this sandbox, or none are left.
            self._watch = _ThreadWatch(self._loop, self._pid, self._on_exit)

    def _on_exit(self) -> None:
        """Handle the exit of the process, which was reaped by the watch or by other code."""
        watch = self._watch
        returncode = None if watch is None else watch.returncode
        if returncode is None:
            # `Popen.poll()` of the program's, or of asyncio's `close`, came first.
            returncode = self._proc.returncode
        elif self._proc.returncode is None:
            self._proc.returncode = returncode
        if returncode is None:
            logger.warning(_REAPED, self._pid)
            returncode = 255
        elif sys.version_info < (3, 12) and self._loop.get_debug():
            logger.debug("process %s exited with returncode %s", self._pid, returncode)
        if self._pipes:
            # The events of this turn may hold data of the process behind its exit.
            self._loop.call_soon(self._report_exit, returncode, _MOST_TURNS)
        else:
            self._process_exited(returncode)

    def _report_exit(self, returncode: int, turns: int) -> None:
        """Call the protocol after all output of the process was read."""
        if turns and any(self._has_data(fd) for fd in (1, 2)):
            self._loop.call_soon(self._report_exit, returncode, turns - 1)
        else:
            self._process_exited(returncode)

    def _has_data(self, fd: int) -> bool:
        pipe = getattr(self._pipes.get(fd), "pipe", None)
        return isinstance(pipe, _native.ReadPipeTransport) and pipe._waiting() > 0

    def send_signal(self, signal: int) -> None:
        """Send a signal to the process, if it has not exited.

        Raises ProcessLookupError once the transport is finished. Where the system allows it the
        signal cannot hit another process that got the same number.
        """
        self._check_proc()
        if self._returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            watch = self._watch
            if isinstance(watch, _native.ProcessWatch):
                watch.send_signal(signal)
            elif watch is None or watch.returncode is None:
                os.kill(self._pid, signal)

    def terminate(self) -> None:
        """Send SIGTERM to the process."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process."""
        self.send_signal(signal.SIGKILL)


class _EarlyCall:
    """A call of the protocol before its pipes are connected, with the name of the method."""

    def __init__(self, transport: SubprocessTransport, method: Any) -> None:
        self._transport = transport
        self._method = method
        self.__self__ = getattr(method, "__self__", None)
        self.__qualname__ = getattr(method, "__qualname__", repr(method))

    def __call__(self, *data: Any) -> None:
        self._transport._note_about(self._transport._loop._current_handle)
        self._method(*data)


class _ThreadWatch:
    """Waits for the exit of a child process in a thread, and reaps it in the loop's."""

    def __init__(self, loop: LoopBase, pid: int, callback: Callable[[], None]) -> None:
        #: The exit status; None before it is known, and if other code has reaped the process.
        self.returncode: int | None = None
        self._pid = pid
        self._callback = callback
        thread = threading.Thread(
            target=self._wait, args=(loop,), name=f"ferroloop-waitpid-{pid}", daemon=True
        )
        thread.start()

    def _wait(self, loop: LoopBase) -> None:
        # WNOWAIT leaves the status to the loop's thread, so that it knows as soon as the number
        # may be another process's.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        try:
            loop.call_soon_threadsafe(self._reap)
        except RuntimeError:
            logger.warning("Loop %r that handles pid %r is closed", loop, self._pid)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(self._pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status)
        self._callback()
