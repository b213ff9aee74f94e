"""What a process gathers of its loops for the report: many loops, loops that rest, pieces of a long time line."""

from __future__ import annotations

import asyncio
import pathlib
import weakref
from collections.abc import Iterator

import pytest

import ferroloop
from ferroloop._insight import watcher
from ferroloop._report.recorder import Recorder
from ferroloop._report.settings import Settings
from support.loops import run_turns
from support.memory import frees_unclosed

pytestmark = pytest.mark.ours_only("asyncio writes no page")

SETTINGS = Settings(stall=None, slow=None, report="page.html")


@pytest.fixture
def recorder(tmp_path: pathlib.Path) -> Iterator[Recorder]:
    recorder = Recorder(str(tmp_path / "page.html"), "program.py")
    yield recorder
    recorder.close()


def test_a_loop_is_on_the_page_while_it_is_open_and_when_it_is_closed(recorder: Recorder) -> None:
    loop = ferroloop.new_event_loop()
    recorder.follow(loop, SETTINGS)
    loop.call_later(600, int)
    states: list[str] = []
    loop.call_soon(lambda: states.append(recorder.report("x").loops[0].state))
    run_turns(loop, 2)
    states.append(recorder.report("x").loops[0].state)
    assert "This page is written when process" in pathlib.Path(recorder.path).read_text()
    loop.close()
    (seen,) = recorder.report("x").loops
    assert [*states, seen.state] == ["running", "not running", "closed"]
    assert seen.open is not None
    assert dict(seen.open.counts)["timers"] == 1
    assert seen.turns == 2
    assert seen.turn is not None and seen.turn.count
    assert "its last loop was closed" in pathlib.Path(recorder.path).read_text()


def test_a_loop_that_does_not_run_is_not_busy(recorder: Recorder) -> None:
    loop = ferroloop.new_event_loop()
    recorder.follow(loop, SETTINGS)
    assert recorder.report("x").loops[0].busy == 0.0
    loop.run_until_complete(asyncio.sleep(0.02))
    assert 0.0 < recorder.report("x").loops[0].busy < 1.0
    loop.close()


def test_a_program_may_start_a_monitor_of_its_own(recorder: Recorder) -> None:
    loop = ferroloop.new_event_loop()
    recorder.follow(loop, SETTINGS)
    run_turns(loop, 3)
    with ferroloop.Monitor(loop) as own, pytest.raises(RuntimeError, match="has a monitor"):
        assert own.is_running
        ferroloop.Monitor(loop).start()
    run_turns(loop, 3)
    (seen,) = recorder.report("x").loops
    assert (seen.state, seen.turns) == ("then watched by the program's own monitor", 3)
    loop.close()


def test_a_page_keeps_no_unclosed_loop_alive(recorder: Recorder) -> None:
    loop = ferroloop.new_event_loop()
    recorder.follow(loop, SETTINGS)
    run_turns(loop, 3)
    gone = weakref.ref(loop)
    with frees_unclosed(gone):
        del loop
    (seen,) = recorder.report("x").loops
    assert (seen.state, seen.turns) == ("closed", 3)
    assert seen.turn is not None and seen.turn.count
    assert seen.shares


def test_a_loop_that_no_thread_can_watch_is_not_on_the_page(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(watcher, "watch", refuse)
    loop = ferroloop.new_event_loop()
    with pytest.raises(RuntimeError, match="new thread"):
        recorder.follow(loop, SETTINGS)
    loop.close()
    report = recorder.report("x")
    assert (report.loops, report.more_loops) == ((), 0)


def test_closed_loops_are_kept_up_to_a_number_and_the_first_always(recorder: Recorder) -> None:
    for _ in range(60):
        loop = ferroloop.new_event_loop()
        recorder.follow(loop, SETTINGS)
        run_turns(loop, 1)
        loop.close()
    report = recorder.report("x")
    assert len(report.loops) == 40
    assert report.more_loops == 20
    assert report.loops[0].name.startswith("Loop 1, made in ")


def test_the_pieces_of_a_long_time_line_are_merged_without_losing_anything(
    recorder: Recorder,
) -> None:
    loop = ferroloop.new_event_loop()
    recorder.follow(loop, SETTINGS)
    for _ in range(300):
        run_turns(loop, 1)
        recorder.report("x")
    (seen,) = recorder.report("x").loops
    assert 100 < len(seen.points) < 241
    assert sum(point.turns for point in seen.points) == seen.turns == 300
    ends = [point.at for point in seen.points]
    assert ends == sorted(ends)
    assert seen.turn is not None
    assert max(point.longest_turn for point in seen.points) == seen.turn.longest
    loop.close()


def test_a_page_that_can_no_longer_be_written_is_said(
    recorder: Recorder, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.html").unlink()
    (tmp_path / "page.html").mkdir()
    recorder.write("it ended", last=True)
    assert capsys.readouterr().err.startswith("ferroloop: cannot write the report: [Errno 21]")


def test_a_page_that_cannot_be_made_is_said(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str) -> None:
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(recorder, "report", fail)
    recorder.write("it ended", last=True)
    said = "ferroloop: cannot write the report: ZeroDivisionError('float division by zero')\n"
    assert capsys.readouterr().err == said
