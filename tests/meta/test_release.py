"""What is done to the files of a release, and what its checks find in them."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

import build_wheels
import environments
from release import checks, finish, musl, training


def test_the_readme_has_no_link_that_the_package_index_cannot_follow() -> None:
    text = (environments.ROOT / "README.md").read_text(encoding="utf-8")
    assert "](https://" in text
    assert checks.relative_links(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "see [a page](docs/index.md)",
        "![chart](docs/c.svg)",
        '<img src="docs/c.svg">',
        '<a href="x">',
    ],
)
def test_relative_links_are_found(text: str) -> None:
    assert len(checks.relative_links(f"[top](#top) {text} [there](https://example.org)")) == 1


def test_a_list_of_crates_names_every_dependency_with_its_version() -> None:
    names = ["libc", "memchr", "mio", "pyo3", "socket2"]
    parts = [{"name": name, "version": "1"} for name in names]
    assert checks.lists_crates(json.dumps({"components": parts}))
    assert not checks.lists_crates(json.dumps({"components": parts[:-1]}))
    assert not checks.lists_crates("{}")


def _library(folder: Path, *options: str) -> Path:
    """A library that is compiled with debug information from the one line of `answer.c`."""
    if not shutil.which("cc") or not shutil.which("objcopy"):
        pytest.skip("there is no C compiler with binutils")
    (folder / "answer.c").write_text("int answer(void) { return 42; }\n")
    command = ["cc", "-g", "-shared", "-fPIC", *options, "-o", "answer.so", "answer.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "answer.so"


def _sections(path: Path) -> str:
    command = ["readelf", "--sections", "--wide", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_debug_information_moves_into_the_file_that_the_build_id_names(tmp_path: Path) -> None:
    library = _library(tmp_path, "-Wl,--build-id=sha1")
    identity = finish.build_id(library)
    assert len(identity) == 40
    finish.split(library, "objcopy", tmp_path / "archive.tar.xz")
    with tarfile.open(tmp_path / "archive.tar.xz") as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "debug", filter="data")
    assert names == [f".build-id/{identity[:2]}/{identity[2:]}.debug"]
    left = _sections(library)
    assert ".symtab" in left
    assert ".debug_info" not in left
    assert ".debug_info" in _sections(tmp_path / "debug" / names[0])
    if not shutil.which("gdb"):
        pytest.skip("there is no gdb to read it")
    commands = [
        f"set debug-file-directory {tmp_path / 'debug'}",
        f"file {library}",
        "info line answer",
    ]
    gdb = ["gdb", "--nx", "--batch", *(word for it in commands for word in ("-ex", it))]
    shown = subprocess.run(gdb, capture_output=True, text=True, check=True, cwd="/").stdout
    assert 'Line 1 of "answer.c"' in shown


def test_a_library_without_a_build_id_is_refused(tmp_path: Path) -> None:
    library = _library(tmp_path, "-Wl,--build-id=none")
    with pytest.raises(environments.SetupError, match="no build id"):
        finish.split(library, "objcopy", tmp_path / "archive.tar.xz")


def test_functions_of_a_profile_are_told_by_their_whole_names() -> None:
    names = [f"_ZN9ferroloop4turn3run17h{digit * 16}E" for digit in "12"]
    symbols = f"0001 t {names[0]}\n0002 t {names[1]}.llvm.77\n0003 T _ZN4core3fmt17h{'3' * 16}E\n"
    assert training.counted(symbols, "\n".join(names)) == 1
    assert training.counted(symbols, names[0]) == 0.5
    assert training.counted("", names[0]) == 0


def test_wheels_are_built_for_the_pythons_that_are_asked_for() -> None:
    assert build_wheels.chosen_minors(range(10, 13), None) == [10, 11, 12]
    assert build_wheels.chosen_minors(range(10, 13), ["3.12", "3.10"]) == [12, 10]
    with pytest.raises(environments.SetupError, match=r"3\.9.*3\.10, 3\.11"):
        build_wheels.chosen_minors((10, 11), ["3.10", "3.9"])


@pytest.mark.parametrize(("library", "fits"), [("libc.so", True), ("libc.so.6", False)])
def test_a_wheel_for_musl_needs_musl_only(tmp_path: Path, library: str, *, fits: bool) -> None:
    needed = tmp_path / library
    shutil.copy(_library(tmp_path, f"-Wl,-soname,{library}"), needed)
    extension = _library(tmp_path, "-nostdlib", "-Wl,--no-as-needed", str(needed))
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.write(extension, "ferroloop/_native.so")
    if fits:
        musl.libraries(tmp_path / "a.whl")
    else:
        with pytest.raises(environments.SetupError, match=r"libc\.so\.6"):
            musl.libraries(tmp_path / "a.whl")


def test_a_python_that_is_not_linked_with_musl_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho CPython 3 13 0 3.13.0 /usr\n")
    other.chmod(0o755)
    with pytest.raises(environments.SetupError, match="not linked with musl"):
        musl.interpreter(other, [13])
    with pytest.raises(environments.SetupError, match=r"no CPython 3\.12"):
        musl.interpreter(other, [12])
