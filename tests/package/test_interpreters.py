"""Only the main interpreter of a process can import ferroloop; others are refused without side effects."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig

import pytest

from support.programs import run_code

# How this Python's programs get at sub-interpreters: those that share the GIL, as mod_wsgi's and
# uWSGI's do, and those that are isolated.
SUPPORT = """
import asyncio, gc, sys

IMPORT = '''
try:
    import ferroloop
except ImportError as error:
    print("refused:", error, flush=True)
else:
    print("imported", flush=True)
'''

SLEEP = '''
import asyncio
asyncio.run(asyncio.sleep(0.001))
print("slept", flush=True)
'''

def in_old(source):
    import _xxsubinterpreters as interpreters
    one = interpreters.create(isolated=False)
    interpreters.run_string(one, source)
    interpreters.destroy(one)

def in_new(config, source):
    import _interpreters as interpreters
    one = interpreters.create(config)
    failed = interpreters.exec(one, source)
    interpreters.destroy(one)
    assert failed is None, failed

def in_subinterp(source):
    import _testcapi
    assert _testcapi.run_in_subinterp(source) == 0

def in_unchecked(source):
    import _interpreters as interpreters
    options = {"use_main_obmalloc": True, "check_multi_interp_extensions": False}
    config = interpreters.new_config("isolated", **options)
    in_new(config, source)

RUN = {
    "old": in_old,
    "legacy": lambda source: in_new("legacy", source),
    "isolated": lambda source: in_new("isolated", source),
    "unchecked": in_unchecked,
    "testcapi": in_subinterp,
}

def work():
    import ferroloop
    async def main():
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        server.close()
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        except asyncio.TimeoutError:
            print("works", flush=True)
    ferroloop.run(main())
"""

OURS = "refused: ferroloop cannot be imported in a sub-interpreter"
#: What CPython itself says to an interpreter with a GIL of its own.
CPYTHONS = "refused: module ferroloop._native does not support loading in subinterpreters"


def kinds() -> list[str]:
    """The ways in which this Python makes sub-interpreters."""
    found = ["legacy", "isolated", "unchecked"] if sys.version_info >= (3, 13) else []
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        # "unrestricted sub-interpreters are not supported" there.
        found.remove("unchecked")
    if sys.version_info < (3, 12):
        found.append("old")
    if importlib.util.find_spec("_testcapi") is not None:
        found.append("testcapi")
    return found


@pytest.fixture(params=kinds())
def way(request: pytest.FixtureRequest) -> str:
    """How the sub-interpreter is made."""
    way: str = request.param
    return way


def run(way: str, source: str) -> list[str]:
    """Run a program in which `run` runs sources in a sub-interpreter; its lines."""
    status, out, err = run_code("asyncio", f"{SUPPORT}\nrun = RUN[{way!r}]\n{source}")
    assert (status, err) == (0, "")
    return out.splitlines()


def assert_refused(line: str, way: str) -> None:
    assert line.startswith(CPYTHONS if way == "isolated" else OURS), line


def test_a_sub_interpreter_is_refused_before_and_after_the_main_one(way: str) -> None:
    lines = run(way, "run(IMPORT); work(); run(IMPORT); gc.collect(); work(); run(IMPORT)")
    for line in lines[0], lines[2], lines[4]:
        assert_refused(line, way)
    assert (lines[1], lines[3], len(lines)) == ("works", "works", 5)


def test_a_refused_import_is_refused_again(way: str) -> None:
    lines = run(way, "run(IMPORT * 3); work()")
    for line in lines[:3]:
        assert_refused(line, way)
    assert lines[3:] == ["works"]


def test_asyncio_of_a_sub_interpreter_goes_on_after_the_refusal(way: str) -> None:
    lines = run(way, "run(IMPORT + SLEEP); work(); run(IMPORT + SLEEP)")
    assert_refused(lines[0], way)
    assert_refused(lines[3], way)
    assert [lines[1], lines[2], lines[4]] == ["slept", "works", "slept"]


def test_the_main_interpreter_may_import_it_twice() -> None:
    forget = "[sys.modules.pop(it) for it in list(sys.modules) if it.startswith('ferroloop')]"
    assert run("legacy", f"work(); {forget}; work()") == ["works", "works"]
