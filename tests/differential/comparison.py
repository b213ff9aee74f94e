"""Runs a program on two loops, decides whether they differ, and narrows the program down."""

from __future__ import annotations

import asyncio
import difflib
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .machine import Machine
from .program import Program, Step

Factory = Callable[[], asyncio.AbstractEventLoop]
REPEATS = 3


def trace_of(factory: Factory, program: Program) -> list[str]:
    """What happens when the program runs on a new loop."""
    trace = Machine(factory(), program).run()
    # Abandoned tasks say so when they are collected: here, not in the middle of the next run.
    gc.collect(0)
    return trace


@dataclass
class Difference:
    """A program whose traces differ."""

    program: Program
    reference: list[str]
    other: list[str]

    def __str__(self) -> str:
        lines = difflib.unified_diff(
            self.reference, self.other, "asyncio", "the loop under test", lineterm="", n=4
        )
        return "\n".join([str(self.program), "", *lines])


class UnsteadyError(Exception):
    """asyncio's own traces of the program differ, so that it proves nothing."""


def compare(reference: Factory, other: Factory, program: Program) -> Difference | None:
    """The difference, if it shows each time; UnsteadyError if asyncio does not agree with itself."""
    for _ in range(REPEATS):
        first = trace_of(reference, program)
        trace = trace_of(other, program)
        if trace == first:
            return None
        if trace_of(reference, program) != first:
            raise UnsteadyError
    return Difference(program, first, trace)


def _without(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """Every way to take one thing away: a step, a step but not its body, or less of a body."""
    for index, step in enumerate(steps):
        before, after = steps[:index], steps[index + 1 :]
        yield before + after
        if step.body:
            yield before + step.body + after
        for body in _without(step.body):
            yield (*before, replace(step, body=body), *after)


def narrow(reference: Factory, other: Factory, found: Difference) -> Difference:
    """A smaller program that still differs; nothing can be taken away from it any more."""
    best = found
    tried: set[tuple[Step, ...]] = set()
    progress = True
    while progress:
        progress = False
        for steps in _without(best.program.steps):
            if steps in tried:
                continue
            tried.add(steps)
            try:
                smaller = compare(reference, other, replace(best.program, steps=steps))
            except Exception:  # a half program may be nonsense; try the next
                continue
            if smaller is not None:
                best, progress = smaller, True
                break
    return best
