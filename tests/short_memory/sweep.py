"""Runs a program once for each position at which an allocation of the interpreter fails, each time in a fork.

Prints one line of JSON: how many positions the program has, and what came of those that were tried.
Usage: sweep.py LOOP PROGRAM STREAMS COUNT, where COUNT 0 stands for all positions.
"""

from __future__ import annotations

import _testcapi  # type: ignore[import-not-found] # CPython has no types for it
import asyncio
import collections
import gc
import importlib
import json
import os
import pkgutil
import re
import signal
import sys
import tempfile
from types import ModuleType

from support.net.certificates import client_context, server_context

from .programs import CONTEXTS, PROGRAMS, afterwards

SECONDS = 0.5
"""How long a program may take that a failure keeps from its end; then the loop is stopped."""

DEADLINE = 10
"""After so many seconds in all, a process hangs."""


def outcome(loop_module: ModuleType, name: str, streams: ModuleType, first: int, last: int) -> str:
    """What came of a program if the allocations from `first` on, and before `last`, fail."""
    if loop_module is asyncio:
        loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop()
    else:
        loop = loop_module.new_event_loop()
    reports: list[object] = []

    def report(_loop: object, context: dict[str, object]) -> None:
        reports.append(context.get("exception") or context.get("message"))
        loop.stop()

    loop.set_exception_handler(report)
    guard = loop.call_later(SECONDS, loop.stop)
    task = loop.create_task(PROGRAMS[name](streams))

    def stop(_task: object) -> None:
        loop.stop()

    task.add_done_callback(stop)
    escaped: BaseException | None = None
    _testcapi.set_nomemory(first, last)
    try:
        loop.run_forever()
    except BaseException as error:
        escaped = error
    finally:
        _testcapi.remove_mem_hooks()
    guard.cancel()
    ended = task.done() and not task.cancelled() and task.exception() is None
    if task.done() and not task.cancelled():
        reports.append(task.exception())
    found = [escaped, *reports]
    told = sorted({type(error).__name__ for error in found if error is not None})
    # What the program left behind, and a stop that comes late.
    task.remove_done_callback(stop)
    task.cancel()
    loop.set_exception_handler(lambda _loop, _context: None)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.run_until_complete(asyncio.wait_for(afterwards(), DEADLINE))
    if any("Panic" in text for text in told):
        return f"panic: {found}"
    if escaped is not None:
        return f"raised {type(escaped).__name__}"
    if ended and not told:
        return "complete"
    return "told " + ", ".join(told) if told else "stopped"


def forked(
    loop_module: ModuleType,
    name: str,
    streams: ModuleType,
    first: int,
    last: int,
    seconds: int = DEADLINE,
) -> str:
    """`outcome` in a fork, with what the fork says by the way it ends."""
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(seconds)
                os.dup2(errors.fileno(), 2)
                text = outcome(loop_module, name, streams, first, last)
                os.pwrite(answer.fileno(), text.encode(), 0)
                status = 0
            except BaseException as error:
                os.pwrite(answer.fileno(), f"unusable afterwards: {error!r}".encode(), 0)
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        answer.seek(0)
        errors.seek(0)
        text, written = answer.read().decode(), errors.read().decode(errors="replace")
    if "internal error of" in written or "panicked at" in written:
        frames = re.findall(r"\d+: (ferroloop::\S+)", written)
        said = re.findall(r"panicked at .*\n.*", written)
        return f"panic in {' < '.join(frames[:4])}: {said or written[:400]}"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return (
            "hangs"
            if number == signal.SIGALRM
            else f"dies by {signal.Signals(number).name}: {written[-500:]}"
        )
    return text


def positions(loop_module: ModuleType, name: str, streams: ModuleType) -> int:
    """How many allocations a program makes: as many must not fail that it completes.

    Where all fail from some point on, Python itself may go in circles, for instance in an import.
    """
    most = 64
    while forked(loop_module, name, streams, most, 0, 1) != "complete":
        most *= 2
        if most > 1 << 20:
            raise RuntimeError(f"{name} does not complete")
    # Between half of it and it.
    least = most // 2
    while most - least > 8:
        middle = (least + most) // 2
        if forked(loop_module, name, streams, middle, 0, 1) == "complete":
            most = middle
        else:
            least = middle
    return most


def _import_all(package: ModuleType) -> None:
    """Import what the package imports at its first use: CPython's import does not survive every failure."""
    for parts in ("_loop", "_net", "_process"):
        inner = importlib.import_module(f"{package.__name__}.{parts}")
        for module in pkgutil.iter_modules(inner.__path__, f"{inner.__name__}."):
            importlib.import_module(module.name)


def main(loop: str, name: str, streams: str, count: int) -> None:
    loop_module, streams_module = importlib.import_module(loop), importlib.import_module(streams)
    if name == "tls_indirect":
        # By `ssl.MemoryBIO` alone, as on a Python whose objects are not known.
        loop_module._native._call_openssl(False)
        name = "tls"
    if name.startswith("tls"):
        CONTEXTS.update(server=server_context(), client=client_context())
    if loop_module is not asyncio:
        _import_all(loop_module)
    gc.collect()
    gc.freeze()
    most = positions(loop_module, name, streams_module)
    # Most of what is made only once is made early.
    step = max(1, most // count) if count else 1
    tried = sorted({*range(1, most + 1, step)})
    found: dict[str, list[int]] = collections.defaultdict(list)
    for position in tried:
        found[forked(loop_module, name, streams_module, position, position + 1)].append(position)
    json.dump({"positions": most, "tried": len(tried), "outcomes": found}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
