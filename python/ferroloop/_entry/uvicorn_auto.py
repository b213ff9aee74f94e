"""What uvicorn's loop setting `auto` means under `python -m ferroloop`.

Owns nothing; `__main__` has it imported in the place of `uvicorn.loops.auto`, whose functions these
are. Uvicorn never asks asyncio for a loop; its own `auto` takes uvloop where that is
installed, and asyncio's selector loop by name where it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferroloop._loop.loop import Loop, new_event_loop
from ferroloop._loop.policy import install_policy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("auto_loop_factory", "auto_loop_setup")


def auto_loop_factory(use_subprocess: bool = False) -> Callable[[], Loop]:
    """Return what makes the server's loop; called by uvicorn from 0.36 on."""
    return new_event_loop


def auto_loop_setup(use_subprocess: bool = False) -> None:
    """Have asyncio make the server's loop; called by uvicorn before 0.36."""
    install_policy()
