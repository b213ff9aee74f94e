"""run_forever, run_until_complete, stop and close."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.loops import Factory, run_turns

Loop = asyncio.AbstractEventLoop


def test_run_until_complete_gives_the_result(loop: Loop) -> None:
    async def main() -> str:
        await asyncio.sleep(0)
        return "result"

    assert loop.run_until_complete(main()) == "result"
    future: asyncio.Future[int] = loop.create_future()
    loop.call_soon(future.set_result, 5)
    assert loop.run_until_complete(future) == 5
    # Once more with one that is done.
    assert loop.run_until_complete(future) == 5


def test_run_until_complete_raises_what_the_coroutine_raises(loop: Loop) -> None:
    async def main() -> None:
        raise LookupError("from main")

    with pytest.raises(LookupError, match="from main"):
        loop.run_until_complete(main())
    assert not loop.is_running()


def test_run_until_complete_says_so_when_it_is_stopped_before(loop: Loop) -> None:
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
        loop.run_until_complete(future)


def test_run_until_complete_takes_no_other_object(loop: Loop) -> None:
    with pytest.raises(TypeError):
        loop.run_until_complete(5)  # type: ignore[arg-type] # what is tested


def test_run_until_complete_refuses_another_loops_future(loop: Loop, new_loop: Factory) -> None:
    other = new_loop()
    try:
        future = other.create_future()
        with pytest.raises(ValueError, match="future belongs to a different loop"):
            loop.run_until_complete(future)
    finally:
        other.close()


def test_callbacks_queued_before_the_result_run_before_run_until_complete_returns(
    loop: Loop,
) -> None:
    seen: list[int] = []

    async def main() -> None:
        loop.call_soon(seen.append, 1)

    loop.run_until_complete(main())
    assert seen == [1]


def test_stop_lets_the_turn_end(loop: Loop) -> None:
    seen: list[str] = []

    def first() -> None:
        loop.stop()
        loop.call_soon(seen.append, "next turn")

    loop.call_soon(first)
    loop.call_soon(seen.append, "same turn")
    loop.run_forever()
    assert seen == ["same turn"]
    run_turns(loop)
    assert seen == ["same turn", "next turn"]


def test_stop_before_the_run_makes_it_one_turn(loop: Loop) -> None:
    seen: list[int] = []

    def again(number: int) -> None:
        seen.append(number)
        loop.call_soon(again, number + 1)

    again(0)
    loop.stop()
    loop.run_forever()
    assert seen == [0, 1]
    loop.stop()
    loop.stop()
    loop.run_forever()
    assert seen == [0, 1, 2]


def test_a_stop_is_used_up_by_its_run(loop: Loop) -> None:
    loop.stop()
    loop.run_forever()

    async def main() -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return "to the end"

    assert loop.run_until_complete(main()) == "to the end"


def test_it_is_running_only_while_it_runs(loop: Loop) -> None:
    seen: list[bool] = []
    loop.call_soon(lambda: seen.append(loop.is_running()))
    assert not loop.is_running()
    run_turns(loop)
    assert seen == [True]
    assert not loop.is_running()


def refusal_in_a_callback(loop: Loop, call: Callable[[], object]) -> str:
    """What a call raises while the loop runs."""
    refusals: list[str] = []

    def callback() -> None:
        try:
            call()
        except RuntimeError as error:
            refusals.append(str(error))

    loop.call_soon(callback)
    run_turns(loop)
    (text,) = refusals
    return text


def test_a_running_loop_cannot_be_run_again(loop: Loop) -> None:
    text = refusal_in_a_callback(loop, loop.run_forever)
    assert text == "This event loop is already running"
    run_turns(loop)


def test_another_loop_cannot_run_inside(kind: str, loop: Loop, new_loop: Factory) -> None:
    if kind == "asyncio" and sys.version_info[:3] == (3, 13, 0):
        pytest.skip("asyncio's refusal ends the loop that runs")
    other = new_loop()

    def run_other() -> None:
        try:
            other.run_forever()
        finally:
            assert asyncio.get_running_loop() is loop

    text = refusal_in_a_callback(loop, run_other)
    other.close()
    assert text == "Cannot run the event loop while another loop is running"
    assert not other.is_running()


def test_run_until_complete_inside_leaves_no_coroutine_unawaited(loop: Loop) -> None:
    async def inner() -> None:
        """Never awaited, if the check comes late."""

    coroutine = inner()
    text = refusal_in_a_callback(loop, lambda: loop.run_until_complete(coroutine))
    coroutine.close()
    assert text == "This event loop is already running"


def test_a_loop_that_runs_in_one_thread_cannot_be_run_in_another(loop: Loop) -> None:
    def run_elsewhere() -> None:
        with ThreadPoolExecutor(1) as executor:
            executor.submit(loop.run_forever).result()

    text = refusal_in_a_callback(loop, run_elsewhere)
    assert text == "This event loop is already running"


def test_a_running_loop_cannot_be_closed(loop: Loop) -> None:
    text = refusal_in_a_callback(loop, loop.close)
    assert text == "Cannot close a running event loop"
    assert not loop.is_closed()


def test_closing_twice_is_closing_once(loop: Loop) -> None:
    assert not loop.is_closed()
    loop.close()
    assert loop.is_closed()
    loop.close()
    assert loop.is_closed()


def test_a_closed_loop_does_not_run(loop: Loop) -> None:
    async def main() -> None:
        """Must not run."""

    loop.close()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.run_forever()
    coroutine = main()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.run_until_complete(coroutine)
    coroutine.close()


def test_an_open_loop_complains_when_it_is_collected(new_loop: Factory) -> None:
    loop = new_loop()
    text = f"unclosed event loop {loop!r}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        gc.collect()
    found = [warning for warning in caught if "event loop" in str(warning.message)]
    assert [str(warning.message) for warning in found] == [text]
    assert found[0].category is ResourceWarning


def test_a_closed_loop_is_collected_in_silence(new_loop: Factory) -> None:
    loop = new_loop()
    reference = weakref.ref(loop)
    loop.call_soon(print)
    run = loop.create_future()
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del run, loop
        gc.collect()
    assert reference() is None


def test_a_thousand_loops_can_be_made_and_closed(new_loop: Factory) -> None:
    for _ in range(1000):
        loop = new_loop()
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()


def test_many_loops_can_be_open_at_once(new_loop: Factory) -> None:
    loops = [new_loop() for _ in range(50)]
    seen: list[int] = []
    for number, loop in enumerate(loops):
        loop.call_soon(seen.append, number)
    for loop in reversed(loops):
        run_turns(loop)
    for loop in loops:
        loop.close()
    assert seen == list(reversed(range(50)))


def test_asyncio_run_and_runner_take_the_loop(new_loop: Factory, kind: str) -> None:
    async def main() -> Loop:
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    if sys.version_info < (3, 11):
        pytest.skip("Runner is there since 3.11")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        first = runner.run(main())
        assert runner.run(main()) is first
        assert not first.is_closed()
    assert first.is_closed()
    if sys.version_info >= (3, 12):
        assert asyncio.run(main(), loop_factory=new_loop).is_closed()


def test_set_event_loop_takes_the_loop(loop: Loop) -> None:
    asyncio.set_event_loop(loop)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)


def test_asyncio_finds_the_running_loop(loop: Loop) -> None:
    async def main() -> None:
        assert asyncio.get_running_loop() is loop
        assert asyncio.get_event_loop() is loop
        task = asyncio.current_task()
        assert task is not None and task in asyncio.all_tasks()
        assert task.get_loop() is loop

    loop.run_until_complete(main())
    assert asyncio.all_tasks(loop) == set()
