"""For subclasses of the loop: which methods win, and a `call_later` that uses an overridden `call_at`.

`prefer_own` runs when a class is made, in any thread; `call_later` in the loop's thread.
"""

from __future__ import annotations

import asyncio
import inspect
import sys

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any

    from ferroloop._loop.base import LoopBase

__all__ = ("call_later", "prefer_own")


def prefer_own(cls: type[LoopBase], own: type[LoopBase]) -> None:
    """Keep the methods of `own` in `cls` if asyncio's BaseEventLoop precedes it in the bases.

    looptime mixes a class derived from that into the class of a loop; its own methods stay first.
    """
    order = cls.__mro__
    if asyncio.BaseEventLoop not in order:
        return
    before = order[: order.index(asyncio.BaseEventLoop)]
    if own in before:
        return
    for name in vars(asyncio.BaseEventLoop):
        if (name.startswith("__") and name not in {"__del__", "__repr__"}) or any(
            name in vars(base) for base in before
        ):
            continue
        if hasattr(own, name):
            setattr(cls, name, inspect.getattr_static(own, name))


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
