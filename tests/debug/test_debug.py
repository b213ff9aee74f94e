"""Debug mode: checks, source tracebacks and slow callbacks, with asyncio's texts."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
import time
from typing import Any

import pytest

from support.errors import Reports
from support.loops import run, run_turns
from support.net.sockets import socket_pair
from support.programs import code, finish, run_code, start

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def debug_loop(loop: Loop) -> Loop:
    loop.set_debug(True)
    return loop


def in_thread(function: Any) -> list[BaseException]:
    """Call a function in another thread; what it raised."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            function()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return errors


def test_it_can_be_switched(loop: Loop) -> None:
    loop.set_debug(True)
    assert loop.get_debug() is True
    loop.set_debug(False)
    assert loop.get_debug() is False
    assert "debug=False" in repr(loop)


@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        ([], {}, "False"),
        (["-X", "dev"], {}, "True"),
        ([], {"PYTHONASYNCIODEBUG": "1"}, "True"),
        ([], {"PYTHONASYNCIODEBUG": ""}, "False"),
        (["-E"], {"PYTHONASYNCIODEBUG": "1"}, "False"),
    ],
)
def test_it_follows_the_interpreters_options(
    kind: str, options: list[str], environment: dict[str, str], expected: str
) -> None:
    source = "loop = new_loop(); print(loop.get_debug()); loop.close()"
    status, out, err = finish(start([*options, *code(kind, source)], env=environment))
    assert (status, out.strip()) == (0, expected), err


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
async def test_scheduling_from_another_thread_is_refused(debug_loop: Loop, method: str) -> None:
    errors: list[BaseException] = []

    arguments = (print,) if method == "call_soon" else (1, print)
    errors.extend(in_thread(lambda: getattr(debug_loop, method)(*arguments)))
    (error,) = errors
    assert type(error) is RuntimeError
    assert str(error) == (
        "Non-thread-safe operation invoked on an event loop other than the current one"
    )


def test_the_check_is_off_while_the_loop_does_not_run(debug_loop: Loop) -> None:
    assert in_thread(lambda: debug_loop.call_soon(int)) == []
    run_turns(debug_loop)


def test_readers_from_another_thread_are_refused(debug_loop: Loop) -> None:
    errors: list[BaseException] = []

    with socket_pair() as (near, _):

        async def main() -> None:
            errors.extend(in_thread(lambda: debug_loop.add_reader(near, print)))

        run(debug_loop, main())
        debug_loop.remove_reader(near)
    # asyncio's selector loop does not check this. A loop that does must use the same words.
    assert all("Non-thread-safe operation" in str(error) for error in errors)


def test_a_coroutine_is_no_callback(debug_loop: Loop) -> None:
    async def coroutine() -> None:
        """Never runs."""

    for method in (debug_loop.call_soon, debug_loop.call_soon_threadsafe):
        with pytest.raises(TypeError, match="coroutines cannot be used with call_soon"):
            method(coroutine)
    with pytest.raises(TypeError, match=r"coroutines cannot be used with call_(at|later)\(\)"):
        debug_loop.call_later(1, coroutine)
    with pytest.raises(TypeError, match=r"coroutines cannot be used with call_at\(\)"):
        debug_loop.call_at(1, coroutine)
    with pytest.raises(TypeError, match=r"coroutines cannot be used with run_in_executor\(\)"):
        debug_loop.run_in_executor(None, coroutine)
    made = coroutine()
    with pytest.raises(TypeError, match=r"coroutines cannot be used with call_soon\(\)"):
        debug_loop.call_soon(made)  # type: ignore[arg-type] # what is tested
    made.close()


@pytest.mark.parametrize("bad", [5, None, "text"])
def test_what_cannot_be_called_is_no_callback(debug_loop: Loop, bad: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^a callable object was expected by call_soon\(\), got " + repr(bad)
    ):
        debug_loop.call_soon(bad)


def test_a_handle_remembers_where_it_was_made(debug_loop: Loop) -> None:
    handle: Any = debug_loop.call_soon(int)
    frame = handle._source_traceback[-1]
    assert frame.filename == __file__
    assert "debug_loop.call_soon(int)" in frame.line
    assert f"created at {__file__}:{frame.lineno}" in repr(handle)
    timer: Any = debug_loop.call_later(1, int)
    assert "call_later" in timer._source_traceback[-1].line
    threadsafe: Any = debug_loop.call_soon_threadsafe(int)
    assert "call_soon_threadsafe" in threadsafe._source_traceback[-1].line


