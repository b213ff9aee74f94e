"""Pipes as transports: the place of connect_read_pipe and connect_write_pipe, still to come.

Owns nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferroloop._base import LoopBase, ProtocolFactory

__all__ = ("connect_read_pipe", "connect_write_pipe")


async def connect_read_pipe(
    loop: LoopBase, protocol_factory: ProtocolFactory, pipe: Any
) -> tuple[Any, Any]:
    """Raise NotImplementedError: asyncio's `connect_read_pipe` is still to come."""
    raise NotImplementedError("ferroloop does not implement loop.connect_read_pipe() yet")


async def connect_write_pipe(
    loop: LoopBase, protocol_factory: ProtocolFactory, pipe: Any
) -> tuple[Any, Any]:
    """Raise NotImplementedError: asyncio's `connect_write_pipe` is still to come."""
    raise NotImplementedError("ferroloop does not implement loop.connect_write_pipe() yet")
