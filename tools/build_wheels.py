"""Builds the files of a release into `target/wheels/` and checks them: `nox -s wheels` runs it.

    python3 tools/build_wheels.py                                # what a release consists of
    python3 tools/build_wheels.py --part native --python 3.11    # one wheel
    python3 tools/build_wheels.py --part aarch64 -- -k timers    # what follows -- goes to pytest
    python3 tools/build_wheels.py --part musl --python 3.13 --musl-python PATH

Needs cargo; everything else comes from the package index, into `.venv/release-3.N`. A profile needs llvm-profdata (`rustup
component add llvm-tools`). The parts `aarch64` and `musl` need Rust's standard library for their targets (`rustup target
add`), or its sources (`rustup component add rust-src`), and the tests of `aarch64` also root, debootstrap and qemu-user-static.
Ends with a line for each file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import command_line
import interpreters
from environments import SetupError, say
from release import checks, foreign, musl, native, pure, source, training
from release.toolbox import WHEELS, Toolbox
from run_tests import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ARM_MINORS = (13, 14)
"""Minor versions of Python 3 that Debian unstable has for another processor, without those that are not released."""
MUSL_MINORS = range(10, 15)
"""Minor versions of Python 3 that musllinux wheels are built for."""


def build_native(tools: Toolbox, options: argparse.Namespace) -> list[Path]:
    """Wheels for the processor of this machine, for every CPython found."""
    wheels = []
    chosen = choose(interpreters.find(), options.python)
    profile = None if options.plain else training.profile(tools, chosen[0])
    for interpreter in chosen:
        wheel = native.build(tools, interpreter.executable, options.out, profile)
        if profile is not None:
            training.check(wheel, profile)
        checks.libraries(tools, wheel)
        checks.installed(tools, interpreter.executable, wheel)
        wheels.append(wheel)
    return wheels


def build_pure(tools: Toolbox, options: argparse.Namespace) -> list[Path]:
    """Wheels for macOS and Windows, without native code."""
    wheels = pure.build(tools, options.out)
    for wheel in wheels:
        checks.elsewhere(tools, wheel)
    return wheels


def build_source(tools: Toolbox, options: argparse.Namespace) -> list[Path]:
    """The source distribution, built from without a network."""
    archive = source.build(tools, options.out)
    source.check(tools, archive, Path(sys.executable))
    return [archive]


def build_aarch64(tools: Toolbox, options: argparse.Namespace) -> list[Path]:
    """Wheels for aarch64, tested under qemu-user."""
    wheels = foreign.build(tools, chosen_minors(ARM_MINORS, options.python), options.out)
    for wheel in wheels:
        checks.libraries(tools, wheel)
    foreign.check(tools, wheels, options.pytest_arguments)
    return wheels


def build_musl(tools: Toolbox, options: argparse.Namespace) -> list[Path]:
    """Wheels for musl, tested on a Python that is linked with it (`--musl-python`)."""
    minors = chosen_minors(MUSL_MINORS, options.python)
    python = options.musl_python and musl.interpreter(options.musl_python, minors)
    wheels = musl.build(tools, minors, options.out)
    for wheel in wheels:
        musl.libraries(wheel)
    if python is None:
        say("no behaviour tests on musl: they need --musl-python, a Python that is linked with it")
        return wheels
    (wheel,) = (wheel for wheel in wheels if f"-cp3{python.minor}-" in wheel.name)
    musl.check(tools, wheel, python, options.pytest_arguments)
    return wheels


def chosen_minors(built: Sequence[int], wanted: Sequence[str] | None) -> list[int]:
    """Return those of the minor versions that are built which were asked for, as in 3.13: all of them, unless any were."""
    by_version = {f"3.{minor}": minor for minor in built}
    missing = [version for version in wanted or () if version not in by_version]
    if missing:
        raise SetupError(f"not built for {', '.join(missing)}; only for {', '.join(by_version)}")
    return [by_version[version] for version in wanted or by_version]


PARTS: dict[str, Callable[[Toolbox, argparse.Namespace], list[Path]]] = {
    "pure": build_pure,
    "source": build_source,
    "native": build_native,
    "aarch64": build_aarch64,
    "musl": build_musl,
}
"""What can be built, the quick parts first."""
RELEASED = ("pure", "source", "native", "aarch64", "musl")
"""What a release consists of: what is built unless parts are named."""


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Build the files of a release and check them.",
        epilog="What follows -- is handed to pytest.",
    )
    add = parser.add_argument
    add("--part", action="append", choices=list(PARTS), help="only this one; may be repeated")
    add(
        "--python",
        action="append",
        metavar="3.N",
        help="wheels with the extension for this one only; may be repeated",
    )
    add("--plain", action="store_true", help="build once, without a profile")
    add("--musl-python", type=Path, metavar="PATH", help="a Python that is linked with musl")
    add("--upload", action="store_true", help="build nothing, upload what is there")
    add("--out", type=Path, default=WHEELS, help="where the files go (default: target/wheels)")
    options = command_line.parse(parser, arguments)
    options.out = options.out.absolute()
    return options


def main(arguments: list[str]) -> int:
    """Build and check what was asked for; return the exit status: 1 if a part failed."""
    options = parse(arguments)
    tools = Toolbox()
    if options.upload:
        made = sorted(path for path in options.out.iterdir() if path.is_file())
        checks.metadata(tools, made)
        tools.run("twine", "upload", "--non-interactive", *made)
        return 0
    files: list[Path] = []
    failures: list[str] = []
    for name, build in PARTS.items():
        if name not in (options.part or RELEASED):
            continue
        say(f"{name}: {build.__doc__}")
        try:
            made = build(tools, options)
            checks.metadata(tools, made)
            files += made
        except SetupError as error:
            say(f"FAILED: {name}: {error}")
            failures.append(f"{name}: {error}")
    print()
    for file in files:
        print(f"{file.stat().st_size / 1024:8.0f} KiB  {file.name}")
    for failure in failures:
        print(f"failed: {failure}")
    return 1 if failures or not files else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        sys.exit(f"build_wheels: {error}")
