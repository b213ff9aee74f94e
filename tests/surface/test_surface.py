"""Every call of asyncio's surface does on ferroloop what it does on asyncio's loop."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from support.loops import factory_of
from surface.comparison import compare
from surface.probe import Case
from surface.topics import cases

TEXT = "".join(
    path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parent / "topics").glob("*.py"))
)


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.topic}-{case.name}")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("default")
def test_it_is_as_on_asyncio(case: Case) -> None:
    found = [str(finding) for finding in compare(case, factory_of("ferroloop")) if not finding.reason]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "surface",
    [
        asyncio.AbstractEventLoop,
        asyncio.Handle,
        asyncio.TimerHandle,
        asyncio.Transport,
        asyncio.DatagramTransport,
        asyncio.SubprocessTransport,
        asyncio.AbstractServer,
    ],
    ids=lambda surface: surface.__name__,
)
def test_every_public_name_is_called(surface: type) -> None:
    names = {name for name in dir(surface) if not name.startswith("_")}
    assert not {name for name in names if not re.search(rf"\b{name}\b", TEXT)}
