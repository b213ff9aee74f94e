"""The package's own names: run, new_event_loop, Loop, install, EventLoopPolicy."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

import ferroloop
from support.programs import finish, start

with_policies = pytest.mark.skipif(
    sys.version_info >= (3, 16), reason="there are no policies since 3.16"
)


def test_run_gives_the_result_and_closes_the_loop() -> None:
    async def main() -> asyncio.AbstractEventLoop:
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    loop = ferroloop.run(main())
    assert type(loop) is ferroloop.Loop
    assert loop.is_closed()


def test_run_takes_debug() -> None:
    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert ferroloop.run(main(), debug=True) is True
    assert ferroloop.run(main(), debug=False) is False


def test_run_raises_what_main_raises() -> None:
    async def main() -> None:
        raise LookupError("from main")

    with pytest.raises(LookupError, match="from main"):
        ferroloop.run(main())


def test_run_cancels_what_is_left_and_closes_generators() -> None:
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("task")

    async def generator() -> Any:
        try:
            yield 1
        finally:
            ended.append("generator")

    kept: list[Any] = []

    async def main() -> None:
        kept.append(asyncio.ensure_future(endless()))
        kept.append(generator())
        await kept[1].__anext__()

    ferroloop.run(main())
    assert sorted(ended) == ["generator", "task"]


def test_run_cannot_be_called_inside() -> None:
    async def inner() -> None:
        """Must not run."""

    async def main() -> None:
        coroutine = inner()
        with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
            ferroloop.run(coroutine)
        coroutine.close()

    ferroloop.run(main())


@pytest.mark.parametrize("bad", [5, None, print])
def test_run_wants_a_coroutine(bad: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        ferroloop.run(bad)


def test_run_works_in_a_thread() -> None:
    results: list[str] = []

    async def main() -> None:
        await asyncio.sleep(0)
        results.append(threading.current_thread().name)

    thread = threading.Thread(target=lambda: ferroloop.run(main()), name="other")
    thread.start()
    thread.join()
    assert results == ["other"]


def test_new_event_loop_makes_loops() -> None:
    first, second = ferroloop.new_event_loop(), ferroloop.new_event_loop()
    assert first is not second
    assert type(first) is ferroloop.Loop
    assert isinstance(first, asyncio.AbstractEventLoop)
    first.close()
    second.close()


def test_a_loop_can_be_subclassed() -> None:
    class Own(ferroloop.Loop):
        def create_task(self, *arguments: Any, **keywords: Any) -> Any:
            made.append("task")
            return super().create_task(*arguments, **keywords)

    made: list[str] = []

    async def main() -> int:
        return await asyncio.get_running_loop().create_task(child())

    async def child() -> int:
        return 5

    loop = Own()
    assert loop.run_until_complete(main()) == 5
    assert len(made) == 2
    loop.close()


@with_policies
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_install_makes_asyncio_use_the_loop() -> None:
    async def main() -> type:
        return type(asyncio.get_running_loop())

    before = asyncio.get_event_loop_policy()
    try:
        ferroloop.install()
        assert asyncio.run(main()) is ferroloop.Loop
        policy = asyncio.get_event_loop_policy()
        assert isinstance(policy, ferroloop.EventLoopPolicy)
    finally:
        asyncio.set_event_loop_policy(before)
    assert asyncio.run(main()) is not ferroloop.Loop


@with_policies
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_policy_is_asyncios_with_another_loop() -> None:
    policy = ferroloop.EventLoopPolicy()
    assert isinstance(policy, asyncio.AbstractEventLoopPolicy)
    loop = policy.new_event_loop()
    assert type(loop) is ferroloop.Loop
    policy.set_event_loop(loop)
    assert policy.get_event_loop() is loop
    policy.set_event_loop(None)
    loop.close()


def test_importing_changes_nothing_in_asyncio() -> None:
    source = """
import asyncio, asyncio.events, asyncio.base_events, signal, socket, ssl, subprocess, sys, threading
def state():
    return {
        (name, key): id(value)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in {"asyncio", "signal", "socket", "ssl", "subprocess", "threading"}
        for key, value in vars(module).items()
    }
before = state()
threads = threading.active_count()
import ferroloop
after = state()
assert {key: after.get(key) for key in before} == before, "changed"
assert threading.active_count() == threads
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print("unchanged")
"""
    assert finish(start(["-c", source]))[:2] == (0, "unchanged\n")


def test_the_names_are_those_of_the_documentation() -> None:
    for name in ferroloop.__all__:
        assert getattr(ferroloop, name) is not None
    with pytest.raises(AttributeError):
        ferroloop.no_such_name  # noqa: B018 - what is tested


def test_the_version_is_the_distributions() -> None:
    out = subprocess.run(
        [sys.executable, "-m", "ferroloop", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert out == f"ferroloop {ferroloop.__version__}\n"