def test_a_report_tells_where_the_callback_was_scheduled(
    debug_loop: Loop, reports: Reports
) -> None:
    def boom() -> None:
        raise LookupError

    debug_loop.call_soon(boom)
    run_turns(debug_loop)
    context = reports.take()
    assert context["source_traceback"][-1].filename == __file__


def test_a_cancelled_handle_keeps_its_text(debug_loop: Loop) -> None:
    def callback() -> None:
        """Never runs."""

    handle = debug_loop.call_soon(callback)
    handle.cancel()
    text = repr(handle)
    assert text.startswith("<Handle cancelled ")
    assert "callback" in text


def test_without_debug_mode_nothing_is_checked_or_remembered(loop: Loop) -> None:
    loop.set_debug(False)
    handle: Any = loop.call_soon(int)
    assert not getattr(handle, "_source_traceback", None)
    assert in_thread(lambda: loop.call_soon(int)) == []
    run_turns(loop)


def test_a_slow_callback_is_logged(debug_loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    assert debug_loop.slow_callback_duration == 0.1

    def slow() -> None:
        began = time.monotonic()
        while time.monotonic() - began < 0.012:
            pass

    debug_loop.slow_callback_duration = 0.01
    debug_loop.call_soon(slow)
    with caplog.at_level(logging.WARNING, "asyncio"):
        run_turns(debug_loop)
    texts = [r.getMessage() for r in caplog.records if "slow" in r.getMessage()]
    assert len(texts) == 1
    assert re.fullmatch(r"Executing <Handle .*slow\(\) .*> took \d+\.\d{3} seconds", texts[0])
    assert "created at" in texts[0]


def test_a_slow_task_is_logged_as_a_task(
    debug_loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    async def slow() -> None:
        began = time.monotonic()
        while time.monotonic() - began < 0.012:
            pass

    debug_loop.slow_callback_duration = 0.01
    with caplog.at_level(logging.WARNING, "asyncio"):
        debug_loop.run_until_complete(slow())
    texts = [r.getMessage() for r in caplog.records if "slow" in r.getMessage()]
    assert texts and texts[0].startswith("Executing <Task ")


def test_fast_callbacks_are_not_logged(debug_loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    debug_loop.slow_callback_duration = 1000
    with caplog.at_level(logging.WARNING, "asyncio"):
        run(debug_loop, asyncio.sleep(0))
    assert not [r for r in caplog.records if "Executing" in r.getMessage()]


def test_slow_callback_duration_can_be_set_and_read(loop: Loop) -> None:
    assert loop.slow_callback_duration == 0.1
    loop.slow_callback_duration = 2
    assert loop.slow_callback_duration == 2


def test_coroutines_remember_their_origin_while_the_loop_runs(debug_loop: Loop) -> None:
    async def never() -> None:
        """Only made."""

    before = sys.get_coroutine_origin_tracking_depth()
    inside: list[int] = []

    def callback() -> None:
        inside.append(sys.get_coroutine_origin_tracking_depth())
        coroutine: Any = never()
        assert coroutine.cr_origin
        coroutine.close()

    debug_loop.call_soon(callback)
    run_turns(debug_loop)
    assert inside[0] > 0
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_switching_debug_while_running_switches_the_tracking(loop: Loop) -> None:
    loop.set_debug(False)
    before = sys.get_coroutine_origin_tracking_depth()
    depths: list[int] = []

    async def main() -> None:
        for flag in (True, False):
            loop.set_debug(flag)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            depths.append(sys.get_coroutine_origin_tracking_depth())

    loop.run_until_complete(main())
    assert depths[0] > depths[1] == before


def test_a_coroutine_that_was_never_awaited_is_told_with_its_origin(kind: str) -> None:
    source = """
        async def forgotten():
            pass
        async def main():
            forgotten()
        loop = new_loop()
        loop.set_debug(True)
        loop.run_until_complete(main())
        loop.close()
    """
    status, _, err = run_code(kind, source)
    assert status == 0
    assert "coroutine 'forgotten' was never awaited" in err
    assert "Coroutine created at" in err
