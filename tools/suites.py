"""Runs the test suites of packages around asyncio on asyncio and on ferroloop, and compares test by test.

    python3 tools/suites.py                    # all of them, on the Python that runs this
    python3 tools/suites.py httpx starlette    # some
    python3 tools/suites.py asyncpg --only tests/test_pool.py

Each suite comes in the package's sdist from the package index and runs in an environment of its own under
`.venv/suites/`, once under `python -m pytest` and once under `python -m ferroloop -m pytest`. ferroloop is the one
that this Python imports. A test that ends differently is run again on both; what still differs and is not
in `KNOWN` fails the command. Ends with a table.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree as ET

from environments import ROOT, say
from suite_servers import SERVERS, Serving
from tables import aligned

PYTEST = ("pytest>=8", "pytest-timeout", "typing_extensions")
LONGEST = 3600
"""Seconds for one run of a suite."""
Outcomes = dict[str, str]


@dataclass(frozen=True)
class Suite:
    """One package's tests: the sdist they come in, what they need, and what pytest is given."""

    name: str
    needs: tuple[str, ...] = ()
    tests: tuple[str, ...] = ("tests",)
    options: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    """Folders of the sdist that would be imported in place of the installed package."""
    server: str = ""
    """A server that the tests need, by its name in `suite_servers.SERVERS`."""


SUITES = (
    Suite(
        "anyio",
        ("trio", "pytest-mock", "trustme", "blockbuster", "hypothesis", "psutil", "truststore"),
        hide=("src",),
    ),
    Suite("asyncpg", ("distro",), server="postgres", hide=("asyncpg",)),
    Suite(
        "aiohttp",
        (
            "blockbuster",
            "freezegun",
            "isal",
            "proxy.py",
            "pytest-cov",
            "pytest-codspeed",
            "pytest-mock",
            "pytest-xdist",
            "python-on-whales",
            "re-assert",
            "trustme",
            "zlib_ng",
            "brotli",
        ),
        options=("-o", "addopts=", "-m", "not dev_mode and not autobahn and not internal"),
        hide=("aiohttp",),
    ),
    Suite(
        "httpcore",
        ("pytest-httpbin", "pytest-trio", "trio", "anyio", "h2", "socksio", "trustme"),
        hide=("httpcore",),
    ),
    Suite(
        "httpx",
        (
            "anyio",
            "brotli",
            "chardet",
            "click",
            "cryptography",
            "h2",
            "pygments",
            "rich",
            "socksio",
            "trio",
            "trustme",
            "uvicorn",
            "zstandard",
        ),
        hide=("httpx",),
    ),
    Suite(
        "hypercorn",
        ("hypothesis", "pytest-asyncio", "pytest-trio", "trio", "h2", "wsproto", "httpx"),
        options=("-o", "addopts="),
        hide=("src",),
    ),
    Suite(
        "redis",
        (
            "aiohttp",
            "pytest-asyncio",
            "numpy",
            "packaging",
            "xxhash",
            "opentelemetry-sdk",
            "pybreaker",
        ),
        tests=("tests/test_asyncio",),
        options=("-m", "not onlycluster and not redismod and not ssl"),
        server="redis",
        hide=("redis",),
    ),
    Suite(
        "starlette",
        (
            "anyio",
            "trio",
            "httpx",
            "httpx2",
            "itsdangerous",
            "jinja2",
            "opentelemetry-sdk",
            "python-multipart",
            "pyyaml",
        ),
        hide=("starlette",),
    ),
    Suite(
        "tornado",
        ("pycurl",),
        tests=("--pyargs", "tornado.test"),
        # As its own runner: tests that expect a log record fail if requests are logged too.
        options=("--log-disable=tornado.access",),
        hide=("tornado",),
    ),
    Suite(
        "uvicorn",
        (
            "a2wsgi",
            "cryptography",
            "httptools",
            "httpx",
            "pytest-mock",
            "pytest-xdist",
            "python-dotenv",
            "pyyaml",
            "trustme",
            "watchfiles",
            "websockets",
            "wsproto",
        ),
        hide=("uvicorn",),
    ),
    Suite("websockets", ("werkzeug", "python-socks"), hide=("src",)),
)

