"""Outgoing connections: create_connection, create_unix_connection, connect_accepted_socket.

Owns each socket from its creation until a transport has it; called in the loop's thread.
At every moment exactly one of this coroutine, a transport and the caller has to close a socket. There
is no await between taking a socket and passing it to the next owner.
"""

from __future__ import annotations

import _socket
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._compat import logger
from ferroloop._net.attempts import close_quietly, connect_any, interleave_infos
from ferroloop._net.binding import check_path_or_sock
from ferroloop._net.resolve import ensure_resolved
from ferroloop._net.sockets import SOCKET_CLASS, check_ssl_socket, sock_connect, wait_connected
from ferroloop._net.tls import SocketTls, check_timeouts, make_protocol

if TYPE_CHECKING:
    import asyncio

    from ferroloop._loop.base import AddressInfo, LoopBase, ProtocolFactory

__all__ = (
    "connect_accepted_socket",
    "create_connection",
    "create_unix_connection",
    "make_socket_transport",
)


def _file_of(function: Any) -> str | None:
    """The file that a function was written in, if it is one."""
    return getattr(getattr(function, "__code__", None), "co_filename", None)


#: The function that native code skips; None if it was replaced before ferroloop was imported.
_socket_init: Any = (
    SOCKET_CLASS.__init__
    if _file_of(SOCKET_CLASS.__init__) == _file_of(SOCKET_CLASS.detach) is not None
    else None
)
#: The argument `tls` of `_make_transport` for a connection without TLS.
_NO_TLS = (None, None, None, None)


async def create_connection(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    host: str | None = None,
    port: int | str | None = None,
    *,
    ssl: Any = None,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    sock: socket.socket | None = None,
    local_addr: tuple[str, int] | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    happy_eyeballs_delay: float | None = None,
    interleave: int | None = None,
    all_errors: bool = False,
) -> tuple[Any, Any]:
    """Connect over TCP (or take the connected `sock`) and return (transport, protocol).

    Timeouts and `happy_eyeballs_delay` are seconds. Raises ValueError for arguments that exclude
    each other, TypeError for an SSLSocket, OSError (with `all_errors` an ExceptionGroup of them)
    if no address could be connected, ssl.SSLError if the handshake failed.
    Mirrors asyncio's `create_connection`; `ssl_shutdown_timeout` is from 3.11, `all_errors` from
    3.12 (taken here from 3.11 on). A socket that this call opened is always closed on failure; the
    caller's `sock` only where asyncio does it, since 3.14.
    """
    if (
        sock is None
        and local_addr is None
        and server_hostname is None
        and happy_eyeballs_delay is None
        and ssl_handshake_timeout is None
        and ssl_shutdown_timeout is None
        and not (ssl or interleave or all_errors)
    ):
        begun = _begin_literal(loop, protocol_factory, host, port, family, proto)
        if begun is not None:
            return await _finish_literal(loop, protocol_factory, begun)
    if ssl or server_hostname is not None:
        server_hostname = _hostname_to_verify(host, ssl, server_hostname)
    check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    is_ours = host is not None or port is not None
    if not is_ours:
        _check_stream_socket(sock)
    elif sock is not None:
        check_ssl_socket(sock)
        raise ValueError("host/port and sock can not be specified at the same time")
    else:
        hints = (family, proto, flags)
        infos = await _resolve(loop, (host, port), hints)
        local_infos = None if local_addr is None else await _resolve(loop, local_addr, hints)
        if interleave or (interleave is None and happy_eyeballs_delay is not None):
            infos = interleave_infos(infos, interleave or 1)
        sock = await connect_any(loop, infos, local_infos, happy_eyeballs_delay, all_errors)

    tls = (ssl, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout)
    transport, protocol = await _make_transport(loop, sock, protocol_factory, tls, is_ours)
    if loop.get_debug():
        text = "%r connected to %s:%r: (%r, %r)"
        used = transport.get_extra_info("socket")
        logger.debug(text, used, host, port, transport, protocol)
    return transport, protocol


def _begin_literal(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    host: Any,
    port: Any,
    family: int,
    proto: int,
) -> tuple[Any, Any, asyncio.Future[None] | None] | None:
    """Connect to a numeric `host` natively; return None for everything else.

    Also returns None if the program has replaced a function that the general path calls, for
    example to observe or to forbid connections.
    """
    if (
        socket.socket is SOCKET_CLASS
        and SOCKET_CLASS.__init__ is _socket_init
        and SOCKET_CLASS.connect is _socket.socket.connect
        and getattr(loop.sock_connect, "__func__", None) is sock_connect
        and getattr(loop._ensure_resolved, "__func__", None) is ensure_resolved
        and getattr(loop._make_socket_transport, "__func__", None) is make_socket_transport
    ):
        return loop._connect_literal(protocol_factory, host, port, family, proto)
    return None


async def _finish_literal(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    begun: tuple[Any, Any, asyncio.Future[None] | None],
) -> tuple[Any, Any]:
    """Wait for the connection that `_begin_literal` began."""
    transport, protocol, waiter = begun
    if waiter is not None:
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol
    sock, address, _ = begun
    try:
        await wait_connected(loop, sock, address)
    except BaseException:
        close_quietly(sock)
        raise
    return await _make_transport(loop, sock, protocol_factory, _NO_TLS, is_ours=True)


