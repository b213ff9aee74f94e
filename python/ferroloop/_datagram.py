"""UDP and other datagram endpoints: the place of create_datagram_endpoint, still to come.

Owns nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from ferroloop._base import LoopBase, ProtocolFactory

__all__ = ("create_datagram_endpoint",)


async def create_datagram_endpoint(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    local_addr: Any = None,
    remote_addr: Any = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
) -> tuple[Any, Any]:
    """Raise NotImplementedError: asyncio's `create_datagram_endpoint` is still to come."""
    raise NotImplementedError("ferroloop does not implement loop.create_datagram_endpoint() yet")
