"""The error message if the native module is missing: not built, or built for another Python.

Imported only if `import ferroloop` fails.
"""

from __future__ import annotations

import os
import sys
import sysconfig

__all__ = ("explain",)


def explain(folder: str) -> str:
    """A sentence on why `folder`, the package's, has no native module for this Python, and what to do."""
    wanted = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
    this = f"{sys.implementation.name} {sys.version.split()[0]} ({sys.executable})"
    install = f"{sys.executable or 'python'} -m pip install --force-reinstall ferroloop"
    if sys.implementation.name != "cpython":
        return f"ferroloop needs CPython, and this is {this}"
    if os.path.exists(os.path.join(os.path.dirname(os.path.dirname(folder)), "Cargo.toml")):
        return (
            f"ferroloop has no native module for {this} in its source folder {folder}. Build it there "
            "with `maturin develop`, or, to use an installed ferroloop, take that folder off sys.path"
        )
    others = sorted(
        name.removeprefix("_native.").removesuffix(".so")
        for name in os.listdir(folder)
        if name.startswith("_native.") and name.endswith(".so")
    )
    if others:
        return (
            f"ferroloop in {folder} was built for {', '.join(others)}, and this is {this}, which needs "
            f"_native{wanted}. Install it for this Python: {install}"
        )
    return (
        f"ferroloop in {folder} has no native module (_native{wanted}). Install it again: {install}"
    )
