"""Name resolution: getaddrinfo, getnameinfo, and numeric addresses, which need neither.

Called in the loop's thread. Look-ups run in the loop's own threads; native code answers for numeric
hosts at once. A replaced `socket.getaddrinfo` is always called.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

from ferroloop import _native
from ferroloop._compat import logger
from ferroloop._net.lookups import look_up

if TYPE_CHECKING:
    from ferroloop._loop.base import AddressInfo, LoopBase

__all__ = ("ensure_resolved", "getaddrinfo", "getnameinfo")

#: The function that the fast path skips; None if it was replaced before ferroloop was imported.
_stdlib_getaddrinfo = (
    socket.getaddrinfo if getattr(socket.getaddrinfo, "__module__", "") == "socket" else None
)

_PROTOS = frozenset({0, socket.IPPROTO_TCP, socket.IPPROTO_UDP})
_DEFAULT_PROTO: dict[int, int] = {
    socket.SOCK_STREAM: socket.IPPROTO_TCP,
    socket.SOCK_DGRAM: socket.IPPROTO_UDP,
}


async def getaddrinfo(
    loop: LoopBase,
    host: str | bytes | None,
    port: str | bytes | int | None,
    *,
    family: int = 0,
    type: int = 0,  # noqa: A002 - asyncio's name
    proto: int = 0,
    flags: int = 0,
) -> list[Any]:
    """Return what `socket.getaddrinfo` returns, without blocking the loop.

    Raises socket.gaierror if the name cannot be resolved. Mirrors asyncio's `getaddrinfo`, but a
    numeric host is answered without a thread, except in debug mode, which logs and times look-ups.
    """
    if loop.get_debug():
        lookup: Any = loop._getaddrinfo_debug
    else:
        lookup = socket.getaddrinfo
        if lookup is _stdlib_getaddrinfo:
            infos = _native.getaddrinfo_literal(host, port, family, type, proto, flags)
            if infos is not None:
                # The error that the look-up would have raised.
                sys.audit("socket.getaddrinfo", host, port, family, type, proto)
                return infos
    found: list[Any] = await look_up(loop, lookup, host, port, family, type, proto, flags)
    return found


async def getnameinfo(loop: LoopBase, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
    """Return what `socket.getnameinfo` returns, without blocking the loop.

    Raises socket.gaierror for a host that is not numeric. Mirrors asyncio's `getnameinfo`.
    """
    name: tuple[str, str] = await look_up(loop, socket.getnameinfo, sockaddr, flags)
    return name


def getaddrinfo_debug(
    loop: LoopBase,
    host: Any,
    port: Any,
    family: int,
    type: int,  # noqa: A002 - asyncio's name
    proto: int,
    flags: int,
) -> list[Any]:
    """Look up, log and time; runs in a worker thread. Mirrors asyncio's method in debug mode."""
    words = [f"{host}:{port!r}"]
    for name, value in (("family", family), ("type", type), ("proto", proto), ("flags", flags)):
        if value:
            words.append(f"{name}={value!r}")
    query = ", ".join(words)
    logger.debug("Get address info %s", query)

    started = loop.time()
    infos = socket.getaddrinfo(host, port, family, type, proto, flags)
    seconds = loop.time() - started

    text = f"Getting address info {query} took {seconds * 1e3:.3f}ms: {infos!r}"
    if seconds >= loop.slow_callback_duration:
        logger.info(text)
    else:
        logger.debug(text)
    return infos


async def ensure_resolved(
    loop: LoopBase,
    address: Any,
    *,
    family: int = 0,
    type: int = socket.SOCK_STREAM,  # noqa: A002 - asyncio's name
    proto: int = 0,
    flags: int = 0,
) -> list[AddressInfo]:
    """Return address infos for `address`, a tuple of host, port and what IPv6 adds to them.

    A numeric host keeps its text and costs no lookup; everything else goes to `loop.getaddrinfo`.
    Raises socket.gaierror if the name cannot be resolved. Mirrors asyncio's `_ensure_resolved`.
    """
    host, port = address[:2]
    info = _numeric_info(host, port, family, type, proto, *address[2:])
    if info is not None:
        return [info]
    infos: list[Any] = await loop.getaddrinfo(
        host, port, family=family, type=type, proto=proto, flags=flags
    )
    return infos


def _numeric_info(
    host: Any,
    port: Any,
    family: int,
    kind: int,
    proto: int,
    flowinfo: int = 0,
    scope_id: int = 0,
) -> AddressInfo | None:
    """The one address info of a numeric `host` and `port`, or None if libc has to be asked."""
    if host is None or proto not in _PROTOS:
        return None
    default_proto = _DEFAULT_PROTO.get(kind)
    number = port if type(port) is int else _numeric_port(port)
    if default_proto is None or number is None:
        return None
    if isinstance(host, bytes):
        host = host.decode("idna")
    # inet_pton knows no zones: fe80::1%eth0 is for libc.
    if "%" in host:
        return None
    for candidate in (socket.AF_INET, socket.AF_INET6) if family == 0 else (family,):
        try:
            socket.inet_pton(candidate, host)
        except OSError:
            continue
        if candidate == socket.AF_INET6:
            return candidate, kind, default_proto, "", (host, number, flowinfo, scope_id)
        return candidate, kind, default_proto, "", (host, number)
    return None


def _numeric_port(port: Any) -> int | None:
    """`port` as a number, or None for a service name."""
    if port is None or (isinstance(port, (str, bytes)) and not port):
        return 0
    try:
        return int(port)
    except (TypeError, ValueError):
        return None
