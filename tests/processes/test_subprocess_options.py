"""What subprocess_exec and subprocess_shell take and refuse."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from support.net.pipes import emptied
from support.programs import run_code

Loop = asyncio.AbstractEventLoop
PIPE = asyncio.subprocess.PIPE
GONE = (asyncio.CancelledError, ProcessLookupError)


async def test_what_cannot_be_started_raises_and_leaves_nothing(loop: Loop) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        await asyncio.create_subprocess_exec("/no-such-program", stdin=PIPE, stdout=PIPE)
    with pytest.raises(NotADirectoryError):
        await asyncio.create_subprocess_exec("true", cwd="/dev/null")
    with pytest.raises(TypeError, match="no_such_option"):
        await asyncio.create_subprocess_exec("true", no_such_option=1)  # type: ignore[call-arg]  # on purpose


@pytest.mark.parametrize(
    ("argument", "value", "text"),
    [
        ("universal_newlines", True, "universal_newlines must be False"),
        ("shell", True, "shell must be False"),
        ("bufsize", 4096, "bufsize must be 0"),
        ("text", True, "text must be False"),
        ("encoding", "utf-8", "encoding must be None"),
        ("errors", "strict", "errors must be None"),
    ],
)
async def test_options_of_popen_that_do_not_fit_are_refused(
    loop: Loop, argument: str, value: Any, text: str
) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        await loop.subprocess_exec(asyncio.SubprocessProtocol, "true", **{argument: value})
    if argument == "shell":
        with pytest.raises(ValueError, match="^shell must be True$"):
            await loop.subprocess_shell(asyncio.SubprocessProtocol, "true", shell=False)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(ValueError, match="^cmd must be a string$"):
            await loop.subprocess_shell(asyncio.SubprocessProtocol, ["true"])  # type: ignore[arg-type]  # on purpose
    else:
        with pytest.raises(ValueError, match=f"^{text}$"):
            await loop.subprocess_shell(asyncio.SubprocessProtocol, "true", **{argument: value})


async def output_of(*args: Any, **kwargs: Any) -> bytes:
    process = await asyncio.create_subprocess_exec(*args, stdout=PIPE, **kwargs)
    return (await process.communicate())[0]


async def test_options_of_popen_pass_through(loop: Loop, tmp_path: Path) -> None:
    assert await output_of("/usr/bin/env", env={}) == b""
    assert await output_of("/usr/bin/env", env={"A": "1"}) == b"A=1\n"
    assert b"PATH=" in await output_of("/usr/bin/env", env=None)
    assert await output_of("pwd", cwd=tmp_path) == f"{tmp_path}\n".encode()
    assert await output_of("sh", "-c", "umask", umask=0o27) == b"0027\n"
    assert await output_of("anything", "-c", "echo $0", "name", executable="/bin/sh") == b"name\n"
    group = await output_of("sh", "-c", "ps -o pgid= $$ || cut -d' ' -f5 /proc/$$/stat")
    assert int(group) == os.getpgid(0)
    session = b"cut -d' ' -f6 /proc/$$/stat; echo $$"
    first, second = (await output_of("sh", "-c", session, start_new_session=True)).split()
    assert first == second


@pytest.fixture
def inheritable() -> Iterator[tuple[int, int]]:
    """A pipe that every program would inherit, were it not closed on the way."""
    r, w = os.pipe()
    os.set_inheritable(r, True)
    os.set_inheritable(w, True)
    yield r, w
    os.close(r)
    os.close(w)


@pytest.mark.parametrize("shell", ["sh", "/bin/sh"])
async def test_descriptors_are_closed_even_if_inheritable(
    loop: Loop, inheritable: tuple[int, int], shell: str
) -> None:
    r, w = inheritable
    is_there = f"for n in {r} {w}; do test -e /proc/self/fd/$n && echo $n; done; true"

    # The second process of a program that is named by its path is started in another way.
    for _ in range(2):
        assert await output_of(shell, "-c", is_there) == b""
    assert await output_of(shell, "-c", is_there, pass_fds=(w,)) == b"%d\n" % w
    assert await output_of(shell, "-c", is_there, close_fds=False) == b"%d\n%d\n" % (r, w)


@pytest.mark.parametrize("grep", ["grep", "/bin/grep"])
async def test_signals_that_python_ignores_have_their_default_action_in_the_child(
    loop: Loop, grep: str
) -> None:
    for _ in range(2):
        ignored = await output_of(grep, "SigIgn", "/proc/self/status")
        assert int(ignored.split()[1], 16) & 1 << (signal.SIGPIPE - 1) == 0


def test_each_start_is_one_audit_event_with_popens_arguments(kind: str) -> None:
    """In a program of its own: a hook cannot be taken away again."""
    source = """
        import sys

        events = []
        sys.addaudithook(lambda event, args: event == "subprocess.Popen" and events.append(args))

        async def main():
            for _ in range(3):
                process = await asyncio.create_subprocess_exec("/bin/true", "a", env={"A": "1"})
                assert await process.wait() == 0
            assert events == [("/bin/true", ["/bin/true", "a"], None, {"A": "1"})] * 3, events
            print("done")

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
    """
    assert run_code(kind, source) == (0, "done\n", "")


def test_a_program_that_has_closed_its_standard_input_starts_processes(kind: str) -> None:
    """The pipes get the numbers of the closed descriptors."""
    source = """
        import os

        os.close(0)

        async def main():
            for _ in range(3):
                process = await asyncio.create_subprocess_exec("/bin/cat", stdin=-1, stdout=-1)
                output, _ = await process.communicate(b"through the pipes")
                assert output == b"through the pipes", output
            print("done")

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
    """
    assert run_code(kind, source) == (0, "done\n", "")


async def test_a_descriptor_that_is_passed_keeps_its_number_and_its_mode(loop: Loop) -> None:
    r, w = os.pipe()
    os.set_blocking(w, False)
    assert not os.get_inheritable(w)
    await output_of("sh", "-c", f"echo passed > /proc/self/fd/{w}", pass_fds=(w,))
    assert emptied(r) == b"passed\n"
    assert not os.get_blocking(w)
    assert not os.get_inheritable(w)
    os.close(r)
    os.close(w)


HOOKS = """
    import os
    ran = []
    os.register_at_fork(
        before=lambda: ran.append("before"),
        after_in_parent=lambda: ran.append("parent"),
        after_in_child=lambda: os.write(1, b"a hook in the child"),
    )

    async def main():
        await (await asyncio.create_subprocess_exec("true")).wait()
        await (await asyncio.create_subprocess_shell("true", start_new_session=True)).wait()
        await (await asyncio.create_subprocess_exec("true", preexec_fn=None, cwd="/")).wait()
        print(ran)
        await (await asyncio.create_subprocess_exec("true", preexec_fn=int)).wait()
        print(ran)

    loop = new_loop()
    loop.run_until_complete(main())
    loop.close()
