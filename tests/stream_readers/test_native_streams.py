"""asyncio's functions for streams make ferroloop's readers and writers if the user asks for it."""

from __future__ import annotations

import pathlib
import textwrap

import pytest

from support.programs import finish, start

#: A service and its clients over asyncio's own names; prints what it saw and whose classes these were.
SERVICE = """
import asyncio, inspect, os, sys, tempfile, warnings
from asyncio import open_connection as taken

def kinds(*objects):
    return " ".join(type(it).__module__.partition(".")[0] for it in objects)

async def handle(reader, writer):
    assert isinstance(reader, asyncio.StreamReader) and isinstance(writer, asyncio.StreamWriter)
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.write(kinds(reader, writer).encode())
    writer.close()
    await writer.wait_closed()

async def talk(reader, writer):
    for number in range(3):
        writer.write(b"hello %d\\n" % number)
        await writer.drain()
        assert await reader.readexactly(8) == b"HELLO %d\\n" % number
    writer.write_eof()
    server = (await reader.read()).decode()
    print(kinds(reader, writer), "to", server)
    writer.close()
    await writer.wait_closed()

async def main():
    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await talk(*await asyncio.open_connection("127.0.0.1", port))
        await talk(*await asyncio.streams.open_connection("127.0.0.1", port, limit=64))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        async with await asyncio.start_unix_server(handle, path):
            await talk(*await asyncio.open_unix_connection(path))

def describe():
    for name in ("open_connection", "start_server", "open_unix_connection", "start_unix_server"):
        function = getattr(asyncio, name)
        assert function is getattr(asyncio.streams, name)
        print(name, inspect.iscoroutinefunction(function), inspect.signature(function),
              function.__module__, function.__qualname__, function.__doc__)
"""
OURS = ["ferroloop ferroloop to ferroloop ferroloop"] * 3
THEIRS = ["asyncio asyncio to asyncio asyncio"] * 3


def lines(*arguments: str, **options: object) -> list[str]:
    """The output of a Python program that ends well and says nothing on stderr."""
    status, out, err = finish(start([*arguments], **options))
    assert (status, err) == (0, ""), err
    return out.splitlines()


def program(*rest: str) -> str:
    return "\n".join([SERVICE, *map(textwrap.dedent, rest)])


RUN = "asyncio.run(main())"


def test_the_runner_gives_an_unchanged_program_native_streams() -> None:
    assert lines("-m", "ferroloop", "--native-streams", "-c", program(RUN)) == OURS


def test_without_the_option_streams_are_asyncios() -> None:
    assert lines("-m", "ferroloop", "-c", program(RUN)) == THEIRS
    assert lines("-c", program(RUN)) == THEIRS


@pytest.mark.parametrize(("value", "expected"), [("1", OURS), ("0", THEIRS), ("", THEIRS)])
def test_the_variable_asks_for_it_when_a_loop_is_made(value: str, expected: list[str]) -> None:
    text = program("import ferroloop", "ferroloop.run(main())")
    assert lines("-c", text, env={"FERROLOOP_NATIVE_STREAMS": value}) == expected


def test_install_gives_native_streams() -> None:
    text = program(
        """
        import ferroloop
        ferroloop.run(main())
        warnings.simplefilter("ignore", DeprecationWarning)
        if sys.version_info < (3, 16):
            ferroloop.install(streams=True)
            ferroloop.install(streams=True)
            asyncio.run(main())
        """
    )
    assert lines("-c", text) == THEIRS + OURS


def test_other_loops_keep_asyncios_streams() -> None:
    text = program(
        """
        loop = asyncio.SelectorEventLoop()
        loop.run_until_complete(main())
        loop.close()
        """
    )
    status, out, _ = finish(start(["-m", "ferroloop", "--native-streams", "-c", text]))
    assert (status, out.splitlines()) == (0, THEIRS)


def test_a_name_that_was_imported_before_the_installation_stays_asyncios() -> None:
    text = program(
        """
        import ferroloop
        warnings.simplefilter("ignore", DeprecationWarning)
        ferroloop.install(streams=True)

        async def both():
            async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                await talk(*await taken("127.0.0.1", port))

        asyncio.run(both())
        """
    )
    assert lines("-c", text) == ["asyncio asyncio to ferroloop ferroloop"]


def test_the_functions_look_as_asyncios() -> None:
    text = program("describe()")
    ours = lines("-m", "ferroloop", "--native-streams", "-c", text)
    assert ours == lines("-c", text)
    assert ours


@pytest.mark.parametrize(
    "change",
    [
        "asyncio.StreamReader.feed_data = feed_data",
        "asyncio.streams.StreamReader = Noting",
    ],
    ids=["method", "class"],
)
def test_what_a_program_replaces_in_asyncios_classes_is_called(change: str) -> None:
    text = program(
        f"""
        original = asyncio.StreamReader.feed_data
        seen = []

        def feed_data(self, data):
            seen.append(bytes(data))
            original(self, data)

        class Noting(asyncio.StreamReader):
            feed_data = feed_data

        async def twice():
            async def answer(reader, writer):
                writer.write(await reader.readexactly(3))
                writer.close()

            async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"abc")
                assert await reader.read() == b"abc"
                writer.close()

        {change}
        asyncio.run(twice())
        print(seen)
        """
    )
    expected = ["[b'abc', b'abc']"]
    assert lines("-m", "ferroloop", "--native-streams", "-c", text) == expected
    assert lines("-c", text) == expected


def test_a_function_that_a_program_has_wrapped_stays_wrapped() -> None:
    text = program(
        """
        import ferroloop
        original = asyncio.open_connection

        async def wrapped(*args, **keywords):
            print("wrapped")
            return await original(*args, **keywords)

        asyncio.open_connection = asyncio.streams.open_connection = wrapped
        warnings.simplefilter("ignore", DeprecationWarning)
        ferroloop.install(streams=True)
        assert asyncio.open_connection is wrapped
        asyncio.run(main())
        """
    )
    found = lines("-c", text)
    assert found.count("wrapped") == 2
    assert found[-1] == OURS[0]


CHILDREN = """
    import multiprocessing, subprocess

    def in_child():
        asyncio.run(main())

    if __name__ == "__main__":
        for method in ("spawn", "forkserver", "fork"):
            process = multiprocessing.get_context(method).Process(target=in_child)
            process.start()
            process.join()
            assert process.exitcode == 0
"""


@pytest.mark.slow
def test_processes_that_multiprocessing_starts_get_native_streams(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(program(CHILDREN))
    assert lines("-m", "ferroloop", "--native-streams", str(path)) == OURS * 3


def test_importing_replaces_nothing_in_asyncio() -> None:
    text = """
        import asyncio, os
        before = dict(vars(asyncio)), dict(vars(asyncio.streams))
        os.environ["FERROLOOP_NATIVE_STREAMS"] = "1"
        import ferroloop, ferroloop._net.native_streams
        ferroloop.StreamReader
        assert before == (dict(vars(asyncio)), dict(vars(asyncio.streams)))
        ferroloop.new_event_loop().close()
        changed = sorted(name for name in before[0] if before[0][name] is not vars(asyncio)[name])
        print(changed)
    """
    names = ["open_connection", "open_unix_connection", "start_server", "start_unix_server"]
    assert lines("-c", textwrap.dedent(text)) == [repr(names)]


def test_the_usage_names_the_option() -> None:
    assert "  --native-streams" in lines("-m", "ferroloop", "--help")
    status, _, err = finish(start(["-m", "ferroloop", "--native-streams=1", "-c", "pass"]))
    assert status == 2
    assert "the option --native-streams takes no argument." in err
