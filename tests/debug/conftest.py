"""A loop for which everything is slow, and what it logs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from support.slow import SlowLines, slow_lines


@pytest.fixture
def lines() -> Iterator[SlowLines]:
    with slow_lines() as lines:
        yield lines


@pytest.fixture
def slow_loop(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    """A loop for which everything is slow."""
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    return loop
