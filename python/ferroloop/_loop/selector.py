"""`loop._selector`: asyncio's seam for programs that take over how a loop waits.

Owns a selector from the standard library that watches the loop's own epoll descriptor. It is made
when a program first asks for it, or with the loop if the program has replaced
`selectors.DefaultSelector`, as gevent and eventlet do. From then on each turn of the loop waits by calling
`loop._selector.select(timeout)`. The loop's thread only.
"""

from __future__ import annotations

import contextlib
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferroloop._loop.base import LoopBase

__all__ = ("close", "follow_replacement", "give_back", "replace", "selector_of")


def selector_of(loop: LoopBase) -> selectors.BaseSelector:
    """Return the selector that `loop` waits by, and have it wait by that from its next turn on.

    Raises RuntimeError if the loop is closed, OSError if the process is out of descriptors.
    """
    selector = loop._state.selector
    if selector is None:
        loop._check_closed()
        selector = selectors.DefaultSelector()
        try:
            replace(loop, selector)
        except BaseException:
            selector.close()
            raise
    return selector


def replace(loop: LoopBase, selector: selectors.BaseSelector) -> None:
    """Have `loop` wait by a `selector` of the program's, which the loop closes when it is closed.

    Raises RuntimeError if the loop is closed, and what the selector's `register` raises.
    """
    loop._check_closed()
    # A selector that wraps the one before it watches the descriptor already.
    with contextlib.suppress(KeyError):
        selector.register(loop._poller_fd(), selectors.EVENT_READ)
    loop._wait_by(selector)
    loop._state.selector = selector


def give_back(loop: LoopBase) -> None:
    """Have `loop` wait by itself again."""
    loop._wait_by(None)
    close(loop)


def follow_replacement(loop: LoopBase) -> None:
    """Have a new loop wait by `selectors.DefaultSelector` if that is not the standard library's.

    gevent puts its own there, eventlet takes all away but the one over its `select.select`: other
    greenlets run only while a wait goes through these.
    """
    kind = selectors.DefaultSelector
    if kind.__module__ != "selectors" or kind.__qualname__ != "EpollSelector":
        selector_of(loop)


def close(loop: LoopBase) -> None:
    """Close the selector of a loop that is being closed, if it has one."""
    selector, loop._state.selector = loop._state.selector, None
    if selector is not None:
        selector.close()
