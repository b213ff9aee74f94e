"""The time line of a loop: three strips of SVG over one axis of time. Pure functions; any thread.

The drawings stretch to the page's width, so everything that has to be read is HTML around them: text in
an SVG that shrinks to a phone would shrink with it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ferroloop._report.text import duration, moment, percent, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ferroloop._report.record import LoopRecord, Point

__all__ = ("timeline",)

_WIDTH = 1000.0
_HEIGHT = 100.0
#: The least width of what marks a stall, of _WIDTH.
_MARK = 3.0
#: Where the scale of times begins and ends; what is shorter lies on the ground line.
_LOWEST = 1e-4
_HIGHEST = 1e5
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def timeline(loop: LoopRecord) -> str:
    """Return the time line of `loop` as HTML; a sentence if the loop was too short for one."""
    if not loop.points:
        return '<p class="note">The loop ran too short a time for a time line.</p>'
    return (
        '<div class="timeline">'
        + _busy_strip(loop)
        + _duration_strip(loop, "turn", "Longest turn", lambda point: point.longest_turn)
        + _duration_strip(
            loop,
            "delay",
            "Longest delay of a due timer or queued callback",
            lambda point: point.longest_delay,
        )
        + _axis(loop)
        + "</div>"
    )


def _busy_strip(loop: LoopRecord) -> str:
    heights = [_HEIGHT * point.busy for point in loop.points]
    told = [f"{percent(point.busy)} busy, {plural(point.turns, 'turn')}" for point in loop.points]
    marks = [(0.0, ""), (_HEIGHT / 2, "50 %"), (_HEIGHT, "100 %")]
    label = f"Utilisation, {percent(loop.busy)} on average"
    return _strip(loop, "busy", label, heights, told, marks)


def _duration_strip(
    loop: LoopRecord, kind: str, label: str, value: Callable[[Point], float]
) -> str:
    values = [value(point) for point in loop.points]
    longest = max(values)
    decades = max(math.ceil(math.log10(min(max(longest, 1e-2), _HIGHEST) / _LOWEST) - 1e-9), 1)

    def height(seconds: float) -> float:
        if seconds <= _LOWEST:
            return 0.0
        return _HEIGHT * min(math.log10(seconds / _LOWEST) / decades, 1.0)

    marks = [
        (_HEIGHT * decade / decades, duration(_LOWEST * 10**decade))
        for decade in range(1, decades + 1)
    ]
    threshold = loop.stall_after if kind == "turn" else None
    line = height(threshold) if threshold is not None and threshold <= longest else None
    told = [f"{label.lower()}: {duration(seconds)}" for seconds in values]
    shown = f"{label}, at most {duration(longest)}"
    return _strip(loop, kind, shown, [height(seconds) for seconds in values], told, marks, line)


def _strip(
    loop: LoopRecord,
    kind: str,
    label: str,
    heights: Sequence[float],
    told: Sequence[str],
    marks: Sequence[tuple[float, str]],
    threshold: float | None = None,
) -> str:
    """One figure: its label, a drawing that stretches, and the scale beside it."""
    edges = _edges(loop)
    drawing = [f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" preserveAspectRatio="none" role="img">']
    drawing.append(f"<title>{label}</title>")
    drawing += [
        f'<path class="grid" d="M0 {_HEIGHT - height:.1f}H{_WIDTH:g}"/>' for height, _ in marks
    ]
    drawing += [_stall_mark(loop, began, seconds) for began, seconds in loop.marks]
    drawing.append(f'<path class="{kind}" d="{_outline(edges, heights)}"/>')
    if threshold is not None:
        drawing.append(f'<path class="threshold" d="M0 {_HEIGHT - threshold:.1f}H{_WIDTH:g}"/>')
    drawing += _hints(loop, edges, told)
    drawing.append("</svg>")
    scale = "".join(
        f'<span style="bottom:{height:.0f}%">{text}</span>' for height, text in marks if text
    )
    return (
        f'<figure><figcaption><i class="key {kind}"></i>{label}</figcaption>'
        f'<div class="strip">{"".join(drawing)}<div class="scale">{scale}</div></div></figure>'
    )


def _edges(loop: LoopRecord) -> list[float]:
    """The horizontal places of the pieces' ends, with the begin of the first."""
    ends = [loop.began, *(point.at for point in loop.points)]
    return [_place(loop, at) for at in ends]


def _place(loop: LoopRecord, at: float) -> float:
    span = max(loop.points[-1].at - loop.began, 1e-9)
    return _WIDTH * min(max((at - loop.began) / span, 0.0), 1.0)


def _outline(edges: Sequence[float], heights: Sequence[float]) -> str:
    """An area of steps over the ground line."""
    steps = [f"M{edges[0]:.1f} {_HEIGHT:g}"]
    for right, height in zip(edges[1:], heights, strict=True):
        steps.append(f"V{_HEIGHT - height:.1f}H{right:.1f}")
    return "".join(steps) + f"V{_HEIGHT:g}Z"


def _stall_mark(loop: LoopRecord, began: float, seconds: float) -> str:
    left, right = _place(loop, began), _place(loop, began + seconds)
    width = max(right - left, _MARK)
    left = min(left, _WIDTH - width)
    return f'<rect class="stall" x="{left:.1f}" y="0" width="{width:.1f}" height="{_HEIGHT:g}"/>'


def _hints(loop: LoopRecord, edges: Sequence[float], told: Sequence[str]) -> list[str]:
    """The texts that are shown when a pointer rests on a piece."""
    span = loop.points[-1].at
    return [
        f'<rect class="hint" x="{left:.1f}" y="0" width="{right - left:.1f}" height="{_HEIGHT:g}">'
        f"<title>{moment(point.at, span)}: {text}</title></rect>"
        for left, right, point, text in zip(edges, edges[1:], loop.points, told, strict=False)
    ]


def _axis(loop: LoopRecord) -> str:
    """The moments below the strips, about five of them."""
    began, ended = loop.began, loop.points[-1].at
    span = max(ended - began, 1e-9)
    step = next((step for step in _STEPS if span / step <= 7.5), span / 5)  # noqa: PLR2004
    if span < 2.0:  # noqa: PLR2004
        step = span / 4
    moments = []
    at = math.ceil(began / step - 1e-9) * step
    while at <= ended + 1e-9:
        moments.append((_place(loop, at) / _WIDTH * 100.0, moment(at, ended)))
        at += step
    labels = "".join(
        f'<span class="{_side(place)}" style="left:{place:.1f}%">{text}</span>'
        for place, text in moments
    )
    return f'<div class="axis" aria-hidden="true">{labels}</div>'


def _side(place: float) -> str:
    """How a label lies at its moment, so that none passes the edge."""
    return "first" if place < 4.0 else "last" if place > 94.0 else "middle"  # noqa: PLR2004