"""


def test_hooks_of_fork_run_only_where_python_runs_in_the_child(kind: str) -> None:
    status, out, _ = run_code(kind, HOOKS)
    assert status == 0
    assert out.splitlines()[0] == "[]"
    assert out.endswith("['before', 'parent']\n")


async def test_a_function_can_run_before_the_program(loop: Loop) -> None:
    assert await output_of("pwd", preexec_fn=lambda: os.chdir("/")) == b"/\n"
    with pytest.raises(subprocess.SubprocessError, match="preexec_fn"):
        await output_of("true", preexec_fn=lambda: 1 / 0)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="since 3.11")
async def test_a_process_can_have_a_group_of_its_own(loop: Loop) -> None:
    command = "cut -d' ' -f5 /proc/$$/stat; echo $$"
    first, second = (await output_of("sh", "-c", command, process_group=0)).split()
    assert first == second


async def test_a_stream_that_is_none_is_inherited(
    loop: Loop, capfd: pytest.CaptureFixture[str]
) -> None:
    process = await asyncio.create_subprocess_shell("echo out; echo err >&2")
    assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
    await process.wait()
    assert capfd.readouterr() == ("out\n", "err\n")


def fields(process: Any) -> dict[str, Any]:
    return {
        name: type(value) if name in {"pid", "_waitpid_lock"} or hasattr(value, "fileno") else value
        for name, value in vars(process).items()
        if name != "_devnull"
    }


@pytest.mark.parametrize("redirection", [None, PIPE, asyncio.subprocess.DEVNULL])
@pytest.mark.parametrize("env", [{}, {"env": {"A": "1"}}])
async def test_each_process_is_a_popen_object_with_all_fields(
    loop: Loop, redirection: Any, env: dict[str, Any]
) -> None:
    arguments = ("/bin/true", "1")
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), redirection)
    with subprocess.Popen(arguments, bufsize=0, universal_newlines=False, **streams, **env) as real:
        expected = fields(real)
    expected["returncode"] = None
    for _ in range(3):
        options: dict[str, Any] = {**streams, **env}
        transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, *arguments, **options)
        process: Any = transport.get_extra_info("subprocess")
        assert type(process) is subprocess.Popen
        found = fields(process)
        # The process may have ended already.
        assert found.pop("returncode") in {None, 0}
        assert {**found, "returncode": None} == expected
        assert await transport._wait() == 0  # type: ignore[attr-defined]  # asyncio's
        transport.close()


async def test_what_a_program_put_in_the_place_of_popen_starts_each_process(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(("class", args[0]))
            super().__init__(*args, **kwargs)

    async def run() -> None:
        process = await asyncio.create_subprocess_exec("/bin/true")
        assert await process.wait() == 0

    await run()
    await run()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Noted)
        await run()
    init = subprocess.Popen.__init__

    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(("init", args[0]))
        init(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", noted)
        await run()
    assert made == [("class", ("/bin/true",)), ("init", ("/bin/true",))]


@pytest.mark.parametrize("way", ["function", "code"])
@pytest.mark.parametrize("name", ["__init__", "_get_handles", "_execute_child"])
async def test_a_step_of_popen_that_a_program_replaced_is_taken(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    function = getattr(subprocess.Popen, name)
    copy = types.FunctionType(
        function.__code__, function.__globals__, name, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    taken: list[str] = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        taken.append(name)
        return copy(*args, **kwargs)

    async def run() -> None:
        process = await asyncio.create_subprocess_exec("/bin/true")
        assert await process.wait() == 0

    await run()
    with monkeypatch.context() as patch:
        if way == "function":
            patch.setattr(subprocess.Popen, name, noted)
        else:
            # The names that it needs are those of the module.
            patch.setattr(subprocess, "_noted_by_a_test", noted, raising=False)
            wrapper: Any = eval(
                "lambda *args, **kwargs: _noted_by_a_test(*args, **kwargs)", vars(subprocess)
            )
            patch.setattr(function, "__code__", wrapper.__code__)
        await run()
    assert taken == [name]


async def test_a_failed_start_closes_the_pipes_and_names_the_program(loop: Loop) -> None:
    for _ in range(3):
        before = set(os.listdir("/proc/self/fd"))
        with pytest.raises(FileNotFoundError) as caught:
            await asyncio.create_subprocess_exec(
                "/no-such-program", stdin=PIPE, stdout=PIPE, stderr=asyncio.subprocess.STDOUT
            )
        assert caught.value.filename == "/no-such-program"
        assert set(os.listdir("/proc/self/fd")) == before
        # So that the next one is started in fewer steps.
        process = await asyncio.create_subprocess_exec("/bin/true")
        assert await process.wait() == 0


async def test_stderr_goes_where_stdout_goes(loop: Loop) -> None:
    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", "echo out; echo err >&2"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, errors = await process.communicate()
        assert output == b"out\nerr\n"
        assert not errors


async def test_the_protocol_is_called_in_a_copy_of_the_context_of_the_start(loop: Loop) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    seen: list[str] = []
    ended = loop.create_future()

    class Protocol(asyncio.SubprocessProtocol):
        def connection_made(self, _transport: asyncio.BaseTransport) -> None:
            seen.append(variable.get())
            variable.set("protocol's")

        def process_exited(self) -> None:
            ended.set_result(None)

    variable.set("caller's")
    streams: Any = dict.fromkeys(("stdin", "stdout", "stderr"))
    transport, _ = await loop.subprocess_exec(Protocol, "/bin/true", **streams)
    await ended
    transport.close()
    assert seen == ["caller's"]
    assert variable.get() == "caller's"
