"""The example programs run unchanged on asyncio's loop and on ferroloop."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from meta.project import ROOT

LOOPS = {"asyncio": [], "ferroloop": ["-m", "ferroloop"]}

pytestmark = [pytest.mark.parametrize("loop", LOOPS), pytest.mark.slow]


@contextlib.contextmanager
def _running(
    loop: str, program: str, *options: str, ending: signal.Signals
) -> Iterator[tuple[str, int]]:
    """Run an example on a free port; afterwards end it as an operator would and see it end well."""
    program_path = str(ROOT / "examples" / program)
    with subprocess.Popen(
        [sys.executable, "-W", "error", *LOOPS[loop], program_path, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            host, port = line.replace("http://", "").replace(":", " ").split()[-2:]
            yield host, int(port)
            process.send_signal(ending)
            _, errors = process.communicate(timeout=20)
            assert (process.returncode, errors) == (0, "")
        finally:
            process.kill()


def test_the_http_service_answers(loop: str) -> None:
    with _running(loop, "http_service.py", ending=signal.SIGTERM) as (host, port):
        client = http.client.HTTPConnection(host, port, timeout=10)

        def ask(method: str, path: str, body: str | None = None) -> tuple[int, object]:
            client.request(method, path, body)
            response = client.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None

        assert ask("GET", "/notes/1") == (200, {"number": 1, "text": "The loop runs."})
        assert ask("POST", "/notes", '{"text": "new"}') == (201, {"number": 2, "text": "new"})
        assert ask("GET", "/wait/0.01") == (200, {"waited": 0.01})
        assert ask("DELETE", "/notes/2") == (204, None)
        assert ask("DELETE", "/notes/2") == (404, {"error": "no such note"})
        assert ask("PUT", "/notes", "") == (405, {"error": "method not allowed"})
        status, health = ask("GET", "/health")
        assert isinstance(health, dict)
        assert (status, health["loop"].split(".")[0]) == (200, loop)
        client.close()


def test_the_http_service_answers_pipelined_requests_in_order(loop: str) -> None:
    requests = (
        b"GET /wait/0.05 HTTP/1.1\r\nHost: a\r\n\r\n"
        + b"GET /notes/1 HTTP/1.1\r\nHost: a\r\n\r\n" * 100
    )
    with (
        _running(loop, "http_service.py", ending=signal.SIGINT) as address,
        socket.create_connection(address, timeout=10) as client,
    ):
        client.sendall(requests)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            data = answers.read()
    assert data.count(b"HTTP/1.1 200 OK") == 101
    assert data.index(b"waited") < data.index(b"The loop runs.")


def test_the_http_service_refuses_nonsense(loop: str) -> None:
    with (
        _running(loop, "http_service.py", ending=signal.SIGTERM) as address,
        socket.create_connection(address, timeout=10) as client,
        client.makefile("rb") as answers,
    ):
        client.sendall(b"nonsense\r\n\r\n")
        assert answers.read().startswith(b"HTTP/1.1 400 ")


def test_the_threaded_service_shares_its_notes_and_finishes_its_requests(loop: str) -> None:
    with contextlib.ExitStack() as stack:
        with _running(
            loop, "threaded_service.py", "--threads", "3", ending=signal.SIGTERM
        ) as address:
            clients = [http.client.HTTPConnection(*address, timeout=10) for _ in range(12)]
            numbers: list[int] = []
            # All of them are connected at once, so that more than one thread serves.
            for _ in range(5):
                for client in clients:
                    client.request("POST", "/notes", '{"text": "new"}')
                numbers += [json.load(client.getresponse())["number"] for client in clients]
            assert sorted(numbers) == list(range(2, 62))
            for client in clients:
                client.request("GET", "/notes")
                assert len(json.load(client.getresponse())["notes"]) == 61
                client.close()
            waiting = stack.enter_context(socket.create_connection(address, timeout=10))
            answers = stack.enter_context(waiting.makefile("rb"))
            waiting.sendall(
                b"GET /notes/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /wait/0.2 HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
        # The service has ended meanwhile.
        assert answers.read().endswith(b'{"waited": 0.2}')


def test_the_chat_server_passes_lines_on(loop: str) -> None:
    with (
        _running(loop, "chat_server.py", ending=signal.SIGINT) as address,
        socket.create_connection(address, timeout=10) as ada,
        socket.create_connection(address, timeout=10) as bob,
        ada.makefile("r") as to_ada,
        bob.makefile("r") as to_bob,
    ):
        ada.sendall(b"ada\n")
        assert to_ada.readline() == "name? * ada is here\n"
        bob.sendall(b"ada\nbob\n")
        assert to_bob.readline() == "name? taken or not a plain word; name? * bob is here\n"
        assert to_ada.readline() == "* bob is here\n"
        ada.sendall(b"hello\n")
        assert to_bob.readline() == "ada: hello\n"
        bob.shutdown(socket.SHUT_WR)
        assert to_ada.readline() == "* bob left\n"


def test_the_faulty_service_serves(loop: str) -> None:
    with _running(loop, "faulty_service.py", ending=signal.SIGTERM) as (host, port):
        client = http.client.HTTPConnection(host, port, timeout=10)

        def ask(path: str, body: str | None = None) -> tuple[int, object]:
            client.request("POST" if body else "GET", path, body)
            response = client.getresponse()
            return response.status, json.loads(response.read())

        assert ask("/stock/apple") == (200, {"item": "apple", "left": 312})
        assert ask("/stock/plum") == (404, {"error": "no such page"})
        assert ask("/sign-in", "ada secret") == (200, {"welcome": "ada"})
        # Its end closes connections that are still open.
    client.close()


def test_the_faulty_service_says_how_long_its_crowd_waited(loop: str) -> None:
    program = str(ROOT / "examples" / "faulty_service.py")
    command = [sys.executable, "-W", "error", *LOOPS[loop], program, "--seconds", "0.2", "--mended"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=25)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert " answers: half within " in finished.stdout
