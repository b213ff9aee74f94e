"""Random calls with wrong and odd arguments: what is called, and what is written down about it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import socket
import sys
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from support.loops import PATIENCE
from surface.odd_values import GOOD, ODD
from surface.probe import REFUSED, Probe

HANGS = 0.25
"""A call that takes longer on asyncio waits for what never comes, and is left out (seconds)."""


@dataclass(frozen=True)
class Call:
    """One call: on what, of which method, with which values by name."""

    target: str
    method: str
    args: tuple[str, ...]
    kwargs: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        given = [*self.args, *(f"{key}={value}" for key, value in self.kwargs)]
        return f"{self.target}.{self.method}({', '.join(given)})"


TLS = "ssl=tls|None server_hostname=name|None ssl_handshake_timeout=short|None"
SHUTDOWN = "ssl_shutdown_timeout=short|None" if sys.version_info >= (3, 11) else ""
CONNECTING = (
    "family=family flags=free_port proto=free_port local_addr=local happy_eyeballs_delay=short!"
    " interleave=size"
)
LISTENING = "backlog=size start_serving=True|False"
RUNNING = "stdin=pipe|devnull|None stdout=pipe|devnull stderr=devnull cwd=None env=None shell=False"

LOOP = {
    "call_soon": "callback|partial size context=None",
    "call_soon_threadsafe": "callback|partial size context=None",
    "call_later": "delay callback size context=None",
    "call_at": "when! callback size context=None",
    "create_task": "callback name=name context=None",
    "get_debug": "",
    "set_debug": "False",
    "get_task_factory": "",
    "set_task_factory": "callback|None",
    "get_exception_handler": "",
    "set_exception_handler": "callback|None",
    "call_exception_handler": "message",
    "default_exception_handler": "message",
    "is_running": "",
    "is_closed": "",
    "close": "",
    "run_forever": "",
    "run_until_complete": "callback",
    "run_in_executor": "None callback size",
    "set_default_executor": "None",
    "shutdown_asyncgens": "",
    "getaddrinfo": "host port family=family type=stream proto=free_port flags=free_port",
    "getnameinfo": "peer free_port",
    "add_reader": "pair_socket callback",
    "add_writer": "pair_socket callback",
    "remove_reader": "pair_socket",
    "remove_writer": "pair_socket",
    "sock_recv": "filled_socket size",
    "sock_recv_into": "filled_socket room",
    "sock_recvfrom": "filled_socket size",
    "sock_recvfrom_into": "filled_socket room size",
    "sock_sendall": "pair_socket data",
    "sock_sendto": "datagram_socket data peer",
    "sock_connect": "tcp_socket peer",
    "sock_accept": "listener",
    "sock_sendfile": "pair_socket file free_port size fallback=True|False",
    "create_connection": f"protocol|broken_factory host port {CONNECTING} {TLS} {SHUTDOWN} sock=pair_socket",
    "create_unix_connection": f"protocol|broken_factory new_path {TLS} {SHUTDOWN} sock=pair_socket",
    "connect_accepted_socket": f"protocol|broken_factory pair_socket {TLS} {SHUTDOWN}",
    "create_server": f"protocol host free_port {LISTENING} {TLS} {SHUTDOWN} family=family flags=free_port"
    " sock=listener reuse_address=True|False reuse_port=True|False",
    "create_unix_server": f"protocol new_path {LISTENING} {TLS} {SHUTDOWN} sock=listener",
    "create_datagram_endpoint": "datagram_protocol|broken_factory local peer family=family|unix"
    " proto=free_port flags=free_port reuse_port=True allow_broadcast=True sock=datagram_socket",
    "connect_read_pipe": "protocol|broken_factory read_end",
    "connect_write_pipe": "protocol|broken_factory write_end",
    "subprocess_exec": f"process_protocol|broken_factory! program {RUNNING}",
    "subprocess_shell": f"process_protocol|broken_factory! program {RUNNING}",
    "add_signal_handler": "signal callback size",
    "remove_signal_handler": "signal",
    "sendfile": "loop file free_port size fallback=True|False",
    "start_tls": "loop loop tls server_hostname=name ssl_handshake_timeout=short",
}
"""What each call of a loop takes: positional values, then keywords; `|` between alternatives.

