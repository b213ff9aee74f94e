"""`python -m ferroloop program.py [args]`: run an unchanged program on ferroloop's loop.

The program becomes `__main__`, with its own argv, sys.path[0], exit code and tracebacks, as under
plain `python`. Main thread only.

asyncio.run, Runner, new_event_loop, get_event_loop and asyncio.EventLoop make ferroloop's loop. So do
servers that choose a loop by themselves, and processes that multiprocessing starts (`_entry`). A
program that names another loop (asyncio.SelectorEventLoop(), its own policy, uvloop.install())
gets that loop, and a line on stderr says so.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import io
import linecache
import os
import pkgutil
import runpy
import sys
import types
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from typing import TYPE_CHECKING, Any

import ferroloop
from ferroloop import _pure
from ferroloop._entry.arguments import USAGE, parse, refuse

if TYPE_CHECKING or sys.platform == "linux":
    from ferroloop._entry.takeover import take_over


def main(args: list[str]) -> None:
    """Run the program that `args`, the arguments of the command, name.

    Raises the program's exceptions, and SystemExit(2) for arguments that name no program.
    """
    if args[:1] in (["-h"], ["--help"]):
        sys.stdout.write(USAGE)
        return
    if args[:1] in (["-V"], ["--version"]):
        sys.stdout.write(f"ferroloop {ferroloop.__version__}\n")
        return
    which, variables, option, value, rest = parse(args)
    if ferroloop.NATIVE:
        os.environ.update(variables)
        report = variables.get("FERROLOOP_REPORT")
        if report is not None:
            names = {"-m": f"python -m {value}", "-c": "python -c"}
            _begin_report(report, names.get(option, os.path.basename(value)))
        take_over(option=option, value=value, which=which)
    else:
        # The program runs as plain `python` runs it: on asyncio's loop, or on one that it names. It
        # has no monitor, so there is nothing to watch it with.
        _pure.warn_once()
    sys.argv[:] = [option or value, *rest]
    namespace = _new_main_module()
    try:
        if option == "-m":
            _run_module(value)
        elif option == "-c":
            _run_text(value, namespace)
        else:
            _run_path(value, namespace)
    except SystemExit:
        raise
    except BaseException:
        # The interpreter must see the exception, because it handles exit codes, dying by SIGINT, -i
        # and sys.last_exc. Only the printed traceback is changed.
        _hide_our_frames()
        raise


def _begin_report(report: str, program: str) -> None:
    """Have every loop recorded for the page at `report`; SystemExit(2) if it cannot be written."""
    from ferroloop._report.start import begin_page  # noqa: PLC0415 - for programs that are watched

    try:
        begin_page(report, program)
    except OSError as error:
        refuse(f"cannot write the report: {error}")


def _new_main_module() -> dict[str, Any]:
    """Replace `__main__` by an empty module; return its namespace."""
    module = types.ModuleType("__main__")
    names = module.__dict__
    names["__builtins__"] = builtins
    if sys.version_info < (3, 14):
        names["__annotations__"] = {}
    sys.modules["__main__"] = module
    return names


def _run_module(name: str) -> None:
    """Do what `python -m name` does, through the function that the interpreter calls for it."""
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]  # the public one forgets __main__


def _run_text(code: str, namespace: dict[str, Any]) -> None:
    """Do what `python -c code` does."""
    namespace["__loader__"] = importlib.machinery.BuiltinImporter
    _set_first_path("")
    if sys.version_info >= (3, 13):
        # So that tracebacks show the lines.
        linecache.cache["<string>"] = (len(code), None, code.splitlines(True), "<string>")
    exec(compile(code, "<string>", "exec", dont_inherit=True), namespace)  # noqa: S102 - the task


def _run_path(path: str, namespace: dict[str, Any]) -> None:
    """Do what `python path` does."""
    full_path = os.path.join(os.getcwd(), path)
    if pkgutil.get_importer(full_path) is not None:
        # A folder or an archive: the module __main__ in it.
        _set_first_path(full_path, always=True)
        runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]  # see above
        return
    code = _read_code(full_path)
    _set_first_path(os.path.dirname(os.path.realpath(full_path)))
    loader = SourcelessFileLoader if path.endswith(".pyc") else SourceFileLoader
    namespace.update(__file__=full_path, __loader__=loader("__main__", full_path))
    if sys.version_info < (3, 15):
        namespace["__cached__"] = None
    exec(code, namespace)  # noqa: S102 - the task


def _read_code(path: str) -> types.CodeType:
    """The code object of the program at `path`; SystemExit(2) if it cannot be read."""
    try:
        with io.open_code(path) as file:
            data = file.read()
    except OSError as exc:
        python = sys.orig_argv[0]
        sys.stderr.write(
            f"{python}: can't open file {path!r}: [Errno {exc.errno}] {exc.strerror}\n"
        )
        sys.exit(2)
    if path.endswith(".pyc"):
        code = SourcelessFileLoader("__main__", path).get_code("__main__")
        if code is not None:
            return code
    return compile(data, path, "exec", dont_inherit=True)


def _set_first_path(folder: str, *, always: bool = False) -> None:
    """Replace the entry of `sys.path` that `python -m` added; with -P and -I there is none."""
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        sys.path[0] = folder
    elif always:
        sys.path.insert(0, folder)


def _hide_our_frames() -> None:
    """Print an exception that leaves the program without the frames of this file."""
    print_exception = getattr(sys, "excepthook", sys.__excepthook__)

    def hook(
        kind: type[BaseException], exc: BaseException, trace: types.TracebackType | None
    ) -> None:
        sys.excepthook = print_exception
        node, last_of_ours = trace, None
        while node is not None:
            if node.tb_frame.f_code.co_filename == hook.__code__.co_filename:
                last_of_ours = node
            node = node.tb_next
        if last_of_ours is not None:
            trace = last_of_ours.tb_next
        print_exception(kind, exc.with_traceback(trace), trace)

    sys.excepthook = hook


if __name__ == "__main__":
    main(sys.argv[1:])
