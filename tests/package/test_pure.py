"""The package without its native module, as macOS and Windows get it: asyncio's own loop."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import ferroloop
from support.programs import finish, start

SOURCES = Path(ferroloop.__file__).parent
ELSEWHERE = "import asyncio, sys, warnings\nsys.platform = 'darwin'\n"
"""What makes a program on Linux see another system; after asyncio's own import, which looks as well."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package's Python files and nothing else."""
    folder = tmp_path_factory.mktemp("pure")
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(SOURCES, folder / "ferroloop", ignore=ignored)
    return folder


def _run(folder: Path, source: str, *arguments: str) -> tuple[int, str, str]:
    program = f"import sys; sys.path.insert(0, {str(folder)!r})\n{ELSEWHERE}{source}"
    return finish(start(["-c", program, *arguments]))


def test_the_loop_is_asyncios_and_says_so_once(folder: Path) -> None:
    status, out, err = _run(
        folder,
        """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import ferroloop
    assert not caught, "a loop that is not made needs no warning"
    for _ in range(2):
        loop = ferroloop.new_event_loop()
        assert isinstance(loop, asyncio.SelectorEventLoop)
        assert type(loop) is ferroloop.Loop
        assert loop.run_until_complete(asyncio.sleep(0, "slept")) == "slept"
        loop.close()
assert ferroloop.NATIVE is False
assert "ferroloop._native" not in sys.modules
print([warning.category.__name__ for warning in caught], caught[0].message)
""",
    )
    assert (status, err) == (0, "")
    assert out == (
        "['RuntimeWarning'] ferroloop has no native code for darwin, so its loop is asyncio's own\n"
    )


def test_the_runner_and_the_streams_work(folder: Path) -> None:
    status, out, err = _run(
        folder,
        """
warnings.simplefilter("ignore", RuntimeWarning)
import ferroloop

async def serve(reader, writer):
    writer.write((await reader.readline()).upper())
    writer.close()

async def main():
    assert type(asyncio.get_running_loop()) is ferroloop.Loop
    server = await ferroloop.start_server(serve, "127.0.0.1", 0)
    reader, writer = await ferroloop.open_connection(*server.sockets[0].getsockname())
    assert type(reader) is ferroloop.StreamReader is asyncio.StreamReader
    writer.write(b"a line\\n")
    print((await reader.readline()).decode(), end="")
    writer.close()
    server.close()

ferroloop.run(main())
""",
    )
    assert (status, out, err) == (0, "A LINE\n", "")


@pytest.mark.skipif(sys.version_info >= (3, 16), reason="there are no policies since 3.16")
def test_the_policy_makes_the_same_loop(folder: Path) -> None:
    status, out, err = _run(
        folder,
        """
warnings.simplefilter("ignore")
import ferroloop

async def kind():
    return type(asyncio.get_running_loop()).__qualname__

ferroloop.install()
assert isinstance(asyncio.get_event_loop_policy(), ferroloop.EventLoopPolicy)
print(asyncio.run(kind()))
""",
    )
    assert (status, out, err) == (0, "Loop\n", "")


def test_every_public_name_is_there_and_what_is_native_says_so(folder: Path) -> None:
    status, out, err = _run(
        folder,
        """
warnings.simplefilter("ignore", RuntimeWarning)
import ferroloop

# Nothing knows the version of a folder that is not installed.
assert [name for name in ferroloop.__all__ if not hasattr(ferroloop, name)] in ([], ["__version__"])
loop = ferroloop.new_event_loop()
for call in (loop.metrics, ferroloop.Monitor):
    try:
        call()
    except RuntimeError as error:
        print(error)
loop.close()
""",
    )
    assert (status, err) == (0, "")
    assert out == (
        "loop.metrics() needs ferroloop's native loop, which exists on Linux only\n"
        "ferroloop.Monitor needs ferroloop's native loop, which exists on Linux only\n"
    )


def test_the_command_runs_a_program_on_asyncios_loop(folder: Path) -> None:
    status, out, err = _run(
        folder,
        """
import runpy
sys.argv[1:] = ["-c", "import asyncio, sys; print(sys.argv, type(asyncio.new_event_loop()).__name__)"]
runpy.run_module("ferroloop", run_name="__main__", alter_sys=True)
""",
    )
    assert (status, out) == (0, "['-c'] _UnixSelectorEventLoop\n")
    assert "RuntimeWarning: ferroloop has no native code for darwin" in err
