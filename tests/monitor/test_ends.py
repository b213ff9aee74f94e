"""A monitor ends with its loop and its process, and keeps neither alive."""

from __future__ import annotations

import os
import time
import weakref

import pytest

import ferroloop
from support.loops import PATIENCE, run, turns
from support.memory import frees_unclosed
from support.programs import run_code

pytestmark = pytest.mark.ours_only("asyncio has no monitor")

WAIT = f"""
import time
def block(until):
    deadline = time.monotonic() + {PATIENCE}
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.001)
"""


def test_a_loop_that_is_closed_stops_its_monitor(loop: ferroloop.Loop) -> None:
    monitor = ferroloop.Monitor(loop, stall_after=0.5, slow_after=0.5, histograms=True).start()
    run(loop, turns(2))
    loop.close()
    assert not monitor.is_running
    assert monitor.turns.count > 0
    assert monitor.descriptors() == {}
    assert (monitor.tasks(), monitor.executor(), monitor.lookups()) == ({}, None, [])
    monitor.stop()


def test_a_monitor_keeps_no_unclosed_loop_alive() -> None:
    loop = ferroloop.new_event_loop()
    ferroloop.Monitor(loop, stall_after=0.5, totals=True).start()
    run(loop, turns(2))
    gone = weakref.ref(loop)
    with frees_unclosed(gone):
        del loop


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_no_monitor(loop: ferroloop.Loop) -> None:
    monitor = ferroloop.Monitor(loop, stall_after=0.5, slow_after=100.0)
    ends: list[int] = []
    monitor.at_stop(lambda: ends.append(1))
    with monitor:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                from ferroloop._insight import monitor as module  # noqa: PLC0415

                other = ferroloop.new_event_loop()
                seen: list[ferroloop.Stall] = []
                assert not monitor.is_running
                assert module.monitor_of(loop) is None
                with ferroloop.Monitor(other, stall_after=0.02, on_stall=seen.append):

                    async def blocking() -> None:
                        deadline = time.monotonic() + PATIENCE
                        while not seen and time.monotonic() < deadline:
                            time.sleep(0.001)

                    run(other, blocking())
                other.close()
                status = 0 if seen and not ends else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert status == 0
        assert monitor.is_running
    assert ends == [1]


def test_a_monitor_keeps_no_process_alive() -> None:
    status, out, err = run_code(
        "ferroloop",
        """
        loop = new_loop()
        monitor = ferroloop.Monitor(loop, stall_after=0.01)
        monitor.at_stop(lambda: print("stopped"))
        monitor.every(0.001, int)
        monitor.start()
        loop.run_until_complete(asyncio.sleep(0.01))
        print("end")
        """,
    )
    assert (status, out.split()) == (0, ["end", "stopped"])
    assert "ResourceWarning" not in err


def test_a_process_ends_although_a_callback_of_the_monitor_does_not() -> None:
    status, out, _ = run_code(
        "ferroloop",
        WAIT
        + """
import threading
seen = []
def on_stall(stall):
    seen.append(stall)
    threading.Event().wait()
loop = new_loop()
async def main():
    ferroloop.Monitor(stall_after=0.01, on_stall=on_stall).start()
    block(lambda: seen)
loop.run_until_complete(main())
print("end")
""",
    )
    assert (status, out.split()) == (0, ["end"])


def test_a_stall_at_the_end_of_a_process_breaks_nothing() -> None:
    status, out, err = run_code(
        "ferroloop",
        """
        import sys, time
        loop = new_loop()
        async def main():
            ferroloop.Monitor(stall_after=0.001, on_stall=lambda stall: None).start()
            time.sleep(0.01)
            sys.exit(3)
        try:
            loop.run_until_complete(main())
        finally:
            print("end")
        """,
    )
    assert (status, out.split()) == (3, ["end"])
    assert "Fatal" not in err
