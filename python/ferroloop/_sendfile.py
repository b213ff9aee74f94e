"""Sending files: the place of sendfile and sock_sendfile, still to come.

Owns nothing.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from ferroloop._base import LoopBase

__all__ = ("sendfile", "sock_sendfile")


async def sendfile(
    loop: LoopBase,
    transport: Any,
    file: IO[bytes],
    offset: int = 0,
    count: int | None = None,
    *,
    fallback: bool = True,
) -> int:
    """Raise NotImplementedError: asyncio's `sendfile` is still to come."""
    raise NotImplementedError("ferroloop does not implement loop.sendfile() yet")


async def sock_sendfile(
    loop: LoopBase,
    sock: socket.socket,
    file: IO[bytes],
    offset: int = 0,
    count: int | None = None,
    *,
    fallback: bool | None = True,
) -> int:
    """Raise NotImplementedError: asyncio's `sock_sendfile` is still to come."""
    raise NotImplementedError("ferroloop does not implement loop.sock_sendfile() yet")
