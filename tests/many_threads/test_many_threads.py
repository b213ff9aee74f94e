"""Allowed calls from other threads work, and forbidden ones do not crash the process."""

from __future__ import annotations

import itertools
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.loops import Factory

from .promises import PROMISES
from .trespasses import TRESPASSES

TESTS = Path(__file__).parent.parent

#: Whether this Python can run without the GIL.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

#: Promises that asyncio's own loop does not always keep, and what happens.
BROKEN_BY_ASYNCIO = {
    "a_server_may_be_closed_while_clients_come": (
        "asyncio leaves open the connections that it was accepting"
    ),
    "handles_of_other_threads_can_be_cancelled": (
        "asyncio calls None if a handle is cancelled between its check and its call"
    ),
}

needs_free_threading = pytest.mark.skipif(
    not FREE_THREADED, reason="needs a free-threaded CPython: python3.14t or python3.15t"
)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", PROMISES)
def test_a_promise_is_kept(new_loop: Factory, kind: str, name: str) -> None:
    if kind == "asyncio" and name in BROKEN_BY_ASYNCIO:
        pytest.skip(BROKEN_BY_ASYNCIO[name])
    PROMISES[name](new_loop)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.ours_only("asyncio promises nothing of what other threads break")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TRESPASSES)
def test_a_trespass_is_survived(new_loop: Factory, name: str) -> None:
    TRESPASSES[name](new_loop)


@needs_free_threading
def test_importing_leaves_the_gil_off() -> None:
    code = "import ferroloop, sys; print(sys._is_gil_enabled())"
    command = [sys.executable, "-X", "gil=0", "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout == "False\n"
    command = [sys.executable, "-W", "error", "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout in ("False\n", "True\n")
    assert not answer.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_free_threading
@pytest.mark.parametrize(
    "flags",
    [
        *(
            (f"thread_inherit_context={inherit}", f"context_aware_warnings={aware}")
            for inherit, aware in itertools.product((0, 1), (0, 1))
        ),
        ("gil=1",),
    ],
    ids=",".join,
)
def test_it_holds_with_every_setting_of_the_interpreter(flags: tuple[str, ...]) -> None:
    settings = [word for flag in flags for word in ("-X", flag)]
    command = [sys.executable, *settings, "-m", "many_threads"]
    answer = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, timeout=500, check=False
    )
    assert answer.returncode == 0, answer.stderr[-8000:]
