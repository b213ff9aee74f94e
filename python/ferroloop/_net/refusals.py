"""The methods of asyncio's transports that make no sense for a transport of ours.

Owns nothing; runs once, at import. A write pipe of asyncio's is a whole `asyncio.Transport`, and an
endpoint too: each has every method, and those of the direction that it does not have are asyncio's
abstract ones, which raise NotImplementedError. Ours get those same functions.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ferroloop import _native

__all__ = ("complete_transports",)

#: What asyncio's transport of that kind is an instance of, and more than that has not.
_ABSTRACT: tuple[tuple[type[Any], type[Any]], ...] = (
    (_native.StreamTransport, asyncio.Transport),
    (_native.TlsTransport, asyncio.Transport),
    (_native.DatagramTransport, asyncio.Transport),
    (_native.ReadPipeTransport, asyncio.ReadTransport),
    (_native.WritePipeTransport, asyncio.Transport),
)


def complete_transports() -> None:
    """Put on each of our transports those methods of asyncio's class that it lacks."""
    for ours, abstract in _ABSTRACT:
        for name in dir(abstract):
            if not name.startswith("_") and not hasattr(ours, name):
                setattr(ours, name, getattr(abstract, name))
