"""The same events in the same order on ferroloop and on asyncio."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Iterator
from functools import partial

import pytest

from many_threads.crew import together

from .__main__ import factory_of
from .comparison import Factory, UnsteadyError, compare, narrow, trace_of
from .program import PROFILES, WITH_TICKS, generate

BLOCK = 20
BLOCKS = 3
# Of a block, how many programs may be such that asyncio does not agree with itself.
MAY_BE_UNSTEADY = 5


@pytest.fixture
def ferroloop_factory() -> Factory:
    return factory_of("ferroloop")


@pytest.fixture(autouse=True)
def _abandoned_tasks_stay_here(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    """Programs leave coroutines that never ran; Python's warnings about them are not the matter."""
    yield
    gc.collect()
    recwarn.clear()


def differences(factory: Factory, profile: str, seeds: range) -> tuple[str, int]:
    """The first difference, narrowed down, as text; and how many programs proved nothing."""
    unsteady = 0
    for seed in seeds:
        try:
            found = compare(asyncio.SelectorEventLoop, factory, generate(profile, seed))
        except UnsteadyError:
            unsteady += 1
            continue
        if found is not None:
            return str(narrow(asyncio.SelectorEventLoop, factory, found)), unsteady
    return "", unsteady


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("profile", PROFILES)
def test_a_random_program_leaves_the_same_trace_as_on_asyncio(
    ferroloop_factory: Factory, profile: str, block: int
) -> None:
    text, unsteady = differences(
        ferroloop_factory, profile, range(block * BLOCK, (block + 1) * BLOCK)
    )
    assert not text, text
    assert unsteady <= MAY_BE_UNSTEADY


THREADS = 4


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# Programs without ticks: threads that share a processor cannot keep them.
@pytest.mark.parametrize("profile", [it for it in PROFILES if it not in WITH_TICKS])
def test_loops_that_run_at_once_leave_the_traces_that_asyncio_leaves(
    ferroloop_factory: Factory, profile: str
) -> None:
    found: list[tuple[str, int]] = []

    def work(number: int) -> None:
        first = 1000 + number * BLOCK
        found.append(differences(ferroloop_factory, profile, range(first, first + BLOCK)))

    together(*(partial(work, number) for number in range(THREADS)))
    assert len(found) == THREADS
    assert not any(text for text, _ in found), found
    assert sum(unsteady for _, unsteady in found) <= THREADS * BLOCK // 2


class LastFirst(asyncio.SelectorEventLoop):
    """A loop that is wrong in one small way: two callbacks of one turn may change places."""

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        if len(ready) == 3:
            ready.rotate(1)
        super()._run_once()  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_with_another_order_is_found_out_and_the_program_narrowed_down() -> None:
    reference = asyncio.SelectorEventLoop
    found = next(
        difference
        for seed in range(50)
        if (difference := compare(reference, LastFirst, generate("callbacks", seed)))
    )
    small = narrow(reference, LastFirst, found)
    assert small.program.size() <= found.program.size()
    assert small.program.size() <= 4
    assert trace_of(reference, small.program) != trace_of(LastFirst, small.program)


def in_turn(*factories: Factory) -> Factory:
    """Makes a loop of each factory, again and again."""
    following = itertools.cycle(factories)
    return lambda: next(following)()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_loops_that_leave_the_same_traces_at_different_times_do_not_differ() -> None:
    prompt, late = asyncio.SelectorEventLoop, LastFirst
    program = next(
        program
        for seed in range(50)
        if trace_of(prompt, program := generate("callbacks", seed)) != trace_of(late, program)
    )
    assert compare(in_turn(prompt, prompt, late, late), in_turn(late, prompt), program) is None


def test_a_seed_makes_the_same_program_every_time() -> None:
    assert str(generate("everything", 7)) == str(generate("everything", 7))
    assert str(generate("everything", 7)) != str(generate("everything", 8))
