"""The base classes of the loop and the fields of its Python side.

Owns LoopState, the Python side's fields, kept in the native slot `_state`; only the loop's thread
changes them, except `default_executor`, which a shutdown thread reads.
Do not set attributes on a loop instance: CPython specialises `loop.call_soon` only while the instance
has no materialised `__dict__`. Add a field to LoopState instead.
"""

from __future__ import annotations

import asyncio
import threading
import weakref

from ferroloop import _native

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    import concurrent.futures
    import selectors
    import socket
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from typing import IO, Any, TypeAlias

    from typing_extensions import TypeVarTuple

    Ts = TypeVarTuple("Ts")  # in annotations only: Python has it since 3.11
    ExceptionHandler: TypeAlias = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]
    AddressInfo: TypeAlias = tuple[int, int, int, str, Any]
    ProtocolFactory: TypeAlias = Callable[[], asyncio.BaseProtocol]

__all__ = ("LoopBase", "LoopState")


#: Held while a monitor enters a loop's state.
_monitors = threading.RLock()


class LoopState:
    """The Python side's fields of one loop."""

    __slots__ = (
        "_asyncgens",
        "asyncgens_shutdown_called",
        "default_executor",
        "environment_monitor",
        "exception_handler",
        "executor_shutdown_called",
        "lookups",
        "monitor",
        "old_agen_hooks",
        "origin_tracking_depth",
        "selector",
        "signal_handlers",
    )

    def __init__(self) -> None:
        """Make the fields of a loop that has not run yet."""
        self._asyncgens: weakref.WeakSet[AsyncGenerator[Any, Any]] | None = None
        self.asyncgens_shutdown_called = False
        #: Made by the first run_in_executor(None, ...), or set by the program.
        self.default_executor: concurrent.futures.Executor | None = None
        self.executor_shutdown_called = False
        #: The threads for look-ups of names; made by the first look-up.
        self.lookups: Any = None
        #: The monitor that was started, until it is stopped.
        self.monitor: Any = None
        #: The monitor that environment variables asked for, until another one takes its place.
        self.environment_monitor: Any = None
        #: The program's handler; None means default_exception_handler.
        self.exception_handler: ExceptionHandler | None = None
        #: The generator hooks to put back when the run ends; None outside a run.
        self.old_agen_hooks: Any = None
        #: The origin tracking depth to put back; None while tracking is off.
        self.origin_tracking_depth: int | None = None
        #: The selector that the loop waits with, once a program has asked for `loop._selector`.
        self.selector: selectors.BaseSelector | None = None
        #: Signal number to the handle that its delivery runs.
        self.signal_handlers: dict[int, asyncio.Handle] = {}

    @property
    def asyncgens(self) -> weakref.WeakSet[AsyncGenerator[Any, Any]]:
        """Async generators that were iterated on this loop and are not finished; made at the first access.

        Weak, so that an abandoned one is finalized rather than kept until shutdown.
        """
        if self._asyncgens is None:
            self._asyncgens = weakref.WeakSet()
        return self._asyncgens

    @asyncgens.setter
    def asyncgens(self, generators: Any) -> None:
        self._asyncgens = generators

    def set_monitor(self, monitor: Any) -> bool:
        """Note a monitor; False if there is one. One step, since any thread may start one.

        The environment's monitor gives way to another one: it is stopped.
        """
        former = self.environment_monitor
        if former is not None and former is not monitor:
            self.environment_monitor = None
            former.stop()
        with _monitors:
            if self.monitor is not None:
                return False
            self.monitor = monitor
            return True


class LoopBase(_native.EventLoop, asyncio.AbstractEventLoop):
    """The bases of Loop, under a name that topic modules can import without a cycle."""

    _state: LoopState

    if TYPE_CHECKING:
        # asyncio's own overridable methods, defined in Loop. Topic modules call them, so that a
        # subclass can override them.
        def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...
        def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None: ...
        def _handle_signal(self, sig: int) -> None: ...

        _getaddrinfo_debug: Callable[[Any, Any, int, int, int, int], list[Any]]

        async def _ensure_resolved(
            self,
            address: Any,
            *,
            family: int = 0,
            type: int = 0,  # noqa: A002 - asyncio's name
            proto: int = 0,
            flags: int = 0,
        ) -> list[AddressInfo]: ...
        def _check_sendfile_params(
            self, sock: socket.socket, file: IO[bytes], offset: Any, count: Any
        ) -> None: ...
        async def _sendfile_native(
            self, transport: Any, file: IO[bytes], offset: int, count: int | None
        ) -> int: ...
        async def _sendfile_fallback(
            self, transport: Any, file: IO[bytes], offset: int, count: int | None
        ) -> int: ...
        async def _sock_sendfile_native(
            self, sock: socket.socket, file: IO[bytes], offset: int, count: int | None
        ) -> int: ...
        async def _sock_sendfile_fallback(
            self, sock: socket.socket, file: IO[bytes], offset: int, count: int | None
        ) -> int: ...
        def _make_datagram_transport(
            self,
            sock: socket.socket,
            protocol: asyncio.BaseProtocol,
            address: Any = None,
            waiter: asyncio.Future[None] | None = None,
            extra: dict[str, Any] | None = None,
        ) -> _native.DatagramTransport: ...
        def _make_socket_transport(
            self,
            sock: socket.socket,
            protocol: asyncio.BaseProtocol,
            waiter: asyncio.Future[None] | None = None,
            *,
            extra: dict[str, Any] | None = None,
            server: Any = None,
        ) -> _native.StreamTransport: ...

        # The three have the parameters of the functions in `_process` that define them.
        _make_read_pipe_transport: Callable[..., _native.ReadPipeTransport]
        _make_write_pipe_transport: Callable[..., _native.WritePipeTransport]
        _make_subprocess_transport: Callable[..., Awaitable[Any]]

        def _child_watcher_callback(self, pid: int, returncode: int, transp: Any) -> None: ...
