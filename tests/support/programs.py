"""Programs in processes of their own: for what must not happen to the test's process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence

from .loops import PATIENCE

FACTORY = {
    "asyncio": "import asyncio; new_loop = asyncio.SelectorEventLoop",
    "ferroloop": "import ferroloop; new_loop = ferroloop.new_event_loop",
}


def start(arguments: Sequence[str], **options: object) -> subprocess.Popen[str]:
    """Start Python with arguments; its outputs are pipes, and its signals are not ours."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONASYNCIODEBUG"}
    given = options.pop("env", None)
    if isinstance(given, dict):
        environment.update(given)
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        **options,  # type: ignore[call-overload] # passed through
    )
    return process


def code(kind: str, source: str) -> list[str]:
    """The arguments that run a source text in which `new_loop` makes loops of a kind."""
    loop = FACTORY.get(kind, f"import {kind}; new_loop = {kind}.new_event_loop")
    return ["-c", f"{loop}\nimport asyncio\n{textwrap.dedent(source)}"]


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a program to end; its status and what it wrote."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"the program does not end; it wrote {out!r} and {err!r}") from None
    return process.returncode, out, err


def run_code(kind: str, source: str, **options: object) -> tuple[int, str, str]:
    """Run a source text; its status and what it wrote."""
    return finish(start(code(kind, source), **options))


def interrupt_when(process: subprocess.Popen[str], line: str) -> tuple[int, str, str]:
    """Send Ctrl-C's signal once the program has written a line; then as `finish`."""
    assert process.stdout is not None
    found = process.stdout.readline()
    assert found.strip() == line, (found, process.communicate(timeout=PATIENCE))
    process.send_signal(signal.SIGINT)
    return finish(process)
