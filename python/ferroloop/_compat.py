"""Imports names that asyncio does not document, guarded by version. No other module does.

Each name has one meaning on CPython 3.10 to 3.15. The module also works without policies, which
asyncio removes in 3.16. Any thread may call its functions.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
from asyncio import (
    base_subprocess,
    constants,
    coroutines,
    events,
    format_helpers,
    futures,
    sslproto,
    streams,
    trsock,
)
from asyncio.log import logger
from asyncio.staggered import staggered_race

try:
    import ssl
except ImportError:  # a CPython built without OpenSSL
    ssl = None  # type: ignore[assignment]  # as asyncio does it

TYPE_CHECKING = False  # typing is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # For type checkers; a program gets it from `base_policy_class`.
    if sys.version_info >= (3, 14):
        from asyncio.unix_events import _DefaultEventLoopPolicy

        class DefaultPolicy(_DefaultEventLoopPolicy): ...
    else:

        class DefaultPolicy(asyncio.DefaultEventLoopPolicy): ...


__all__ = (
    "CREATE_TASK_TAKES_ANY",
    "DEBUG_STACK_DEPTH",
    "FACTORIES_GET_THE_NAME",
    "INCOMPLETE_READS",
    "LOG_SUBPROCESS",
    "RACES_RAISE_GROUPS",
    "SENDFILE_ALWAYS_SEEKS",
    "SSL_HANDSHAKE_TIMEOUT",
    "SSL_SHUTDOWN_TIMEOUT",
    "SUBPROCESS_EXEC",
    "SUBPROCESS_SHELL",
    "AnyDatagramTransport",
    "AnyTlsTransport",
    "BaseSubprocessTransport",
    "Future",
    "SendfileMode",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "TransportSocket",
    "base_policy_class",
    "borrow",
    "child_watcher_in_charge",
    "constants",
    "format_callback",
    "function_source",
    "future_loop",
    "get_running_loop_or_none",
    "is_coroutine_callback",
    "is_debug_mode",
    "logger",
    "set_policy",
    "set_task_name",
    "ssl",
    "staggered_race",
    "streams",
    "take_buffered_bytes",
)

#: How many frames coroutine origin tracking keeps in debug mode.
DEBUG_STACK_DEPTH: int = constants.DEBUG_STACK_DEPTH

#: How long a TLS handshake may take by default, and a shutdown (since 3.11), in seconds.
SSL_HANDSHAKE_TIMEOUT: float = constants.SSL_HANDSHAKE_TIMEOUT
SSL_SHUTDOWN_TIMEOUT: float = getattr(constants, "SSL_SHUTDOWN_TIMEOUT", 30.0)

SendfileMode = constants._SendfileMode
TransportSocket = trsock.TransportSocket
#: asyncio's future, also if a program puts another in its place later.
Future = futures.Future
#: What `StreamReader.readline` catches.
INCOMPLETE_READS = (asyncio.IncompleteReadError, asyncio.LimitOverrunError)
#: asyncio's streams, also if a program puts ours in their place later.
StreamReader = streams.StreamReader
StreamReaderProtocol = streams.StreamReaderProtocol
StreamWriter = streams.StreamWriter
#: asyncio's transport of processes: its methods, and the order of its protocol's calls.
BaseSubprocessTransport: Any = base_subprocess.BaseSubprocessTransport

#: A callback as asyncio's logs name it, and the file and line of a function, or None.
_format_callback_source: Callable[..., str] = format_helpers._format_callback_source
_get_function_source: Callable[..., tuple[str, int] | None] = format_helpers._get_function_source

#: Whether `-X dev` or PYTHONASYNCIODEBUG asks for debug mode.
is_debug_mode: Callable[[], bool] = coroutines._is_debug_mode  # type: ignore[attr-defined]  # not in typeshed
#: The loop of a future or of an object that only looks like one.
future_loop: Callable[[Any], asyncio.AbstractEventLoop] = futures._get_loop  # type: ignore[attr-defined]  # not in typeshed

_is_coroutine_function: Callable[[object], bool]
if sys.version_info >= (3, 14):
    # The public name warns from 3.14 on, and is removed in 3.16.
    _is_coroutine_function = getattr(
        coroutines, "_iscoroutinefunction", inspect.iscoroutinefunction
    )
else:
    _is_coroutine_function = asyncio.iscoroutinefunction


def _parameters(function: Any) -> set[str]:
    """The names of a function's parameters; "**" if it takes any keyword.

    `inspect.signature` takes much longer. It is left for functions that a program has wrapped or replaced.
    """
    code = getattr(function, "__code__", None)
    if code is None or hasattr(function, "__wrapped__"):
        found = inspect.signature(function).parameters.values()
        return {"**" if it.kind is it.VAR_KEYWORD else it.name for it in found}
    names = set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    return names | {"**"} if code.co_flags & inspect.CO_VARKEYWORDS else names


_create_task_parameters = _parameters(asyncio.BaseEventLoop.create_task)
#: Whether `create_task` passes unknown keywords on (3.13.3), instead of refusing them.
CREATE_TASK_TAKES_ANY: bool = "**" in _create_task_parameters
#: Whether a task factory gets the name as a keyword (3.13.3, 3.14; not 3.13.4, gh-133745).
FACTORIES_GET_THE_NAME: bool = "name" not in _create_task_parameters

#: Names a task that a factory made; before 3.13 it passes over no name and no `set_name`.
set_task_name: Callable[[Any, Any], None] = getattr(
    asyncio.tasks, "_set_task_name", lambda task, name: task.set_name(name)
)

#: Whether a file's position follows sendfile even if nothing was sent (gh-150107).
SENDFILE_ALWAYS_SEEKS: bool = "total_sent" not in _parameters(
    asyncio.unix_events._UnixSelectorEventLoop._sock_sendfile_update_filepos  # type: ignore[attr-defined]  # not in typeshed
)


#: The class that TLS transports report: an `asyncio.Transport` whose name shows that it is TLS.
AnyTlsTransport: Any = sslproto._SSLProtocolTransport


class AnyDatagramTransport(asyncio.Transport, asyncio.DatagramTransport):
    """The class that datagram endpoints report: asyncio's are instances of both bases."""