KNOWN: dict[str, dict[str, str]] = {}
"""By suite and pattern of a test's name: why it ends differently on ferroloop."""


@dataclass
class Result:
    """The result of one suite."""

    suite: Suite
    note: str = ""
    asyncio: Outcomes = field(default_factory=dict)
    ours: Outcomes = field(default_factory=dict)
    unsteady: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)
    different: dict[str, str] = field(default_factory=dict)

    def row(self) -> list[str]:
        """The line of the table."""
        if self.note:
            return [self.suite.name, "", "", "", "", "", self.note]
        counts = [
            f"{list(outcomes.values()).count('passed')} of {len(outcomes)}"
            for outcomes in (self.asyncio, self.ours)
        ]
        rest = (len(self.unsteady), len(self.known), len(self.different))
        return [self.suite.name, *counts, *map(str, rest), ""]


class Environment:
    """A suite's own Python, its sdist and the runs in it."""

    def __init__(self, suite: Suite, place: Path) -> None:
        """Use the folder `place`, which may be there from an earlier run."""
        self.suite = suite
        self.place = place
        self.python = place / "venv" / "bin" / "python"
        self.source = place / "source"
        self.serving = Serving()

    def prepare(self) -> str:
        """Install the package and what its tests need, unpack the sdist; what is wrong, or nothing."""
        self.place.mkdir(parents=True, exist_ok=True)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
        into = ("--python", str(self.python))
        if not self.python.exists():
            self.run((sys.executable, "-m", "venv", "--without-pip", str(self.place / "venv")))
        sdists = list(self.place.glob("*.tar.gz"))
        if not sdists:
            download = ("download", "--no-deps", "--no-binary", self.suite.name, self.suite.name)
            self.run((*pip, *download, "--dest", str(self.place)))
            sdists = list(self.place.glob("*.tar.gz"))
        if not sdists:
            return "no sdist could be had"
        version = sdists[0].name.removesuffix(".tar.gz").rpartition("-")[2]
        needs = (*PYTEST, f"{self.suite.name}=={version}", *self.suite.needs)
        done = self.place / "installed"
        if not done.exists() or done.read_text() != " ".join(needs):
            if self.run((*pip, *into, "install", "--prefer-binary", *needs)):
                return f"not installed: see {self.place / 'log'}"
            done.write_text(" ".join(needs))
        shutil.rmtree(self.source, ignore_errors=True)
        with tarfile.open(sdists[0]) as archive:
            archive.extractall(self.place / "unpacked", filter="data")
        unpacked = next((self.place / "unpacked").iterdir())
        unpacked.rename(self.source)
        for folder in self.suite.hide:
            shutil.rmtree(self.source / folder, ignore_errors=True)
        first = self.suite.tests[0]
        if not first.startswith("-") and not (self.source / first).exists():
            return "its sdist carries no tests"
        return ""

    def run(self, command: tuple[str, ...], **environment: str) -> int:
        """Run a command, its output in the log; its exit status."""
        where = self.source if self.source.exists() else self.place
        with (self.place / "log").open("a") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            log.flush()
            try:
                return subprocess.run(
                    command,
                    cwd=where,
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=False,
                    timeout=LONGEST,
                ).returncode
            except subprocess.TimeoutExpired:
                log.write(f"took longer than {LONGEST} s\n")
                return -1

    def test(self, *, ours: bool, names: tuple[str, ...] = ()) -> Outcomes:
        """Run the suite, or only the tests with these names, on one loop; how each test ended."""
        report = self.place / "report.xml"
        report.unlink(missing_ok=True)
        serving = self.serving
        words = {name.rpartition("::")[2].partition("[")[0] for name in names}
        chosen = ("-k", " or ".join(sorted(words))) if words else ()
        self.run(
            (
                *serving.before,
                str(self.python),
                *(("-m", "ferroloop") if ours else ()),
                "-m",
                "pytest",
                *self.suite.tests,
                *self.suite.options,
                *serving.options,
                *chosen,
                "--timeout=60",
                "--continue-on-collection-errors",
                "-p",
                "no:cacheprovider",
                f"--junit-xml={report}",
            ),
            PYTHONPATH=str(ferroloop_folder()),
            **serving.environment,
        )
        return outcomes(report)


