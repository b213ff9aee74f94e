"""Child processes: the place of subprocess_exec and subprocess_shell, still to come.

Owns nothing.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferroloop._base import LoopBase, ProtocolFactory

__all__ = ("subprocess_exec", "subprocess_shell")


async def subprocess_exec(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    program: Any,
    *args: Any,
    stdin: Any = subprocess.PIPE,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """Raise NotImplementedError: asyncio's `subprocess_exec` is still to come."""
    raise NotImplementedError("ferroloop does not implement loop.subprocess_exec() yet")


async def subprocess_shell(
    loop: LoopBase,
    protocol_factory: ProtocolFactory,
    cmd: Any,
    *,
    stdin: Any = subprocess.PIPE,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """Raise NotImplementedError: asyncio's `subprocess_shell` is still to come."""
    raise NotImplementedError("ferroloop does not implement loop.subprocess_shell() yet")
