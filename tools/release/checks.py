"""What must hold of a wheel before it is uploaded.

Owns nothing. A wheel that fails raises SetupError with what is wrong.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

from environments import ROOT, SetupError
from release.finish import PLACES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release.toolbox import Toolbox

TESTS = (
    "loop",
    "streams",
    "stream_readers",
    "connecting",
    "datagrams",
    "pipes",
    "processes",
    "sockets",
)
"""Folders of `tests` that run on a wheel for another system."""

PROGRAM = """
import asyncio, sys, ferroloop
async def serve(reader, writer):
    writer.write(await reader.readline())
    writer.close()
async def main():
    assert type(asyncio.get_running_loop()) is ferroloop.Loop
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"a line\\n")
    assert await reader.readline() == b"a line\\n"
    writer.close()
    server.close()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('a child')", stdout=-1)
    assert (await process.communicate())[0] == b"a child\\n"
assert ferroloop.NATIVE, "the loop is not native"
ferroloop.run(main())
print("works:", ferroloop.__version__, ferroloop.__file__)
"""
"""What an installed native wheel must be able to do."""

_PURE_PROGRAM = """
import sys, asyncio, warnings
sys.platform = "darwin"
warnings.simplefilter("ignore", RuntimeWarning)
import ferroloop
assert not ferroloop.NATIVE
assert ferroloop.run(asyncio.sleep(0, "slept")) == "slept"
print("works:", ferroloop.__version__, ferroloop.__file__)
"""
"""The same of a pure one; this is Linux, so that it has to be told otherwise."""


def metadata(tools: Toolbox, files: Sequence[Path]) -> None:
    """Check that the package index takes the files and can show their description."""
    tools.run("twine", "check", "--strict", *files)
    for wheel in files:
        if wheel.suffix == ".whl":
            _contents(wheel)


def _contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (text,) = (archive.read(name) for name in names if name.endswith(".dist-info/METADATA"))
        bills = [archive.read(name).decode() for name in names if "/sboms/" in name]
        compiled = b"".join(archive.read(name) for name in names if name.endswith(".so"))
    fields = Parser().parsestr(text.decode())
    native = "-none-" not in wheel.name
    wanted = {
        "a licence": any("/licenses/LICENSE" in name for name in names),
        "py.typed": "ferroloop/py.typed" in names,
        "an author": bool(fields["Author"] or fields["Author-email"]),
        "addresses": len(fields.get_all("Project-URL", [])) > 1,
        "the system among its classifiers": any(
            value.startswith("Operating System ::") for value in fields.get_all("Classifier", [])
        ),
        "one extension": sum(name.endswith(".so") for name in names) == native,
        "a list of its crates": not native or any(lists_crates(bill) for bill in bills),
    }
    faults = [f"lacks {name}" for name, there in wanted.items() if not there]
    faults += [f"links to {link}, which its page cannot" for link in relative_links(text.decode())]
    everything = compiled + "".join(bills).encode()
    faults += [f"names {place} of this machine" for place in PLACES if bytes(place) in everything]
    if faults:
        raise SetupError(f"{wheel.name} {', '.join(faults)}")


def lists_crates(bill: str) -> bool:
    """Whether a software bill of materials (CycloneDX) lists the crates that Cargo.toml depends on, with versions."""
    components = json.loads(bill).get("components", ())
    listed = {part["name"] for part in components if part.get("version")}
    section = (
        (ROOT / "Cargo.toml").read_text().partition("\n[dependencies]\n")[2].partition("\n[")[0]
    )
    crates = set(re.findall(r"^([\w-]+) =", section, re.MULTILINE))
    return bool(crates) and crates <= listed


def relative_links(description: str) -> list[str]:
    """Links and pictures in Markdown that lead nowhere on the package index's page."""
    targets = re.findall(r"\]\(([^)\s]+)|(?:src|srcset|href)=\"([^\"]+)", description)
    return [
        target
        for target in (markdown or html for markdown, html in targets)
        if not target.startswith(("https://", "http://", "mailto:", "#"))
    ]


def libraries(tools: Toolbox, wheel: Path) -> None:
    """Check that the wheel needs no newer system library than its platform tag says."""
    policy = re.split(r"[.-]", wheel.stem)[-1]
    report = " ".join(tools.output("auditwheel", "show", wheel).split())
    print(report)
    if f'platform tag: "{policy}"' not in report:
        raise SetupError(f"auditwheel does not find {wheel.name} to be {policy}")


def installed(tools: Toolbox, python: Path, wheel: Path) -> None:
    """Check that the wheel can be installed into a clean environment of `python`, and works there."""
    with tempfile.TemporaryDirectory() as folder:
        tools.run(python, "-m", "venv", "--without-pip", folder)
        clean = Path(folder, "bin", "python")
        pip = (tools.python, "-m", "pip", "--quiet", "--python", clean)
        tools.run(*pip, "install", "--no-index", "--no-deps", wheel)
        tools.run(clean, "-I", "-c", PROGRAM)


def install_for(
    tools: Toolbox, wheel: Path, minor: int, place: Path, platforms: Sequence[str]
) -> None:
    """Install a wheel and what the tests need into a folder for a CPython 3.`minor` of other platforms.

    By this machine's pip: the other Python may have none, or take minutes where it is emulated.
    """
    shutil.rmtree(place, ignore_errors=True)
    python = ("--implementation", "cp", "--python-version", f"3.{minor}", "--only-binary", ":all:")
    tags = [option for tag in ("none", "abi3", f"cp3{minor}") for option in ("--abi", tag)]
    tags += [option for platform in platforms for option in ("--platform", platform)]
    group = ("--group", f"{ROOT / 'pyproject.toml'}:test")
    pip = (tools.python, "-m", "pip", "install", "--quiet")
    tools.run(*pip, "--target", place, *python, *tags, *group, wheel)


def elsewhere(tools: Toolbox, wheel: Path) -> None:
    """Check that pip takes a pure wheel for its system, and that it works (this system is told that it is another)."""
    with tempfile.TemporaryDirectory() as folder:
        platform = wheel.stem.rpartition("-")[2]
        pip = (
            tools.python,
            "-m",
            "pip",
            "--quiet",
            "install",
            "--no-index",
            "--no-deps",
            "--target",
            folder,
        )
        tools.run(*pip, "--platform", platform, "--only-binary", ":all:", wheel)
        program = f"import sys; sys.path.insert(0, {folder!r})\n{_PURE_PROGRAM}"
        tools.run(tools.python, "-I", "-c", program)
