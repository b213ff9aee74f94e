"""Puts another loop where CPython's asyncio tests look for asyncio's own.

Runs only inside a worker process that is thrown away afterwards.  Three doors lead from the tests
to a loop: the names `asyncio.SelectorEventLoop` and `asyncio.EventLoop`, and the factory of the
default policy, behind `asyncio.new_event_loop`, `asyncio.run` and `asyncio.Runner`.
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events
import importlib
from collections.abc import Callable
from typing import Any, NoReturn

Factory = Callable[[], asyncio.AbstractEventLoop]

LOOPS: dict[str, tuple[str, str]] = {
    "asyncio": ("asyncio", "SelectorEventLoop"),
    "ferroloop": ("ferroloop", "new_event_loop"),
    "ferroloop+streams": ("ferroloop", "new_event_loop"),
    "ferroloop+native-streams": ("ferroloop", "new_event_loop"),
    "uvloop": ("uvloop", "new_event_loop"),
    "rloop": ("rloop", "new_event_loop"),
    "rsloop": ("rsloop", "new_event_loop"),
    "zuvloop": ("zuvloop", "new_event_loop"),
}


class Count:
    """How many loops the tests have asked for: a test that asks for none proves nothing."""

    def __init__(self) -> None:
        self.made = 0


def factory_of(name: str) -> Factory:
    """The function that makes a loop of the kind called `name`."""
    module_name, attribute = LOOPS[name]
    factory: Factory = getattr(importlib.import_module(module_name), attribute)
    return factory


def swap_in(name: str) -> Count:
    """Make the loop called `name` the one that asyncio's tests get; count how often they do."""
    count = Count()
    factory = factory_of(name)
    probe = factory()
    loop_class = type(probe)
    probe.close()

    def make() -> asyncio.AbstractEventLoop:
        count.made += 1
        return factory()

    class Swapped(type):
        def __call__(cls, selector: object = None) -> Any:
            # A selector is asyncio's own affair; the loops under test have their poller.
            return make()

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, loop_class)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, loop_class)

    class SelectorEventLoop(metaclass=Swapped):
        def __init_subclass__(cls) -> NoReturn:
            raise TypeError("a test subclasses asyncio's loop: exclude it by name")

    module: Any = asyncio
    module.SelectorEventLoop = SelectorEventLoop
    if hasattr(asyncio, "EventLoop"):
        module.EventLoop = SelectorEventLoop
    if name == "ferroloop+streams":
        _swap_in_streams()
    elif name == "ferroloop+native-streams":
        importlib.import_module("ferroloop._net.native_streams").install_streams()
    _let_go_of_the_default_executor()
    policy: Any = asyncio.unix_events
    policy._UnixDefaultEventLoopPolicy._loop_factory = staticmethod(make)
    return count


def _swap_in_streams() -> None:
    """Make ferroloop's classes and functions of streams those that asyncio's tests get."""
    ferroloop = importlib.import_module("ferroloop")
    for name in asyncio.streams.__all__:
        setattr(asyncio, name, getattr(ferroloop, name))


def _let_go_of_the_default_executor() -> None:
    """End loops in the tests' tear-down by public methods; asyncio's attributes are not the point.

    `TestCase.close_loop` reads `loop._default_executor` and the child watcher of the policy.
    """
    utils: Any = importlib.import_module("test.test_asyncio.utils")
    original = utils.TestCase.close_loop

    def close_loop(loop: Any) -> None:
        if hasattr(loop, "_default_executor"):
            original(loop)
        elif not loop.is_closed():
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    utils.TestCase.close_loop = staticmethod(close_loop)
