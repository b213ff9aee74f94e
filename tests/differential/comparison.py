"""Runs a program on two loops, decides whether they differ, and narrows the program down."""

from __future__ import annotations

import asyncio
import difflib
import gc
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .machine import Machine
from .program import Program, Step

Factory = Callable[[], asyncio.AbstractEventLoop]
REPEATS = 6

# asyncio loses a connection that is closed within resume_writing twice (gh-156512); since 3.14 it
# names no argument there.
LOST_TWICE = re.compile(r"Transport\._call_connection_lost\((None)?\): AttributeError")


def trace_of(factory: Factory, program: Program) -> list[str]:
    """What happens when the program runs on a new loop."""
    trace = Machine(factory(), program).run()
    # Abandoned tasks say so when they are collected: here, not in the middle of the next run.
    gc.collect(0)
    return trace


def ordered(trace: list[str]) -> list[str]:
    """The trace without what no loop promises: the order of two descriptors that are ready at once.

    epoll reports them in an order that depends on how they are registered.  So neighbouring
    events of different transports may change places, and what the tasks of the two ends of a
    stream do is compared for each end by itself.
    """
    result: list[str] = []
    neighbours: list[str] = []
    for line in [*trace, ""]:
        if line.startswith("protocol "):
            neighbours.append(line)
            continue
        result += sorted(neighbours, key=lambda event: event.partition(":")[0])
        neighbours = []
        result.append(line)
    return sorted(result, key=lambda line: line[:6] if line.startswith("end ") else "")


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
    """asyncio does not agree with itself, or stumbles over itself: the program proves nothing."""


def compare(reference: Factory, other: Factory, program: Program) -> Difference | None:
    """The difference, if it shows each time; UnsteadyError if asyncio does not agree with itself.

    On a machine with other work a callback may begin ticks late, on either loop. Then a program has
    several traces that are right, and one that both loops leave shows that they agree.
    """
    traces: list[tuple[list[str], list[str]]] = []
    for _ in range(REPEATS):
        first = trace_of(reference, program)
        if any(LOST_TWICE.search(line) for line in first):
            raise UnsteadyError
        traces.append((first, trace_of(other, program)))
        usual = [ordered(trace) for trace, _ in traces]
        if any(ordered(trace) in usual for _, trace in traces):
            return None
    if any(trace != usual[0] for trace in usual):
        raise UnsteadyError
    return Difference(program, *traces[0])


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
