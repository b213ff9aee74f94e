"""Starting a child process: `subprocess.Popen`, or its steps without its calls for options.

A program that is named by its path, with no other option than `env`, is started as `Popen` starts it, by
`os.posix_spawn`. The `Popen` object is made without `__init__`: its fields are those of a real one, which was made
first. If a program has replaced one of the functions that take these steps, if CPython has changed them, or if there
is any other option, `Popen` is called. Any thread may call.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from subprocess import DEVNULL, PIPE, STDOUT
from types import FunctionType
from typing import Any

__all__ = ("start",)

_MODULE = vars(subprocess)
_OS: Any = os
_POPEN: Any = subprocess.Popen
#: The functions whose place `_spawn` and `_start_redirected` take.
_STEPS = ("__init__", "_get_handles", "_execute_child", "_posix_spawn", "_close_pipe_fds")
_INIT, _GET_HANDLES, _EXECUTE, _SPAWN, _CLOSE = (vars(_POPEN).get(name) for name in _STEPS)

# What `Popen` refers to in CPython 3.13 to 3.15 to start a program by its path.
_EXECUTE_NAMES = {
    *("isinstance", "str", "bytes", "os", "PathLike", "TypeError", "list", "sys", "audit"),
    *("_USE_POSIX_SPAWN", "path", "dirname", "_HAVE_POSIX_SPAWN_CLOSEFROM", "_posix_spawn"),
}
_SPAWN_NAMES = {
    *("getattr", "signal", "append", "os", "POSIX_SPAWN_CLOSE", "POSIX_SPAWN_DUP2"),
    *("POSIX_SPAWN_CLOSEFROM", "posix_spawn", "pid", "_child_created", "_close_pipe_fds"),
}


def _is_own(function: object) -> bool:
    """Whether `function` is one of the module `subprocess`, and not a wrapper."""
    return type(function) is FunctionType and function.__globals__ is _MODULE


def _names(function: Any) -> set[str]:
    """What the code of a function of the module refers to; nothing if it is another function."""
    return set(function.__code__.co_names) if _is_own(function) else set()


_KNOWN = (
    sys.version_info >= (3, 13)
    and all(_is_own(function) for function in (_INIT, _GET_HANDLES, _CLOSE))
    and "__new__" not in vars(_POPEN)
    and _names(_EXECUTE) >= _EXECUTE_NAMES
    and _names(_SPAWN) == _SPAWN_NAMES
    and bool(_MODULE.get("_USE_POSIX_SPAWN"))
    and bool(_MODULE.get("_HAVE_POSIX_SPAWN_CLOSEFROM"))
)

#: The code of the five: a tool may replace a function's code in its place.
_CODES = (
    [function.__code__ for function in (_INIT, _GET_HANDLES, _EXECUTE, _SPAWN, _CLOSE)]
    if _KNOWN
    else []
)


def _is_unchanged() -> bool:
    """Whether `Popen` is as it was when this module was imported."""
    found = (
        _POPEN.__init__,
        _POPEN._get_handles,
        _POPEN._execute_child,
        _POPEN._posix_spawn,
        _POPEN._close_pipe_fds,
    )
    return (
        _MODULE["Popen"] is _POPEN
        and found == (_INIT, _GET_HANDLES, _EXECUTE, _SPAWN, _CLOSE)
        and [function.__code__ for function in found] == _CODES
        and _MODULE["_USE_POSIX_SPAWN"]
        and _MODULE["_HAVE_POSIX_SPAWN_CLOSEFROM"]
    )


#: The descriptors of the standard streams; a pipe has one of them if the program has closed it.
_STANDARD = (0, 1, 2)
#: The signals that `Popen` gives their default action in the child.
_RESTORED = [
    getattr(signal, name) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if hasattr(signal, name)
]
#: Closes all descriptors but the standard streams in the child.
_CLOSE_OTHERS = [(_OS.POSIX_SPAWN_CLOSEFROM, 3)] if _KNOWN else []
#: The fields of a `Popen` object that are the same in each; none until one was made.
_fields: dict[str, Any] = {}
#: The others; `_devnull` is there only if it was opened.
_VARYING = {
    *("args", "pid", "returncode", "stdin", "stdout", "stderr", "_waitpid_lock", "_devnull"),
}


def start(
    args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int, kwargs: Any
) -> Any:
    """Start a process as `subprocess.Popen(args, shell=shell, ...)` does, and return the `Popen` object."""
    by_path = (
        _KNOWN
        and not shell
        and not bufsize
        and (not kwargs or tuple(kwargs) == ("env",))
        and type(args) is tuple
        and type(args[0]) is str
        and "/" in args[0]
        and _is_unchanged()
    )
    if by_path and _fields:
        env = kwargs["env"] if kwargs else None
        if stdin is None and stdout is None and stderr is None:
            return _spawn(args, env, _CLOSE_OTHERS)
        if (
            _is_known(stdin)
            and _is_known(stdout)
            and (_is_known(stderr) or (stderr == STDOUT and stdout is not None))
        ):
            process = _start_redirected(args, env, (stdin, stdout, stderr))
            if process is not None:
                return process
    process = subprocess.Popen(  # noqa: S603 - what to run is the program's affair
        args,
        shell=shell,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        universal_newlines=False,
        bufsize=bufsize,
        **kwargs,
    )
    if by_path and not _fields:
        _remember(process)
    return process


def _is_known(redirection: object) -> bool:
    return redirection is None or (type(redirection) is int and redirection in {PIPE, DEVNULL})


def _remember(process: Any) -> None:
    """Take the fields of `process`, which `Popen` has just made, unless objects may not share them."""
    fields = {name: value for name, value in vars(process).items() if name not in _VARYING}
    if all(value is None or type(value) in {bool, int, float} for value in fields.values()):
        _fields.update(fields)


class _Redirected:
    """The descriptors and files of one process's standard streams."""

    def __init__(self) -> None:
        #: The child's ends, -1 for a stream of this process.
        self.theirs = [-1, -1, -1]
        #: Our ends of pipes.
        self.files: list[Any] = [None, None, None]
        #: What this process needs no more once the child has started.
        self.to_close: list[int] = []
        #: The descriptor of the null device, under the name that it has in a `Popen` object.
        self.devnull: dict[str, int] = {}

    def open(self, number: int, redirection: int) -> None:
        """Prepare one stream."""
        if redirection == PIPE:
            reading, writing = os.pipe()
            mine, self.theirs[number] = (reading, writing) if number else (writing, reading)
            self.to_close.append(self.theirs[number])
            self.files[number] = io.open(  # noqa: SIM115, UP020 - as Popen does; the transport closes it
                mine, "rb" if number else "wb", 0
            )
        elif redirection == STDOUT:
            self.theirs[number] = self.theirs[1]
        else:
            if not self.devnull:
                self.devnull["_devnull"] = os.open(os.devnull, os.O_RDWR)
                self.to_close.extend(self.devnull.values())
            self.theirs[number] = self.devnull["_devnull"]

    def actions(self) -> list[Any]:
        """What the child does, in the order of `Popen`."""
        return [
            *((os.POSIX_SPAWN_CLOSE, file.fileno()) for file in self.files if file is not None),
            *(
                (os.POSIX_SPAWN_DUP2, descriptor, number)
                for number, descriptor in enumerate(self.theirs)
                if descriptor != -1
            ),
        ]


