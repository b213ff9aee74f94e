"""`python -m ferroloop` with the servers people use: which loop serves, in every one of their processes.

Each test starts a real server whose application answers with the class of the loop that runs it.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

from support.loops import PATIENCE

pytestmark = [pytest.mark.frameworks, pytest.mark.slow, pytest.mark.timeout(90)]

OURS = "ferroloop.Loop"

ASGI = """
    import asyncio, os

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        kind = type(asyncio.get_running_loop())
        body = f"{kind.__module__}.{kind.__qualname__} {os.getpid()}".encode()
        headers = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
"""

AIOHTTP = """
    import asyncio, os, sys
    from aiohttp import web

    async def answer(request):
        kind = type(asyncio.get_running_loop())
        return web.Response(text=f"{kind.__module__}.{kind.__qualname__} {os.getpid()}")

    def make():
        app = web.Application()
        app.router.add_get("/", answer)
        return app

    app = make()
    if __name__ == "__main__":
        web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
"""

SANIC = """
    import asyncio, os, sys
    from sanic import Sanic, response

    app = Sanic("Test")

    @app.get("/")
    async def answer(request):
        kind = type(asyncio.get_running_loop())
        return response.text(f"{kind.__module__}.{kind.__qualname__} {os.getpid()}")
"""

DJANGO = """
    import asyncio, os, sys
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.http import HttpResponse
    from django.urls import path

    async def answer(request):
        kind = type(asyncio.get_running_loop())
        return HttpResponse(f"{kind.__module__}.{kind.__qualname__} {os.getpid()}")

    settings.configure(DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
    urlpatterns = [path("", answer)]
    if __name__ == "__main__":
        execute_from_command_line(sys.argv)
"""

PROGRAMS = {
    "asgi_app.py": ASGI,
    "aiohttp_app.py": AIOHTTP,
    "sanic_app.py": SANIC,
    "manage.py": DJANGO,
    "uvloop_app.py": AIOHTTP.replace(
        "web.run_app(app,", "web.run_app(app, loop=uvloop.new_event_loop(),"
    ).replace("import asyncio", "import uvloop, asyncio"),
    "sanic_uvloop.py": SANIC + "    app.config.USE_UVLOOP = True\n",
    "gunicorn_uvloop.py": """
        worker_class = "asgi"
        asgi_loop = "uvloop"
    """,
    "hypercorn_run.py": """
        import sys
        import ferroloop, hypercorn.asyncio, hypercorn.config
        from asgi_app import app
        config = hypercorn.config.Config()
        config.bind = [f"127.0.0.1:{sys.argv[1]}"]
        ferroloop.run(hypercorn.asyncio.serve(app, config))
    """,
    "granian_run.py": """
        import sys
        from granian import Granian, loops
        import asyncio, ferroloop

        @loops.register("mine")
        def build():
            loop = ferroloop.new_event_loop()
            asyncio.set_event_loop(loop)
            return loop

        @loops.register("auto")
        def build_auto():
            return build()

        if __name__ == "__main__":
            Granian("asgi_app:app", address="127.0.0.1", port=int(sys.argv[1]), interface="asgi").serve()
    """,
}


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for name, source in PROGRAMS.items():
        (tmp_path / name).write_text(textwrap.dedent(source))
    return tmp_path


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def ask(port: int) -> tuple[str, int]:
    """The loop that serves one request, and its process; raises OSError while there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        name, pid = connection.getresponse().read().decode().split()
    finally:
        connection.close()
    return name, int(pid)


class Server:
    """A server in a process group of its own."""

    def __init__(self, folder: pathlib.Path, port: int, arguments: list[str]) -> None:
        self.port = port
        self.errors = folder / "stderr"
        environment = {
            key: value
            for key, value in os.environ.items()
            if key not in ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE")
        }
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env={
                    **environment,
                    "PYTHONPATH": os.pathsep.join(
                        filter(None, (str(folder), os.environ.get("PYTHONPATH", "")))
                    ),
                },
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )

    def answers(self, processes: int = 1) -> set[str]:
        """The loops that serve, asked until that many processes have answered."""
        deadline = time.monotonic() + PATIENCE
        found: dict[int, str] = {}
        while len(found) < processes:
            assert time.monotonic() < deadline, f"only {found}; {self.errors.read_text()}"
            assert self.process.poll() is None, self.errors.read_text()
            try:
                name, pid = ask(self.port)
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            found[pid] = name
        return set(found.values())

    def end(self) -> None:
        """Stop it as an operator would; then whatever is left of its group."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def told(self) -> list[str]:
        """The lines that ferroloop wrote to stderr."""
        return [
            line for line in self.errors.read_text().splitlines() if line.startswith("ferroloop: ")
        ]


@contextlib.contextmanager
def serving(folder: pathlib.Path, arguments: str, needs: str) -> Iterator[Server]:
    """A server whose command line, without `python`, is `arguments`, `{port}` filled in."""
    for name in needs.split():
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    port = free_port()
    server = Server(folder, port, arguments.format(port=port).split())
    try:
        yield server
    finally:
        server.end()


RUNNER = "-m ferroloop "
ROWS = {
    "uvicorn": ("-m uvicorn asgi_app:app --port {port}", 1),
    "uvicorn with workers": ("-m uvicorn asgi_app:app --port {port} --workers 2", 2),
    "uvicorn with its reloader": ("-m uvicorn asgi_app:app --port {port} --reload", 1),
    "hypercorn": ("-m hypercorn asgi_app:app --bind 127.0.0.1:{port}", 1),
    "hypercorn without workers": (
        "-m hypercorn asgi_app:app --bind 127.0.0.1:{port} --workers 0",
        1,
    ),
    "hypercorn with workers": ("-m hypercorn asgi_app:app --bind 127.0.0.1:{port} --workers 2", 2),
    "granian": ("-m granian --interface asgi --port {port} asgi_app:app", 1),
    "granian with workers": (
        "-m granian --interface asgi --workers 2 --port {port} asgi_app:app",
        1,
    ),
    "gunicorn asgi": ("-m gunicorn -k asgi -w 2 -b 127.0.0.1:{port} asgi_app:app", 1),
    "gunicorn aiohttp": (
        "-m gunicorn -k aiohttp.GunicornWebWorker -b 127.0.0.1:{port} aiohttp_app:app",
        1,
    ),
    "gunicorn uvicorn": (
        "-m gunicorn -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{port} asgi_app:app",
        1,
    ),
    "sanic": ("-m sanic sanic_app:app --port {port} --workers 2", 1),
    "sanic in one process": ("-m sanic sanic_app:app --port {port} --single-process", 1),
    "daphne": ("-m daphne -b 127.0.0.1 -p {port} asgi_app:app", 1),
    "aiohttp": ("aiohttp_app.py {port}", 1),
    "django with its reloader": ("manage.py runserver 127.0.0.1:{port}", 1),
}
NEEDS = {
    "uvicorn": "uvicorn",
    "hypercorn": "hypercorn",
    "granian": "granian",
    "gunicorn": "gunicorn",
    "sanic": "sanic",
    "daphne": "daphne",
    "aiohttp": "aiohttp",
    "django": "django",
    "gunicorn aiohttp": "gunicorn aiohttp",
    "gunicorn uvicorn": "gunicorn uvicorn_worker",
}


@pytest.mark.parametrize("row", ROWS)
def test_every_process_of_a_server_gets_our_loop(folder: pathlib.Path, row: str) -> None:
    arguments, processes = ROWS[row]
    needs = NEEDS.get(row) or NEEDS[row.split(maxsplit=1)[0]]
    with serving(folder, RUNNER + arguments, needs) as server:
        assert server.answers(processes) == {OURS}
        assert server.told() == []


NAMED = {
    "uvicorn": ("-m uvicorn asgi_app:app --port {port} --loop uvloop", "uvloop.Loop"),
    "uvicorn with workers": (
        "-m uvicorn asgi_app:app --port {port} --workers 2 --loop uvloop",
        "uvloop.Loop",
    ),
    "uvicorn on asyncio": (
        "-m uvicorn asgi_app:app --port {port} --loop asyncio",
        "asyncio.unix_events._UnixSelectorEventLoop",
    ),
    "hypercorn": (
        "-m hypercorn asgi_app:app --bind 127.0.0.1:{port} -k uvloop",
        "uvloop.Loop",
    ),
    "granian": (
        "-m granian --interface asgi --loop rloop --port {port} asgi_app:app",
        "rloop.loop.RLoop",
    ),
    "gunicorn by its settings file": (
        "-m gunicorn -c gunicorn_uvloop.py -b 127.0.0.1:{port} asgi_app:app",
        "uvloop.Loop",
    ),
    "sanic by its settings": (
        "-m sanic sanic_uvloop:app --port {port} --single-process",
        "uvloop.Loop",
    ),
    "a program": ("uvloop_app.py {port}", "uvloop.Loop"),
}


@pytest.mark.parametrize("row", NAMED)
def test_a_loop_that_the_user_names_runs_and_a_line_says_so(folder: pathlib.Path, row: str) -> None:
    arguments, loop = NAMED[row]
    needs = {"a": "aiohttp"}.get(
        row.split(maxsplit=1)[0], row.split(maxsplit=1)[0]
    ) + f" {loop.partition('.')[0]}"
    with serving(folder, RUNNER + arguments, needs) as server:
        assert server.answers() == {loop}
        told = server.told()
        assert len(told) >= 1
        assert all(f"runs {loop}" in line for line in told), told


OWN_SETTINGS = {
    "uvicorn": "-m uvicorn asgi_app:app --port {port} --loop ferroloop:new_event_loop",
    "uvicorn with workers": (
        "-m uvicorn asgi_app:app --port {port} --workers 2 --loop ferroloop:new_event_loop"
    ),
    "hypercorn": "hypercorn_run.py {port}",
    "granian": "granian_run.py {port}",
}


@pytest.mark.parametrize("row", OWN_SETTINGS)
def test_a_server_gets_our_loop_by_its_own_settings(folder: pathlib.Path, row: str) -> None:
    with serving(folder, OWN_SETTINGS[row], row.split(maxsplit=1)[0]) as server:
        assert server.answers() == {OURS}


def test_gunicorn_starts_itself_anew_on_our_loop(folder: pathlib.Path) -> None:
    arguments = "-m gunicorn -k asgi -p pid -b 127.0.0.1:{port} asgi_app:app"
    with serving(folder, RUNNER + arguments, "gunicorn") as server:
        assert server.answers() == {OURS}
        server.process.send_signal(signal.SIGUSR2)
        successor = folder / "pid.2"
        deadline = time.monotonic() + PATIENCE
        while not successor.exists() or not successor.read_text().strip():
            assert time.monotonic() < deadline, server.errors.read_text()
            time.sleep(0.02)
        try:
            # Both listen; at some time each worker has answered.
            assert server.answers(2) == {OURS}
        finally:
            os.kill(int(successor.read_text()), signal.SIGTERM)


def test_uvicorn_reloads_on_our_loop(folder: pathlib.Path) -> None:
    arguments = "-m uvicorn asgi_app:app --port {port} --reload --reload-delay 0.05"
    with serving(folder, RUNNER + arguments, "uvicorn") as server:
        assert server.answers() == {OURS}
        application = folder / "asgi_app.py"
        application.write_text(application.read_text() + "\n# changed\n")
        assert server.answers(2) == {OURS}


def test_each_process_says_which_loop_it_runs(folder: pathlib.Path) -> None:
    arguments = "-m ferroloop --which -m uvicorn asgi_app:app --port {port} --workers 2"
    with serving(folder, arguments, "uvicorn") as server:
        assert server.answers(2) == {OURS}
        lines = server.told()
    assert len(lines) == len(set(lines)) == 2
    assert all(line.endswith("runs ferroloop.Loop") for line in lines), lines
