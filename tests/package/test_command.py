"""`python -m ferroloop`: an unchanged program on our loop behaves as under plain `python`.

Most tests run one program both ways and compare everything that can be seen from outside.
"""

from __future__ import annotations

import pathlib
import signal
import sys
import textwrap
import zipfile

import pytest

from support.programs import finish, interrupt_when, start

OURS = ("-m", "ferroloop")


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path


def write(folder: pathlib.Path, name: str, source: str) -> pathlib.Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source))
    return path


def both(folder: pathlib.Path, *arguments: str) -> tuple[int, str, str]:
    """Run with plain python and with us; they must not differ; what it was."""
    plain = finish(start(arguments, cwd=folder))
    ours = finish(start([*OURS, *arguments], cwd=folder))
    assert ours == plain
    return ours


LOOP = """
    import asyncio, sys
    async def main():
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]
    print(asyncio.run(main()))
"""


def test_a_program_gets_our_loop(folder: pathlib.Path) -> None:
    path = write(folder, "program.py", LOOP)
    assert finish(start([*OURS, str(path)])) == (0, "ferroloop\n", "")
    assert finish(start([str(path)])) == (0, "asyncio\n", "")


def test_a_module_gets_our_loop(folder: pathlib.Path) -> None:
    write(folder, "package/__init__.py", "")
    write(folder, "package/__main__.py", LOOP)
    write(folder, "module.py", LOOP)
    for name in ("package", "module"):
        assert finish(start([*OURS, "-m", name], cwd=folder)) == (0, "ferroloop\n", "")


WAYS = """
    import asyncio, sys, unittest, warnings
    warnings.simplefilter("ignore")
    loops = []
    async def note():
        loops.append(asyncio.get_running_loop())
    asyncio.run(note())
    loop = asyncio.new_event_loop(); loop.run_until_complete(note()); loop.close()
    if sys.version_info >= (3, 11):
        with asyncio.Runner() as runner:
            runner.run(note())
    if sys.version_info >= (3, 13):
        asyncio.run(note(), loop_factory=asyncio.EventLoop)
    class Test(unittest.IsolatedAsyncioTestCase):
        async def test(self):
            await note()
    unittest.main(argv=["x"], exit=False, verbosity=0)
    print({type(loop).__module__.partition(".")[0] for loop in loops}, len(loops) >= 3)
"""


def test_every_usual_way_to_a_loop_leads_to_ours(folder: pathlib.Path) -> None:
    path = write(folder, "program.py", WAYS)
    status, out, err = finish(start([*OURS, str(path)]))
    assert (status, out) == (0, "{'ferroloop'} True\n"), err


@pytest.mark.slow
def test_argv_name_and_paths_are_as_plain_python_has_them(folder: pathlib.Path) -> None:
    source = """
        import sys
        print(sys.argv, __name__, __file__, sys.path[0], __package__, __doc__, __spec__)
        print(sorted(n for n in globals() if n not in ("__annotations__", "__conditional_annotations__")))
        print(sys.modules["__main__"].__dict__ is globals())
    """
    path = write(folder, "program.py", source)
    both(folder, "program.py")
    both(folder, str(path), "one", "-m", "--two", "-h")
    both(folder, "./program.py", "")


@pytest.mark.slow
def test_a_module_is_run_as_plain_python_runs_it(folder: pathlib.Path) -> None:
    write(folder, "package/__init__.py", "print('package imported')")
    write(folder, "package/__main__.py", "import sys; print(sys.argv, __name__, __package__)")
    write(folder, "package/inner.py", "import sys; print(sys.argv, __name__, __spec__.name)")
    both(folder, "-m", "package", "a", "-b")
    both(folder, "-m", "package.inner", "-m", "x")
    status, _, err = both(folder, "-m", "no_such_module")
    assert status == 1 and "No module named" in err


@pytest.mark.slow
def test_folders_and_archives_run(folder: pathlib.Path) -> None:
    write(folder, "program/__main__.py", "import sys, other; print(sys.argv, other.value)")
    write(folder, "program/other.py", "value = 5")
    both(folder, "program", "x")
    with zipfile.ZipFile(folder / "program.zip", "w") as archive:
        archive.write(folder / "program/__main__.py", "__main__.py")
        archive.write(folder / "program/other.py", "other.py")
    both(folder, "program.zip", "x")


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "sys.exit()",
        "sys.exit(0)",
        "sys.exit(3)",
        "sys.exit(-1)",
        "sys.exit('a message')",
        "sys.exit(None)",
        "raise SystemExit(7)",
        "raise LookupError('it ends so')",
        "raise KeyboardInterrupt",
        "os._exit(9)",
        "os.kill(os.getpid(), 15)",
        "1 / 0",
        "def f(): raise ValueError\nf()",
        "asyncio.run(asyncio.sleep(0)); sys.exit(4)",
        "this is no python",
        "async def main(): sys.exit(6)\nasyncio.run(main())",
        "async def main(): raise LookupError\nasyncio.run(main())",
    ],
)
def test_exit_codes_and_tracebacks_are_plain_pythons(folder: pathlib.Path, ending: str) -> None:
    source = f"import asyncio, os, sys\nprint('begun', flush=True)\n{ending}\n"
    (folder / "program.py").write_text(source)
    plain = finish(start(["program.py"], cwd=folder))
    ours = finish(start([*OURS, "program.py"], cwd=folder))
    assert ours[:2] == plain[:2]
    if "asyncio.run" not in ending:
        assert ours[2] == plain[2]
    else:
        # What lies within the loop is ours; where it began and what it was is the program's.
        assert ours[2].splitlines()[:3] == plain[2].splitlines()[:3]
        assert ours[2].splitlines()[-1:] == plain[2].splitlines()[-1:]


