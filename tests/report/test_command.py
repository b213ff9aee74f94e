"""`--stall`, `--slow`, `--report` and their variables: programs that are watched without a change."""

from __future__ import annotations

import pathlib
import re
import signal
import textwrap

import pytest

from support.programs import finish, interrupt_when, start

pytestmark = [pytest.mark.ours_only("asyncio has no such options"), pytest.mark.slow]

OURS = ("-m", "ferroloop")
REPORT = (*OURS, "--stall", "0.05", "--report", "page.html")
#: Before a program: `hold_up()` holds a loop up until that was reported.
BEGIN = """
import asyncio, logging, os, sys, threading, time

reported = threading.Event()

class Reported(logging.Handler):
    def emit(self, record):
        if "in hold_up" in record.getMessage():
            reported.set()

logging.getLogger("ferroloop.monitor").addHandler(Reported())

def hold_up():
    reported.wait(15)
"""
STALLING = """
    async def main():
        hold_up()
        print("held up", flush=True)

    asyncio.run(main())
"""
WAITING = """
    async def main():
        hold_up()
        print("waiting", flush=True)
        await asyncio.sleep(600)

    asyncio.run(main())
"""


def write(folder: pathlib.Path, source: str) -> str:
    path = folder / "program.py"
    path.write_text(BEGIN + textwrap.dedent(source))
    return str(path)


def page(folder: pathlib.Path, name: str = "page.html") -> str:
    return (folder / name).read_text(encoding="utf-8")


def assert_shows_the_stall(text: str) -> None:
    """A machine with other things to do may have held other callbacks up as well."""
    assert re.search(r"\d stalls?</span> held the loops? up", text)
    assert "<code>program.py:14</code>" in text
    assert "<code>reported.wait(15)</code>" in text
    assert '<svg viewBox="0 0 1000 100"' in text


def test_the_report_is_written_where_it_was_asked_for_when_the_program_ends(
    tmp_path: pathlib.Path,
) -> None:
    program = write(tmp_path, "os.chdir('/')\n" + textwrap.dedent(STALLING))
    assert finish(start([*REPORT, program], cwd=tmp_path)) == (0, "held up\n", "")
    text = page(tmp_path)
    assert_shows_the_stall(text)
    assert "<h1>program.py</h1>" in text
    assert "it ended." in text


