"""Listening: create_server and create_unix_server.

Owns the listening sockets from their creation until a Server has them; called in the loop's thread.
An IPv6 socket does not accept IPv4 connections (IPV6_V6ONLY), so that one host name can be bound on both
families at the same port.
"""

from __future__ import annotations

import asyncio
import collections.abc
import errno
import itertools
import os
import posix  # not os: see blockbuster in docs/compatibility/introspection.md
import socket
import sys
from typing import TYPE_CHECKING, Any

from ferroloop._compat import logger
from ferroloop._net.binding import check_path_or_sock, is_file, remove_stale, set_reuse_port
from ferroloop._net.server import Server
from ferroloop._net.sockets import check_ssl_socket
from ferroloop._net.tls import check_timeouts, protocol_wrapper

if TYPE_CHECKING:
    from ferroloop._loop.base import AddressInfo, LoopBase, ProtocolFactory

__all__ = ("create_server", "create_unix_server")

#: Whether asyncio of this version removes a Unix socket's file when its server closes.
_CLEANUP_BY_DEFAULT = sys.version_info >= (3, 13)


async def create_server(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    host: Any = None,
    port: int | str | None = None,
    *,
    family: int = socket.AF_UNSPEC,
    flags: int = socket.AI_PASSIVE,
    sock: socket.socket | None = None,
    backlog: int = 100,
    ssl: Any = None,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    keep_alive: bool | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
) -> Server:
    """Listen on `host` (a name, several, or None or "" for every interface) and return the Server.

    `backlog` is in connections, the timeouts are seconds. Raises TypeError for a boolean `ssl` or
    an SSLSocket, ValueError for arguments that exclude each other or options that the system does
    not have, OSError if an address cannot be bound; an address that this machine does not have is
    skipped as long as another one is left (3.13).
    Mirrors asyncio's `create_server`; `ssl_shutdown_timeout` is from 3.11, `keep_alive` from 3.13
    and taken here on every version.
    """
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    check_timeouts(ssl is not None, ssl_handshake_timeout, ssl_shutdown_timeout)
    if sock is not None:
        check_ssl_socket(sock)

    if host is not None or port is not None:
        if sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        infos = await _resolve_all(loop, _hosts(host), port, family, flags)
        if reuse_address is None:
            reuse_address = os.name == "posix" and sys.platform != "cygwin"
        options = {
            "SO_REUSEADDR": bool(reuse_address),
            "SO_REUSEPORT": bool(reuse_port),
            "SO_KEEPALIVE": bool(keep_alive),
        }
        sockets = _bind_all(loop, infos, options)
    elif sock is None:
        raise ValueError("Neither host/port nor sock were specified")
    elif sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")
    else:
        sockets = [sock]

    tls = (ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    server = await _serve(
        loop, sockets, protocol_factory, backlog, tls, start_serving, {}, is_ours=sock is None
    )
    if loop.get_debug():
        logger.info("%r is serving", server)
    return server


async def create_unix_server(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    path: Any = None,
    *,
    sock: socket.socket | None = None,
    backlog: int = 100,
    ssl: Any = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
    cleanup_socket: bool = _CLEANUP_BY_DEFAULT,
) -> Server:
    """Listen on the Unix socket `path` (str, bytes, path-like) or on `sock`; return the Server.

    A stale socket file is replaced. `backlog` is in connections, the timeouts are seconds.
    Raises TypeError for a boolean `ssl`, ValueError for arguments that exclude each other or a
    `sock` that is no Unix stream, OSError if the path cannot be bound.
    Mirrors asyncio's `create_unix_server`; `ssl_shutdown_timeout` is from 3.11, `cleanup_socket`
    from 3.13: taken here on every version, but off by default before.
    """
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)

    check_path_or_sock(path, sock, "path was not specified, and no sock specified")
    is_ours = sock is None
    if sock is None:
        sock = _bind_path(os.fspath(path))

    to_unlink = _file_of(sock) if cleanup_socket else {}
    tls = (ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    return await _serve(
        loop, [sock], protocol_factory, backlog, tls, start_serving, to_unlink, is_ours=is_ours
    )


async def _serve(
    loop: LoopBase,
    sockets: list[socket.socket],
    protocol_factory: ProtocolFactory,
    backlog: int,
    tls: tuple[Any, float | None, float | None],
    start_serving: bool,
    to_unlink: dict[Any, tuple[int, int]],
    *,
    is_ours: bool,
) -> Server:
    """Make a Server of `sockets`, and start it if `start_serving` is true.

    On failure or cancellation the sockets stop accepting, and are closed if this call made them.
    """
    for sock in sockets:
        sock.setblocking(False)
    context, *timeouts = tls
    server = Server(
        loop,
        sockets,
        protocol_factory,
        context,
        backlog,
        *timeouts,
        tls=protocol_wrapper(loop, context, *timeouts) if context else None,
        to_unlink=to_unlink,
    )
    if start_serving:
        try:
            server._start_serving()
            # One turn, as in asyncio, so that a connection that waits is accepted.
            await asyncio.tasks.sleep(0)
        except BaseException:
            if is_ours:
                server.close()
            else:
                server._stop_listening()
            raise
    return server


def _hosts(host: Any) -> list[Any]:
    """The hosts that create_server's `host` stands for."""
    if host == "":
        return [None]
    if isinstance(host, str) or not isinstance(host, collections.abc.Iterable):
        return [host]
    return list(host)


async def _resolve_all(
    loop: LoopBase, hosts: list[Any], port: Any, family: int, flags: int
) -> list[AddressInfo]:
    """The address infos of all `hosts`, each once."""
    found = await asyncio.tasks.gather(
        *[_resolve(loop, host, port, family, flags) for host in hosts]
    )
    return list(dict.fromkeys(itertools.chain.from_iterable(found)))


async def _resolve(
    loop: LoopBase, host: Any, port: Any, family: int, flags: int
) -> list[AddressInfo]:
    infos = await loop._ensure_resolved(
        (host, port), family=family, type=socket.SOCK_STREAM, flags=flags
    )
    if not infos:
        raise OSError(f"getaddrinfo({host!r}) returned empty list")
    return infos


def _bind_all(
    loop: LoopBase, infos: list[AddressInfo], options: dict[str, bool]
) -> list[socket.socket]:
    """A bound socket for each of `infos` that this machine has; all or none."""
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, address in infos:
            try:
                sock = socket.socket(family, kind, proto)
            except OSError:
                # The system has no such family.
                if loop.get_debug():
                    logger.warning(
                        "create_server() failed to create socket.socket(%r, %r, %r)",
                        family,
                        kind,
                        proto,
                        exc_info=True,
                    )
                continue
            sockets.append(sock)
            _set_options(sock, options)
            problem = _bind(sock, address)
            if problem is not None:
                sockets.pop().close()
                if loop.get_debug():
                    logger.warning(problem)
        if not sockets and sys.version_info >= (3, 13):
            raise OSError(f"could not bind on any address out of {[info[4] for info in infos]!r}")
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind(sock: socket.socket, address: Any) -> str | None:
    """Bind `sock`; return the problem if this machine does not have `address` (bpo-30945)."""
    try:
        sock.bind(address)
    except OSError as exc:
        reason = str(exc)
        if sys.version_info < (3, 13) and exc.strerror is not None:
            reason = exc.strerror
        problem = f"error while attempting to bind on address {address!r}: {reason.lower()}"
        if sys.version_info >= (3, 13) and exc.errno == errno.EADDRNOTAVAIL:
            return problem
        raise OSError(exc.errno, problem) from None
    return None


def _set_options(sock: socket.socket, options: dict[str, bool]) -> None:
    """Set the options, and IPV6_V6ONLY on an IPv6 socket."""
    if options["SO_REUSEADDR"]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    # Since Linux 6.12.9 no other family may have it.
    if options["SO_REUSEPORT"] and sock.family in {socket.AF_INET, socket.AF_INET6}:
        set_reuse_port(sock)
    if options["SO_KEEPALIVE"]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)


def _bind_path(path: str | bytes) -> socket.socket:
    """A Unix stream socket bound to `path`, in place of a stale one."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        remove_stale(path)
        try:
            sock.bind(path)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                problem = f"Address {path!r} is already in use"
                raise OSError(errno.EADDRINUSE, problem) from None
            raise
    except BaseException:
        sock.close()
        raise
    return sock


def _file_of(sock: socket.socket) -> dict[Any, tuple[int, int]]:
    """The path of the bound `sock` with device and inode, to unlink it when the server closes."""
    path = sock.getsockname()
    if not is_file(path):
        return {}
    try:
        info = posix.stat(path)
    except FileNotFoundError:
        return {}
    return {path: (info.st_dev, info.st_ino)}
