"""The server: listening sockets and the connections that they accepted.

Owns its sockets and their listeners; called in the loop's thread. Native code counts the
connections and calls `_wakeup` when the last one of a closed server has gone.
It is a subclass of asyncio's own Server, so that `serve_forever`, `wait_closed` and other methods that
changed between patch releases behave as on the running CPython.
"""

from __future__ import annotations

import asyncio
import contextvars
import posix  # not os: see blockbuster in docs/compatibility/introspection.md
import sys
from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._compat import logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ferroloop._loop.base import LoopBase, ProtocolFactory

__all__ = ("Server",)


class Server(_native.ServerBase, asyncio.Server):
    """What create_server and create_unix_server return; made by them only."""

    def __init__(  # asyncio's own is not called: its count of connections is native here
        self,
        loop: LoopBase,
        sockets: list[socket.socket],
        protocol_factory: ProtocolFactory,
        ssl_context: Any,
        backlog: int,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        *,
        tls: Callable[[asyncio.BaseProtocol], _native.TlsProtocol] | None = None,
        to_unlink: dict[Any, tuple[int, int]] | None = None,
    ) -> None:
        """Own `sockets`, bound and not yet listening.

        `tls` puts TLS around a protocol; `to_unlink` maps paths to the device and inode that they
        must still have at the end.
        """
        self._loop = loop
        self._sockets: list[socket.socket] | None = sockets
        self._protocol_factory = protocol_factory
        self._tls = tls
        self._ssl_context = ssl_context
        self._backlog = backlog
        self._ssl_handshake_timeout = ssl_handshake_timeout
        self._ssl_shutdown_timeout = ssl_shutdown_timeout
        self._to_unlink = to_unlink or {}
        self._listeners: list[_native.Listener] = []
        self._waiters: list[asyncio.Future[None]] | None = []
        self._serving = False
        self._serving_forever_fut: asyncio.Future[None] | None = None
        #: Connections run in copies of it since 3.15 (gh-140947).
        self._context = contextvars.copy_context()

    def close(self) -> None:
        """Stop listening; connections stay open. Mirrors asyncio's `Server.close`."""
        sockets = self._sockets
        if sockets is None:
            return
        self._sockets = None
        self._stop_listening()
        for sock in sockets:
            sock.close()
        to_unlink, self._to_unlink = self._to_unlink, {}
        for path, identity in to_unlink.items():
            _unlink(path, identity)

        forever, self._serving_forever_fut = self._serving_forever_fut, None
        if forever is not None and not forever.done():
            forever.cancel()
        if self._active_count == 0:
            self._wakeup()

    def close_clients(self) -> None:
        """Close every connection after its written data is sent.

        Mirrors asyncio's `Server.close_clients` (3.13), here on every version.
        """
        for transport in self._transports():
            transport.close()

    def abort_clients(self) -> None:
        """Close every connection at once. Mirrors `Server.abort_clients` (3.13), as above."""
        for transport in self._transports():
            transport.abort()

    def _start_serving(self) -> None:
        """Listen and accept; asyncio's start_serving and serve_forever call it."""
        if self._serving:
            return
        self._serving = True
        # A closed server has none, and what iterating over that raises is what asyncio raises.
        for sock in self._sockets:  # type: ignore[union-attr]  # see above
            sock.listen(self._backlog)
            listener = _native.Listener(
                self._loop, sock, self._protocol_factory, self._backlog, self, self._tls
            )
            self._listeners.append(listener)
            if sys.version_info >= (3, 15):
                self._context.run(listener.start)
            else:
                listener.start()

    def _stop_listening(self) -> None:
        """Stop accepting; the sockets stay open."""
        self._serving = False
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.stop()

    def _wakeup(self) -> None:
        """Wake the waiters of wait_closed, once."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)


def _unlink(path: Any, identity: tuple[int, int]) -> None:
    """Remove the socket file at `path` if it is still the one with `identity`."""
    try:
        info = posix.stat(path)
        if (info.st_dev, info.st_ino) == identity:
            posix.unlink(path)
    except FileNotFoundError:
        return
    except OSError as exc:
        logger.error("Unable to clean up listening UNIX socket %r: %r", path, exc)
