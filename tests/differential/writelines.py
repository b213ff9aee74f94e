"""`writelines` on a transport, where asyncio's own may be faulty."""

from __future__ import annotations

import asyncio
from asyncio import selector_events
from collections.abc import Iterable
from typing import Any

_events: Any = selector_events
_ITS_OWN: Any = _events._SelectorSocketTransport.writelines

# 3.12 and the first releases of 3.13 fail in it, or keep what is written, when the connection is
# lost (gh-136234), and forget to pause the protocol (gh-127655).
_FAULTY = _ITS_OWN is not asyncio.WriteTransport.writelines and not {
    "_conn_lost",
    "_maybe_pause_protocol",
} <= set(_ITS_OWN.__code__.co_names)


def writelines(transport: Any, lines: Iterable[bytes]) -> None:
    """Call it, or the one of the base class where it is faulty."""
    its_own = getattr(type(transport), "writelines", None) is _ITS_OWN
    if _FAULTY and its_own and not transport._eof:
        asyncio.WriteTransport.writelines(transport, lines)
    else:
        transport.writelines(lines)
