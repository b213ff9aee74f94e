"""Every call of asyncio's surface does on ferroloop what it does on asyncio's loop."""

from __future__ import annotations

import warnings

import pytest

from support.loops import factory_of
from surface.comparison import compare
from surface.probe import PUBLIC, Case, run
from surface.topics import cases


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.topic}-{case.name}")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("default")
def test_it_is_as_on_asyncio(case: Case) -> None:
    found = [
        str(finding) for finding in compare(case, factory_of("ferroloop")) if not finding.reason
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.fixture(scope="module")
def called() -> set[tuple[str, str]]:
    """Class and name of every method that some case calls."""
    names: set[tuple[str, str]] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in cases():
            names |= run(case, factory_of("ferroloop")).called
    return names


@pytest.mark.slow
@pytest.mark.timeout(120)  # the first one makes every call
@pytest.mark.parametrize("surface", PUBLIC, ids=lambda surface: surface.__name__)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_public_name_is_called(surface: type, called: set[tuple[str, str]]) -> None:
    names = {name for name in dir(surface) if not name.startswith("_")}
    assert not names - {name for kind, name in called if kind == surface.__name__}
