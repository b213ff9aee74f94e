"""ferroloop.run: asyncio.run on ferroloop's loop.

The loop runs in the calling thread. Each version's own runner does the work, so Ctrl-C cancels the
main task from 3.11 on, as in asyncio.
"""

from __future__ import annotations

import asyncio
import sys

if sys.platform == "linux":
    from ferroloop._loop.loop import new_event_loop
else:
    from ferroloop._pure import new_event_loop

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeVar

    _T = TypeVar("_T")

__all__ = ("run",)


def run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Run the coroutine `main` on a new ferroloop event loop, and return its result.

    At the end the remaining tasks are cancelled, async generators and the default executor are shut
    down, and the loop is closed. `debug` switches debug mode; None leaves it to the environment.
    `loop_factory` makes another loop than `ferroloop.new_event_loop`, a subclass's for example.
    Raises RuntimeError if a loop runs in this thread, ValueError (TypeError since 3.14) if `main`
    cannot be awaited; since 3.14 any awaitable will do. Mirrors `asyncio.run`.
    """
    factory = loop_factory or new_event_loop
    if sys.version_info >= (3, 12):
        return asyncio.run(main, debug=debug, loop_factory=factory)
    else:  # noqa: RET505 - a branch that mypy can skip
        _refuse_running_loop()
        if sys.version_info >= (3, 11):
            with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
                return runner.run(main)
        else:
            return _run(main, debug, factory)


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("asyncio.run() cannot be called from a running event loop")


def _run(
    main: Coroutine[Any, Any, _T],
    debug: bool | None,
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> _T:
    """asyncio.run as 3.10 has it, which takes no factory."""
    if not asyncio.iscoroutine(main):
        raise ValueError(f"a coroutine was expected, got {main!r}")
    loop = factory()
    try:
        asyncio.set_event_loop(loop)
        if debug is not None:
            loop.set_debug(debug)
        return loop.run_until_complete(main)
    finally:
        try:
            _cancel_all_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _cancel_all_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the remaining tasks, and report their exceptions."""
    tasks = asyncio.all_tasks(loop)
    if not tasks:
        return
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.tasks.gather(*tasks, return_exceptions=True))
    for task in tasks:
        if not task.cancelled() and task.exception() is not None:
            loop.call_exception_handler(
                {
                    "message": "unhandled exception during asyncio.run() shutdown",
                    "exception": task.exception(),
                    "task": task,
                }
            )
