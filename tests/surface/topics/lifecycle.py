"""Running, stopping, closing; asynchronous generators; what a closed loop refuses."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncGenerator
from typing import Any

from surface.probe import Probe, case, debug_case


async def _value(value: Any = "value") -> Any:
    await asyncio.sleep(0)
    return value


async def _raise(error: BaseException) -> None:
    raise error


@case
def states(p: Probe) -> None:
    loop = p.loop
    p.note("repr", repr(loop))
    p.attempt(loop.is_running)
    p.attempt(loop.is_closed)
    loop.call_soon(lambda: p.note("running", (loop.is_running(), repr(loop))))
    loop.call_soon(loop.stop)
    p.attempt(loop.run_forever)
    p.attempt(loop.stop)
    loop.call_soon(p.note, "one pass", 1)
    p.attempt(loop.run_forever)
    p.attempt(loop.close)
    p.attempt(loop.close)
    p.note("closed", (loop.is_running(), loop.is_closed(), repr(loop)))
    p.attempt(loop.stop)


@case
def run_until_complete(p: Probe) -> None:
    loop = p.loop
    p.attempt(loop.run_until_complete, _value())
    p.attempt(loop.run_until_complete, _raise(ValueError("no")))
    p.attempt(loop.run_until_complete, _raise(asyncio.CancelledError("gone")))
    for wrong in (None, 5, "text", print, _value, object()):
        p.attempt(loop.run_until_complete, wrong)
    p.attempt(loop.run_until_complete)
    done = loop.create_future()
    done.set_result(7)
    p.attempt(loop.run_until_complete, done)
    stopped = loop.create_future()
    loop.call_soon(loop.stop)
    p.attempt(loop.run_until_complete, stopped)
    other = p.new_loop()
    p.attempt(loop.run_until_complete, other.create_future())
    other.close()


@case
def interrupts(p: Probe) -> None:
    for error in (KeyboardInterrupt(), SystemExit(3)):
        try:
            p.loop.run_until_complete(_raise(error))
        except BaseException as raised:
            p.note("came out", raised)
        p.attempt(p.loop.run_until_complete, _value("next"))


@case
async def while_running(p: Probe) -> None:
    if sys.version_info[:2] != (3, 13):  # whose first releases make the running loop forget itself
        p.attempt(p.loop.run_forever)
        other = p.new_loop()
        p.attempt(other.run_forever)
        other.close()
    p.attempt(p.loop.close)
    future = p.loop.create_future()
    p.attempt(p.loop.run_until_complete, future)
    p.attempt(asyncio.run, 5)
    p.note("running", asyncio.get_running_loop() is p.loop)


@case
def closed(p: Probe) -> None:
    loop = p.loop
    loop.close()
    for call in (loop.call_soon, loop.call_soon_threadsafe):
        p.attempt(call, print)
        p.attempt(call)
    p.attempt(loop.call_later, 1, print)
    p.attempt(loop.call_later, None, print)
    p.attempt(loop.call_at, 1, print)
    p.attempt(loop.call_at, None, print)
    p.attempt(loop.run_forever)
    p.attempt(loop.create_future)
    p.attempt(loop.run_in_executor, None, print)
    p.attempt(loop.set_default_executor, None)
    p.attempt(loop.set_debug, True)
    p.attempt(loop.get_debug)
    p.attempt(loop.set_task_factory, None)
    p.attempt(loop.set_exception_handler, None)
    p.attempt(loop.add_reader, 0, print)
    p.attempt(loop.add_writer, 0, print)
    p.attempt(loop.remove_reader, 0)
    p.attempt(loop.remove_writer, 0)
    p.attempt(loop.add_signal_handler, 10, print)
    p.attempt(loop.remove_signal_handler, 10)
    p.attempt(lambda: loop.time() > 0)
    for method in ("create_task", "run_until_complete"):
        coroutine = _value()
        p.attempt(getattr(loop, method), coroutine)
        coroutine.close()


@case
def coroutines_on_a_closed_loop(p: Probe) -> None:
    """Coroutines of a closed loop that another one runs."""
    loop, other, protocol = p.loop, p.new_loop(), asyncio.Protocol
    loop.close()

    async def main() -> None:
        await p.wait(loop.shutdown_asyncgens)
        await p.wait(loop.shutdown_default_executor)
        await p.wait(loop.getaddrinfo, "127.0.0.1", 80)
        await p.wait(loop.getnameinfo, ("127.0.0.1", 80))
        await p.wait(loop.sock_recv, p.pair()[0], 1)
        await p.wait(loop.sock_sendall, p.pair()[0], b"")
        await p.wait(loop.create_connection, protocol, "127.0.0.1", 80)
        await p.wait(loop.create_connection, protocol, sock=p.pair()[0])
        await p.wait(loop.create_unix_connection, protocol, "/no/such/folder/s")
        await p.wait(loop.create_server, protocol, "127.0.0.1", 0, start_serving=False)
        await p.wait(loop.create_server, protocol, "127.0.0.1", 0)
        gc.collect()  # since 3.14 asyncio has failed transports own their number until then
        await p.wait(loop.create_datagram_endpoint, asyncio.DatagramProtocol, ("127.0.0.1", 0))

    other.run_until_complete(main())
    other.close()


@case
def forgotten(p: Probe) -> None:
    loop = p.new_loop()
    loop.call_soon(print)
    del loop
    gc.collect()


@case
def asyncgens(p: Probe) -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            p.note("finally", "ran")

    async def bad() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise ValueError("in finally")

    async def main() -> list[Any]:
        one, two = numbers(), bad()
        return [await one.__anext__(), await two.__anext__(), one, two]

    kept = p.loop.run_until_complete(main())
    p.note("hooks", tuple(sys.get_asyncgen_hooks()))
    p.attempt(p.loop.run_until_complete, p.loop.shutdown_asyncgens())
    p.attempt(p.loop.run_until_complete, p.loop.shutdown_asyncgens())
    kept.clear()
    again = numbers()
    p.attempt(p.loop.run_until_complete, again.__anext__())
    p.attempt(p.loop.run_until_complete, again.aclose())


@debug_case
def in_debug_mode(p: Probe) -> None:
    p.note("repr", repr(p.loop))
    p.attempt(p.loop.run_until_complete, _value())
    p.attempt(p.loop.set_debug, False)
    p.attempt(p.loop.get_debug)
    p.attempt(p.loop.set_debug, 1)
    p.note("truth", bool(p.loop.get_debug()))
    p.loop.set_debug(True)
    p.note("threshold", p.loop.slow_callback_duration)
    p.loop.close()
    p.note("repr", repr(p.loop))


@case
def kinds(p: Probe) -> None:
    p.note("loop", isinstance(p.loop, asyncio.AbstractEventLoop))
    for name in dir(asyncio.AbstractEventLoop):
        if not name.startswith("_"):
            member = getattr(p.loop, name, None)
            p.note(name, (callable(member), asyncio.iscoroutinefunction(member)))
