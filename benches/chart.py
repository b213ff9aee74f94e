"""Draws the results of `compare.py` as SVG, for light and for dark pages.

`python benches/chart.py benches/results/3.14.json docs/charts/3.14` writes `3.14-light.svg` and
`3.14-dark.svg`. A line for each case, a dot for each loop: how fast it is as a share of the fastest
loop of that case, on the right edge. The C floor is no loop and is left out.
"""

from __future__ import annotations

import argparse
import json
from html import escape
from pathlib import Path
from typing import Any

from harness.case import GROUPS
from harness.loops import OURS
from harness.results.table import HEADINGS
from harness.results.targets import FLOOR

LABEL, PLOT, LINE, TOP, MARGIN = 330, 420, 18, 64, 16

PALETTES = {
    "light": {"text": "#1f2328", "faint": "#d8dee4", "page": "#ffffff"},
    "dark": {"text": "#e6edf3", "faint": "#30363d", "page": "#0d1117"},
}
# For people who see few colours too: lightness differs, and ours is larger.
COLOURS = {
    OURS: "#e5532d",
    "asyncio": "#8c959f",
    "uvloop": "#2f81f7",
    "rloop": "#b58900",
    "rsloop": "#3fb950",
    "zuvloop": "#a371f7",
    "uvloop+aiofastnet": "#79c0ff",
    "asyncio+aiofastnet": "#c8ccd0",
}


def shares(row: dict[str, Any]) -> dict[str, float]:
    """Each loop's speed in one case as a share of the fastest loop's; loops without a figure fail."""
    medians = {
        loop: cell["median"]
        for loop, cell in row["loops"].items()
        if cell["median"] and loop != FLOOR and loop in COLOURS
    }
    if not medians:
        return {}
    if row["less_is_better"]:
        best = min(medians.values())
        return {loop: best / median for loop, median in medians.items()}
    best = max(medians.values())
    return {loop: median / best for loop, median in medians.items()}


def _text(x: float, y: float, text: str, colour: str, *, anchor: str = "start", bold: bool) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" text-anchor="{anchor}"{weight}>'
        f"{escape(text)}</text>"
    )


def _dot(x: float, y: float, loop: str) -> str:
    radius = 5.5 if loop == OURS else 3.5
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{COLOURS[loop]}"/>'


def _legend(loops: list[str], colour: str) -> list[str]:
    parts, x = [], MARGIN
    for loop in loops:
        parts += [_dot(x + 5, 40, loop), _text(x + 15, 44, loop, colour, bold=loop == OURS)]
        x += 30 + 7 * len(loop)
    return parts


def draw(results: dict[str, Any], palette: dict[str, str]) -> str:
    """The whole chart."""
    rows = [(row, shares(row)) for row in results["rows"]]
    rows = [(row, found) for row, found in rows if found]
    present = {loop for _, found in rows for loop in found}
    loops = [loop for loop in COLOURS if loop in present]
    ink, faint = palette["text"], palette["faint"]
    machine = results["machine"]
    title = f"CPython {machine['python'].split()[0]}, {machine['cpu']}, {machine['date'][:10]}"
    heading = f"Speed as a share of the fastest loop ({title})"
    parts = [_text(MARGIN, 20, heading, ink, bold=True), *_legend(loops, ink)]
    y = TOP
    for group in GROUPS:
        chosen = [(row, found) for row, found in rows if row["group"] == group]
        if not chosen:
            continue
        y += LINE
        parts.append(_text(MARGIN, y, HEADINGS[group], ink, bold=True))
        for mark in (0, 0.25, 0.5, 0.75, 1):
            x = LABEL + mark * PLOT
            bottom = y + LINE * len(chosen) + 4
            parts.append(f'<path d="M{x:.0f} {y - 8}V{bottom}" stroke="{faint}"/>')
        for row, found in chosen:
            y += LINE
            parts.append(_text(MARGIN, y, row["title"], ink, bold=False))
            # Ours is drawn last, on top.
            drawn = sorted(found, key=lambda loop: loop == OURS)
            parts += [_dot(LABEL + found[loop] * PLOT, y - 4, loop) for loop in drawn]
    width, height = LABEL + PLOT + 2 * MARGIN, y + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="{palette["page"]}"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def main() -> None:
    """Reads the JSON and writes both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path, help="the JSON that compare.py wrote")
    parser.add_argument("chart", type=Path, help="path of the charts without -light.svg")
    options = parser.parse_args()
    results = json.loads(options.results.read_text())
    options.chart.parent.mkdir(parents=True, exist_ok=True)
    for name, palette in PALETTES.items():
        chart = options.chart.with_name(f"{options.chart.name}-{name}.svg")
        chart.write_text(draw(results, palette))


if __name__ == "__main__":
    main()
