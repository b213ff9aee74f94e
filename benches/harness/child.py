"""The fresh process of one run: measures one case on one loop, or serves one until it is killed.

    python -m harness.child measure CASE LOOP REPEATS
    python -m harness.child serve CASE LOOP ADDRESS [CERTIFICATE]
    python -m harness.child threads CASE LOOP SECONDS [CERTIFICATE]
    python -m harness.child serve-threads CASE LOOP ADDRESS

The last line of output is JSON: the figures of each repeat, or the address that is being served.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import ssl
import sys
import threading
import traceback
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from cases import BY_NAME
from harness.case import InProcess, Served, ServerSocket, Threaded, ThreadedHttp
from harness.loops import in_company, new_loop
from harness.threads import require_free_threading, summed_rate

if TYPE_CHECKING:
    from harness.case import Serve


def measure(name: str, loop_name: str, repeats: int) -> None:
    """Runs the case once to warm up, then `repeats` times, each on a loop of its own.

    Raises RuntimeError if the loop called its exception handler: no case has a callback that fails on asyncio.
    """
    case = BY_NAME[name]
    assert isinstance(case, InProcess)
    assert case.measure is not None
    figures = []
    faults: list[str] = []

    def fault(*arguments: Any) -> None:
        context = arguments[-1]  # rloop leaves the loop out
        faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    for number in range(repeats + 1):
        loop = new_loop(loop_name)
        loop.set_exception_handler(fault)
        with nullcontext() if case.alone else in_company(loop):
            figure = case.measure(loop)
        if faults:
            raise RuntimeError(f"{len(faults)} callbacks failed, the first: {faults[0]}")
        if number:
            figures.append(figure)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    print(json.dumps(figures), flush=True)


def _listen(address: str, *, shared: bool = False) -> socket.socket:
    """A listening socket at `host:port`, which several may be at if `shared`, or at a path."""
    if "/" in address:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
    else:
        host, _, port = address.rpartition(":")
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, int(port)))
    listener.listen(4096)
    listener.setblocking(False)
    return listener


def _context(certificate: str | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate)
    return context


def serve(name: str, loop_name: str, address: str, certificate: str | None = None) -> None:
    """Serves the case for ever."""
    case = BY_NAME[name]
    assert isinstance(case, Served)
    assert case.serve is not None
    serve_by(case.serve, loop_name, address, certificate)


def serve_by(
    serve_case: Serve, loop_name: str, address: str, certificate: str | None = None
) -> None:
    """Has a function serve for ever at the address, which is printed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = _listen(address)
    place = address if "/" in address else ":".join(str(part) for part in listener.getsockname())
    loop = new_loop(loop_name)

    async def main() -> None:
        kept = await serve_case(ServerSocket(listener, _context(certificate)))
        print(json.dumps(place), flush=True)
        await asyncio.Event().wait()
        del kept

    loop.run_until_complete(main())


def threads(name: str, loop_name: str, seconds: str, certificate: str | None = None) -> None:
    """Runs a loop in each of the case's threads."""
    case = BY_NAME[name]
    assert isinstance(case, Threaded)
    assert case.work is not None
    assert case.threads is not None
    count = case.threads.count
    rate = summed_rate(loop_name, case.work, count, float(seconds), certificate)
    print(json.dumps([rate / 1e3]), flush=True)


def serve_threads(name: str, loop_name: str, address: str) -> None:
    """Serves the case for ever, in each of its threads."""
    case = BY_NAME[name]
    assert isinstance(case, ThreadedHttp)
    assert case.threads is not None
    serve_case = case.serve
    assert serve_case is not None
    listeners = [_listen(address, shared=True)]
    place = ":".join(str(part) for part in listeners[0].getsockname())
    listeners += [_listen(place, shared=True) for _ in range(case.threads.count - 1)]
    ready = threading.Barrier(case.threads.count + 1)

    async def main(listener: socket.socket) -> None:
        kept = await serve_case(ServerSocket(listener, None))
        ready.wait()
        await asyncio.Event().wait()
        del kept

    def body(listener: socket.socket) -> None:
        try:
            new_loop(loop_name).run_until_complete(main(listener))
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    for listener in listeners:
        threading.Thread(target=body, args=(listener,)).start()
    ready.wait()
    require_free_threading()
    print(json.dumps(place), flush=True)
    threading.Event().wait()


def main(arguments: list[str]) -> None:
    """Runs the command that the parent has given."""
    verb, name, loop_name, *rest = arguments
    if verb == "measure":
        measure(name, loop_name, int(rest[0]))
    elif verb == "threads":
        threads(name, loop_name, *rest)
    elif verb == "serve-threads":
        serve_threads(name, loop_name, *rest)
    else:
        serve(name, loop_name, *rest)
    sys.stdout.flush()
    # The figures are printed: the end of the interpreter is not measured.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
