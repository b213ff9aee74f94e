"""`create_task` when a task factory is set: which keywords the factory is given, by version.

Loop thread only.
The surprise: up to 3.13 the factory never sees the name, which is set afterwards with `set_name`; from 3.14 on every keyword goes to the factory and nothing is set afterwards.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

__all__ = ("create_with_factory",)


def create_with_factory(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[..., asyncio.Task[Any]],
    coro: Coroutine[Any, Any, Any],
    keywords: dict[str, Any],
) -> asyncio.Task[Any]:
    """Make a task for `coro` through `factory`, as `loop.create_task` of this Python does.

    Raises whatever the factory raises, and TypeError for a keyword that this version refuses.
    """
    if sys.version_info >= (3, 14):
        return factory(loop, coro, **keywords)
    name = keywords.pop("name", None)
    if keywords.get("context", ...) is None:
        del keywords["context"]
    task = factory(loop, coro, **keywords)
    try:
        if sys.version_info >= (3, 13):
            task.set_name(name)
        elif name is not None:
            _set_name(task, name)
        return task
    finally:
        del task  # no cycle through this frame when the task keeps a traceback of it


def _set_name(task: asyncio.Task[Any], name: object) -> None:
    """Name a task of any class; asyncio skips classes without `set_name`, except on 3.10."""
    set_name = getattr(task, "set_name", None)
    if set_name is not None:
        set_name(name)
