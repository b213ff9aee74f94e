"""A call with odd arguments returns or raises what asyncio's does, and leaves no descriptor open."""

from __future__ import annotations

import asyncio

import pytest

from support.loops import factory_of
from surface.comparison import compared
from surface.odd_calls import HANGS, Call, play, program
from surface.probe import Case, Probe, run

SEEDS = range(40)
CALLS = 25


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("default")
def test_odd_arguments_are_answered_as_by_asyncio(seed: int) -> None:
    kept: list[Call] = []

    async def on_asyncio(p: Probe) -> None:
        kept.extend(await play(p, program(seed, CALLS), HANGS))

    async def on_ours(p: Probe) -> None:
        await play(p, kept)

    run(Case("odd", "odd", on_asyncio), asyncio.SelectorEventLoop)  # finds what never ends
    case = Case(f"seed {seed}", "odd", on_ours)
    theirs, mine = run(case, asyncio.SelectorEventLoop), run(case, factory_of("ferroloop"))
    found = [str(finding) for finding in compared(case, theirs, mine) if not finding.reason]
    assert not found, "\n" + "\n".join(found)
    assert not [step for step, _ in mine.steps if step.startswith("left open")]
