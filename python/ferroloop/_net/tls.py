"""TLS options, contexts and `start_tls`; the rest is native.

A TlsProtocol owns the session, the stream transport below owns the socket. Called in the loop's thread.
Closing a TLS transport before connection_made does nothing, as in asyncio, so a failed handshake aborts
the transport below.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._compat import (
    SSL_HANDSHAKE_TIMEOUT,
    SSL_SHUTDOWN_TIMEOUT,
    ssl,
    take_buffered_bytes,
)

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from ferroloop._loop.base import LoopBase

__all__ = (
    "SocketTls",
    "check_timeouts",
    "make_protocol",
    "make_ssl_transport",
    "protocol_wrapper",
    "start_tls",
)

#: asyncio's calls before that have no such parameter.
_HAS_SHUTDOWN_TIMEOUT: bool = sys.version_info >= (3, 11)

#: `wrap_bio` refuses it since 3.14.8 and in late patches of 3.13 (gh-156793), an empty name too, which
#: used to be the documented way to check none. Before, `start_tls` without a name accepted any peer.
_REFUSES_NO_NAME: bool = sys.version_info >= (3, 13)


def check_timeouts(
    tls: object, ssl_handshake_timeout: float | None, ssl_shutdown_timeout: float | None
) -> None:
    """Raise ValueError if a timeout (seconds) was given without TLS.

    On 3.10 `ssl_shutdown_timeout`, which asyncio has since 3.11, raises TypeError.
    """
    if ssl_handshake_timeout is not None and not tls:
        raise ValueError("ssl_handshake_timeout is only meaningful with ssl")
    if ssl_shutdown_timeout is not None:
        if not _HAS_SHUTDOWN_TIMEOUT:
            raise TypeError("got an unexpected keyword argument 'ssl_shutdown_timeout'")
        if not tls:
            raise ValueError("ssl_shutdown_timeout is only meaningful with ssl")


def make_protocol(
    loop: LoopBase,
    protocol: asyncio.BaseProtocol,
    context: Any,
    waiter: asyncio.Future[None] | None,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    call_connection_made: bool = True,
) -> _native.TlsProtocol:
    """Return a TLS session around `protocol`; None as `context` makes a default one.

    Raises ValueError for a timeout (seconds) that is not positive and, from Python 3.13 on, for a
    client that is to check a name but is given none; RuntimeError without OpenSSL; and what
    `context.wrap_bio` raises.
    """
    if ssl is None:
        raise RuntimeError("stdlib ssl module not available")
    handshake_timeout = _timeout("ssl_handshake", ssl_handshake_timeout, SSL_HANDSHAKE_TIMEOUT)
    shutdown_timeout = _timeout("ssl_shutdown", ssl_shutdown_timeout, SSL_SHUTDOWN_TIMEOUT)
    if not context:
        context = _default_context(server_side, server_hostname)
    unnamed = server_hostname is None and not server_side
    if unnamed and _REFUSES_NO_NAME and getattr(context, "check_hostname", False):
        raise ValueError("check_hostname requires server_hostname")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ssl_object = context.wrap_bio(
        incoming,
        outgoing,
        server_side=server_side,
        server_hostname=None if server_side else server_hostname or None,
    )
    return _native.TlsProtocol(
        loop,
        protocol,
        context,
        waiter,
        ssl_object,
        incoming,
        outgoing,
        server_side=server_side,
        handshake_timeout=handshake_timeout,
        shutdown_timeout=shutdown_timeout,
        call_connection_made=call_connection_made,
    )


def _timeout(name: str, seconds: float | None, default: float) -> float:
    if seconds is None:
        return default
    if seconds <= 0:
        raise ValueError(f"{name}_timeout should be a positive number, got {seconds}")
    return seconds


def _default_context(server_side: bool, server_hostname: str | None) -> Any:
    """Return the context for `ssl=True`, with the platform's trusted authorities."""
    if server_side:
        raise ValueError("Server side SSL needs a valid SSLContext")
    context = ssl.create_default_context()
    if not server_hostname:
        context.check_hostname = False
    return context


class SocketTls:
    """One TLS transport over the socket transport that it owns, until its handshake is done."""

    __slots__ = ("_below", "_protocol", "transport")

    def __init__(self, loop: LoopBase, sock: socket.socket, protocol: Any, **place: Any) -> None:
        """Put the session `protocol` on `sock`; an exception leaves the socket alone."""
        self._protocol = protocol
        self._below = _native.StreamTransport(loop, sock, protocol, None, **place)
        #: The transport that the program gets.
        self.transport = protocol._app_transport

    def close(self) -> None:
        """Close the transport, and the socket also if the handshake has not begun."""
        self.transport.close()
        if self._protocol._transport is None:
            self._below.abort()


