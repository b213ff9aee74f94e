"""What help(), completion and signatures show of the package, and what a missing module says."""

from __future__ import annotations

import asyncio
import inspect
import pathlib
import pickle
import shutil
import sys
import unittest
from typing import Any

import pytest

import ferroloop
from support.programs import finish, start

CLASSES = {
    ferroloop.Loop: asyncio.SelectorEventLoop,
    ferroloop.StreamReader: asyncio.StreamReader,
    ferroloop.StreamWriter: asyncio.StreamWriter,
    ferroloop.StreamReaderProtocol: asyncio.StreamReaderProtocol,
    ferroloop.Metrics: tuple,
}


def own_names(cls: type[Any]) -> list[str]:
    """The public names of a class that are not inherited from Python's classes."""
    return [
        name
        for name in dir(cls)
        if not name.startswith("_")
        and any(
            name in vars(base) for base in cls.__mro__ if base.__module__.startswith("ferroloop")
        )
    ]


def test_only_public_names_are_listed() -> None:
    assert dir(ferroloop) == sorted(ferroloop.__all__)
    assert all(name == "__version__" or not name.startswith("_") for name in dir(ferroloop))


@pytest.mark.parametrize("name", [name for name in ferroloop.__all__ if name != "__version__"])
def test_public_names_have_docstrings_of_ours(name: str) -> None:
    doc = inspect.getdoc(getattr(ferroloop, name))
    assert doc
    assert doc != inspect.getdoc(getattr(asyncio, name, None))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_methods_have_docstrings_of_ours(cls: type[Any]) -> None:
    names = own_names(cls)
    assert names
    for name in names:
        doc = getattr(cls, name).__doc__
        assert doc, name
        assert not doc.startswith("Alias for field"), name
        assert doc != getattr(getattr(CLASSES[cls], name, None), "__doc__", None), name


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_signatures_name_no_addresses(cls: type[Any]) -> None:
    for name in own_names(cls):
        member = getattr(cls, name)
        if callable(member):
            assert " at 0x" not in str(inspect.signature(member)), name


def test_methods_say_the_name_that_they_are_called_by() -> None:
    for name in own_names(ferroloop.Loop):
        member = getattr(ferroloop.Loop, name)
        if callable(member):
            assert member.__name__ == name


def test_run_takes_a_factory() -> None:
    class Own(ferroloop.Loop):
        """A loop of the program's."""

    async def main() -> type:
        return type(asyncio.get_running_loop())

    assert ferroloop.run(main(), loop_factory=Own) is Own
    assert ferroloop.run(main(), loop_factory=None) is ferroloop.Loop


def test_the_factory_can_be_sent_to_another_process() -> None:
    factory = pickle.loads(pickle.dumps(ferroloop.new_event_loop))
    factory().close()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="unittest takes a factory since 3.13")
def test_unittest_takes_our_factory() -> None:
    ran: list[type] = []

    class Case(unittest.IsolatedAsyncioTestCase):
        loop_factory = ferroloop.new_event_loop

        async def test_it(self) -> None:
            ran.append(type(asyncio.get_running_loop()))

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert result.wasSuccessful(), result.errors
    assert ran == [ferroloop.Loop]


def test_the_import_leaves_out_what_a_program_may_never_use() -> None:
    source = """
import asyncio, sys
import ferroloop
print(sorted(name.partition(".")[2] for name in sys.modules if name.startswith("ferroloop.")))
async def main():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    server.close()
ferroloop.run(main())
print("ferroloop._net.listen" in sys.modules, "ferroloop._process.subprocess" in sys.modules)
"""
    status, out, _ = finish(start(["-c", source]))
    assert status == 0
    modules, used = out.splitlines()
    for topic in (
        "connect",
        "datagram",
        "listen",
        "resolve",
        "sendfile",
        "sockets",
        "streams",
        "tls",
    ):
        assert f"'_net.{topic}'" not in modules
    for module in ("_process", "_insight.metrics", "_running.policy", "_insight.slow"):
        assert f"'{module}'" not in modules
    assert used == "True False"


def broken_package(folder: pathlib.Path) -> pathlib.Path:
    """A copy of the package without its native module."""
    here = pathlib.Path(ferroloop.__file__).parent
    package = folder / "python" / "ferroloop"
    shutil.copytree(here, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return package


def import_error(package: pathlib.Path) -> str:
    """The last line of what importing that copy prints."""
    source = f"import sys; sys.path.insert(0, {str(package.parent)!r}); import ferroloop"
    status, _, errors = finish(start(["-c", source]))
    assert status == 1
    return errors.splitlines()[-1]


def test_a_build_for_another_python_says_so(tmp_path: pathlib.Path) -> None:
    package = broken_package(tmp_path)
    (package / "_native.cpython-38-x86_64-linux-gnu.so").touch()
    error = import_error(package)
    assert error.startswith(f"ImportError: ferroloop in {package} was built for cpython-38-x86_64")
    assert f"this is cpython {sys.version.split()[0]}" in error
    assert error.endswith("-m pip install --force-reinstall ferroloop")


def test_the_source_folder_says_so(tmp_path: pathlib.Path) -> None:
    package = broken_package(tmp_path)
    (tmp_path / "Cargo.toml").touch()
    error = import_error(package)
    assert f"in its source folder {package}" in error
    assert "`maturin develop`" in error


def test_an_incomplete_installation_says_so(tmp_path: pathlib.Path) -> None:
    package = broken_package(tmp_path)
    assert import_error(package).startswith(
        f"ImportError: ferroloop in {package} has no native module (_native."
    )
