"""`loop._selector`: lets programs replace how a loop waits, as on asyncio.

Owns a selector from the standard library that watches the loop's own epoll descriptor. It is made
when a program first asks for it, or with the loop if the program has replaced
`selectors.DefaultSelector`, as gevent and eventlet do. From then on each turn of the loop waits by calling
`loop._selector.select(timeout)`. The loop's thread only.
"""

from __future__ import annotations

import contextlib
import selectors

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from ferroloop._loop.base import LoopBase

__all__ = ("give_back", "replace", "selector_of")


def selector_of(loop: LoopBase) -> selectors.BaseSelector:
    """Return the selector that `loop` waits by from its next turn on.

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
    """Make `loop` wait by the program's `selector`, which the loop closes when it is closed.

    Raises RuntimeError if the loop is closed, and what the selector's `register` raises.
    """
    loop._check_closed()
    # A selector that wraps the one before it watches the descriptor already.
    with contextlib.suppress(KeyError):
        selector.register(loop._poller_fd(), selectors.EVENT_READ)
    loop._wait_by(selector)
    loop._state.selector = selector


def give_back(loop: LoopBase) -> None:
    """Make `loop` wait natively again."""
    loop._wait_by(None)
    selector, loop._state.selector = loop._state.selector, None
    if selector is not None:
        selector.close()
