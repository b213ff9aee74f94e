"""Packages that patch asyncio or the interpreter: each in a process of its own, on both loops."""

from __future__ import annotations

import importlib.util
import sys
import textwrap

import pytest

from support.programs import FACTORY, finish, run_code, start

pytestmark = [pytest.mark.slow, pytest.mark.frameworks]

#: Their warnings are theirs.
QUIET = {"PYTHONWARNINGS": "ignore"}


def is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that `name` is in
        return False


def need(name: str) -> None:
    if not is_there(name.partition(".")[0]):
        pytest.skip(f"{name} is not installed")


@pytest.mark.skipif(
    sys.version_info >= (3, 14),
    reason="3.14 keeps the running loop in the thread, which greenlets share: an executor's greenlet sets"
    " the result of its future without waking the loop, on asyncio's loop too",
)
@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
def test_gevents_monkey(kind: str, debug: bool) -> None:
    """Threads are greenlets of the loop's own thread then: the loop waits by gevent's selector."""
    need("gevent")
    source = f"""
        import threading, time
        import gevent

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_debug({debug})
            loop.slow_callback_duration = 60
            begin = time.monotonic()
            # Two jobs at once: each sleeps in a greenlet.
            print(await asyncio.gather(*[
                loop.run_in_executor(None, lambda: time.sleep(0.05) or 5) for _ in range(2)
            ]))
            print(len(await loop.getaddrinfo("localhost", 80, type=1)))
            print(await loop.getnameinfo(("127.0.0.1", 80), 3))
            loop.call_soon(lambda: None)  # debug mode asks which thread this is
            future = loop.create_future()
            gevent.spawn(lambda: loop.call_soon_threadsafe(future.set_result, "a greenlet"))
            print(await future)
            await asyncio.sleep(0.01)
            server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            print(await reader.read())
            writer.close()
            server.close()
            await loop.shutdown_default_executor()

        ran = []
        gevent.spawn(ran.append, "beside a busy loop")
        loop = new_loop()
        loop.run_until_complete(main())
        print(ran)
        # A loop that is busy lets greenlets run between its turns.
        turns, stopped = [], []
        gevent.spawn(lambda: (gevent.sleep(0), stopped.append(1)))

        def again():
            turns.append(1)
            loop.stop() if stopped or len(turns) > 10000 else loop.call_soon(again)

        loop.call_soon(again)
        loop.run_forever()
        loop.close()
        print(bool(stopped))
    """
    # First of all, as gevent asks for.
    patch = "from gevent import monkey; monkey.patch_all()"
    program = f"{patch}\nimport asyncio\n{FACTORY[kind]}\n{textwrap.dedent(source)}"
    status, out, err = finish(start(["-c", program], env=QUIET))
    assert status == 0, err
    assert out.splitlines() == [
        "[5, 5]",
        "1",
        "('127.0.0.1', '80')",
        "a greenlet",
        "b''",
        "['beside a busy loop']",
        "True",
    ]


@pytest.mark.parametrize("package", ["nest_asyncio", "nest_asyncio2"])
@pytest.mark.ours_only("it patches asyncio's loop")
def test_nested_runs_are_refused_by_the_package_itself(kind: str, package: str) -> None:
    """docs/compatibility/introspection.md says what to do instead."""
    need(package)
    source = f"""
        import {package}

        async def main():
            try:
                {package}.apply()
            except ValueError as error:
                print(error)

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
    """
    status, out, err = run_code(kind, source, env=QUIET)
    assert status == 0, err
    assert out == "Can't patch loop of type <class 'ferroloop.Loop'>\n"


