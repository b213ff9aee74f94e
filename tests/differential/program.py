"""What a program is, and how one is made from a seed.

A program is a tree of steps.  A step names what to do, has small numbers as arguments (which future,
which socket, how many ticks), and may carry steps of its own: the callback's body or the task's
coroutine.  Nothing in it refers to a loop, so that it runs on any, prints, and loses steps one at a
time when a difference is narrowed down.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

FUTURES = 5
PAIRS = 3


@dataclass(frozen=True)
class Step:
    """One thing to do; `serial` names it in the trace."""

    serial: int
    kind: str
    numbers: tuple[int, ...] = ()
    body: tuple[Step, ...] = ()

    def lines(self, depth: int = 0) -> Iterator[str]:
        """The step and its body as indented text."""
        numbers = " ".join(map(str, self.numbers))
        yield f"{'  ' * depth}{self.serial}: {self.kind} {numbers}".rstrip()
        for step in self.body:
            yield from step.lines(depth + 1)


@dataclass(frozen=True)
class Program:
    """Steps that the first callback performs, and the profile that they were drawn from."""

    profile: str
    seed: int
    steps: tuple[Step, ...]
    # How many of the pairs have a transport from the beginning.
    attached: int = 0

    def __str__(self) -> str:
        head = f"profile {self.profile}, seed {self.seed}, {self.attached} attached"
        return "\n".join([head, *(line for step in self.steps for line in step.lines(1))])

    def size(self) -> int:
        return sum(1 for step in self.steps for _ in step.lines())


# Kinds by where they may stand.  The weight says how often one is drawn.
CALLBACKS = {
    "soon": 6,
    "threadsafe": 1,
    "cancel_handle": 2,
    "raise": 1,
    "stop": 1,
    "interrupt": 1,
}
TIMERS = {"later": 6, "cancel_handle": 3}
FUTURE_STEPS = {"resolve": 4, "fail": 1, "cancel_future": 1, "when_done": 3}
TASKS = {"task": 6, "cancel_task": 3}
READERS = {
    "raw_send": 6,
    "add_reader": 5,
    "remove_reader": 1,
    "add_writer": 3,
    "remove_writer": 2,
    "raw_close": 1,
}
TRANSPORTS = {
    "attach": 5,
    "write": 6,
    "write_then_read": 3,
    "writelines": 2,
    "respond": 2,
    "raw_read": 2,
    "write_eof": 1,
    "close": 1,
    "abort": 1,
    "pause": 2,
    "resume": 2,
    "raw_send": 2,
    "raw_close": 1,
    "set_protocol": 1,
    "on_event": 5,
    "raise": 1,
}
BIG = {"write_big": 4, "raw_drain": 4, "on_event": 2, "close": 1, "set_limits": 1, "raw_send": 1}
# Steps of a coroutine, which may wait.
WAITING = {
    "yield": 5,
    "await_future": 4,
    "catch": 2,
    "gather": 2,
    "wait": 2,
    "wait_for": 2,
    "shield": 1,
    "return_early": 1,
}
TICKING = {"sleep": 4}
STREAMS = {
    "stream_write": 6,
    "stream_line": 4,
    "stream_drain": 2,
    "stream_read": 4,
    "stream_readline": 4,
    "stream_exactly": 2,
    "stream_eof": 1,
    "stream_close": 1,
}

BODY_KINDS = frozenset(
    {"soon", "threadsafe", "later", "when_done", "add_reader", "add_writer", "on_event"}
)
COROUTINE_KINDS = frozenset({"task", "catch", "gather", "wait", "wait_for", "shield"})

PROFILES: dict[str, tuple[dict[str, int], ...]] = {
    # What a callback may do; then what a coroutine may do besides.
    "callbacks": (CALLBACKS, FUTURE_STEPS),
    "timers": (CALLBACKS, TIMERS),
    "tasks": (CALLBACKS, FUTURE_STEPS, TASKS),
    "tasks_and_timers": (CALLBACKS, TIMERS, FUTURE_STEPS, TASKS),
    "readers": (CALLBACKS, READERS),
    "transports": ({"soon": 8}, TRANSPORTS),
    "flow_control": ({"soon": 3}, BIG),
    "transports_and_tasks": ({"soon": 6}, TRANSPORTS, FUTURE_STEPS, TASKS),
    "streams": ({"soon": 1}, {"stream_task": 8}),
    "everything": (CALLBACKS, TIMERS, FUTURE_STEPS, TASKS, READERS, TRANSPORTS),
}
WITH_TICKS = frozenset({"timers", "tasks_and_timers", "everything"})


class Generator:
    """Draws the steps of one program."""

    def __init__(self, profile: str, seed: int) -> None:
        self._profile = profile
        self._random = random.Random(f"{profile}/{seed}")
        self._seed = seed
        self._serial = 0
        self._left = self._random.randint(5, 70)

    def program(self) -> Program:
        steps = self._many(self._sync_kinds(), self._random.randint(3, 18), 0)
        attached = 0
        if "on_event" in self._sync_kinds():
            attached = self._random.choice((0, 1, 2, 3, 3))
        return Program(self._profile, self._seed, steps, attached)

    def _sync_kinds(self) -> dict[str, int]:
        kinds: dict[str, int] = {}
        for group in PROFILES[self._profile]:
            kinds.update(group)
        return kinds

    def _async_kinds(self) -> dict[str, int]:
        kinds = {**self._sync_kinds(), **WAITING}
        # In a coroutine these would be the task's own end, which `return_early` stands for.
        for kind in ("interrupt", "stop"):
            kinds.pop(kind, None)
        if self._profile in WITH_TICKS:
            kinds.update(TICKING)
        return kinds

    def _many(self, kinds: dict[str, int], count: int, depth: int) -> tuple[Step, ...]:
        steps = []
        for _ in range(count):
            if self._left <= 0:
                break
            self._left -= 1
            steps.append(self._one(kinds, depth))
        return tuple(steps)

    def _one(self, kinds: dict[str, int], depth: int) -> Step:
        kind = self._random.choices(list(kinds), list(kinds.values()))[0]
        self._serial += 1
        serial = self._serial
        numbers = tuple(self._random.randrange(1 << 16) for _ in range(3))
        body: tuple[Step, ...] = ()
        if depth < 5:
            count = self._random.choice((0, 1, 2, 3, 5))
            if kind in BODY_KINDS:
                body = self._many(self._sync_kinds(), count, depth + 1)
            elif kind in COROUTINE_KINDS:
                body = self._many(self._async_kinds(), count + 1, depth + 1)
            elif kind == "stream_task":
                body = self._many({**STREAMS, "yield": 3}, count + 3, depth + 1)
        return Step(serial, kind, numbers, body)


def generate(profile: str, seed: int) -> Program:
    """The program of a profile and a seed; the same one every time."""
    return Generator(profile, seed).program()
