"""Exception handlers: receive errors that have no caller to raise in.

Owns no state; called in the loop's thread, by native code for every failed callback.
From CPython 3.12 on a program's handler runs in the context of the task, future or
handle that failed, not in the current one.
"""

from __future__ import annotations

import sys
import traceback

from ferroloop._compat import logger

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from typing import Any

    from ferroloop._loop.base import ExceptionHandler, LoopBase

__all__ = (
    "call_exception_handler",
    "default_exception_handler",
    "get_exception_handler",
    "set_exception_handler",
)

_TRACEBACK_TITLES = {
    "source_traceback": "Object created at (most recent call last):\n",
    "handle_traceback": "Handle created at (most recent call last):\n",
}


def get_exception_handler(loop: LoopBase) -> ExceptionHandler | None:
    """Return the handler that set_exception_handler installed, or None for the default one.

    Mirrors asyncio's `get_exception_handler`.
    """
    return loop._state.exception_handler


def set_exception_handler(loop: LoopBase, handler: ExceptionHandler | None) -> None:
    """Make `handler(loop, context)` receive errors; None brings the default one back.

    Raises TypeError if `handler` is neither None nor callable.
    Mirrors asyncio's `set_exception_handler`.
    """
    if handler is not None and not callable(handler):
        raise TypeError(f"A callable object or None is expected, got {handler!r}")
    loop._state.exception_handler = handler


def default_exception_handler(loop: LoopBase, context: dict[str, Any]) -> None:
    """Log `context` as an error: its message, then its other keys in alphabetical order.

    In debug mode the place where the running handle was made is added under `handle_traceback`.
    Mirrors asyncio's `default_exception_handler`; may be called by a handler of the program.
    """
    message = context.get("message") or "Unhandled exception in event loop"
    exception = context.get("exception")
    exc_info: Any = False
    if exception is not None:
        exc_info = (type(exception), exception, exception.__traceback__)

    if "source_traceback" not in context:
        handle = getattr(loop, "_current_handle", None)
        made_at = getattr(handle, "_source_traceback", None)
        if made_at:
            context["handle_traceback"] = made_at

    lines = [message]
    for key in sorted(context):
        if key in {"message", "exception"}:
            continue
        value = context[key]
        title = _TRACEBACK_TITLES.get(key)
        if title is None:
            text = repr(value)
        else:
            text = (title + "".join(traceback.format_list(value))).rstrip()
        lines.append(f"{key}: {text}")
    logger.error("\n".join(lines), exc_info=exc_info)


def call_exception_handler(loop: LoopBase, context: dict[str, Any]) -> None:
    """Pass `context` to the program's handler, or to the default one.

    `context` holds `message` and, where they are known, `exception`, `future`, `task`, `handle`,
    `protocol`, `transport`, `socket`, `asyncgen`, `source_traceback` and `handle_traceback`.
    Only SystemExit and KeyboardInterrupt leave this call: a handler that raises is logged.
    Mirrors asyncio's `call_exception_handler`; the handler's context is switched since 3.12.
    """
    handler = loop._state.exception_handler
    if handler is None:
        _default_or_log(loop, context, "Exception in default exception handler")
        return
    try:
        run = _context_runner(context) if sys.version_info >= (3, 12) else None
        if run is None:
            handler(loop, context)
        else:
            run(handler, loop, context)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        _default_or_log(
            loop,
            {
                "message": "Unhandled error in exception handler",
                "exception": exc,
                "context": context,
            },
            "Exception in default exception handler while handling an unexpected error "
            "in custom exception handler",
        )


def _context_runner(context: dict[str, Any]) -> Any | None:
    """Return the `run` method of the context in which the failed object ran, if known."""
    for key in ("task", "future", "handle"):
        thing = context.get(key)
        if thing is not None:
            get_context = getattr(thing, "get_context", None)
            return getattr(get_context(), "run", None) if get_context is not None else None
    return None


def _default_or_log(loop: LoopBase, context: dict[str, Any], problem: str) -> None:
    """Call the default handler, which a subclass may override, and log its own exceptions."""
    try:
        loop.default_exception_handler(context)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        logger.error(problem, exc_info=True)
