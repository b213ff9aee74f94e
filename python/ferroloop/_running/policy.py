"""The event loop policy, by which asyncio's own calls make ferroloop's loop.

Owns the policy class, made on first use and at most once. Any thread may call.
asyncio deprecated policies in 3.14 and removes them in 3.16. `import ferroloop` uses nothing of this
module, and without policies the calls raise.
"""

from __future__ import annotations

import functools
import sys
import warnings
from typing import Any

from ferroloop._compat import base_policy_class, set_policy

if sys.platform == "linux":
    from ferroloop._loop.loop import Loop, new_event_loop
else:
    from ferroloop._pure import Loop, new_event_loop

__all__ = ("install", "policy_class")


@functools.cache
def policy_class() -> type[Any] | None:
    """Return the class EventLoopPolicy, or None where asyncio has no policies any more (3.16)."""
    base = base_policy_class()
    if base is None:
        return None

    def make(_policy: Any) -> Loop:
        """Return a new ferroloop loop."""
        return new_event_loop()

    make.__name__ = "new_event_loop"
    make.__qualname__ = "EventLoopPolicy.new_event_loop"
    return type(
        "EventLoopPolicy",
        (base,),
        {
            "__doc__": "asyncio's default event loop policy, with ferroloop's loop.",
            "__module__": "ferroloop",
            "_loop_factory": Loop,
            "new_event_loop": make,
        },
    )


def install(*, streams: bool = False) -> None:
    """Make asyncio.run, asyncio.new_event_loop and asyncio.get_event_loop use ferroloop's loop.

    Applies to the whole process. With `streams`, asyncio.open_connection, asyncio.start_server and their
    Unix twins make ferroloop's readers and writers on ferroloop's loops, and asyncio's on other loops;
    a program that has imported one of these four from asyncio before keeps asyncio's.
    Warns with DeprecationWarning from 3.14 on, because asyncio deprecated policies, and raises
    RuntimeError from 3.16 on, which has none. Call `ferroloop.run(main())` instead, or pass
    `loop_factory=ferroloop.new_event_loop` to asyncio.run (3.12) or asyncio.Runner (3.11).
    """
    if sys.version_info >= (3, 14):
        warnings.warn(
            "ferroloop.install() relies on event loop policies, which asyncio drops in "
            "Python 3.16; use ferroloop.run() instead",
            DeprecationWarning,
            stacklevel=2,
        )
    if not install_policy():
        raise RuntimeError(
            "this Python has no event loop policies; use ferroloop.run() or loop_factory="
            "ferroloop.new_event_loop"
        )
    if streams and sys.platform == "linux":
        from ferroloop._net.native_streams import install_streams  # noqa: PLC0415 - for who asks

        install_streams()


def install_policy() -> bool:
    """Make our policy the current one, without a warning; False where policies are gone."""
    policy = policy_class()
    return policy is not None and set_policy(policy())
