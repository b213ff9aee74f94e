"""The loops under test as fixtures, and what must hold after every test."""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

import ferroloop
from support.descriptors import new_since, open_descriptors
from support.errors import Reports
from support.loops import Factory, factory_of, run
from support.net.sockets import Pair, socket_pair, tcp_pair
from support.net.tls import INDIRECT, calling_openssl


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--loops",
        default="ferroloop,asyncio",
        help="loops that behaviour tests run on, by comma; asyncio is there to prove the tests",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts background jobs with SIGINT ignored, and nohup with SIGHUP; children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "ours_only(reason): what asyncio does otherwise")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses a loop on each of the loops."""
    if "kind" not in metafunc.fixturenames:
        return
    kinds = str(metafunc.config.getoption("--loops")).split(",")
    if metafunc.definition.get_closest_marker("ours_only"):
        kinds = [kind for kind in kinds if kind != "asyncio"]
    if ".test_tls" in f".{metafunc.module.__name__}" and "ferroloop" in kinds:
        # TLS without calling OpenSSL directly, as on a Python whose objects are not known.
        kinds.insert(kinds.index("ferroloop") + 1, INDIRECT)
    if sys.version_info < (3, 11) and ".test_tls_" in f".{metafunc.module.__name__}":
        # asyncio of 3.10 has another implementation of TLS, with faults that these tests find.
        kinds = [kind for kind in kinds if kind != "asyncio"]
    metafunc.parametrize("kind", kinds)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test on the loop of the fixture that it takes, and not longer than `PATIENCE`."""
    __tracebackhide__ = True
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    values = pyfuncitem.funcargs.values()
    loops = {id(it): it for it in values if isinstance(it, asyncio.AbstractEventLoop)}
    assert len(loops) == 1, "an async test takes one loop: the fixture `loop` or one made of it"
    arguments = {
        name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters
    }
    run(loops.popitem()[1], pyfuncitem.obj(**arguments))
    return True


@pytest.fixture
def new_loop(kind: str) -> Iterator[Factory]:
    """Makes loops of the kind that the test runs on."""
    with calling_openssl(directly=kind != INDIRECT):
        yield factory_of(kind.partition("-")[0])


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """Every descriptor that a test opens is closed when it ends."""
    before = open_descriptors()
    yield
    left = new_since(before)
    assert not left, f"descriptors left open: {left}"


@pytest.fixture(autouse=True)
def _no_hooks_left() -> Iterator[None]:
    """No loop leaves its hooks for asynchronous generators in the thread, as asyncio of 3.13.0 can."""
    yield
    left = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    assert not isinstance(getattr(left.firstiter, "__self__", None), ferroloop.Loop)


@pytest.fixture(params=[asyncio, ferroloop], ids=["asyncio's", "ferroloop's"])
def streams(request: pytest.FixtureRequest) -> ModuleType:
    """The package whose streams are used; either runs on any loop."""
    module: ModuleType = request.param
    return module


@pytest.fixture(params=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two sockets that are connected to each other."""
    with tcp_pair() if request.param == "tcp" else socket_pair() as pair:
        yield pair


@pytest.fixture
def reports() -> Reports:
    """What the loop reported to its exception handler; the test takes what it expects."""
    return Reports()


@pytest.fixture
def loop(
    new_loop: Factory, reports: Reports, _nothing_left_open: None
) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that nothing may be reported on and that the test need not close."""
    loop = new_loop()
    loop.set_exception_handler(reports.handle)
    yield loop
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert not reports, f"reported to the exception handler: {list(reports)}"


@pytest.fixture
def refusals(loop: asyncio.AbstractEventLoop, reports: Reports) -> Iterator[None]:
    """Connections whose TLS handshake fails are expected: debug mode reports them."""
    yield
    assert loop.get_debug() or not reports
    message = "Error on transport creation for incoming connection"
    reports[:] = [report for report in reports if report["message"] != message]