def test_a_file_that_is_not_there_is_told_as_python_tells_it(folder: pathlib.Path) -> None:
    assert both(folder, "no_such_file.py")[0] == 2


def test_output_at_exit_and_atexit_functions_run(folder: pathlib.Path) -> None:
    write(folder, "program.py", "import atexit; atexit.register(print, 'bye'); print('hi', end='')")
    assert both(folder, "program.py")[1] == "hibye\n"


def test_classes_of_the_program_can_be_pickled(folder: pathlib.Path) -> None:
    source = """
        import pickle
        class Thing:
            pass
        print(type(pickle.loads(pickle.dumps(Thing()))) is Thing, Thing.__module__)
    """
    write(folder, "program.py", source)
    assert both(folder, "program.py")[1] == "True __main__\n"


def test_futures_of_the_program_are_its_own(folder: pathlib.Path) -> None:
    """`from __future__` in our own files must not leak into the program."""
    source = """
        def f(x: undefined) -> None: ...
    """
    write(folder, "program.py", source)
    status, _, _ = both(folder, "program.py")
    assert status == (1 if sys.version_info < (3, 14) else 0)


@pytest.mark.slow
def test_without_a_program_it_says_how_to_use_it() -> None:
    status, out, err = finish(start(OURS))
    assert status == 2
    assert not out
    assert "usage: python -m ferroloop" in err
    status, out, _ = finish(start([*OURS, "--help"]))
    assert status == 0
    assert "usage: python -m ferroloop" in out
    assert finish(start([*OURS, "--unknown"]))[0] == 2
    assert finish(start([*OURS, "-m"]))[0] == 2


WAITING = """
    import asyncio
    async def main():
        try:
            print("waiting", flush=True)
            await asyncio.sleep(1000)
        finally:
            print("cleaned up", flush=True)
    asyncio.run(main())
"""


def test_ctrl_c_ends_a_program_as_under_plain_python(folder: pathlib.Path) -> None:
    path = write(folder, "program.py", WAITING)
    plain = interrupt_when(start([str(path)]), "waiting")
    ours = interrupt_when(start([*OURS, str(path)]), "waiting")
    assert ours[:2] == plain[:2] == (-signal.SIGINT, "cleaned up\n")
    assert ours[2].splitlines()[-1] == plain[2].splitlines()[-1] == "KeyboardInterrupt"


def test_ctrl_c_in_a_server_program_is_quiet_when_the_program_is(folder: pathlib.Path) -> None:
    source = """
        import asyncio
        async def serve(reader, writer):
            writer.close()
        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            print("waiting", flush=True)
            async with server:
                await server.serve_forever()
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("bye")
    """
    path = write(folder, "program.py", source)
    assert interrupt_when(start([*OURS, str(path)]), "waiting") == (0, "bye\n", "")


def test_interpreter_options_are_kept(folder: pathlib.Path) -> None:
    source = """
        import asyncio, sys
        async def main():
            return asyncio.get_running_loop().get_debug()
        print(asyncio.run(main()), sys.flags.dev_mode, sys.flags.optimize)
    """
    write(folder, "program.py", source)
    ours = finish(start(["-X", "dev", "-O", *OURS, "program.py"], cwd=folder))
    assert ours[:2] == (0, "True True 1\n")


def test_a_program_text_has_plain_pythons_names() -> None:
    text = "print(__loader__, sorted(name for name in globals() if name.startswith('__')))"
    plain = finish(start(["-c", text]))
    assert finish(start(["-m", "ferroloop", "-c", text])) == plain


@pytest.mark.parametrize("options", [(), ("-X", "dev", "-W", "ignore::ResourceWarning")])
def test_a_loop_that_is_left_to_the_end_of_the_interpreter_says_nothing(
    folder: pathlib.Path, options: tuple[str, ...]
) -> None:
    path = write(
        folder,
        "program.py",
        """
        import asyncio
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(asyncio.sleep(0))
        """,
    )
    assert finish(start([*options, *OURS, str(path)])) == (0, "", "")
