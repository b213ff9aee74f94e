"""The event loop class: a table of contents over native code and the topic modules.

`call_soon` and everything else that runs for each callback is native (`_native.EventLoop`). The other
methods are functions of the topic modules, which take the loop as their first argument. A loop belongs
to the thread that runs it. Other threads may call `call_soon_threadsafe`, `is_running`, `is_closed` and
`metrics`.
Do not set attributes on an instance (see `base`).
"""

from __future__ import annotations

import time

from ferroloop import _native
from ferroloop._loop import asyncgens as _generators
from ferroloop._loop import environment as _environment
from ferroloop._loop import errors as _errors
from ferroloop._loop import fork as _fork
from ferroloop._loop import lifecycle as _lifecycle
from ferroloop._loop import signals as _signals
from ferroloop._loop.base import LoopBase, LoopState
from ferroloop._loop.later import Topic

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from typing import Any

    from ferroloop._insight import metrics as _metrics
    from ferroloop._insight import slow as _slow
    from ferroloop._loop import executor as _executor
    from ferroloop._loop import jobs as _jobs
    from ferroloop._net import connect as _connect
    from ferroloop._net import datagram as _datagram
    from ferroloop._net import listen as _listen
    from ferroloop._net import resolve as _resolve
    from ferroloop._net import sendfile as _sendfile
    from ferroloop._net import sockets as _sockets
    from ferroloop._net import tls as _tls
    from ferroloop._process import pipes as _pipes
    from ferroloop._process import subprocess as _subprocess
else:
    # Modules that a program may never use are imported at their first use.
    _metrics = Topic("ferroloop._insight.metrics")
    _slow = Topic("ferroloop._insight.slow")
    _executor = Topic("ferroloop._loop.executor")
    _jobs = Topic("ferroloop._loop.jobs")
    _connect = Topic("ferroloop._net.connect")
    _datagram = Topic("ferroloop._net.datagram")
    _listen = Topic("ferroloop._net.listen")
    _resolve = Topic("ferroloop._net.resolve")
    _sendfile = Topic("ferroloop._net.sendfile")
    _sockets = Topic("ferroloop._net.sockets")
    _tls = Topic("ferroloop._net.tls")
    _pipes = Topic("ferroloop._process.pipes")
    _subprocess = Topic("ferroloop._process.subprocess")

__all__ = ("Loop", "new_event_loop")


def _state_property(field: str) -> Any:
    """Return a property with asyncio's private name for a field of LoopState."""

    def get(loop: LoopBase) -> Any:
        return getattr(loop._state, field)

    def put(loop: LoopBase, value: Any) -> None:
        setattr(loop._state, field, value)

    return property(get, put, doc=f"asyncio's name for the loop's `{field}`.")


