"""The command line that the tools share: their own options, and pytest's after `--`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse what stands before `--`; what follows becomes `pytest_arguments`."""
    own, pytest_arguments = list(arguments), []
    if "--" in own:
        middle = own.index("--")
        own, pytest_arguments = own[:middle], own[middle + 1 :]
    options = parser.parse_args(own)
    options.pytest_arguments = pytest_arguments
    return options
