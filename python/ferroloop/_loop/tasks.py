"""`create_task` when a task factory is set: which keywords the factory is given, by version.

Loop thread only.
The factory sees the name in 3.13.3 and from 3.14 on only. Elsewhere it is set
afterwards, before 3.13 only if one was given, in 3.13 in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ferroloop._compat import FACTORIES_GET_THE_NAME, set_task_name

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

    Raises what the factory raises, and TypeError for a keyword that this version refuses.
    """
    if FACTORIES_GET_THE_NAME:
        return factory(loop, coro, **keywords)
    name = keywords.pop("name", None)
    if keywords.get("context", ...) is None:
        del keywords["context"]
    task = factory(loop, coro, **keywords)
    try:
        set_task_name(task, name)
        return task
    finally:
        del task  # no cycle through this frame when the task keeps a traceback of it