class Loop(LoopBase):
    """An asyncio event loop written in Rust.

    It has every method of `asyncio.AbstractEventLoop`, and `metrics`. A loop belongs to the thread
    that runs it; other threads may call `call_soon_threadsafe`, `is_running`, `is_closed` and
    `metrics`.
    """

    # The public name, in a loop's repr too: it tells people which loop they are on.
    __module__ = "ferroloop"

    def __init__(self) -> None:
        """Make a loop that is neither running nor closed.

        Debug mode is on if `-X dev` or PYTHONASYNCIODEBUG asks for it. Raises OSError if the
        process is out of descriptors. Mirrors asyncio's event loop classes.
        """
        self._state = LoopState()
        self._set_debug(_environment.asks_for_debug())
        self._follow_time()
        _fork.guard(self)
        _environment.follow_selector(self)
        _environment.follow_environment(self)

    @classmethod
    def _new_event_loop(cls) -> Loop:
        """Return a new event loop that is neither running nor closed.

        Fits asyncio's `loop_factory` arguments (3.11 for Runner, 3.12 for run). Raises OSError if the
        process is out of descriptors. Mirrors `asyncio.new_event_loop`.
        """
        return cls()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make `call_later` use the `call_at` of a subclass, as asyncio's does.

        A class that also derives from `asyncio.BaseEventLoop` keeps ferroloop's methods.
        """
        super().__init_subclass__(**kwargs)
        from ferroloop._loop import subclasses  # noqa: PLC0415 - few programs derive from it

        subclasses.prefer_own(cls, Loop)
        if cls.call_at is not Loop.call_at and cls.call_later is Loop.call_later:
            cls.call_later = subclasses.call_later  # type: ignore[method-assign, assignment]

    # Closing; run_forever and run_until_complete are native
    close = _lifecycle.close
    set_debug = _lifecycle.set_debug
    shutdown_asyncgens = _generators.shutdown_asyncgens
    shutdown_default_executor = _executor.shutdown_default_executor
    metrics = _metrics.metrics
    __repr__ = _lifecycle.describe
    __del__ = _lifecycle.finalize

    # Errors
    get_exception_handler = _errors.get_exception_handler
    set_exception_handler = _errors.set_exception_handler
    default_exception_handler = _errors.default_exception_handler
    call_exception_handler = _errors.call_exception_handler

    # Threads and names
    run_in_executor = _jobs.run_in_executor
    set_default_executor = _executor.set_default_executor
    getaddrinfo = _resolve.getaddrinfo
    getnameinfo = _resolve.getnameinfo

    # Connections and servers
    create_connection = _connect.create_connection
    create_unix_connection = _connect.create_unix_connection
    connect_accepted_socket = _connect.connect_accepted_socket
    create_server = _listen.create_server
    create_unix_server = _listen.create_unix_server
    start_tls = _tls.start_tls
    create_datagram_endpoint = _datagram.create_datagram_endpoint
    sendfile = _sendfile.sendfile

    # Sockets
    sock_connect = _sockets.sock_connect
    sock_accept = _sockets.sock_accept
    sock_recv = _sockets.sock_recv  # type: ignore[assignment]  # asyncio's own loops say n for nbytes
    sock_recv_into = _sockets.sock_recv_into
    sock_recvfrom = _sockets.sock_recvfrom
    sock_recvfrom_into = _sockets.sock_recvfrom_into
    sock_sendall = _sockets.sock_sendall
    sock_sendto = _sockets.sock_sendto
    sock_sendfile = _sendfile.sock_sendfile

    # Pipes, processes, signals
    connect_read_pipe = _pipes.connect_read_pipe
    connect_write_pipe = _pipes.connect_write_pipe
    subprocess_exec = _subprocess.subprocess_exec
    subprocess_shell = _subprocess.subprocess_shell
    add_signal_handler = _signals.add_signal_handler
    remove_signal_handler = _signals.remove_signal_handler

    # What native code calls
    _handle_signals = _signals.handle_signals
    _report_slow = _slow.report_slow
    _report_slow_call = _slow.report_slow_call
    _report_slow_event = _slow.report_slow_event

    # Private methods of asyncio's loop that subclasses override and programs call
    _check_callback = _executor.check_callback
    _check_default_executor = _executor.check_default_executor
    _asyncgen_firstiter_hook = _generators.firstiter_hook
    _asyncgen_finalizer_hook = _generators.finalizer_hook
    _handle_signal = _signals.handle_signal
    _check_signal = _signals.check_signal
    _ensure_resolved = _resolve.ensure_resolved
    _getaddrinfo_debug = _resolve.getaddrinfo_debug
    _make_socket_transport = _connect.make_socket_transport
    _make_datagram_transport = _datagram.make_datagram_transport
    _check_sendfile_params = _sendfile.check_sendfile_params
    _sendfile_native = _sendfile.sendfile_native
    _sendfile_fallback = _sendfile.sendfile_fallback
    _sock_sendfile_native = _sendfile.sock_sendfile_native
    _sock_sendfile_fallback = _sendfile.sock_sendfile_fallback
    _stop_serving = _sockets.stop_serving
    _make_subprocess_transport = _subprocess.make_subprocess_transport
    _log_subprocess = _subprocess.log_subprocess
    _child_watcher_callback = _subprocess.child_watcher_callback
    _make_read_pipe_transport = _pipes.make_read_pipe_transport
    _make_write_pipe_transport = _pipes.make_write_pipe_transport
    _make_ssl_transport = _tls.make_ssl_transport

    # Private fields of asyncio's loop that programs read or replace
    # How much earlier than its deadline a timer is due by a clock that a program controls.
    _clock_resolution = time.get_clock_info("monotonic").resolution
    _asyncgens = _state_property("asyncgens")
    _asyncgens_shutdown_called = _state_property("asyncgens_shutdown_called")
    _default_executor = _state_property("default_executor")
    _exception_handler = _state_property("exception_handler")
    _executor_shutdown_called = _state_property("executor_shutdown_called")
    _old_agen_hooks = _state_property("old_agen_hooks")
    _signal_handlers = _state_property("signal_handlers")

    @property
    def _selector(self) -> Any:
        """The selector that the loop waits by, made at the first access."""
        from ferroloop._loop import selector  # noqa: PLC0415 - few programs ask for it

        return selector.selector_of(self)

    @_selector.setter
    def _selector(self, selector: Any) -> None:
        from ferroloop._loop.selector import replace  # noqa: PLC0415 - few programs replace it

        replace(self, selector)

    @_selector.deleter
    def _selector(self) -> None:
        from ferroloop._loop.selector import give_back  # noqa: PLC0415 - as few give it back

        give_back(self)

    @property
    def _closed(self) -> bool:
        return self.is_closed()

    @property
    def _debug(self) -> bool:
        return self.get_debug()

    @_debug.setter
    def _debug(self, enabled: bool) -> None:
        self._set_debug(bool(enabled))

    @property
    def _coroutine_origin_tracking_enabled(self) -> bool:
        return self._state.origin_tracking_depth is not None


# CPython calls a native method fastest if the object's own class defines it, not a base.
_native._accelerate(Loop)


# A bound method, which a class that has it as an attribute (`loop_factory` of unittest's
# IsolatedAsyncioTestCase) does not bind again.
new_event_loop = Loop._new_event_loop
