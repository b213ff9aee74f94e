"""What uvicorn's loop setting `auto` means under `python -m ferroloop`.

Imported in place of `uvicorn.loops.auto`, with the same functions. Uvicorn does not ask asyncio for a
loop: its own `auto` uses uvloop if that is installed, and otherwise names asyncio's selector loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferroloop._loop.loop import Loop, new_event_loop
from ferroloop._running.policy import install_policy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("auto_loop_factory", "auto_loop_setup")


def auto_loop_factory(use_subprocess: bool = False) -> Callable[[], Loop]:
    """Return the factory of the server's loop; called by uvicorn from 0.36 on."""
    return new_event_loop


def auto_loop_setup(use_subprocess: bool = False) -> None:
    """Make asyncio return the server's loop; called by uvicorn before 0.36."""
    install_policy()