def test_opentelemetry_counts_what_the_program_makes(kind: str) -> None:
    """asyncio's loop calls none of the public functions that the instrumentation wraps."""
    need("opentelemetry.instrumentation.asyncio")
    if not is_there("opentelemetry.instrumentation.asyncio"):
        pytest.skip("opentelemetry-instrumentation-asyncio is not installed")
    source = """
        from opentelemetry.instrumentation.asyncio import AsyncioInstrumentor

        seen = []

        class Instrumentor(AsyncioInstrumentor):
            def record_process(self, start, attr, span=None, exception=None):
                seen.append((attr["type"], attr.get("name")))

        Instrumentor().instrument()

        async def job():
            await asyncio.sleep(0)

        async def generate():
            yield 1

        async def main():
            loop = asyncio.get_running_loop()
            agen = generate()
            await agen.__anext__()
            await asyncio.ensure_future(job())
            await loop.run_in_executor(None, int)
            server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
            await asyncio.sleep(0)
            server.close()
            process = await asyncio.create_subprocess_exec("true")
            await process.wait()
            await loop.shutdown_asyncgens()
            await loop.shutdown_default_executor()

        loop = new_loop()
        loop.run_until_complete(main())
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        loop.run_until_complete(future)
        loop.close()
        print(seen)
    """
    status, out, err = run_code(
        kind, source, env={**QUIET, "OTEL_PYTHON_ASYNCIO_FUTURE_TRACE_ENABLED": "true"}
    )
    assert status == 0, err
    assert out == "[('coroutine', 'job')]\n"


def test_the_loop_calls_no_public_function_of_asyncio(kind: str) -> None:
    """A program may wrap or replace them for itself."""
    source = """
        import functools, sys

        called = []

        def wrap(name, function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                frame = sys._getframe(1)
                called.append((name, frame.f_globals["__name__"]))
                return function(*args, **kwargs)
            return wrapper

        sleep, wait_for = asyncio.sleep, asyncio.wait_for
        asyncio.streams  # imported before
        for name in ("ensure_future", "create_task", "gather", "wait", "wait_for", "shield",
                     "sleep", "wrap_future", "isfuture", "iscoroutine", "as_completed",
                     "run_coroutine_threadsafe"):
            setattr(asyncio, name, wrap(name, getattr(asyncio, name)))

        async def main():
            loop = asyncio.get_running_loop()

            async def generate():
                yield 1

            agen = generate()
            await agen.__anext__()
            server = await loop.create_server(asyncio.Protocol, ["127.0.0.1", "localhost"], 0)
            forever = loop.create_task(server.serve_forever())
            await sleep(0.001)
            forever.cancel()
            address = server.sockets
            server.close()
            await loop.getaddrinfo("localhost", 80)
            await loop.getnameinfo(("127.0.0.1", 80))
            await loop.run_in_executor(None, int)
            transport, protocol = await loop.subprocess_exec(asyncio.SubprocessProtocol, "true")
            await transport._wait()
            transport.close()
            await loop.shutdown_asyncgens()
            await loop.shutdown_default_executor()

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
        print(sorted(set(called)))
    """
    status, out, err = run_code(kind, source, env=QUIET)
    assert status == 0, err
    assert out == "[]\n"


@pytest.mark.ours_only("asyncio's loop calls Handle._run")
def test_aiodebug_is_never_called(kind: str) -> None:
    """docs/compatibility/introspection.md says so, and that debug mode and metrics() tell what it would."""
    need("aiodebug")
    source = """
        import logging, sys, time
        import aiodebug.log_slow_callbacks

        told = []
        aiodebug.log_slow_callbacks.enable(0.0, lambda name, duration: told.append(name))
        records = []
        handler = logging.Handler()
        handler.emit = lambda record: records.append(record.getMessage())
        logging.getLogger("asyncio").addHandler(handler)
        loop = new_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.01
        loop.call_soon(time.sleep, 0.02)
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        print(told, sum(record.startswith("Executing") for record in records))
    """
    status, out, err = run_code(kind, source, env=QUIET)
    assert status == 0, err
    assert out == "[] 1\n"


@pytest.mark.ours_only("asyncio's transports are instances of its classes")
def test_a_patched_class_of_asyncios_changes_no_transport(kind: str) -> None:
    """docs/compatibility/introspection.md says so; the transport itself can be patched by another of its name."""
    source = """
        import socket
        from unittest import mock

        async def main():
            near, far = socket.socketpair()
            transport, _ = await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, sock=near
            )
            with mock.patch("asyncio.Transport.get_extra_info", return_value="patched"):
                print(transport.get_extra_info("no such"))
            transport.close()
            await asyncio.sleep(0)
            far.close()

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
    """
    status, out, err = run_code(kind, source, env=QUIET)
    assert (status, out) == (0, "None\n"), err
