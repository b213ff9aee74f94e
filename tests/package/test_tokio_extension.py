"""An extension written with `pyo3-async-runtimes`, built with cargo, awaited on the loop."""

from __future__ import annotations

import asyncio
import contextvars
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.loops import PATIENCE, run, until

Loop = asyncio.AbstractEventLoop

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tokio_extension"

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.slow,
    pytest.mark.default_python,
    # It compiles tokio, once.
    pytest.mark.timeout(600),
]


def _cargo() -> str:
    found = shutil.which("cargo", path=f"{os.environ.get('PATH', '')}:{Path.home()}/.cargo/bin")
    if found is None:
        pytest.skip("cargo is not there to build the extension with")
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The extension, compiled into a temporary folder."""
    folder = tmp_path_factory.mktemp("tokio_extension")
    target = Path(os.environ.get("FERROLOOP_EXTENSION_TARGET", folder / "target"))
    command = (_cargo(), "build", "--release", "--locked", "--target-dir", str(target))
    environment = {**os.environ, "PYO3_PYTHON": sys.executable, "PYO3_BUILD_EXTENSION_MODULE": "1"}
    finished = subprocess.run(
        command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode and ("download" in finished.stderr or "resolve host" in finished.stderr):
        pytest.skip("the crates of the extension cannot be fetched")
    assert finished.returncode == 0, finished.stderr
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    made = target.joinpath("release").glob("libtokio_extension.*")
    library = next(path for path in made if path.suffix in {".so", ".dylib"})
    path = shutil.copy(library, folder / f"tokio_extension{suffix}")
    spec = importlib.util.spec_from_file_location("tokio_extension", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def first() -> Any:
        return await module.echo(1)

    asyncio.run(first())  # tokio's own descriptors are no leak of a test's
    return module


@pytest.fixture
def tokio(built: Any, _nothing_left_open: None) -> Iterator[Any]:
    """The extension; no future of it is left over."""
    yield built
    assert built.alive() == 0


async def test_a_future_of_rusts_is_awaited(loop: Loop, tokio: Any) -> None:
    future = tokio.sleep(0.001, "slept")
    assert isinstance(future, asyncio.Future) and future.get_loop() is loop
    assert await future == "slept"
    thing = object()
    assert await tokio.echo(thing) is thing


async def test_a_thousand_futures_at_once(loop: Loop, tokio: Any) -> None:
    numbers = await asyncio.gather(*(tokio.sleep(0.001, number) for number in range(1000)))
    assert numbers == list(range(1000))


async def test_tokio_talks_to_a_server_of_the_loop(loop: Loop, tokio: Any) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    lines = [f"line {number}\n".encode() for number in range(20)]
    answers = await asyncio.gather(*(tokio.ask("127.0.0.1", port, line) for line in lines))
    assert answers == [line.upper() for line in lines]
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await tokio.ask("127.0.0.1", port, b"nobody\n")


async def test_rusts_errors_are_exceptions(loop: Loop, tokio: Any) -> None:
    with pytest.raises(ValueError, match="^from Rust$"):
        await tokio.fail("from Rust")


async def test_a_panic_is_an_exception_and_the_loop_goes_on(
    loop: Loop, tokio: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match="rust future panicked") as caught:
        await tokio.panic("too much")
    assert type(caught.value).__name__ == "RustPanic"
    assert await tokio.echo(1) == 1
    assert "too much" in capfd.readouterr().err


async def test_cancelling_in_python_drops_the_future_in_rust(loop: Loop, tokio: Any) -> None:
    task = asyncio.ensure_future(asyncio.wait_for(tokio.sleep(1000, None), 1000))
    await asyncio.sleep(0)
    await until(lambda: tokio.alive() == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: tokio.alive() == 0)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(tokio.sleep(1000, None), 0.001)
    await until(lambda: tokio.alive() == 0)


async def test_rust_awaits_coroutines(loop: Loop, tokio: Any) -> None:
    async def double(number: int) -> int:
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0.001)
        return number * 2

    assert await tokio.call(lambda: double(21)) == 42
    assert await tokio.gather([double(number) for number in range(50)]) == list(range(0, 100, 2))


def test_rust_and_python_await_each_other_in_turns(loop: Loop, tokio: Any) -> None:
    async def deeper(level: int) -> int:
        if level == 0:
            return await tokio.echo(0)  # type: ignore[no-any-return] # a number
        found: int = await tokio.call(lambda: deeper(level - 1))
        return found + 1

    assert run(loop, deeper(20)) == 20


async def test_exceptions_go_through_rust(loop: Loop, tokio: Any) -> None:
    class Boom(Exception):
        pass

    async def fail() -> None:
        raise Boom("in Python")

    def not_even_a_coroutine() -> Any:
        raise Boom("at once")

    with pytest.raises(Boom, match="in Python"):
        await tokio.call(fail)
    with pytest.raises(Boom, match="at once"):
        await tokio.call(not_even_a_coroutine)
    with pytest.raises(Boom, match="in Python"):
        await tokio.gather([asyncio.sleep(0), fail()])


async def test_rust_cancels_a_coroutine(loop: Loop, tokio: Any) -> None:
    cancelled = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError, match="tokio's timer"):
        await tokio.within(0.001, forever())
    await cancelled.wait()
    assert await tokio.within(1000, asyncio.sleep(0, "in time")) == "in time"


async def test_cancelling_in_python_reaches_the_coroutine_behind_rust(
    loop: Loop, tokio: Any
) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        begun.set()
        try:
            await asyncio.sleep(1000)
        finally:
            cancelled.set()

    task = asyncio.ensure_future(tokio.within(1000, forever()))
    await begun.wait()
    task.cancel()
    await cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_coroutine_that_cancels_itself_is_told_to_rust(loop: Loop, tokio: Any) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await tokio.call(give_up)


def test_context_variables_reach_the_coroutine_behind_rust(loop: Loop, tokio: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def read() -> str:
        return variable.get()

    async def main() -> None:
        variable.set("seen")
        assert await tokio.call(read) == "seen"

    run(loop, main())


def test_rust_runs_the_loop(loop: Loop, tokio: Any) -> None:
    async def main() -> str:
        await asyncio.sleep(0.001)
        return await tokio.echo("run by Rust")  # type: ignore[no-any-return] # a text

    asyncio.set_event_loop(loop)
    try:
        assert tokio.run(loop, main()) == "run by Rust"
    finally:
        asyncio.set_event_loop(None)


def test_a_result_that_comes_after_the_loop_is_closed_does_no_harm(
    new_loop: Any, built: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = new_loop(), new_loop()

    async def leave(port: int) -> Any:
        return built.ask("127.0.0.1", port, b"a line\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        future = first.run_until_complete(leave(listener.getsockname()[1]))
        first.close()
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(100) == b"a line\n"
            connection.sendall(b"too late\n")

    async def main() -> None:
        await until(lambda: built.alive() == 0)
        assert await built.sleep(0.01, "next loop") == "next loop"

    second.run_until_complete(main())
    second.close()
    assert not future.done()
    # The library prints what call_soon_threadsafe raised.
    assert "Event loop is closed" in capfd.readouterr().err