def _start_redirected(args: Any, env: Any, redirections: tuple[Any, Any, Any]) -> Any:
    """Make the pipes and start a process with them; None if `Popen` does not use posix_spawn for them."""
    streams = _Redirected()
    process = None
    try:
        for number, redirection in enumerate(redirections):
            if redirection is not None:
                streams.open(number, redirection)
        if any(descriptor in _STANDARD for descriptor in streams.theirs):
            return None
        process = _spawn(args, env, streams.actions() + _CLOSE_OTHERS)
    finally:
        for descriptor in streams.to_close:
            os.close(descriptor)
        if process is None:
            for file in streams.files:
                if file is not None:
                    file.close()
    stdin, stdout, stderr = streams.files
    vars(process).update(streams.devnull, stdin=stdin, stdout=stdout, stderr=stderr)
    return process


def _spawn(args: Any, env: Any, actions: list[Any]) -> Any:
    """Start a process, with these actions in the child."""
    if _MODULE["_active"]:
        # Reaps processes whose objects are gone.
        _MODULE["_cleanup"]()
    arguments = list(args)
    sys.audit("subprocess.Popen", args[0], arguments, None, env)
    process = _POPEN.__new__(_POPEN)
    own = _fields.copy()
    own["args"] = args
    own["stdin"] = own["stdout"] = own["stderr"] = own["returncode"] = None
    own["_waitpid_lock"] = threading.Lock()
    own["pid"] = os.posix_spawn(args[0], arguments, env, setsigdef=_RESTORED, file_actions=actions)
    # Before this it is an object that has started no process.
    process.__dict__ = own
    return process
