"""The one error of the harness."""

from __future__ import annotations


class NoFigureError(Exception):
    """A loop gave no figure for a case; the text says why. The cell stays empty, the run goes on."""
