"""Async generators: the interpreter's hooks during a run, and closing unfinished generators.

Owns the weak set of generators in LoopState. The first-iteration hook runs in the loop's thread;
the finalizer hook runs in the garbage collector's thread, possibly after the loop was closed.
"""

from __future__ import annotations

import asyncio
import warnings

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Any

    from ferroloop._loop.base import LoopBase

__all__ = ("finalizer_hook", "firstiter_hook", "shutdown_asyncgens")


def firstiter_hook(loop: LoopBase, agen: AsyncGenerator[Any, Any]) -> None:
    """Remember `agen`; warn with ResourceWarning if the generators were shut down already."""
    state = loop._state
    if state.asyncgens_shutdown_called:
        warnings.warn(
            f"asynchronous generator {agen!r} was scheduled after loop.shutdown_asyncgens() call",
            ResourceWarning,
            source=loop,
            stacklevel=2,
        )
    state.asyncgens.add(agen)


def finalizer_hook(loop: LoopBase, agen: AsyncGenerator[Any, Any]) -> None:
    """Close an unreferenced `agen` in the loop; any thread may call it."""
    loop._state.asyncgens.discard(agen)
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.create_task, agen.aclose())


async def shutdown_asyncgens(loop: LoopBase) -> None:
    """Close every async generator that was iterated on this loop and is not finished.

    An exception from `aclose()` goes to the exception handler under the key `asyncgen`.
    Mirrors asyncio's `shutdown_asyncgens`.
    """
    state = loop._state
    state.asyncgens_shutdown_called = True
    closing = list(state.asyncgens)
    if not closing:
        return
    state.asyncgens.clear()
    results = await asyncio.tasks.gather(
        *[agen.aclose() for agen in closing], return_exceptions=True
    )
    for result, agen in zip(results, closing, strict=True):
        if isinstance(result, Exception):
            loop.call_exception_handler(
                {
                    "message": "an error occurred during closing of "
                    f"asynchronous generator {agen!r}",
                    "exception": result,
                    "asyncgen": agen,
                }
            )
