"""The transport of one child process, and the watch of its exit.

Owns the watch of the process: a native one on a descriptor of the process, or a thread where the
system has no such descriptors. Only the loop's thread may call.
The calls of the transport, the order of its protocol's events and the end of wait() differ between
patch releases of CPython, so the transport derives from asyncio's own base class. Starting, signalling and
reaping are implemented here, and in fewer steps what the base class of known releases does without pipes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import deque
from contextvars import copy_context
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._compat import BaseSubprocessTransport, logger
from ferroloop._process.popen import start

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ferroloop._loop.base import LoopBase

__all__ = ("SubprocessTransport", "needs_no_task")

#: How often the report of an exit waits for data: 256 KiB each time, and a pipe holds 1 MiB.
_MOST_TURNS = 8

if sys.version_info >= (3, 12):
    _REAPED = "child process pid %d exit status already read:  will report returncode 255"
else:
    _REAPED = "Unknown child process pid %d, will report returncode 255"


def _names(method: str) -> set[str]:
    """What the code of a method of asyncio's class refers to; nothing if it is no function of asyncio's."""
    function = vars(BaseSubprocessTransport).get(method)
    if getattr(function, "__module__", None) != BaseSubprocessTransport.__module__:
        return set()
    return set(getattr(getattr(function, "__code__", None), "co_names", ()))


#: Whether asyncio's class starts and ends a process as that of CPython 3.14 does, which is done here in fewer steps.
_FEWER_STEPS = (
    _names("__init__")
    == {
        *("super", "__init__", "_closed", "_protocol", "_loop", "_proc", "_pid", "_returncode"),
        *("set", "_exit_waiters", "collections", "deque", "_pending_calls", "_pipes"),
        *("_finished", "subprocess", "PIPE", "_start", "close", "pid", "_extra", "get_debug"),
        *("isinstance", "bytes", "str", "logger", "debug", "create_task", "_connect_pipes"),
    }
    and _names("_connect_pipes")
    == {
        *("_proc", "_loop", "stdin", "connect_write_pipe", "_pipes", "stdout", "connect_read_pipe"),
        *("stderr", "_pending_calls", "call_soon", "_protocol", "connection_made", "SystemExit"),
        *("KeyboardInterrupt", "BaseException", "values", "pipe", "close", "cancelled"),
        *("set_exception", "set_result"),
    }
    and _names("_process_exited")
    == {
        *("_returncode", "_loop", "get_debug", "logger", "info", "_proc", "returncode", "_call"),
        *("_protocol", "process_exited", "_try_finish", "_exit_waiters", "done", "set_result"),
    }
    and _names("_try_finish")
    == {
        *("_finished", "_returncode", "all", "_pipes", "values", "_call", "_call_connection_lost"),
    }
    and _names("_call") == {"_pending_calls", "append", "_loop", "call_soon"}
    and _names("_call_connection_lost") == {"_protocol", "connection_lost", "_loop", "_proc"}
)


def needs_no_task(loop: LoopBase, stdin: Any, stdout: Any, stderr: Any) -> bool:
    """Whether a process can be started by `begin`: asyncio's task for connecting the pipes would do nothing."""
    return (
        _FEWER_STEPS
        and PIPE not in (stdin, stdout, stderr)
        and not loop.get_debug()
        # A factory may give an eager task, which takes its first step at once.
        and loop.get_task_factory() is None
    )


class SubprocessTransport(BaseSubprocessTransport):  # type: ignore[misc]  # the base is Any: not in typeshed
    """A child process, started by subprocess.Popen."""

    # The base class's.
    _loop: Any
    _proc: Any
    _pid: Any
    _returncode: Any
    _pipes: Any
    _protocol: Any
    _pending_calls: Any
    _exit_waiters: Any
    _extra: Any
    _watch: _native.ProcessWatch | _ThreadWatch | None = None

    def begin(
        self,
        loop: LoopBase,
        protocol: asyncio.BaseProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        waiter: asyncio.Future[None],
        extra: dict[str, Any] | None,
        kwargs: dict[str, Any],
    ) -> None:
        """Do what `__init__` does if there are no pipes, without a task; `needs_no_task` must hold."""
        self._extra = {} if extra is None else extra
        self._closed = False
        self._protocol = protocol
        self._loop = loop
        self._proc = None
        self._pid = None
        self._returncode = None
        self._exit_waiters = set()
        self._pending_calls = deque()
        self._pipes = {}
        self._finished = False
        try:
            process = start(args, shell, stdin, stdout, stderr, bufsize, kwargs)
        except:
            self.close()
            raise
        self._proc = process
        self._pid = process.pid
        self._extra["subprocess"] = process
        # The context of a task is a copy as well.
        loop.call_soon(self._connected, waiter, context=copy_context())

    def _connected(self, waiter: asyncio.Future[None]) -> None:
        """Call the protocol; there are no pipes to connect."""
        call_soon = self._loop.call_soon
        call_soon(self._protocol.connection_made, self)
        for callback, data in self._pending_calls:
            call_soon(callback, *data)
        self._pending_calls = None
        if not waiter.cancelled():
            waiter.set_result(None)

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

    def _process_exited(self, returncode: int) -> None:
        """Tell the protocol, whose pipes may still have data."""
        loop = self._loop
        if (
            not _FEWER_STEPS
            or self._pipes
            or self._pending_calls is not None
            or self._returncode is not None
            or loop.get_debug()
        ):
            super()._process_exited(returncode)
            return
        self._returncode = returncode
        if self._proc.returncode is None:
            self._proc.returncode = returncode
        loop.call_soon(self._protocol.process_exited)
        self._finished = True
        loop.call_soon(self._call_connection_lost, None)
        for waiter in self._exit_waiters:
            if not waiter.done():
                waiter.set_result(returncode)
        self._exit_waiters = None

    def _call_connection_lost(self, exc: Exception | None) -> None:
        if self._loop.get_debug():
            self._note_about(self._loop._current_handle)
        elif _FEWER_STEPS:
            try:
                self._protocol.connection_lost(exc)
            finally:
                self._loop = None
                self._proc = None
                self._protocol = None
            return
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
