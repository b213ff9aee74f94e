"""Importing ferroloop changes nothing outside it."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import asyncio, asyncio.base_events, asyncio.selector_events, asyncio.sslproto, asyncio.unix_events
import json, os, signal, socket, ssl, subprocess, sys, threading, warnings

def snapshot():
    attributes = {}
    for name, module in sorted(sys.modules.items()):
        if name.split(".")[0] in ("asyncio", "_asyncio", "socket", "ssl", "signal", "selectors", "subprocess", "threading"):
            for key, value in vars(module).items():
                attributes[f"{name}.{key}"] = id(value)
                if isinstance(value, type):
                    attributes.update((f"{name}.{key}.{inner}", id(item)) for inner, item in vars(value).items())
    return {
        "attributes": attributes,
        "policy made": vars(asyncio.events).get("_event_loop_policy") is not None,
        "running loop": repr(asyncio._get_running_loop()),
        "warnings": [repr(entry) for entry in warnings.filters],
        "signals": [repr(signal.getsignal(number)) for number in signal.valid_signals()],
        "wake-up descriptor": (number := signal.set_wakeup_fd(-1), signal.set_wakeup_fd(number))[0],
        "hooks": [repr(hook) for hook in (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook)],
        "import hooks": [repr(hook) for hook in (*sys.meta_path, *sys.path_hooks)],
        "generator hooks": repr(sys.get_asyncgen_hooks()),
        "threads": threading.active_count(),
        "descriptors": sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else [],
        "environment": dict(os.environ),
        "switch interval": sys.getswitchinterval(),
        "recursion limit": sys.getrecursionlimit(),
    }

before = snapshot()
modules = set(sys.modules)
import ferroloop
new = set(sys.modules) - modules
after = snapshot()
for table in (before, after):  # a module that is imported now adds its names; nothing else may change
    table["attributes"] = {name: value for name, value in table["attributes"].items() if name in before["attributes"]}
changed = {key: [before[key], after[key]] for key in before if key != "attributes" and before[key] != after[key]}
changed.update((name, "replaced") for name, value in before["attributes"].items() if after["attributes"].get(name) != value)
foreign = sorted(name for name in new if name.split(".")[0] not in {*sys.stdlib_module_names, "ferroloop"})
print(json.dumps({"changed": changed, "foreign": foreign}))
"""


def _run(program: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert not finished.stderr
    return finished.stdout


def test_importing_changes_nothing_global() -> None:
    found = json.loads(_run(PROGRAM))
    assert found["changed"] == {}


def test_importing_loads_nothing_but_the_standard_library() -> None:
    found = json.loads(_run(PROGRAM))
    assert found["foreign"] == []


def test_the_public_names_can_be_imported() -> None:
    program = (
        "import ferroloop;"
        "assert ferroloop.__all__;"
        "print([name for name in ferroloop.__all__ if not hasattr(ferroloop, name)])"
    )
    assert _run(program).strip() == "[]"


def test_importing_ferroloop_imports_nothing_else_that_asyncio_does_not() -> None:
    """Such a module can cost more than all of ours: typing does, which asyncio does without since 3.14."""
    program = "import asyncio, sys; had = set(sys.modules); import ferroloop; print(*(set(sys.modules) - had))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    others = {name for name in run.stdout.split() if name.partition(".")[0] != "ferroloop"}
    assert others <= {"__future__", "posix"}
