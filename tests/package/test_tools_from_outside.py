"""Debuggers and profilers see the same on ferroloop's loop as on asyncio's.

docs/guides/debuggers-and-profilers.md says how py-spy and austin, which are no part of Python, were tried.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from support.loops import PATIENCE
from support.programs import start

pytestmark = pytest.mark.slow

RUNNER = {"asyncio": (), "ferroloop": ("-m", "ferroloop")}
PROGRAM = """
    import asyncio

    async def inner():
        while True:
            await asyncio.sleep(0.01)

    async def outer():
        await inner()

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(outer(), name="first worker")
            group.create_task(outer(), name="second worker")
            print("ready", flush=True)

    asyncio.run(main())
"""


def write(folder: pathlib.Path, source: str) -> str:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(source))
    return str(path)


@pytest.fixture
def running(kind: str, tmp_path: pathlib.Path) -> Iterator[int]:
    """The process id of a program whose tasks wait and wake."""
    with start([*RUNNER[kind], write(tmp_path, PROGRAM)]) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.kill()


def look(*arguments: str, commands: str = "") -> str:
    """Run a module of Python that looks into another process; what it writes."""
    finished = subprocess.run(
        [sys.executable, "-m", *arguments],
        input=commands,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    text = finished.stdout + finished.stderr
    if finished.returncode and ("PermissionError" in text or "permission" in text.lower()):
        pytest.skip("this system forbids to look into other processes")
    assert finished.returncode == 0, text
    return text


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio ps came with Python 3.14")
def test_asyncio_ps_lists_the_tasks(running: int) -> None:
    text = look("asyncio", "ps", str(running))
    for name in ("first worker", "second worker", "sleep -> inner -> outer", "main"):
        assert name in text, text


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio pstree came with Python 3.14")
def test_asyncio_pstree_draws_who_waits_for_whom(running: int) -> None:
    text = look("asyncio", "pstree", str(running))
    for name in ("(T) Task-1", "(T) first worker", "(T) second worker", "inner", "program.py"):
        assert name in text, text
    # The workers hang on the task that waits for them.
    assert text.index("Task-1") < text.index("TaskGroup") < text.index("first worker")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="pdb -p came with Python 3.14")
def test_pdb_stops_a_callback_of_the_running_loop(running: int) -> None:
    text = look("pdb", "-p", str(running), commands="where\np 6 * 7\nquit\n")
    assert "program.py" in text
    assert "42" in text


@pytest.mark.skipif(sys.version_info < (3, 12), reason="perf maps came with Python 3.12")
def test_perf_maps_name_the_callbacks(kind: str, tmp_path: pathlib.Path) -> None:
    source = """
        import asyncio, os, sys

        def called_by_the_loop():
            asyncio.get_running_loop().stop()

        loop = asyncio.new_event_loop()
        loop.call_soon(called_by_the_loop)
        loop.run_forever()
        loop.close()
        print(os.getpid(), sys.is_stack_trampoline_active())
    """
    process = start(["-X", "perf", *RUNNER[kind], write(tmp_path, source)])
    out, err = process.communicate(timeout=PATIENCE)
    if "not supported" in err or "not available" in err:
        pytest.skip("this Python is built without perf's trampolines")
    assert process.returncode == 0, err
    pid, active = out.split()
    assert active == "True"
    names = pathlib.Path(f"/tmp/perf-{pid}.map")
    try:
        assert f"py::called_by_the_loop:{os.path.join(tmp_path, 'program.py')}" in names.read_text()
    finally:
        names.unlink()
