"""`call_later` of a subclass that has a `call_at` of its own.

Called on the loop's thread. The surprise: every other loop has the native one, which makes its timer
by itself.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context


def call_later(
    loop: asyncio.AbstractEventLoop,
    delay: float,
    callback: Callable[..., Any],
    *args: Any,
    context: Context | None = None,
) -> asyncio.TimerHandle:
    """Call `callback(*args)` after `delay` seconds, by the loop's `call_at`.

    Raises TypeError if `delay` is None, and what `call_at` raises. Mirrors asyncio's
    `loop.call_later`, which does so on every loop.
    """
    if delay is None and sys.version_info >= (3, 11):
        raise TypeError("delay must not be None")
    return loop.call_at(loop.time() + delay, callback, *args, context=context)
