"""A row of the table: what was measured, against what, and whether its goal is kept. Ratios first, then seconds and the rest.

1. A row holds one value a run. Ratios are taken run by run, against what was measured in the same run, and only then is the median taken.
2. Cells read `median (smallest to largest)`. A goal is judged by the median; where it is missed the cell says by how many times.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

HEAD = (
    "| what | ratio | ratio of processor time | measured | processor time | peak memory | goal | kept |\n|---|---|---|---|---|---|---|---|"
)
NOTHING = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A limit on the median of the `ratio`, of the `value` or of the `peak`; `least` turns it round."""

    of: str
    limit: float
    text: str
    least: bool = False

    def kept(self, found: float) -> str:
        good = found >= self.limit if self.least else found <= self.limit
        times = self.limit / found if self.least and found else found / self.limit
        return "yes" if good else f"no, {times:.2f} x the goal" if not self.least else f"no, {times:.2f} x too slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line. `unit` is that of `values`; `ratio` and `cpu_ratio` are against `against`."""

    what: str
    values: Sequence[float] = ()
    unit: str = "s"
    ratio: Sequence[float] = ()
    cpu_ratio: Sequence[float] = ()
    against: str = ""
    cpu: Sequence[float] = ()
    peak: Sequence[float] = ()
    goal: Goal | None = None
    skipped: str = ""

    def line(self) -> str:
        if self.skipped:
            return f"| {self.what} | {' | '.join([NOTHING] * 5)} | {self.goal.text if self.goal else NOTHING} | left out: {self.skipped} |"
        found = {"ratio": self.ratio, "value": self.values, "peak": self.peak}
        kept = self.goal.kept(statistics.median(found[self.goal.of])) if self.goal and found[self.goal.of] else NOTHING
        cells = [
            self.what,
            f"{spread(self.ratio)} x {self.against}" if self.ratio else NOTHING,
            f"{spread(self.cpu_ratio)} x" if self.cpu_ratio else NOTHING,
            f"{spread(self.values)} {self.unit}" if self.values else NOTHING,
            f"{spread(self.cpu)} s" if self.cpu else NOTHING,
            f"{spread(self.peak)} MB" if self.peak else NOTHING,
            self.goal.text if self.goal else NOTHING,
            kept,
        ]
        return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """`median (smallest to largest)`; one value alone where there was one run."""
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def number(x: float) -> str:
    """Three figures or so, thousands apart."""
    size = abs(x)
    return f"{x:,.0f}" if size >= 100 else f"{x:.1f}" if size >= 10 else f"{x:.2f}"


def over(mine: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Run by run."""
    return [a / b if b else float("inf") for a, b in zip(mine, theirs, strict=True)]


def at(values: Sequence[float], share: float) -> float:
    """The value below which this share lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
