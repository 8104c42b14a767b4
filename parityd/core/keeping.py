"""What was measured of one strategy's window, kept until something that it was measured of changes: a look where nothing happened costs the looking.

1. The window is a function of the shelves' sums, of what is settled, of the lines that nothing reaches behind, and of the terms. Where nothing waits,
   neither before nor now, it does not matter what is settled until when.
2. The attribution is a function of the window, of the prices until its end, and of splits.
3. What time alone changes (the last hour, the hours of history) is measured at every look.
4. With or without what is kept the numbers are the same.
"""

import msgspec

from parityd.core.judging import Judged, judge_window, runaway
from parityd.core.marks import Marks
from parityd.core.measures import Attribution
from parityd.core.parameters import Parameters, StrategyTerms, TrackingError
from parityd.core.rows import shelf_of
from parityd.core.strategy import Strategy
from parityd.core.window import Settling

MOST = 200
"""Shelves that are looked through for what waits."""


class _Ground(msgspec.Struct, frozen=True):
    """What a window is measured of, but for what is settled."""

    sums: int
    line: int
    imported_until: int
    terms: StrategyTerms
    tracking_error: TrackingError


class Windows:
    """The window that was judged last, and its attribution."""

    def __init__(self) -> None:
        self._ground: _Ground | None = None
        self._until = Settling(0, 0, 0)
        self._judged: Judged | None = None
        self._attribution: Attribution | None = None
        self._prices: dict[int, tuple[int, ...]] = {}
        self._splits = 0

    def judge(self, s: Strategy, p: Parameters, until: Settling, now: int) -> Judged:
        """As `judging.judge`."""
        ground = _Ground(s.books.summaries.version, s.memory.line, s.memory.imported_until, p.of(s.name), p.tracking_error)
        if self._judged is None or ground != self._ground or not self._alike(s, until):
            self._judged, self._attribution = judge_window(s, p, until), None
        self._ground, self._until = ground, until
        return self._judged.in_hour(runaway(s, now))

    def _alike(self, s: Strategy, until: Settling) -> bool:
        return until == self._until or (nothing_waits(s, until) and nothing_waits(s, self._until))

    def attribution(self, marks: Marks) -> Attribution | None:
        """That of the window judged last; None where it has to be made, or made again."""
        if self._attribution is None or self._judged is None or self._judged.window is None or marks.splits.version != self._splits:
            return None
        end = self._judged.window.end
        return self._attribution if all(marks.stands(sym, end, seen) for sym, seen in self._prices.items()) else None

    def keep(self, a: Attribution, symbols: list[int], marks: Marks) -> None:
        """The attribution of the window judged last, of these symbols."""
        self._attribution, self._splits = a, marks.splits.version
        self._prices = {sym: marks.version(sym) for sym in symbols}


def nothing_waits(s: Strategy, until: Settling) -> bool:
    """Whether every execution is settled; False also where that would take long to find out."""
    table, edges = s.books.summaries, [until.until(kind) for kind in range(4)]
    numbers = table.between(shelf_of(min(edges)), 2**62)
    return len(numbers) <= MOST and all(
        high <= edge for number in numbers for edge, (_, high) in zip(edges, table[number].spans, strict=True)
    )
