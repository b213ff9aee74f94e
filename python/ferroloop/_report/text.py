"""Numbers, times and a program's text as HTML. Pure functions; any thread.

Everything that comes from a program goes through `escaped`: a name, a path or a line of source may
hold markup, lone surrogates and control characters.
"""

from __future__ import annotations

import html
import math
import re

__all__ = ("count", "duration", "escaped", "moment", "percent", "plural")

#: What HTML has no place for: control characters besides tab and newline, and lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
#: Seconds from which on times are shown in minutes, and below which shares and moments get one
#: more digit.
_MINUTES_FROM = 100.0
_TENTHS_FROM = 10.0
#: Marks that would reorder the text around them.
_REORDERING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escaped(text: str, limit: int = 2000) -> str:
    """Return `text` so that HTML shows it as it is; cut after `limit` characters."""
    if len(text) > limit:
        text = f"{text[:limit]} …"
    return html.escape(_REORDERING.sub("\ufffd", _UNPRINTABLE.sub("\ufffd", text)))


def duration(seconds: float) -> str:
    """A length of time with its unit, about three digits: `0.85 ms`, `12.4 s`, `3 min 20 s`."""
    if not math.isfinite(seconds):
        return "?"
    if seconds <= 0.0:
        return "0 s"
    for below, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (_MINUTES_FROM, 1.0, "s")):
        if seconds < below:
            return f"{_digits(seconds * factor)} {unit}"
    hours, minutes, rest = _split(seconds)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _split(seconds: float) -> tuple[int, int, int]:
    """The same time in hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return hours, minutes, rest


def _digits(value: float) -> str:
    """Three significant digits, none of them a zero behind the point."""
    return f"{float(f'{value:.3g}'):g}"


def moment(seconds: float, span: float) -> str:
    """A moment of a report that spans `span` seconds: `4.2 s`, `3:07`, `1:02:40`."""
    if span < _MINUTES_FROM:
        return f"{seconds:.{1 if span >= _TENTHS_FROM else 2}f} s"
    hours, minutes, rest = _split(seconds)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count(number: int) -> str:
    """A whole number in groups of three digits."""
    return f"{number:,}".replace(",", "\u202f")


def percent(share: float) -> str:
    """A share of one: `3 %`, `0.4 %`."""
    value = 100.0 * share
    return f"{value:.1f} %" if 0.0 < value < _TENTHS_FROM - 0.05 else f"{value:.0f} %"


def plural(number: int, noun: str) -> str:
    """A count with its noun: `1 stall`, `12 stalls`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"
