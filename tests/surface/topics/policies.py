"""Policies, Runner, run, get_event_loop."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from surface.probe import Probe, case


async def _value(value: Any = 1) -> Any:
    await asyncio.sleep(0)
    return value


async def _fail() -> None:
    raise ValueError("main")


@case
def current_loops(p: Probe) -> None:
    p.attempt(asyncio.get_running_loop)
    asyncio.set_event_loop(p.loop)
    p.note("set", asyncio.get_event_loop() is p.loop)
    asyncio.set_event_loop(None)
    p.attempt(asyncio.set_event_loop, 5)
    p.attempt(asyncio.set_event_loop, "text")

    async def main() -> None:
        p.note("in", asyncio.get_event_loop() is asyncio.get_running_loop() is p.loop)

    p.loop.run_until_complete(main())
    p.attempt(asyncio.get_running_loop)


@case
def objects(p: Probe) -> None:
    """What a policy does for the calls that ask it."""
    policy = p.policy()
    if policy is None:
        return
    if sys.version_info >= (3, 14):  # before, it makes a loop that stays unclosed
        p.attempt(policy.get_event_loop)
    policy.set_event_loop(None)
    p.attempt(policy.get_event_loop)
    loop = p.attempt(policy.new_event_loop)
    p.attempt(policy.set_event_loop, loop)
    p.note("same", policy.get_event_loop() is loop)
    for wrong in (5, "text"):
        p.attempt(policy.set_event_loop, wrong)
    p.attempt(policy.set_event_loop)
    if sys.version_info < (3, 14):
        for wrong in (5, "text"):
            p.attempt(policy.set_child_watcher, wrong)
        p.attempt(policy.get_child_watcher)
        p.attempt(policy.set_child_watcher, None)
    p.attempt(policy.set_event_loop, None)
    p.attempt(policy.get_event_loop)
    loop.close()


@case
def run(p: Probe) -> None:
    if sys.version_info >= (3, 12):
        p.attempt(asyncio.run, _value(), loop_factory=p.new_loop)
        p.attempt(asyncio.run, _fail(), loop_factory=p.new_loop)
        p.attempt(asyncio.run, 5, loop_factory=p.new_loop)

        async def debugging() -> bool:
            return asyncio.get_running_loop().get_debug()

        p.attempt(asyncio.run, debugging(), debug=True, loop_factory=p.new_loop)
        p.attempt(asyncio.run, debugging(), debug=False, loop_factory=p.new_loop)
        p.attempt(asyncio.run, asyncio.sleep(0, "slept"), loop_factory=p.new_loop)


@case
def runners(p: Probe) -> None:
    if sys.version_info < (3, 11):
        return
    with asyncio.Runner(loop_factory=p.new_loop) as runner:
        p.note("loop", isinstance(runner.get_loop(), asyncio.AbstractEventLoop))
        p.attempt(runner.run, _value())
        p.attempt(runner.run, _fail())
        p.attempt(runner.run, 5)
        p.attempt(runner.run, None)
        made = _value()

        async def nested() -> None:
            p.attempt(runner.run, made)

        p.attempt(runner.run, nested())
        made.close()
        loop = runner.get_loop()

        async def leave() -> None:
            kept.append(asyncio.ensure_future(asyncio.sleep(100)))
            kept.append(loop.run_in_executor(None, len, "abc"))

        kept: list[Any] = []
        p.attempt(runner.run, leave())
    p.note("left", kept)
    p.note("closed", loop.is_closed())
    p.attempt(runner.run, None)
    p.attempt(runner.get_loop)
    p.attempt(runner.close)
    asyncio.set_event_loop(None)


@case
def runners_in_debug_mode(p: Probe) -> None:
    if sys.version_info < (3, 11):
        return
    with asyncio.Runner(debug=True, loop_factory=p.new_loop) as runner:
        p.attempt(runner.get_loop().get_debug)


@case
async def servers_of_streams(p: Probe) -> None:
    async def answer(reader: Any, writer: Any) -> None:
        writer.write(await reader.read(100))
        writer.close()

    for wrong in (None, 5):
        server = await p.wait(asyncio.start_server, wrong, "127.0.0.1", 0)
        if server:
            server.close()
    server = await p.wait(asyncio.start_server, answer, "127.0.0.1", 0, limit=5)
    p.attempt(server.is_serving)
    server.close()
    for limit in (0, -1):
        p.attempt(asyncio.StreamReader, limit=limit, loop=p.loop)
