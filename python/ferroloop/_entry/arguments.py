"""The command line of `python -m ferroloop`: its options, then the program with its own arguments."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple, NoReturn

from ferroloop._report.settings import seconds

__all__ = ("USAGE", "Arguments", "parse", "refuse")

USAGE = """\
usage: python -m ferroloop [options] program.py [argument ...]
       python -m ferroloop [options] -m module [argument ...]
       python -m ferroloop [options] -c code [argument ...]

Run a Python program, unchanged, on ferroloop's asyncio event loop.

  program.py    a file, folder or zip archive, as for python itself
  -m module     a module or package, as for python -m
  -c code       a program given as text, as for python -c

options:
  --which       say on stderr which loop each process of the program runs
  --stall SECONDS
                log the stack of a callback that has held a loop up for so long, while it does
                (FERROLOOP_STALL)
  --slow SECONDS
                log each callback that took so long or longer (FERROLOOP_SLOW)
  --report FILE write a page (HTML) when the program ends that shows what its loops did; the
                processes that it starts write FILE with their process id in its name
                (FERROLOOP_REPORT)
  --native-streams
                have asyncio.open_connection, asyncio.start_server and their Unix twins
                make ferroloop's readers and writers (FERROLOOP_NATIVE_STREAMS=1)
  -V, --version print ferroloop's version
  -h, --help    print this text
"""

#: The options that set a variable, which every process that the program starts inherits.
_VARIABLES = {
    "--stall": "FERROLOOP_STALL",
    "--slow": "FERROLOOP_SLOW",
    "--report": "FERROLOOP_REPORT",
}

#: The options without an argument.
_SWITCHES = ("--which", "--native-streams")


class Arguments(NamedTuple):
    """The parsed command line."""

    #: Whether each process is to say which loop it runs.
    which: bool
    #: Variables of the environment to be set.
    variables: dict[str, str]
    #: "-m", "-c" or "" for a path.
    option: str
    #: The module, the code or the path.
    value: str
    #: The program's own arguments.
    rest: list[str]


def parse(args: list[str]) -> Arguments:
    """Read the arguments of `python -m ferroloop`; SystemExit(2) if they are wrong or name no program."""
    which, variables, args = False, {}, list(args)
    while args and args[0].startswith("--"):
        name, equals, value = args.pop(0).partition("=")
        if name in _SWITCHES and equals:
            refuse(f"the option {name} takes no argument.")
        elif name == "--which":
            which = True
        elif name == "--native-streams":
            variables["FERROLOOP_NATIVE_STREAMS"] = "1"
        elif name not in _VARIABLES:
            _refuse_option(name)
        else:
            if not equals:
                if not args:
                    refuse(f"argument expected for the {name} option.")
                value = args.pop(0)
            variables[_VARIABLES[name]] = _checked(name, value)
    return Arguments(which, variables, *_program(args))


def _checked(name: str, value: str) -> str:
    if name == "--report":
        if not value:
            refuse("argument expected for the --report option.")
        # The program may change its current folder.
        return os.path.abspath(value)
    try:
        seconds(value, name)
    except ValueError as error:
        refuse(f"{error}.")
    return value


def _program(args: list[str]) -> tuple[str, str, list[str]]:
    """The option ("" for a path), its value, and the program's own arguments."""
    if not args:
        refuse("no program given. Name a file, or a module after -m.")
    first, rest = args[0], args[1:]
    option, value = first[:2], first[2:]
    if option not in {"-m", "-c"}:
        if first.startswith("-"):
            _refuse_option(first)
        return "", first, rest
    if not value:
        if not rest:
            refuse(f"argument expected for the {option} option.")
        value, rest = rest[0], rest[1:]
    return option, value, rest


def _refuse_option(name: str) -> NoReturn:
    refuse(f"unknown option {name}. Options of the program come after its name.")


def refuse(problem: str) -> NoReturn:
    """Write the usage and the error to stderr; raise SystemExit(2)."""
    sys.stderr.write(f"{USAGE.partition('Run a')[0].rstrip()}\n\nferroloop: {problem}\n")
    sys.exit(2)
