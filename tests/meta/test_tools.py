"""The programs behind the README's commands: finding Pythons, fingerprints, command lines, tables."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

import build_wheels
import environments
import interpreters
import run_tests
import stages
import tables
from release import pure


@pytest.mark.slow
def test_this_python_is_found_first() -> None:
    found = interpreters.find()
    assert found[0].minor == sys.version_info[1]
    assert found[0].free_threaded == bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert len({interpreter.version for interpreter in found}) == len(found)


@pytest.mark.slow
def test_a_free_threaded_python_on_the_path_is_found_like_any_other() -> None:
    names = [f"3.{minor}t" for minor in interpreters.FREE_THREADED]
    there = [name for name in names if shutil.which(f"python{name}")]
    if not there:
        pytest.skip("there is no free-threaded Python on PATH")
    found = {it.version: it for it in interpreters.find()}
    assert all(found[name].free_threaded for name in there)


@pytest.mark.parametrize("program", ["/bin/true", "/bin/sh", "/nowhere/python3"])
def test_what_is_no_supported_python_is_passed_over(program: str) -> None:
    assert interpreters.probe(Path(program)) is None


def test_what_follows_two_dashes_goes_to_pytest() -> None:
    options = run_tests.parse(["--stage", "meta", "--", "-k", "layers and not cycle"])
    assert options.stage == ["meta"]
    assert options.pytest_arguments == ["-k", "layers and not cycle"]


@pytest.mark.slow
def test_a_python_that_is_not_there_is_named() -> None:
    with pytest.raises(environments.SetupError, match=r"no Python 3\.99 here"):
        run_tests.choose(interpreters.find(), ["3.99"])


def test_stages_have_names_of_their_own_and_say_what_they_do() -> None:
    names = [stage.name for stage in stages.STAGES]
    assert len(set(names)) == len(names)
    assert all(stage.run.__doc__ for stage in stages.STAGES)


def test_columns_are_aligned() -> None:
    assert tables.aligned([["", "n"], ["long", "1"], ["x", "10"]]) == "       n\nlong   1\nx     10"


def test_a_row_of_counts_is_led_by_the_fewest_instructions_not_by_equal_ratios(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(environments.ROOT / "benches"))
    counts = importlib.import_module("harness.results.counts")

    def cells(ours: int, uvloops: int) -> dict[str, dict[str, float]]:
        figures = {"ferroloop": ours, "uvloop": uvloops}
        return {loop: {"instructions": it, "calls": 1.0} for loop, it in figures.items()}

    document = {
        "python": "3.14.0",
        "machine": "x86_64",
        "loops": {"ferroloop": "1", "uvloop": "2"},
        "workloads": {"reader": cells(10_001, 10_000), "task": cells(8, 10)},
    }
    page = counts.page(document, "3.14")
    assert "fewest instructions in 1 of 2 rows" in page
    assert "1.00 (uvloop)" in page


def test_a_command_that_hangs_is_stopped(tmp_path: Path) -> None:
    environment = environments.Environment(interpreters.default(), tmp_path)
    run = stages.Run(environment, environment, tmp_path / "log", limit=0.1)
    assert run.command("sleep", "60") == 124
    assert "stopped after" in run.log.read_text(encoding="utf-8")


def test_the_pure_wheels_are_made_of_python_files_only(tmp_path: Path) -> None:
    project = pure.stage(tmp_path)
    assert (project / "LICENSE").is_file()
    kept = {path.suffix or path.name for path in (tmp_path / "python").rglob("*") if path.is_file()}
    assert kept == {".py", ".pyi", ".typed"}
    assert not [platform for platform in pure.PLATFORMS if platform == "any" or "linux" in platform]


def test_the_pure_wheels_take_every_fact_about_the_project_from_its_own_file() -> None:
    project = _table(environments.ROOT / "pyproject.toml", "project")
    there = _table(environments.ROOT / "pure" / "pyproject.toml", "project")
    assert set(there) == {"name", "license-files", "dynamic"}
    dynamic = re.findall(r'"([^"]+)"', there["dynamic"])
    assert {*project, "version"} - {"name", "license-files", "dynamic"} <= {*dynamic, "urls"}


def _table(path: Path, name: str) -> dict[str, str]:
    """The keys of a table of a TOML file and the text of their values; Python 3.10 reads no TOML."""
    text = path.read_text(encoding="utf-8").partition(f"\n[{name}]\n")[2]
    section = re.split(r"^\[", text, maxsplit=1, flags=re.MULTILINE)[0]
    return dict(
        re.findall(r"^([\w-]+) = (.*?)(?=^[\w-]+ = |\Z)", section, re.MULTILINE | re.DOTALL)
    )


def test_the_release_only_calls_sessions() -> None:
    workflow = environments.ROOT / ".github" / "workflows" / "release.yml"
    commands = re.findall(r"\brun: (.*)", workflow.read_text(encoding="utf-8"))
    preparing = ("python3 -m pip install nox", "rustup ", "sudo apt-get ", "uv python ")
    building = [command for command in commands if not command.startswith(preparing)]
    assert building
    assert all(re.search(r"\bnox -s (wheels|upload)\b", command) for command in building)


def test_the_release_builds_the_parts_that_the_session_builds_unless_told() -> None:
    workflow = environments.ROOT / ".github" / "workflows" / "release.yml"
    matrix = re.search(r"part: \[(.*)\]", workflow.read_text(encoding="utf-8"))
    assert matrix
    assert sorted(matrix[1].split(", ")) == sorted(build_wheels.RELEASED)
    assert set(build_wheels.RELEASED) <= set(build_wheels.PARTS)


def test_the_parts_of_a_release_say_what_they_are() -> None:
    assert all(build.__doc__ for build in build_wheels.PARTS.values())
    options = build_wheels.parse(["--part", "aarch64", "--", "-k", "timers"])
    assert (options.part, options.pytest_arguments) == (["aarch64"], ["-k", "timers"])
