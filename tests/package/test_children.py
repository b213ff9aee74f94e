"""Processes that multiprocessing starts from a program under `python -m ferroloop` get our loop."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap

import pytest

import ferroloop
from support.programs import finish, start

pytestmark = pytest.mark.slow

PROGRAM = """
    import asyncio, concurrent.futures, multiprocessing, os, sys

    async def loop_name():
        kind = type(asyncio.get_running_loop())
        return f"{kind.__module__}.{kind.__qualname__}"

    def in_child(depth=0):
        if depth:
            context = multiprocessing.get_context(method)
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
                return executor.submit(in_child, depth - 1).result()
        return asyncio.run(loop_name())

    def put(queue):
        queue.put(in_child())

    method = sys.argv[1]

    if __name__ == "__main__":
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=put, args=(queue,))
        process.start()
        print("process", queue.get())
        process.join()
        with context.Pool(1) as pool:
            print("pool", pool.apply(in_child))
        print("executor", in_child(1))
        print("nested", in_child(2))
"""
LINES = ("process", "pool", "executor", "nested")


def write(folder: pathlib.Path, source: str) -> str:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(source))
    return str(path)


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_get_our_loop(tmp_path: pathlib.Path, method: str) -> None:
    path = write(tmp_path, PROGRAM)
    status, out, err = finish(start(["-m", "ferroloop", path, method], cwd=tmp_path))
    assert (status, err) == (0, "")
    assert out == "".join(f"{line} ferroloop.Loop\n" for line in LINES)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_of_a_plain_program_that_uses_ferroloop_are_plain(
    tmp_path: pathlib.Path, method: str
) -> None:
    path = write(tmp_path, "import ferroloop\n" + textwrap.dedent(PROGRAM))
    status, out, err = finish(start([path, method], cwd=tmp_path))
    assert (status, err) == (0, "")
    assert "ferroloop.Loop" not in out
    assert len(out.splitlines()) == len(LINES)


OTHER_INTERPRETER = """
    import multiprocessing, sys

    def tell(queue):
        import asyncio
        async def loop_name():
            return type(asyncio.get_running_loop()).__module__.partition(".")[0]
        queue.put((asyncio.run(loop_name()), "ferroloop" in sys.modules, sys.path == sys.argv[2:]))

    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        context.set_executable(sys.argv[1])
        sys.path[:] = sys.argv[2:]
        queue = context.Queue()
        process = context.Process(target=tell, args=(queue,))
        process.start()
        print(*queue.get())
        process.join()
        print(process.exitcode)
"""


def test_a_child_whose_interpreter_has_no_ferroloop_runs_as_it_is(tmp_path: pathlib.Path) -> None:
    # Without site-packages; of the same version, so that it looks into the parent's folder too.
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    source = "import ferroloop; print(ferroloop.__file__)"
    found = subprocess.run(
        [str(bare), "-c", source], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "No module named 'ferroloop'" in found.stderr
    # The parent's copy is where the child does not find it.
    path = write(tmp_path, OTHER_INTERPRETER)
    hide = "sys.modules['ferroloop'].__file__ = '/nowhere/ferroloop/__init__.py'"
    program = pathlib.Path(path)
    main = 'if __name__ == "__main__":\n    '
    program.write_text(program.read_text().replace(main, f"{main}{hide}\n    "))
    ours = pathlib.Path(ferroloop.__file__).parents[1]
    standard = [
        entry
        for entry in sys.path
        if entry and "site-packages" not in entry and pathlib.Path(entry) != ours
    ]
    arguments = ["-m", "ferroloop", path, str(bare), *standard]
    status, out, err = finish(start(arguments, cwd=tmp_path))
    assert (status, err) == (0, "")
    assert out == "asyncio False True\n0\n"


def test_other_programs_that_are_started_are_left_alone(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        "import subprocess, sys; print(subprocess.check_output("
        "[sys.executable, 'other.py'], text=True), end='')",
    )
    (tmp_path / "other.py").write_text(
        "import sys; print(sys.orig_argv[1:], 'ferroloop' in sys.modules)"
    )
    ours = finish(start(["-m", "ferroloop", "program.py"], cwd=tmp_path))
    assert ours == (0, "['other.py'] False\n", "")


RESTARTING = """
    import os, subprocess, sys
    print(os.environ.get("ROUND", "0"), "-m ferroloop" in " ".join(sys.orig_argv), sys.argv[1:], flush=True)
    if os.environ.get("ROUND") is None:
        os.environ["ROUND"] = "1"
        command = [sys.executable, "-W", "ignore", *sys.argv]
        {how}
"""


@pytest.mark.parametrize(
    "how",
    [
        "os.execv(sys.executable, command)",
        "os.execvpe(sys.executable, command, os.environ)",
        "os.execl(sys.executable, *command)",
        "sys.exit(subprocess.run(command).returncode)",
        "sys.exit(subprocess.Popen(command, env=dict(os.environ)).wait())",
    ],
)
def test_a_program_that_starts_itself_anew_comes_back_on_our_loop(
    tmp_path: pathlib.Path, how: str
) -> None:
    write(tmp_path, RESTARTING.format(how=how))
    ours = finish(start(["-m", "ferroloop", "program.py", "a", "-m"], cwd=tmp_path))
    assert ours == (0, "0 True ['a', '-m']\n1 True ['a', '-m']\n", "")
    plain = finish(start(["program.py", "a", "-m"], cwd=tmp_path))
    assert plain == (0, "0 False ['a', '-m']\n1 False ['a', '-m']\n", "")


FALLING_BACK = """
    try:
        import uvloop
    except ImportError:
        uvloop = None
"""


def test_a_package_that_tries_another_loop_does_not_find_it(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    package = tmp_path / "site-packages" / "server"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(textwrap.dedent(FALLING_BACK))
    write(tmp_path, "import server; print(server.uvloop)")
    options = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path / "site-packages")}}
    ours = ["-m", "ferroloop", "program.py"]
    assert finish(start(ours, **options)) == (0, "None\n", "")
    # Named on the command line, or imported by the program itself, it is there.
    assert "module 'uvloop'" in finish(start([*ours, "--loop=uvloop"], **options))[1]
    write(tmp_path, textwrap.dedent(FALLING_BACK) + "import server; print(server.uvloop)")
    assert "module 'uvloop'" in finish(start(ours, **options))[1]
