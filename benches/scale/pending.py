"""Very many pending timers, or sleeping tasks: `python -m scale.pending KIND LOOP COUNT`.

Prints a line of JSON: the bytes that each takes, and the longest time for which a callback that is due
every millisecond was not called, while they were made, cancelled, and came due. Each piece of work is
cut into callbacks of a thousand, so what is longer is the loop's. Python's cyclic collector is off: a
pass over a million objects takes as long on every loop.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from harness.loops import new_loop
from harness.process import resident_kib

if TYPE_CHECKING:
    from collections.abc import Callable

#: Things made or cancelled in one callback.
PIECE = 1000
FAR = 3600.0
#: Seconds within which timers and tasks come due.
SPREAD = 10.0


class Ticker:
    """A callback that is due every millisecond."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins."""
        self._loop = loop
        self._last = time.perf_counter()
        self._longest = 0.0
        self._tick()

    def _tick(self) -> None:
        now = time.perf_counter()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        self._loop.call_later(0.001, self._tick)

    def longest_ms(self) -> float:
        """The longest time between two calls since this was asked last."""
        longest = max(self._longest, time.perf_counter() - self._last)
        self._longest = 0.0
        self._last = time.perf_counter()
        return round(longest * 1e3, 2)


async def _in_pieces(count: int, work: Callable[[int], Any]) -> None:
    for start in range(0, count, PIECE):
        for number in range(start, min(start + PIECE, count)):
            work(number)
        await asyncio.sleep(0)


async def _settled() -> None:
    """Gives what was cancelled the turns that it needs."""
    for _ in range(10):
        await asyncio.sleep(0.01)


async def timers(count: int) -> dict[str, float]:
    """Timers: made, cancelled, and made again to come due one after the other."""
    loop = asyncio.get_running_loop()
    ticker = Ticker(loop)
    handles: list[Any] = [None] * count
    before = resident_kib(os.getpid())
    start = loop.time()

    def make(number: int) -> None:
        handles[number] = loop.call_at(start + FAR + number / 1e3, int)

    await _in_pieces(count, make)
    taken = loop.time() - start
    found = {"bytes": (resident_kib(os.getpid()) - before) * 1024 / count}
    found["make_ms"] = ticker.longest_ms()
    await _in_pieces(count, lambda number: handles[number].cancel())
    await _settled()
    handles.clear()
    found["cancel_ms"] = ticker.longest_ms()
    left = count

    def due() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    done = loop.create_future()
    first = loop.time() + 1 + 2 * taken
    await _in_pieces(count, lambda number: loop.call_at(first + SPREAD * number / count, due))
    ticker.longest_ms()
    await done
    found["due_ms"] = ticker.longest_ms()
    last = first + SPREAD * (count - 1) / count
    found["late_ms"] = round((loop.time() - last) * 1e3, 2)
    return found


async def tasks(count: int) -> dict[str, float]:
    """Tasks that sleep: made, and cancelled."""
    loop = asyncio.get_running_loop()
    ticker = Ticker(loop)
    sleepers: list[Any] = [None] * count
    before = resident_kib(os.getpid())

    def make(number: int) -> None:
        sleepers[number] = loop.create_task(asyncio.sleep(FAR + number / 1e3))

    await _in_pieces(count, make)
    await _settled()
    found = {"bytes": (resident_kib(os.getpid()) - before) * 1024 / count}
    found["make_ms"] = ticker.longest_ms()
    await _in_pieces(count, lambda number: sleepers[number].cancel())
    await asyncio.wait(sleepers[-1:])
    await _settled()
    found["cancel_ms"] = ticker.longest_ms()
    return found


def main(kind: str, loop_name: str, count: str) -> None:
    """Measures one kind on one loop."""
    gc.disable()
    loop = new_loop(loop_name)
    work = {"timers": timers, "tasks": tasks}[kind]
    print(json.dumps(loop.run_until_complete(work(int(count)))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
