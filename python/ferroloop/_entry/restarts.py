"""Puts `-m ferroloop` into the commands by which a program starts itself again.

Supervisors do so from `sys.executable` and `sys.argv`: gunicorn on SIGUSR2 and tornado's autoreload
by exec, Django's autoreload by subprocess. Commands that start anything else are left as they are.
Any thread.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

from ferroloop._entry.imports import after_import
from ferroloop._entry.places import absolute, same_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ("survive_restarts",)

#: Options of the interpreter whose value may be the next argument.
_WITH_VALUE = ("-W", "-X")


class Program:
    """The running program, as the commands that start it again name it."""

    def __init__(self, option: str, value: str, extra: Sequence[str]) -> None:
        """`option` is "-m" or "" (a path), `value` the name; `extra` options come before both."""
        self._module = value if option == "-m" else None
        self._path = absolute(value) if not option else None
        self._extra = tuple(extra)

    def restarted(self, arguments: Sequence[Any]) -> list[Any] | None:
        """Return the command with ferroloop's runner in it; None for other commands.

        `arguments` is a command with its program name first.
        """
        words = [os.fsdecode(word) if isinstance(word, bytes) else word for word in arguments]
        if not all(isinstance(word, (str, os.PathLike)) for word in words):
            return None
        texts = [os.fspath(word) for word in words]
        if not texts or not _is_this_python(texts[0]):
            return None
        position = _program_position(texts)
        if position is None:
            return None
        named = self._named(texts[position:])
        if named is None:
            return None
        size, program = named
        runner = ["-m", "ferroloop", *self._extra]
        return [*arguments[:position], *runner, *program, *arguments[position + size :]]

    def _named(self, words: Sequence[str]) -> tuple[int, list[str]] | None:
        """Return how many words name this program, and its new name; None for another program."""
        if words[0] == "-m":
            named = len(words) > 1 and words[1] == self._module
            return (2, ["-m", words[1]]) if named else None
        path = absolute(words[0])
        main = getattr(sys.modules.get("__main__"), "__file__", None)
        if self._module is not None and main and path == absolute(main):
            # `python package/__main__.py` would put the package's folder on sys.path.
            return 1, ["-m", self._module]
        return (1, [words[0]]) if path == self._path else None


def _is_this_python(name: str) -> bool:
    return bool(sys.executable) and same_file(name, sys.executable)


def _program_position(words: Sequence[str]) -> int | None:
    """Where the program (or `-m`) stands behind the interpreter's own options."""
    position = 1
    while position < len(words):
        word = words[position]
        if word == "-m" or not word.startswith("-"):
            return position
        if word in {"-", "-c"} or word.startswith("-c"):
            return None
        position += 2 if word in _WITH_VALUE else 1
    return None


def survive_restarts(program: Program) -> None:
    """Change the commands that start `program` again, and no other commands."""
    _mind_exec(program)
    after_import("subprocess", functools.partial(_mind_popen, program))


def _mind_exec(program: Program) -> None:
    # All other functions of the exec family call these two by their names in os.
    execv, execve = os.execv, os.execve

    @functools.wraps(execv)
    def changed_execv(path: Any, argv: Any, /) -> Any:
        return execv(path, _changed(program, path, argv))

    @functools.wraps(execve)
    def changed_execve(path: Any, argv: Any, env: Any) -> Any:
        return execve(path, _changed(program, path, argv), env)

    os.execv, os.execve = changed_execv, changed_execve
    # os.supports_fd is looked up by the function itself.
    if execve in os.supports_fd:
        os.supports_fd.add(changed_execve)


def _changed(program: Program, path: Any, argv: Any) -> Any:
    if not isinstance(path, (str, bytes, os.PathLike)) or not isinstance(argv, (list, tuple)):
        return argv
    # exec starts `path`; the first argument need not be its name.
    command = program.restarted([path, *argv[1:]])
    return argv if command is None else [argv[0], *command[1:]]


def _mind_popen(program: Program, module: ModuleType) -> None:
    popen: Any = module.Popen
    execute_child = popen._execute_child

    @functools.wraps(execute_child)
    def changed(self: Any, args: Any, executable: Any, *rest: Any, **named: Any) -> Any:
        if isinstance(args, (list, tuple)) and executable is None:
            command = program.restarted(args)
            if command is not None:
                args = command
        return execute_child(self, args, executable, *rest, **named)

    popen._execute_child = changed
