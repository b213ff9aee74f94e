"""The errors of the harness."""

from __future__ import annotations


class NoFigureError(Exception):
    """A loop gave no figure for a case; the text says why. The cell stays empty, the run goes on."""


class CountError(Exception):
    """Instructions could not be counted; the text says why."""
