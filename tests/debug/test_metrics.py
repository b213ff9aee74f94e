"""loop.metrics(): what it counts, from any thread, and what a closed loop has left."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

import ferroloop
from support.loops import PATIENCE, run_turns, until

pytestmark = pytest.mark.ours_only("asyncio has no metrics")


def test_a_new_loop_has_done_nothing(loop: ferroloop.Loop) -> None:
    before = time.monotonic()
    seen = loop.metrics()
    assert before <= seen.time <= time.monotonic()
    assert seen[1:] == (0, 0, 0, 0.0, 0, 0, 0)
    assert isinstance(seen, ferroloop.Metrics)


def test_turns_and_callbacks_are_counted(loop: ferroloop.Loop) -> None:
    for _ in range(3):
        loop.call_soon(int)
    loop.call_soon_threadsafe(int)
    assert loop.metrics().ready == 4
    loop.stop()
    loop.run_forever()
    seen = loop.metrics()
    assert (seen.turns, seen.callbacks, seen.ready, seen.waits) == (1, 4, 0, 0)


def test_what_an_exception_kept_from_running_is_counted_when_it_runs(loop: ferroloop.Loop) -> None:
    def leave() -> None:
        raise SystemExit

    loop.call_soon(leave)
    loop.call_soon(int)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert (loop.metrics().callbacks, loop.metrics().ready) == (1, 1)
    run_turns(loop, 1)
    assert loop.metrics().callbacks == 3  # the stop, too


def test_cancelled_timers_do_not_count(loop: ferroloop.Loop) -> None:
    timers = [loop.call_later(60, int) for _ in range(5)]
    for timer in timers[1:4]:
        timer.cancel()
    assert loop.metrics().timers == 2


async def test_timers_are_counted_however_they_leave(loop: ferroloop.Loop) -> None:
    for number in range(300):
        timers = [loop.call_later(when, int) for when in (3600.0, 0.0, 0.0, 7200.0)]
        timers[number % 4].cancel()
        timers[2].cancel()
    await until(lambda: not any(it.when() < loop.time() + 5 for it in loop._scheduled))
    live = [it for it in loop._scheduled if not it.cancelled()]
    assert loop.metrics().timers == len(live) == 450 + 1


def test_watched_descriptors_are_counted_until_they_are_let_go(loop: ferroloop.Loop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.add_reader(ours, int)
        loop.add_writer(ours, int)
        assert loop.metrics().descriptors == 1
        loop.remove_reader(ours)
        loop.remove_writer(ours)
    server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
    assert loop.metrics().descriptors == 1
    server.close()
    run_turns(loop, 2)
    assert loop.metrics().descriptors == 0


def test_waiting_is_idle_and_a_busy_callback_is_not(loop: ferroloop.Loop) -> None:
    began = loop.metrics()
    loop.run_until_complete(asyncio.sleep(0.05))
    rested = loop.metrics()
    assert rested.waits > began.waits
    # The wait begins a little after the timer was set.
    assert 0.0 < rested.idle <= rested.time - began.time
    loop.call_soon(time.sleep, 0.05)
    run_turns(loop, 1)
    worked = loop.metrics()
    assert worked.idle == rested.idle
    assert worked.utilization(rested) == 1.0
    assert 0.0 < worked.utilization(began) < 1.0
    assert worked.utilization(worked) == 0.0


def test_another_thread_sees_the_wait_that_goes_on(loop: ferroloop.Loop) -> None:
    snapshots: list[ferroloop.Metrics] = []

    def look() -> None:
        deadline = time.monotonic() + PATIENCE
        first = second = loop.metrics()
        while time.monotonic() < deadline and not (
            second.idle > first.idle > 0.0 and second.turns == first.turns
        ):
            time.sleep(0.001)
            first, second = second, loop.metrics()
        snapshots.extend((first, second))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=look)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    first, second = snapshots
    assert second.utilization(first) == pytest.approx(0.0, abs=1e-6)


def test_a_closed_loop_still_answers() -> None:
    loop = ferroloop.new_event_loop()
    loop.call_later(60, int)
    run_turns(loop, 1)
    loop.close()
    seen = loop.metrics()
    assert (seen.turns > 0, seen.ready, seen.timers, seen.descriptors) == (True, 0, 0, 0)
    assert loop.metrics().idle == seen.idle