async def create_unix_connection(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    path: Any = None,
    *,
    ssl: Any = None,
    sock: socket.socket | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> tuple[Any, Any]:
    """Connect to the Unix socket `path` (or take `sock`) and return (transport, protocol).

    `path` is str, bytes or path-like; the timeouts are seconds. Raises ValueError for arguments
    that exclude each other or a `sock` that is no Unix stream, OSError if the connection fails.
    Mirrors asyncio's `create_unix_connection`; `ssl_shutdown_timeout` is from 3.11.
    """
    if server_hostname is not None and not isinstance(server_hostname, str):
        raise AssertionError  # an assert statement in asyncio
    if ssl:
        if server_hostname is None:
            raise ValueError("you have to pass server_hostname when using ssl")
    elif server_hostname is not None:
        raise ValueError("server_hostname is only meaningful with ssl")
    check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)

    check_path_or_sock(path, sock, "no path and sock were specified")
    is_ours = sock is None
    if sock is None:
        path = os.fspath(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, path)
        except BaseException:
            sock.close()
            raise

    tls = (ssl, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout)
    return await _make_transport(loop, sock, protocol_factory, tls, is_ours)


async def connect_accepted_socket(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    sock: socket.socket,
    *,
    ssl: Any = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> tuple[Any, Any]:
    """Make a transport for a connection that was accepted elsewhere; (transport, protocol).

    The timeouts are seconds. Raises ValueError if `sock` is no stream socket or a timeout comes
    without `ssl`, TypeError for an SSLSocket, ssl.SSLError if the handshake failed.
    Mirrors asyncio's `connect_accepted_socket`; `ssl_shutdown_timeout` is from 3.11.
    """
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")
    check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    check_ssl_socket(sock)
    tls = (ssl, "", ssl_handshake_timeout, ssl_shutdown_timeout)
    transport, protocol = await _make_transport(
        loop, sock, protocol_factory, tls, is_ours=False, server_side=True
    )
    if loop.get_debug():
        logger.debug(
            "%r handled: (%r, %r)", transport.get_extra_info("socket"), transport, protocol
        )
    return transport, protocol


def make_socket_transport(
    loop: LoopBase,
    sock: socket.socket,
    protocol: asyncio.BaseProtocol,
    waiter: asyncio.Future[None] | None = None,
    *,
    extra: dict[str, Any] | None = None,
    server: Any = None,
) -> _native.StreamTransport:
    """Return a transport that owns `sock`; an exception leaves the socket with the caller.

    Mirrors asyncio's method of the same purpose, `_make_socket_transport`.
    """
    return _native.StreamTransport(loop, sock, protocol, waiter, extra, server)


async def _make_transport(
    loop: LoopBase,
    sock: Any,
    protocol_factory: ProtocolFactory,
    tls: tuple[Any, str | None, float | None, float | None],
    is_ours: bool,
    server_side: bool = False,
) -> tuple[Any, Any]:
    """Put a new protocol on the connected `sock` and wait until its connection is made.

    `tls` is asyncio's `ssl` argument, the name to verify, and the handshake and shutdown timeouts.
    """
    owner: Any
    if not is_ours:
        # Before this call has to close the socket: the descriptor may belong to another transport.
        loop._ensure_fd_no_transport(sock)
    try:
        if not is_ours:
            sock.setblocking(False)
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = loop.create_future()
        if tls[0]:
            owner = _put_tls(loop, sock, protocol, waiter, tls, server_side)
            transport = owner.transport
        else:
            owner = transport = loop._make_socket_transport(sock, protocol, waiter)
    except BaseException:
        # asyncio closes the caller's socket too since 3.14 (gh-153133).
        if is_ours or sys.version_info >= (3, 14):
            sock.close()
        raise
    try:
        await waiter
    except BaseException:
        owner.close()
        raise
    finally:
        # A failed handshake's exception holds this frame, and the waiter holds the exception.
        del waiter
    return transport, protocol


def _put_tls(
    loop: LoopBase,
    sock: socket.socket,
    protocol: asyncio.BaseProtocol,
    waiter: asyncio.Future[None],
    tls: tuple[Any, str | None, float | None, float | None],
    server_side: bool,
) -> SocketTls:
    """Put TLS on `sock`; `tls` as in _make_transport."""
    context, server_hostname, handshake_timeout, shutdown_timeout = tls
    ssl_protocol = make_protocol(
        loop,
        protocol,
        None if isinstance(context, bool) else context,
        waiter,
        server_side=server_side,
        server_hostname=server_hostname,
        ssl_handshake_timeout=handshake_timeout,
        ssl_shutdown_timeout=shutdown_timeout,
    )
    return SocketTls(loop, sock, ssl_protocol)


def _check_stream_socket(sock: socket.socket | None) -> None:
    """Raise unless the caller's `sock` is a stream socket; Unix ones have always been taken."""
    if sock is None:
        raise ValueError("host and port was not specified and no sock specified")
    check_ssl_socket(sock)
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")


def _hostname_to_verify(host: str | None, tls: Any, server_hostname: str | None) -> str | None:
    """Return the name that the peer's certificate must have; "" verifies no name."""
    if server_hostname is not None and not tls:
        raise ValueError("server_hostname is only meaningful with ssl")
    if server_hostname is not None or not tls:
        return server_hostname
    if not host:
        raise ValueError("You must set server_hostname when using ssl without a host")
    return host


async def _resolve(loop: LoopBase, address: Any, hints: tuple[int, int, int]) -> list[AddressInfo]:
    """Address infos for `address`, at least one; `hints` are family, proto and flags."""
    family, proto, flags = hints
    infos = await loop._ensure_resolved(
        address, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags
    )
    if not infos:
        raise OSError("getaddrinfo() returned empty list")
    return infos
