"""What the command line and the variables ask for, and what they get wrong, without starting a program."""

from __future__ import annotations

import errno
import os
import pathlib

import pytest

import ferroloop
from ferroloop._entry.arguments import USAGE, Arguments, parse
from ferroloop._insight import watcher
from ferroloop._report import start
from ferroloop._report.settings import Settings, read
from ferroloop._report.target import Target

pytestmark = pytest.mark.ours_only("asyncio has no such options")


def test_options_come_before_the_program_and_in_any_order() -> None:
    page = os.path.join(os.getcwd(), "page.html")
    found = parse(
        ["--report", "page.html", "--which", "--slow=0.1", "-m", "module", "--stall", "x"]
    )
    variables = {"FERROLOOP_REPORT": page, "FERROLOOP_SLOW": "0.1"}
    assert found == Arguments(True, variables, "-m", "module", ["--stall", "x"])
    assert parse(["program.py"]) == Arguments(False, {}, "", "program.py", [])
    assert parse(["-cpass"]) == Arguments(False, {}, "-c", "pass", [])


def test_the_usage_names_every_option_and_variable() -> None:
    for name in ("--which", "--stall", "--slow", "--report", "--version", "--help"):
        assert name in USAGE
    assert all(len(line) <= 100 for line in USAGE.splitlines())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "no program given. Name a file, or a module after -m."),
        (["--stall"], "argument expected for the --stall option."),
        (["--stall", "soon"], "--stall is 'soon'; a positive number of seconds is needed."),
        (["--stall=0"], "--stall is '0'; a positive number of seconds is needed."),
        (["--slow=-1"], "--slow is '-1'; a positive number of seconds is needed."),
        (["--slow=nan"], "--slow is 'nan'; a positive number of seconds is needed."),
        (["--slow=inf"], "--slow is 'inf'; a positive number of seconds is needed."),
        (["--report="], "argument expected for the --report option."),
        (["--which=x"], "the option --which takes no argument."),
        (["--whatever"], "unknown option --whatever. Options of the program come after its name."),
        (["-x"], "unknown option -x. Options of the program come after its name."),
    ],
)
def test_wrong_options_are_refused(
    capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(options)
    assert refused.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"ferroloop: {problem}"


def test_a_report_has_thresholds_of_its_own() -> None:
    asked = read({"FERROLOOP_REPORT": "/page.html"})
    assert asked == Settings(None, None, "/page.html")
    assert (asked.stall_after, asked.slow_after) == (0.25, 0.1)
    asked = read({"FERROLOOP_STALL": "2", "FERROLOOP_SLOW": "0.5", "FERROLOOP_REPORT": "p"})
    assert (asked.stall_after, asked.slow_after) == (2.0, 0.5)
    nothing = read({"FERROLOOP_STALL": "", "FERROLOOP_SLOW": "", "FERROLOOP_REPORT": ""})
    assert nothing == Settings(None, None, None)
    assert (nothing.stall_after, nothing.slow_after) == (None, None)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("FERROLOOP_STALL", "soon", "FERROLOOP_STALL is 'soon'; a positive number of seconds"),
        ("FERROLOOP_SLOW", "-1", "FERROLOOP_SLOW is '-1'; a positive number of seconds"),
        ("FERROLOOP_REPORT", "/no/x", "FERROLOOP_REPORT: cannot write the report: [Errno 2]"),
    ],
)
def test_wrong_variables_are_said_once_and_loops_are_made(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    problem: str,
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(start, "_said", set())
    for _ in range(2):
        ferroloop.new_event_loop().close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ferroloop: {problem}")


def test_a_loop_is_made_where_no_thread_can_watch_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setenv("FERROLOOP_STALL", "9")
    monkeypatch.setattr(start, "_said", set())
    monkeypatch.setattr(watcher, "watch", refuse)
    for _ in range(2):
        ferroloop.new_event_loop().close()
    assert capsys.readouterr().err == "ferroloop: cannot watch a loop: can't start new thread\n"


@pytest.fixture
def odd_path(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    os.mkfifo(tmp_path / "pipe")
    return os.path.join(tmp_path, str(request.param))


@pytest.mark.parametrize("odd_path", ["no/page.html", ".", "/dev/null", "pipe"], indirect=True)
def test_a_page_is_an_ordinary_file(odd_path: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="page|directory|null|pipe"):
        Target(odd_path, "text")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_page_that_finds_no_room_is_not_held_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Target, "write", fail)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No space left"):
        Target(str(tmp_path / "page.html"), "text")
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_second_page_of_a_name_gets_the_process_s_number(tmp_path: pathlib.Path) -> None:
    wanted = str(tmp_path / "page.html")
    first, second = Target(wanted, "one"), Target(wanted, "two")
    assert (first.path, second.path) == (wanted, str(tmp_path / f"page.{os.getpid()}.html"))
    (tmp_path / "page.x.html").touch()
    assert first.others() == (f"page.{os.getpid()}.html",)
    assert second.others() == ()
    first.write("a longer text \ud800")
    first.write("short")
    assert (tmp_path / "page.html").read_text() == "short"
    plain = Target(str(tmp_path / "plain"), "x")
    assert plain.path == str(tmp_path / "plain")
    for target in (first, second, plain):
        target.close()
