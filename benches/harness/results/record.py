"""The results of a run, as they grow, and their JSON."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from harness.loops import OURS
from harness.results.targets import BEST, FLOOR

if TYPE_CHECKING:
    from pathlib import Path

    from harness.case import Case
    from harness.measure import Figure


@dataclass
class Cell:
    """All figures of one case on one loop."""

    figures: list[Figure] = field(default_factory=list)

    @property
    def median(self) -> float | None:
        """The median of the figures that there are."""
        values = [figure.value for figure in self.figures if figure.value is not None]
        return statistics.median(values) if values else None

    @property
    def reason(self) -> str | None:
        """Why the first figure that is missing is missing."""
        return next((figure.reason for figure in self.figures if figure.value is None), None)

    def detail(self, key: str) -> float | None:
        """The median of a detail, None if no run has it."""
        values = [figure.details[key] for figure in self.figures if key in figure.details]
        return statistics.median(values) if values else None

    def as_json(self) -> dict[str, Any]:
        """The cell with every run's figure."""
        return {
            "median": self.median,
            "values": [figure.value for figure in self.figures],
            "reason": self.reason,
            "others_cores": [figure.others for figure in self.figures],
            "runs": [figure.details for figure in self.figures],
        }


@dataclass
class Row:
    """One case with its cells by loop."""

    case: Case
    cells: dict[str, Cell] = field(default_factory=dict)

    def add(self, loop: str, figure: Figure) -> None:
        """Adds one run's figure."""
        self.cells.setdefault(loop, Cell()).figures.append(figure)

    def median(self, loop: str) -> float | None:
        """The loop's median, None without one."""
        cell = self.cells.get(loop)
        return None if cell is None else cell.median

    def values(self, loop: str) -> list[float | None]:
        """The loop's figures, round by round."""
        cell = self.cells.get(loop)
        return [] if cell is None else [figure.value for figure in cell.figures]

    def detail(self, loop: str, key: str) -> float | None:
        """The median of a detail of the loop's runs, None without one."""
        cell = self.cells.get(loop)
        return None if cell is None else cell.detail(key)

    def best_other(self) -> str | None:
        """The loop, other than ours and the floor, with the best median."""
        others = {
            loop: value
            for loop in self.cells
            if loop not in {OURS, FLOOR} and (value := self.median(loop)) is not None
        }
        if not others:
            return None
        choose = min if self.case.less_is_better else max
        return choose(others, key=lambda loop: others[loop])

    def ratio(self, against: str | None) -> float | None:
        """Ours divided by the figure of another loop."""
        ours = self.median(OURS)
        other = None if against is None else self.median(against)
        return None if ours is None or not other else ours / other

    def gain(self, alone: Row, loop: str) -> float | None:
        """A loop's figure by that of `alone`, the same case with one thread."""
        many, one = self.median(loop), alone.median(loop)
        return None if many is None or not one else many / one

    def target_ratio(self) -> float | None:
        """What the target's bound is compared with."""
        target = self.case.target
        if target is None:
            return None
        if target.absolute:
            return self.median(OURS)
        return self.ratio(self.best_other() if target.against == BEST else target.against)

    def verdict(self) -> bool | None:
        """Whether the target is met; None if there is nothing to judge."""
        ratio, target = self.target_ratio(), self.case.target
        if ratio is None or target is None:
            return None
        return target.met(ratio, less_is_better=self.case.less_is_better)

    def as_json(self) -> dict[str, Any]:
        """The row with all that is known about it."""
        case, best = self.case, self.best_other()
        return {
            "name": case.name,
            "title": case.title,
            "group": case.group,
            "unit": case.unit,
            "less_is_better": case.less_is_better,
            "target": None if case.target is None else asdict(case.target),
            "best_other": best,
            "ratio_to_best_other": self.ratio(best),
            "target_ratio": self.target_ratio(),
            "target_met": self.verdict(),
            "loops": {loop: cell.as_json() for loop, cell in self.cells.items()},
        }


def write(path: Path, machine: dict[str, Any], options: dict[str, Any], rows: list[Row]) -> None:
    """Writes everything, replacing what was there only when the new text is complete."""
    content = {"machine": machine, "options": options, "rows": [row.as_json() for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    fresh.replace(path)
