"""Ctrl-C between any two instructions: a run has not started, or it is over, and the loop can be closed.

Not on asyncio's loops, which Ctrl-C can leave running for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

import ferroloop
from support.loops import run_turns
from support.programs import run_code
from support.tracing import Interrupter, every_step

Loop = asyncio.AbstractEventLoop
THIS: ModuleType = sys.modules[__name__]

# A coroutine whose run was interrupted before it began.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


def assert_at_rest(loop: Loop) -> None:
    """Nothing of a run is left, and the loop runs again."""
    assert not loop.is_running()
    assert asyncio._get_running_loop() is None
    assert sys.get_asyncgen_hooks() == (None, None)
    assert sys.get_coroutine_origin_tracking_depth() == 0
    assert not loop._stopping  # type: ignore[attr-defined]
    # What the program itself had queued when the interrupt came, perhaps a stop.
    run_turns(loop)
    for _ in range(2):
        loop.run_until_complete(asyncio.sleep(0))


def assert_closes(loop: Loop) -> None:
    """The loop can be closed, and signals are as they were."""
    loop.close()
    assert loop.is_closed()
    assert signal.set_wakeup_fd(-1) == -1
    assert signal.getsignal(signal.SIGUSR1) in {signal.SIG_DFL, signal.Handlers.SIG_DFL}


class Overriding(ferroloop.Loop):
    """A loop that lives in another: its run begins and ends with Python code of its own."""

    def _run_forever_setup(self) -> None:
        before = id(self)
        super()._run_forever_setup()
        assert before == id(self)

    def _run_forever_cleanup(self) -> None:
        before = id(self)
        super()._run_forever_cleanup()
        assert before == id(self)

    def _check_running(self) -> None:
        before = id(self)
        super()._check_running()
        assert before == id(self)


def forever(loop: Loop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def complete(loop: Loop) -> None:
    loop.run_until_complete(asyncio.sleep(0))


def complete_a_future(loop: Loop) -> None:
    future = loop.create_future()
    loop.call_soon(future.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(future)


def iterate(loop: Loop) -> None:
    async def numbers() -> object:
        yield 1

    async def main() -> None:
        async for _ in numbers():  # type: ignore[attr-defined]
            pass

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())


def handle_a_signal(loop: Loop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print)
    complete(loop)
    loop.remove_signal_handler(signal.SIGUSR1)


def keep_a_handler(loop: Loop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, print)


ACTIONS = [forever, complete, complete_a_future, iterate, handle_a_signal, keep_a_handler]


@pytest.mark.parametrize(
    ("make", "debug"),
    [(ferroloop.Loop, False), (ferroloop.Loop, True), (Overriding, False)],
    ids=["plain", "debug", "overriding"],
)
@pytest.mark.parametrize("action", ACTIONS)
def test_an_interrupt_at_any_step_of_a_run_leaves_a_loop_at_rest(
    action: Callable[[Loop], None], make: Callable[[], Loop], debug: bool
) -> None:
    loops: list[Loop] = []

    def interrupted(interrupter: Interrupter) -> None:
        loop = make()
        loop.set_debug(debug)
        loops.append(loop)
        with interrupter:
            action(loop)

    count = 0
    for _ in every_step(interrupted, ferroloop, asyncio, THIS):
        count += 1
        loop = loops.pop()
        assert_at_rest(loop)
        assert_closes(loop)
    assert count > 5


@pytest.mark.parametrize("action", [keep_a_handler, forever, complete])
def test_an_interrupted_close_can_be_called_again(action: Callable[[Loop], None]) -> None:
    loops: list[Loop] = []

    def interrupted(interrupter: Interrupter) -> None:
        loop = ferroloop.new_event_loop()
        loop.run_in_executor(None, int)
        loops.append(loop)
        action(loop)
        with interrupter:
            loop.close()

    for _ in every_step(interrupted, ferroloop, asyncio):
        assert_closes(loops.pop())


def test_an_interrupt_in_a_run_leaves_no_callback_on_the_programs_future() -> None:
    kept: list[tuple[Loop, asyncio.Future[None]]] = []

    def interrupted(interrupter: Interrupter) -> None:
        loop = ferroloop.new_event_loop()
        future = loop.create_future()
        kept.append((loop, future))
        loop.call_soon(loop.stop)
        with interrupter:
            # It raises RuntimeError when nothing has interrupted it.
            with contextlib.suppress(RuntimeError):
                loop.run_until_complete(future)

    for _ in every_step(interrupted, ferroloop, asyncio, THIS):
        loop, future = kept.pop()
        run_turns(loop)
        future.set_result(None)
        # A callback that stayed would stop this run.
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        assert_closes(loop)


@pytest.mark.skipif(
    bool(os.environ.get("PYTHONASYNCIODEBUG")),
    reason="a run of a runner has thousands of steps in debug mode, which the tests above cover",
)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner is new in 3.11")
def test_an_interrupt_at_any_step_of_a_runner_leaves_a_loop_that_can_be_closed() -> None:
    if sys.version_info < (3, 11):
        return
    loops: list[Loop] = []

    def make() -> Loop:
        loops.append(ferroloop.new_event_loop())
        return loops[-1]

    def interrupted(interrupter: Interrupter) -> None:
        with asyncio.Runner(loop_factory=make) as runner:
            runner.get_loop()
            with interrupter:
                runner.run(asyncio.sleep(0))

    for _ in every_step(interrupted, ferroloop):
        loop = loops.pop()
        assert loop.is_closed()
        assert_closes(loop)


def test_an_audit_hook_that_raises_at_any_event_leaves_a_loop_at_rest() -> None:
    source = """
    import signal, sys
    left = 0

    def hook(event, args):
        global left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    sys.addaudithook(hook)
    number, interrupted = 0, True
    while interrupted:
        number += 1
        loop = new_loop()
        loop.call_soon(loop.stop)
        left = number
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            pass
        interrupted, left = left <= 0, 0
        assert not loop.is_running()
        assert asyncio._get_running_loop() is None
        assert sys.get_asyncgen_hooks() == (None, None), number
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        assert loop.is_closed() and signal.set_wakeup_fd(-1) == -1
    print(number > 3)
    """
    assert run_code("ferroloop", source) == (0, "True\n", "")
