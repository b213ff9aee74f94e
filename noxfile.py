"""Sessions for contributors who like nox; most call the command that CI calls.

`nox -l` lists them, `nox -s local` is what to run before a commit. Environments of the stages are
those of `tools/run_tests.py`, so nothing is installed twice; the other tools are yours.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["local"]

QUICK = ("rust-format", "lint", "types", "clippy", "rust-tests", "stubs", "meta", "behaviour")


def stages(session: nox.Session, *names: str) -> None:
    """Run stages of the test command; options after `--` are added to it."""
    wanted = [argument for name in names for argument in ("--stage", name)]
    session.run("python3", "tools/run_tests.py", *wanted, *session.posargs, external=True)


@nox.session
def local(session: nox.Session) -> None:
    """All that is quick, on the default Python."""
    version = session.run(
        "python3",
        "-c",
        "import sys; print('3.%d%s' % (sys.version_info[1], sys.abiflags.replace('d', '')))",
        silent=True,
    )
    wanted = [argument for name in QUICK for argument in ("--stage", name)]
    python = ("--python", str(version).strip())
    session.run("python3", "tools/run_tests.py", *python, *wanted, *session.posargs, external=True)


@nox.session
def fmt(session: nox.Session) -> None:
    """Format Rust and Python in place."""
    session.run("cargo", "fmt", "--all", external=True)
    session.run("ruff", "format", external=True)
    session.run("ruff", "check", "--fix", external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Formatters, clippy, ruff."""
    stages(session, "rust-format", "clippy", "lint")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, and the stubs against the extension."""
    stages(session, "types", "stubs")


@nox.session
def rust(session: nox.Session) -> None:
    """Rust's own tests."""
    stages(session, "rust-tests")


@nox.session
def test(session: nox.Session) -> None:
    """The behaviour, meta and differential tests on every Python."""
    stages(session, "meta", "behaviour", "differential")


@nox.session
def debug(session: nox.Session) -> None:
    """The behaviour tests in debug mode."""
    stages(session, "debug")


@nox.session
def conformance(session: nox.Session) -> None:
    """CPython's own asyncio tests on every Python."""
    stages(session, "conformance")


@nox.session
def everything(session: nox.Session) -> None:
    """What CI runs."""
    stages(session)


@nox.session
def miri(session: nox.Session) -> None:
    """The pure data structures under Miri; needs a nightly toolchain with the component."""
    session.run("cargo", "+nightly", "miri", "test", "--lib", "logic::", external=True)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Random programs, `-- --seconds N` for each fuzzer, on the `python` that has ferroloop.

    A build that is no release (`maturin develop`) also has Rust check its arithmetic.
    """
    with session.chdir("tests"):
        session.run("python", "-m", "fuzz", *session.posargs, external=True)


@nox.session
def deny(session: nox.Session) -> None:
    """Licences, advisories and sources of the crates; needs cargo-deny."""
    session.run("cargo", "deny", "check", external=True)


@nox.session
def short_memory(session: nox.Session) -> None:
    """Programs with a failing allocation at every position, on the `python` that has ferroloop; minutes."""
    session.env["FERROLOOP_POSITIONS"] = "0"
    session.run("python", "-m", "pytest", "tests/short_memory", *session.posargs, external=True)


@nox.session
def suites(session: nox.Session) -> None:
    """Suites of packages around asyncio on asyncio and on ferroloop, test by test: `-- httpx` for one.

    On the `python` that has ferroloop; needs the package index, and takes long.
    """
    session.run("python", "tools/suites.py", *session.posargs, external=True)


@nox.session
def side_by_side(session: nox.Session) -> None:
    """The main job: one service on asyncio and on ferroloop."""
    session.run("python3", "tools/side_by_side.py", *session.posargs, external=True)


@nox.session
def soak(session: nox.Session) -> None:
    """An hour of four servers under a light load: memory and descriptors; `-- --minutes N`.

    On the `python` that has ferroloop, uvicorn, httptools, websockets and trustme.
    """
    session.run("python", "benches/scale/soak.py", *session.posargs, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site into target/site, and look at it in a headless Chromium.

    On the `python` that has ferroloop and the dependency group `docs`, 3.11 or newer. Any warning is
    an error.
    """
    options = ("-W", "--keep-going", "-q", "-E", "-b", "html")
    session.run("python", "-m", "sphinx", *options, "docs", "target/site", external=True)
    session.env["FERROLOOP_SITE"] = "target/site"
    session.run("python", "-m", "pytest", "tests/site", *session.posargs, external=True)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build the files of a release into target/wheels and check them; `-- --help` shows the parts."""
    session.run("python3", "tools/build_wheels.py", *session.posargs, external=True)


@nox.session
def upload(session: nox.Session) -> None:
    """Upload what target/wheels holds to the package index; twine reads who from TWINE_USERNAME and TWINE_PASSWORD."""
    session.run("python3", "tools/build_wheels.py", "--upload", *session.posargs, external=True)