def ferroloop_folder() -> Path:
    """The folder from which this Python imports ferroloop."""
    import ferroloop  # noqa: PLC0415 - only here, so that --help works without

    return Path(ferroloop.__file__).parents[1]


def outcomes(report: Path) -> Outcomes:
    """How each test of a JUnit report ended: passed, failed, error or skipped."""
    if not report.exists():
        return {}
    found: Outcomes = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest's own
        ended = next((c.tag for c in case if c.tag in {"failure", "error", "skipped"}), "passed")
        found[f"{case.get('classname')}::{case.get('name')}"] = (
            "failed" if ended == "failure" else ended
        )
    return found


def differing(one: Outcomes, other: Outcomes) -> dict[str, str]:
    """The tests that did not end alike, with how they ended on each."""
    names = {
        name: (one.get(name, "missing"), other.get(name, "missing")) for name in {*one, *other}
    }
    return {name: f"{a}, on ferroloop {b}" for name, (a, b) in names.items() if a != b}


def examine(suite: Suite, place: Path) -> Result:
    """Prepare one suite and the server that it needs, and run it."""
    result = Result(suite)
    environment = Environment(suite, place / suite.name)
    result.note = environment.prepare()
    if result.note:
        return result
    with SERVERS[suite.server](environment.place) as serving:
        if isinstance(serving, str):
            result.note = serving
        else:
            environment.serving = serving
            compare(environment, result)
    return result


def compare(environment: Environment, result: Result) -> None:
    """Run the suite on both loops, and what ended differently once more on both."""
    suite = environment.suite
    say(f"{suite.name} on asyncio")
    result.asyncio = environment.test(ours=False)
    say(f"{suite.name} on ferroloop")
    result.ours = environment.test(ours=True)
    if not result.asyncio or not result.ours:
        result.note = f"pytest ended without a report: see {environment.place / 'log'}"
        return
    if "passed" not in result.asyncio.values():
        result.note = f"no test passes on asyncio: see {environment.place / 'log'}"
        return
    first = differing(result.asyncio, result.ours)
    if first:
        say(f"{suite.name}: {len(first)} tests again")
        again = differing(
            environment.test(ours=False, names=tuple(first)),
            environment.test(ours=True, names=tuple(first)),
        )
        for name, how in sorted(first.items()):
            reason = next(
                (
                    why
                    for like, why in KNOWN.get(suite.name, {}).items()
                    if fnmatch.fnmatch(name, like)
                ),
                None,
            )
            if name not in again:
                result.unsteady.append(name)
            elif reason is None:
                result.different[name] = how
            else:
                result.known[name] = reason


def main() -> int:
    """Run the suites that were named, or all; 1 if a test differs without a known reason."""
    parser = argparse.ArgumentParser(description="Compare suites on asyncio and on ferroloop.")
    names = [suite.name for suite in SUITES]
    parser.add_argument("--only", action="append", metavar="FILE", help="only this file of tests")
    parser.add_argument("suites", nargs="*", metavar="suite", help=", ".join(names))
    options = parser.parse_args()
    unknown = set(options.suites) - set(names)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    place = ROOT / ".venv" / "suites"
    results = []
    for suite in SUITES:
        if not options.suites or suite.name in options.suites:
            chosen = replace(suite, tests=tuple(options.only)) if options.only else suite
            result = examine(chosen, place)
            results.append(result)
            for name, how in result.different.items():
                print(f"DIFFERENT {suite.name} {name}: {how}", flush=True)
            for name, why in result.known.items():
                print(f"known {suite.name} {name}: {why}", flush=True)
            for name in result.unsteady:
                print(f"ends alike when it is run again: {suite.name} {name}", flush=True)
    head = ["suite", "asyncio passes", "ferroloop passes", "unsteady", "known", "different", ""]
    print(aligned([head, *[result.row() for result in results]], left=1))
    return 1 if any(result.different for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
