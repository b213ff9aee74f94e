"""The loops that tests run on: ferroloop, and asyncio as the yardstick that proves the test."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Factory = Callable[[], asyncio.AbstractEventLoop]

# Far more than any step takes, even on a busy machine; reached only when the test has failed.
PATIENCE = 15.0


def factory_of(kind: str) -> Factory:
    """The function that makes loops of a kind: asyncio, or a module with `new_event_loop`."""
    if kind == "asyncio":
        return asyncio.SelectorEventLoop
    factory: Factory = importlib.import_module(kind).new_event_loop
    return factory


def run(
    loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T], patience: float = PATIENCE
) -> T:
    """Run a test's coroutine to its end on the loop, and not longer than it can take."""
    __tracebackhide__ = True
    return loop.run_until_complete(asyncio.wait_for(main, patience))


def run_turns(loop: asyncio.AbstractEventLoop, turns: int = 1) -> None:
    """Run what is queued now, so many times; never waits."""
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()


async def turns(count: int = 5) -> None:
    """Let the loop do what it can do now, and look for events, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait, with the loop running, until a condition holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while not condition():
        assert loop.time() < deadline, "the condition does not come true"
        await asyncio.sleep(0.001)