def test_stalls_and_slow_callbacks_are_logged(tmp_path: pathlib.Path) -> None:
    source = "logging.getLogger().addHandler(logging.StreamHandler())\n" + textwrap.dedent(STALLING)
    options = ["--stall=0.05", "--slow", "0.04"]
    status, out, err = finish(start([*OURS, *options, write(tmp_path, source)], cwd=tmp_path))
    assert (status, out) == (0, "held up\n")
    assert "line 14, in hold_up\n    reported.wait(15)" in err
    assert re.search(r"^Task-1 main took \d", err, re.MULTILINE)
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize(
    ("sent", "status", "ending"),
    [
        (signal.SIGTERM, -signal.SIGTERM, "SIGTERM ended it"),
        (signal.SIGINT, -signal.SIGINT, "it was interrupted (Ctrl-C)"),
    ],
)
def test_signals_write_the_report_and_end_the_program_as_ever(
    tmp_path: pathlib.Path, sent: signal.Signals, status: int, ending: str
) -> None:
    program = write(tmp_path, WAITING)
    process = start([*REPORT, program], cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    assert "This page is written when process" in page(tmp_path)
    process.send_signal(sent)
    assert finish(process)[0] == status
    assert_shows_the_stall(page(tmp_path))
    assert ending in page(tmp_path)


def test_a_signal_during_a_stall_writes_the_stall_that_lasts(tmp_path: pathlib.Path) -> None:
    source = """
        async def main():
            hold_up()
            print("reported", flush=True)
            # A signal may come right before a sleep begins, which it then does not end.
            while True:
                time.sleep(0.01)

        asyncio.run(main())
    """
    process = start([*REPORT, write(tmp_path, source)], cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "reported\n"
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == -signal.SIGTERM
    assert_shows_the_stall(page(tmp_path))
    assert "SIGTERM ended it" in page(tmp_path)


def test_sigterm_ends_a_program_whose_page_fails(tmp_path: pathlib.Path) -> None:
    source = """
        import ferroloop._report.recorder

        def fail(report):
            sys.exit("failed")

        ferroloop._report.recorder.render = fail
        print("waiting", flush=True)
        while True:
            time.sleep(0.01)
    """
    process = start([*REPORT, write(tmp_path, source)], cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == -signal.SIGTERM


def test_a_program_keeps_its_own_handler_of_sigterm(tmp_path: pathlib.Path) -> None:
    source = """
        import signal
        async def main():
            done = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
            print("waiting", flush=True)
            await done.wait()
        asyncio.run(main())
        print("cleaned up")
        sys.exit(5)
    """
    process = start([*REPORT, write(tmp_path, source)], cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (5, "cleaned up\n", "")
    assert "it ended." in page(tmp_path)


@pytest.mark.parametrize(
    ("last", "status", "ending"),
    [
        ("raise SystemExit(7)", 7, "it ended."),
        ("raise LookupError('gone')", 1, "it ended with LookupError."),
        ("os._exit(3)", 3, "its last loop was closed."),
    ],
)
def test_however_a_program_ends_the_report_is_written(
    tmp_path: pathlib.Path, last: str, status: int, ending: str
) -> None:
    program = write(tmp_path, f"{textwrap.dedent(STALLING)}\n{last}\n")
    assert finish(start([*REPORT, program], cwd=tmp_path))[0] == status
    text = page(tmp_path)
    assert_shows_the_stall(text)
    assert ending in text


@pytest.mark.parametrize("options", [("--stall", "9"), ("--report", "page.html")])
def test_a_program_may_run_loops_while_the_interpreter_ends(
    tmp_path: pathlib.Path, options: tuple[str, str]
) -> None:
    source = """
        import atexit
        async def say(text):
            print(text)
        atexit.register(lambda: asyncio.run(say("last")))
        asyncio.run(say("first"))
        atexit.register(lambda: asyncio.run(say("second")))
    """
    program = write(tmp_path, source)
    status, out, err = finish(start([*OURS, *options, program], cwd=tmp_path))
    assert (status, out) == (0, "first\nsecond\nlast\n")
    assert err == "ferroloop: an event loop made while the interpreter ends is not watched\n"
    if "--report" in options:
        assert [path.name for path in tmp_path.glob("*.html")] == ["page.html"]
        assert "it ended." in page(tmp_path)


def test_a_report_that_cannot_be_written_is_said_before_the_program_runs(
    tmp_path: pathlib.Path,
) -> None:
    program = write(tmp_path, "print('ran')")
    status, out, err = finish(start([*OURS, "--report", "no/page.html", program], cwd=tmp_path))
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("ferroloop: cannot write the report: [Errno 2]")


PLAIN = """
    assert "ferroloop" not in sys.modules
    import ferroloop
    assert not any(name.startswith("ferroloop._report") for name in sys.modules)
    watched = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    os.environ.update(watched)

    async def main():
        if any(watched.values()):
            hold_up()
            reported.clear()
        # A thread that is still ending has the name of the one that has begun.
        print("done", *sorted({thread.name for thread in threading.enumerate()}))

    ferroloop.run(main())
    ferroloop.run(main())
"""


def test_variables_are_read_when_a_loop_is_made(tmp_path: pathlib.Path) -> None:
    program = write(tmp_path, PLAIN)
    variables = ["FERROLOOP_REPORT", str(tmp_path / "page.html"), "FERROLOOP_STALL", "0.05"]
    assert finish(start([program, *variables], cwd=tmp_path)) == (
        0,
        "done MainThread ferroloop-monitor\n" * 2,
        "",
    )
    text = page(tmp_path)
    assert_shows_the_stall(text)
    assert "Loop 2, made in MainThread" in text


def test_without_variables_nothing_is_watched(tmp_path: pathlib.Path) -> None:
    ending = "\nassert not any('_report' in name for name in sys.modules)\n"
    program = write(tmp_path, textwrap.dedent(PLAIN) + ending)
    empty = ["FERROLOOP_REPORT", "", "FERROLOOP_STALL", "", "FERROLOOP_SLOW", ""]
    assert finish(start([program, *empty], cwd=tmp_path)) == (0, "done MainThread\n" * 2, "")


WORKERS = """
    import multiprocessing

    async def work():
        hold_up()

    def main():
        asyncio.run(work())

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
        workers = [context.Process(target=main) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        print(*sorted(worker.pid for worker in workers))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_each_process_writes_a_page_of_its_own(tmp_path: pathlib.Path, method: str) -> None:
    program = write(tmp_path, WORKERS)
    status, out, err = finish(start([*REPORT, program, method], cwd=tmp_path))
    assert (status, err) == (0, "")
    names = [f"page.{pid}.html" for pid in out.split()]
    assert sorted(path.name for path in tmp_path.glob("*.html")) == sorted([*names, "page.html"])
    for name in names:
        assert_shows_the_stall(page(tmp_path, name))
    assert re.findall(r'href="./([^"]+)"', page(tmp_path)) == sorted(names)
    assert "No event loop of ferroloop ran in this process." in page(tmp_path)


def test_a_forked_child_leaves_its_parent_s_page_alone(tmp_path: pathlib.Path) -> None:
    source = """
        import signal
        async def main():
            hold_up()
            child = os.fork()
            if child == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        asyncio.run(main())
    """
    command = ["-W", "ignore", *REPORT, write(tmp_path, source)]
    assert finish(start(command, cwd=tmp_path)) == (0, f"{-signal.SIGTERM}\n", "")
    assert [path.name for path in tmp_path.glob("*.html")] == ["page.html"]
    assert_shows_the_stall(page(tmp_path))
    assert "it ended." in page(tmp_path)


def test_a_forked_child_holds_no_page_of_its_parent_s_open(tmp_path: pathlib.Path) -> None:
    source = """
        import fcntl

        def holds():
            found = []
            for name in os.listdir("/proc/self/fd"):
                try:
                    found.append(os.path.basename(os.readlink(f"/proc/self/fd/{name}")))
                except FileNotFoundError:
                    pass
            print(found.count("page.html"), flush=True)

        holds()
        child = os.fork()
        if child == 0:
            holds()
            os._exit(0)
        os.waitpid(child, 0)
        try:
            fcntl.flock(os.open("page.html", os.O_WRONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("locked")
    """
    program = write(tmp_path, source)
    assert finish(start([*REPORT, program], cwd=tmp_path)) == (0, "1\n0\nlocked\n", "")


def test_a_relative_variable_means_the_same_page_after_a_change_of_folder(
    tmp_path: pathlib.Path,
) -> None:
    source = """
        import ferroloop
        for folder in ("a", "b"):
            os.mkdir(folder)
            os.chdir(folder)
            ferroloop.new_event_loop().close()
    """
    program = start([write(tmp_path, source)], cwd=tmp_path, env={"FERROLOOP_REPORT": "page.html"})
    assert finish(program) == (0, "", "")
    assert list(tmp_path.glob("**/*.html")) == [tmp_path / "a" / "page.html"]
    assert "Loop 2, made in MainThread" in page(tmp_path, "a/page.html")


def test_ctrl_c_before_any_loop_writes_a_page(tmp_path: pathlib.Path) -> None:
    program = write(tmp_path, "print('waiting', flush=True)\nwhile True: time.sleep(0.01)")
    process = start([*REPORT, program], cwd=tmp_path)
    status, _, err = interrupt_when(process, "waiting")
    assert status == -signal.SIGINT
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    text = page(tmp_path)
    assert "it was interrupted (Ctrl-C)" in text
    assert "No event loop of ferroloop ran in this process." in text
