"""What each row must reach: a bound on the ratio of ours to another figure of the same run."""

from __future__ import annotations

from dataclasses import dataclass

BEST = "best"
FLOOR = "floor"


@dataclass(frozen=True)
class Target:
    """Ours divided by `against` is at least (or, where less is better, at most) `bound`.

    `against` is the name of a loop, `best` (the best other loop) or `floor` (the epoll echo server).
    An `absolute` bound is in the row's own unit instead.
    """

    bound: float
    against: str = BEST
    absolute: bool = False

    def text(self, *, less_is_better: bool) -> str:
        """The bound as the table shows it."""
        sign = "<=" if less_is_better else ">="
        text = f"{sign} {self.bound:g}"
        return text if self.absolute else f"{text} of {self.against}"

    def met(self, ratio: float, *, less_is_better: bool) -> bool:
        """Whether a ratio (or, for an absolute bound, a figure) reaches the bound."""
        return ratio <= self.bound if less_is_better else ratio >= self.bound