def borrow(function: Any, doc: str) -> Any:
    """A copy of asyncio's `function`, for a class of ours, with a docstring of ours.

    Its code keeps the names of asyncio's file and function, by which tools know calls of asyncio's.
    """
    ours = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    ours.__kwdefaults__ = function.__kwdefaults__
    ours.__doc__ = doc
    return ours


#: What loops do before and after a process is started: checks, the protocol, lines in debug mode.
SUBPROCESS_EXEC: Any = asyncio.BaseEventLoop.subprocess_exec
SUBPROCESS_SHELL: Any = asyncio.BaseEventLoop.subprocess_shell
LOG_SUBPROCESS: Any = asyncio.BaseEventLoop._log_subprocess  # type: ignore[attr-defined]  # not in typeshed


def get_running_loop_or_none() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or None; never raises."""
    return events._get_running_loop()


#: Whether a future that is chained to another is settled at once in the thread of its loop (3.14, late
#: 3.13), or always through the loop's queue.
CHAINS_AT_ONCE = any(
    "_get_running_loop" in const.co_names
    for const in asyncio.futures._chain_future.__code__.co_consts  # type: ignore[attr-defined]
    if isinstance(const, types.CodeType)
)


#: Whether a race of connections raises what an attempt raised unexpectedly in a group (3.14, late 3.13).
RACES_RAISE_GROUPS = "staggered race failed" in staggered_race.__code__.co_consts


def is_coroutine_callback(callback: object) -> bool:
    """Whether `callback` is a coroutine or a coroutine function."""
    return coroutines.iscoroutine(callback) or _is_coroutine_function(callback)


def format_callback(callback: object) -> str:
    """Return `callback` as asyncio's logs show it, with its file and line if known."""
    return _format_callback_source(callback, ())


def function_source(function: object) -> tuple[str, int] | None:
    """Return the file and the line of a function or method, or None."""
    return _get_function_source(getattr(function, "__func__", function))


def take_buffered_bytes(protocol: object) -> bytes:
    """Empty the StreamReader behind `protocol` and return what it held.

    Returns b"" for any protocol that is not asyncio's StreamReaderProtocol.
    """
    if not isinstance(protocol, asyncio.StreamReaderProtocol):
        return b""
    reader = getattr(protocol, "_stream_reader", None)
    if reader is None:
        return b""
    buffer: Any = reader._buffer
    taken = bytes(buffer)
    buffer.clear()
    return taken


def base_policy_class() -> type[Any] | None:
    """The default event loop policy's class, without a warning; None where policies are gone."""
    if sys.version_info >= (3, 14):
        name = "windows_events" if sys.platform == "win32" else "unix_events"
        return getattr(getattr(asyncio, name), "_DefaultEventLoopPolicy", None)
    else:  # noqa: RET505 - a branch that mypy can skip
        return asyncio.DefaultEventLoopPolicy


def set_policy(policy: object) -> bool:
    """Make `policy` the current one without a warning; False where policies are gone."""
    # The private one, which does not warn, is there since 3.14.
    for name in ("_set_event_loop_policy", "set_event_loop_policy"):
        setter = getattr(events, name, None)
        if setter is not None:
            setter(policy)
            return True
    return False


def child_watcher_in_charge() -> Any | None:
    """Return the child watcher that must be told of a new process.

    This is a watcher of the program's own class, or an active FastChildWatcher, which reaps every
    child. Returns None for asyncio's other watchers, and from 3.14 on, where there are none.
    """
    if sys.version_info >= (3, 14):
        return None
    else:  # noqa: RET505 - a branch that mypy can skip
        watcher: Any = getattr(events.get_event_loop_policy(), "_watcher", None)
        if watcher is None:
            return None
        ours = asyncio.unix_events
        if type(watcher) in {
            ours.PidfdChildWatcher,
            ours.SafeChildWatcher,
            ours.MultiLoopChildWatcher,
            ours.ThreadedChildWatcher,
        }:
            return None
        if type(watcher) is ours.FastChildWatcher and not watcher.is_active():
            return None
        return watcher