One with a `!` is never replaced: asyncio's heap of timers breaks when it cannot compare, and what
a process that was started reports races with the end of the call.
"""

WRITING = {
    "write": "data",
    "writelines": "list_of_text",
    "set_write_buffer_limits": "size size high=size low=size",
    "get_write_buffer_limits": "",
    "get_write_buffer_size": "",
    "can_write_eof": "",
}
COMMON = {
    "get_extra_info": "name None default=size",
    "is_closing": "",
    "get_protocol": "",
    "is_reading": "",
    "pause_reading": "",
    "resume_reading": "",
}
TABLES = {
    "loop": LOOP,
    "stream": COMMON | WRITING | {"close": "", "abort": "", "write_eof": ""},
    "endpoint": dict(COMMON)
    | {"sendto": "data peer", "close": "", "abort": "", "get_write_buffer_size": ""}
    | {"set_write_buffer_limits": "size size high=size low=size", "get_write_buffer_limits": ""},
    "reader": COMMON | {"close": ""},
    "writer": WRITING | {"get_extra_info": "name None", "close": "", "abort": "", "write_eof": ""},
    "server": dict.fromkeys(
        ("is_serving", "get_loop", "start_serving", "close", "wait_closed"), ""
    ),
    "handle": dict.fromkeys(("cancel", "cancelled", "__repr__"), "")
    | dict.fromkeys(("__eq__", "__lt__"), "size"),
    "timer": dict.fromkeys(("cancel", "cancelled", "when", "__repr__", "__hash__"), "")
    | dict.fromkeys(("__eq__", "__lt__", "__ge__"), "size"),
}
if sys.version_info < (3, 11):
    # Not there on asyncio; any executor is taken and then not shut down; Popen leaves pipes open.
    for missing in ("sock_recvfrom", "sock_recvfrom_into", "sock_sendto"):
        del LOOP[missing]
    for missing in ("set_default_executor", "subprocess_exec", "subprocess_shell"):
        del LOOP[missing]
    for missing in ("is_reading", "pause_reading", "resume_reading"):
        del TABLES["endpoint"][missing]
    del TABLES["reader"]["is_reading"]
if sys.version_info[:2] == (3, 13):
    # Its first releases make a running loop that is run again forget that it runs.
    del LOOP["run_forever"], LOOP["run_until_complete"]


def program(seed: int, length: int) -> list[Call]:
    """The calls of one seed."""
    chance = random.Random(seed)
    return [_draw(chance) for _ in range(length)]


def _draw(chance: random.Random) -> Call:
    target = "loop" if chance.random() < 0.7 else chance.choice(sorted(TABLES))
    method = chance.choice(sorted(TABLES[target]))
    names = TABLES[target][method].split()
    args = [_value(chance, name) for name in names if "=" not in name]
    pairs = [name.split("=", 1) for name in names if "=" in name]
    kwargs = [(key, _value(chance, good)) for key, good in pairs if chance.random() < 1 / 4]
    fate = chance.random()
    if fate < 0.05 and args:
        args.pop()
    elif fate < 0.1:
        args.append(chance.choice(sorted(ODD)))
    elif fate < 0.12:
        kwargs.append(("unknown", "size"))
    return Call(target, method, tuple(args), tuple(kwargs))


def _value(chance: random.Random, names: str) -> str:
    if names.endswith("!"):
        return chance.choice(names[:-1].split("|")).replace("_", " ")
    if chance.random() < 0.35:
        return chance.choice(sorted(ODD))
    return chance.choice(names.split("|")).replace("_", " ")


async def attempt(p: Probe, call: Call, patience: float) -> bool:
    """Make one call and write down what comes of it; False if it waits for what never comes."""
    target, close = await _target(p, call.target)
    args = [_made(p, name) for name in call.args]
    kwargs = {key: _made(p, name) for key, name in call.kwargs}
    label = str(call)
    result: Any = None
    try:
        result = getattr(target, call.method)(*args, **kwargs)
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(_awaited(result))
            await asyncio.wait({task}, timeout=patience)
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
                return False
            result = task.result()
        p.note(label, result)
    except REFUSED as raised:
        p.note(label, raised)
    finally:
        _release(p, result, args)
        close()
        await _settled(result)
    return True


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _made(p: Probe, name: str) -> Any:
    recipe = GOOD.get(name) or ODD[name]
    return recipe(p)


async def _target(p: Probe, name: str) -> tuple[Any, Any]:
    loop = p.loop
    if name == "loop":
        return loop, lambda: None
    if name == "server":
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        return server, server.close
    if name in {"handle", "timer"}:
        handle = loop.call_soon(int) if name == "handle" else loop.call_at(1e9, int)
        return handle, handle.cancel
    if name == "stream":
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=p.pair()[0])
    elif name == "endpoint":
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, ("127.0.0.1", 0)
        )
    elif name == "reader":
        transport, _ = await loop.connect_read_pipe(asyncio.Protocol, p.pipe()[0])
    else:
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, p.pipe()[1])
    return transport, transport.close


def _release(p: Probe, result: Any, args: list[Any]) -> None:
    """Close what a call made, and undo what it set."""
    made = result if isinstance(result, tuple) else (result,)
    for thing in made:
        if isinstance(thing, (asyncio.BaseTransport, asyncio.AbstractServer, socket.socket)):
            thing.close()
        elif isinstance(thing, (asyncio.Handle, asyncio.Future)):
            thing.cancel()
    loop = p.loop
    loop.set_debug(False)
    loop.set_task_factory(None)
    loop.set_exception_handler(p.report)
    for undo in (loop.remove_reader, loop.remove_writer, loop.remove_signal_handler):
        with contextlib.suppress(Exception):
            undo(args[0])


async def _settled(result: Any) -> None:
    """Let what was closed end, and what the call queued run."""
    if isinstance(result, tuple) and result and isinstance(result[0], asyncio.SubprocessTransport):
        await result[0]._wait()  # type: ignore[attr-defined] # asyncio's own on both loops
    for _ in range(5):
        await asyncio.sleep(0)


async def play(p: Probe, calls: list[Call], patience: float = PATIENCE) -> list[Call]:
    """Make the calls one after another; those that came to an end."""
    return [call for call in calls if await attempt(p, call, patience)]