def make_ssl_transport(
    loop: LoopBase,
    rawsock: socket.socket,
    protocol: asyncio.BaseProtocol,
    sslcontext: Any,
    waiter: asyncio.Future[None] | None = None,
    *,
    extra: dict[str, Any] | None = None,
    server: Any = None,
    **options: Any,
) -> Any:
    """Return a TLS transport over `rawsock`, which it owns from then on.

    `options` are those of make_protocol. An exception leaves the socket with the caller.
    Mirrors asyncio's method of the same purpose, `_make_ssl_transport`.
    """
    tls = make_protocol(loop, protocol, sslcontext, waiter, **options)
    return SocketTls(loop, rawsock, tls, extra=extra, server=server).transport


def protocol_wrapper(
    loop: LoopBase,
    context: Any,
    ssl_handshake_timeout: float | None,
    ssl_shutdown_timeout: float | None,
) -> Callable[[asyncio.BaseProtocol], _native.TlsProtocol]:
    """Return a function that puts TLS around the protocol of an incoming connection, for a listener.

    A failed handshake closes its connection, and is reported to the exception handler in debug
    mode, as asyncio does it.
    """

    def make(protocol: asyncio.BaseProtocol) -> _native.TlsProtocol:
        waiter: asyncio.Future[None] = loop.create_future()
        tls = make_protocol(
            loop,
            protocol,
            context,
            waiter,
            server_side=True,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        waiter.add_done_callback(
            functools.partial(_handshake_done, loop, protocol, tls._app_transport)
        )
        return tls

    return make


def _handshake_done(
    loop: LoopBase,
    protocol: asyncio.BaseProtocol,
    transport: Any,
    waiter: asyncio.Future[None],
) -> None:
    """Close and, in debug mode, report an incoming connection whose handshake failed."""
    exception = None if waiter.cancelled() else waiter.exception()
    if exception is None:
        return
    transport.close()
    if loop.get_debug():
        loop.call_exception_handler(
            {
                "message": "Error on transport creation for incoming connection",
                "exception": exception,
                "protocol": protocol,
                "transport": transport,
            }
        )


async def start_tls(
    loop: LoopBase,
    transport: Any,
    protocol: asyncio.BaseProtocol,
    sslcontext: Any,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> Any:
    """Put TLS on an open connection; return the new transport of `protocol`.

    The timeouts are seconds. Raises TypeError if `sslcontext` is no SSLContext or `transport`
    cannot carry TLS, ValueError for a timeout that is not positive, ssl.SSLError or OSError if the
    handshake fails; the connection is closed then. Mirrors asyncio's `start_tls`
    (`ssl_shutdown_timeout`: 3.11). A server takes what its StreamReader had already read as the
    start of the handshake, as asyncio does since late 3.13 and 3.14 patches; and writing that was
    paused before stays paused.
    """
    if ssl is None:
        raise RuntimeError("Python ssl module is not available")
    if not isinstance(sslcontext, ssl.SSLContext):
        raise TypeError(
            f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}"
        )
    if not getattr(transport, "_start_tls_compatible", False):
        raise TypeError(f"transport {transport!r} is not supported by start_tls()")

    waiter: asyncio.Future[None] = loop.create_future()
    tls = make_protocol(
        loop,
        protocol,
        sslcontext,
        waiter,
        server_side=server_side,
        server_hostname=server_hostname,
        ssl_handshake_timeout=ssl_handshake_timeout,
        ssl_shutdown_timeout=ssl_shutdown_timeout,
        call_connection_made=False,
    )
    # Before anything else: data must not reach the TLS protocol ahead of connection_made.
    transport.pause_reading()
    _take_over(tls, transport, protocol if server_side else None)
    transport.set_protocol(tls)
    made = loop.call_soon(tls.connection_made, transport)
    resumed = loop.call_soon(transport.resume_reading)
    try:
        await waiter
    except BaseException:
        transport.close()
        made.cancel()
        resumed.cancel()
        raise
    finally:
        # A failed handshake's exception holds this frame, and the waiter holds the exception.
        del waiter
    return tls._app_transport


def _take_over(tls: Any, transport: Any, reader: asyncio.BaseProtocol | None) -> None:
    """Move what `reader` had buffered, and that writing is paused, into the TLS protocol."""
    if reader is not None:
        data = take_buffered_bytes(reader)
        if data:
            tls._feed(data)
    if getattr(transport, "_protocol_paused", False):
        # asyncio forgets this and then fails an assertion when the transport resumes.
        tls._inherit_pause()
