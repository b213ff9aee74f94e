"""Runs a program on a loop and writes down what happens, in the order in which it happens.

Time passes in ticks: a timer's deadline is a whole number of ticks after the start, plus some
nanoseconds that keep the order of timers of one tick in no doubt (asyncio's heap is not stable).
A tick is much longer than what happens in it takes, so that traces do not depend on the clock; the
comparison repeats a run before it believes a difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine
from typing import Any

from .endpoints import Endpoints
from .program import FUTURES, Program, Step
from .streaming import END, StreamEnds

TICK = 0.006


class ProgramError(Exception):
    """What `raise` and `fail` raise."""


class Machine:
    """One run of one program."""

    def __init__(self, loop: asyncio.AbstractEventLoop, program: Program) -> None:
        self.loop = loop
        self.program = program
        self.trace: list[str] = []
        self.base = 0.0
        self.tick = 0
        self.last_tick = 0
        self.finished = False
        self._timers = 0
        self.handles: list[asyncio.Handle] = []
        self.futures: list[asyncio.Future[int]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.endpoints = Endpoints(self)
        self.stream_ends = StreamEnds(self)

    # What is written down.

    def note(self, text: str) -> None:
        end = END.get(None)
        self.trace.append(text if end is None else f"end {end}: {text}")

    def say(self, step: Step, text: str) -> None:
        self.note(f"{step.serial} {step.kind}: {text}")

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exception = context.get("exception")
        message = str(context["message"]).partition(" (")[0].partition(" <")[0]
        # The class of a transport has another name on each loop.
        message = re.sub(r"\w+Transport\.", "Transport.", message)
        # A callback that cancelled itself has no name left on asyncio.
        message = re.sub(
            r"callback (None\(\)|\S+ at \S+\.py:\d+)$", "callback of the program", message
        )
        self.note(f"unhandled {sorted(context)} {message}: {exception!r}")

    # The run.

    def run(self) -> list[str]:
        """Run the program to its end; the trace."""
        self.loop.set_exception_handler(self._unhandled)
        self.futures = [self.loop.create_future() for _ in range(FUTURES)]
        try:
            self.endpoints.open(self.program.attached)
            self.base = self.loop.time()
            self.loop.call_soon(self._first)
            for _ in range(200):
                self._run_once()
                if self.finished:
                    break
            self._clean_up()
        finally:
            self.endpoints.close()
            self.stream_ends.close()
            self.loop.close()
        # What the collector finds later belongs to no turn.
        trace, self.trace = self.trace, []
        return trace

    def _first(self) -> None:
        self._finish_later()
        self.perform(self.program.steps)

    def _finish_later(self) -> None:
        """Stop when nothing has been scheduled for a while."""
        self.last_tick = max(self.last_tick, self.tick)
        when = max(self.base + (self.last_tick + 1) * TICK, self.loop.time() + TICK)
        self.loop.call_at(when, self._finish, self.last_tick)

    def _finish(self, last_tick: int) -> None:
        if self.last_tick > last_tick or self.endpoints.busy():
            self._finish_later()
            return
        self.finished = True
        self.loop.stop()

    def _run_once(self) -> None:
        try:
            self.loop.run_forever()
            self.note("run_forever returned")
        except (Exception, KeyboardInterrupt, SystemExit) as exception:
            self.note(f"run_forever raised {exception!r}")

    def _clean_up(self) -> None:
        for task in self.tasks:
            task.cancel()
        for future in self.futures:
            future.cancel()
        self.endpoints.abort()
        self.stream_ends.abort()
        for _ in range(6):
            self.loop.call_soon(self.loop.stop)
            self._run_once()
        self.note(f"tasks {[self._state(task) for task in self.tasks]}")

    def _state(self, future: asyncio.Future[Any]) -> str:
        if not future.done():
            return "pending"
        if future.cancelled():
            return "cancelled"
        exception = future.exception()
        return repr(exception) if exception is not None else repr(future.result())

    # The steps of a callback.

    def perform(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            handler = getattr(self, f"do_{step.kind}", None)
            if handler is None:
                handler = self.endpoints.handler(step.kind)
            if handler is None:
                handler = self.stream_ends.handler(step.kind)
            # A narrowed program may have waiting steps where nothing can wait: they do nothing.
            if handler is not None:
                handler(step)

    def body(self, step: Step) -> Callable[..., None]:
        """The callback that a step schedules."""

        def call(*_: object) -> None:
            self.say(step, "runs")
            self.perform(step.body)

        return call

    def do_soon(self, step: Step) -> None:
        self.handles.append(self.loop.call_soon(self.body(step)))

    def do_threadsafe(self, step: Step) -> None:
        self.handles.append(self.loop.call_soon_threadsafe(self.body(step)))

    def deadline(self, ticks: int) -> tuple[int, float]:
        """A tick in the future, and its time by the loop's clock."""
        self._timers += 1
        tick = self.tick + ticks % 4 + 1
        self.last_tick = max(self.last_tick, tick)
        return tick, self.base + tick * TICK + self._timers * 20e-9

    def do_later(self, step: Step) -> None:
        tick, when = self.deadline(step.numbers[0])
        run = self.body(step)

        def fire() -> None:
            self.tick = max(self.tick, tick)
            run()

        self.handles.append(self.loop.call_at(when, fire))

    def do_cancel_handle(self, step: Step) -> None:
        if self.handles:
            handle = self.handles[step.numbers[0] % len(self.handles)]
            before = handle.cancelled()
            handle.cancel()
            self.say(step, f"{before} -> {handle.cancelled()}")

    def do_raise(self, step: Step) -> None:
        raise ProgramError(step.serial)

    def do_interrupt(self, step: Step) -> None:
        raise (KeyboardInterrupt, SystemExit)[step.numbers[0] % 2](step.serial)

    def do_stop(self, step: Step) -> None:
        self.say(step, "stops")
        self.loop.stop()

    def future(self, step: Step) -> asyncio.Future[int]:
        return self.futures[step.numbers[0] % FUTURES]

    def do_resolve(self, step: Step) -> None:
        future = self.future(step)
        if not future.done():
            future.set_result(step.serial)

    def do_fail(self, step: Step) -> None:
        future = self.future(step)
        if not future.done():
            future.set_exception(ProgramError(step.serial))
            # Whether it is ever looked at must not show, since the collector decides when.
            future.exception()

    def do_cancel_future(self, step: Step) -> None:
        self.say(step, str(self.future(step).cancel()))

    def do_when_done(self, step: Step) -> None:
        self.future(step).add_done_callback(self.body(step))

    def do_task(self, step: Step) -> None:
        self.start(step, step.body)

    def do_cancel_task(self, step: Step) -> None:
        if self.tasks:
            task = self.tasks[step.numbers[0] % len(self.tasks)]
            self.say(step, str(task.cancel(step.serial if step.numbers[1] % 2 else None)))

    # Tasks and their steps.

    def start(self, step: Step, steps: tuple[Step, ...]) -> asyncio.Task[Any]:
        """A task that runs the steps, remembered so that others can cancel it."""
        task = self.loop.create_task(self.coroutine(step, steps), name=f"task {step.serial}")
        self.tasks.append(task)
        return task

    async def coroutine(self, step: Step, steps: tuple[Step, ...]) -> int:
        self.say(step, "begins")
        try:
            for inner in steps:
                if inner.kind == "return_early":
                    break
                await self.perform_waiting(inner)
        except BaseException as exception:
            self.say(step, f"ends with {type(exception).__name__}{exception.args}")
            raise
        self.say(step, "ends")
        return step.serial

    async def perform_waiting(self, step: Step) -> None:
        """A step of a coroutine: one that waits, or any that a callback may do."""
        handler: Callable[[Step], Coroutine[Any, Any, None]] | None
        handler = getattr(self, f"wait_{step.kind}", None)
        if handler is None:
            handler = self.stream_ends.waiting_handler(step.kind)
        if handler is None:
            self.perform((step,))
        else:
            await handler(step)
            self.say(step, "goes on")

    async def wait_yield(self, _: Step) -> None:
        await asyncio.sleep(0)

    async def wait_sleep(self, step: Step) -> None:
        tick, when = self.deadline(step.numbers[0])
        woken = self.loop.create_future()

        def wake() -> None:
            self.tick = max(self.tick, tick)
            if not woken.done():
                woken.set_result(None)

        handle = self.loop.call_at(when, wake)
        try:
            await woken
        finally:
            handle.cancel()

    async def wait_await_future(self, step: Step) -> None:
        self.say(step, repr(await self.future(step)))

    async def wait_catch(self, step: Step) -> None:
        try:
            await self.coroutine(step, step.body)
        except (ProgramError, asyncio.CancelledError) as exception:
            self.say(step, f"caught {exception!r}")

    async def wait_gather(self, step: Step) -> None:
        tasks = [self.start(inner, (inner,)) for inner in step.body]
        lenient = step.numbers[0] % 2 == 0
        results = await asyncio.gather(*tasks, return_exceptions=lenient)
        self.say(step, repr(results))

    async def wait_wait(self, step: Step) -> None:
        tasks = [self.start(inner, (inner,)) for inner in step.body]
        if not tasks:
            return
        conditions = (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED)
        done, pending = await asyncio.wait(tasks, return_when=conditions[step.numbers[0] % 3])
        names = [sorted(task.get_name() for task in group) for group in (done, pending)]
        self.say(step, f"done {names[0]}, pending {names[1]}")

    async def wait_wait_for(self, step: Step) -> None:
        # Half a tick away from any timer, so that it is clear which comes first.
        choices = (None, 0, (step.numbers[1] % 3 + 0.5) * TICK)
        timeout = choices[step.numbers[0] % 3]
        self.last_tick = max(self.last_tick, self.tick + 4)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.coroutine(step, step.body), timeout)

    async def wait_shield(self, step: Step) -> None:
        await asyncio.shield(self.start(step, step.body))
