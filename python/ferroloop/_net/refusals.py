"""Methods that a transport has but does not support.

Runs once, at import. asyncio's write pipes and datagram endpoints are instances of `asyncio.Transport`,
so they have the methods of both directions. Those that they do not support are asyncio's abstract
methods, which raise NotImplementedError. ferroloop's transports get the same functions.
"""

from __future__ import annotations

import asyncio

from ferroloop import _native

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from typing import Any

__all__ = ("complete_transports",)

#: The abstract class of asyncio's transport of the same kind.
_ABSTRACT: tuple[tuple[type[Any], type[Any]], ...] = (
    (_native.StreamTransport, asyncio.Transport),
    (_native.TlsTransport, asyncio.Transport),
    (_native.DatagramTransport, asyncio.Transport),
    (_native.ReadPipeTransport, asyncio.ReadTransport),
    (_native.WritePipeTransport, asyncio.Transport),
)


def complete_transports() -> None:
    """Add to each native transport the methods of asyncio's class that it lacks."""
    for ours, abstract in _ABSTRACT:
        for name in dir(abstract):
            if not name.startswith("_") and not hasattr(ours, name):
                setattr(ours, name, getattr(abstract, name))
