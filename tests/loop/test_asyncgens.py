"""Asynchronous generators: closed by the loop when they are not run to their end."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import AsyncGenerator

import pytest

from support.errors import Reports
from support.loops import run, run_turns, until

Loop = asyncio.AbstractEventLoop


async def numbers(ended: list[str]) -> AsyncGenerator[int, None]:
    """Counts for ever, and notes that it was closed."""
    try:
        number = 0
        while True:
            yield number
            number += 1
            await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0)
        ended.append("closed")


def test_shutdown_closes_what_was_begun(loop: Loop) -> None:
    ended: list[str] = []
    kept = [numbers(ended) for _ in range(3)]

    async def main() -> None:
        for generator in kept[:2]:
            assert await anext_of(generator) == 0

    run(loop, main())
    assert not ended
    run(loop, loop.shutdown_asyncgens())
    assert ended == ["closed", "closed"]


async def anext_of(generator: AsyncGenerator[int, None]) -> int:
    return await generator.__anext__()


def test_a_dropped_generator_is_closed_by_the_loop(loop: Loop) -> None:
    ended: list[str] = []

    async def main() -> None:
        generator = numbers(ended)
        await anext_of(generator)
        del generator
        gc.collect()
        await until(lambda: ended)

    run(loop, main())
    assert ended == ["closed"]


def test_an_unreferenced_generator_is_not_kept_by_the_loop(loop: Loop) -> None:
    ended: list[str] = []

    async def main() -> weakref.ref[AsyncGenerator[int, None]]:
        generator = numbers(ended)
        await anext_of(generator)
        return weakref.ref(generator)

    reference = run(loop, main())
    gc.collect()
    run_turns(loop, 5)
    gc.collect()
    assert reference() is None


async def test_a_generator_that_is_begun_after_the_shutdown_is_warned_about(loop: Loop) -> None:
    ended: list[str] = []
    generator = numbers(ended)

    await loop.shutdown_asyncgens()
    with pytest.warns(ResourceWarning, match="was scheduled after loop.shutdown_asyncgens"):
        await anext_of(generator)
    await generator.aclose()


def test_an_error_in_closing_is_reported(loop: Loop, reports: Reports) -> None:
    async def fails() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise LookupError("in closing")

    generator = fails()
    run(loop, anext_of(generator))
    run(loop, loop.shutdown_asyncgens())
    context = reports.take()
    assert isinstance(context["exception"], LookupError)
    assert context["asyncgen"] is generator
    assert "an error occurred during closing of asynchronous generator" in context["message"]


def test_the_hooks_are_the_loops_only_while_it_runs(loop: Loop) -> None:
    before = sys.get_asyncgen_hooks()
    inside: list[object] = []
    loop.call_soon(lambda: inside.append(sys.get_asyncgen_hooks()))
    run_turns(loop)
    assert sys.get_asyncgen_hooks() == before
    assert inside != [before]


def test_the_hooks_are_put_back_after_an_interrupt(loop: Loop) -> None:
    before = sys.get_asyncgen_hooks()

    def callback() -> None:
        raise KeyboardInterrupt

    loop.call_soon(callback)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert sys.get_asyncgen_hooks() == before


def test_a_generator_may_be_dropped_after_the_loop_is_closed(loop: Loop) -> None:
    ended: list[str] = []

    async def plain() -> AsyncGenerator[int, None]:
        yield 1

    generator = plain()
    run(loop, anext_of(generator))
    loop.close()
    del generator
    gc.collect()
    assert not ended
