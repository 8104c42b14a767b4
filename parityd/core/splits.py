"""Splits: known once, whichever book tells them, and what they make of quantities and prices of before (CONTRACT 2: `split`).

1. A split of one symbol and ratio on one UTC day is one split, however often and by whom it is told; the first accepted stands.
2. `factor(sym, t, u)`: units at u that one unit of t has become. A split counts from its own time on: a record of just then is in new units.
3. What is renamed keeps its trades and positions under the old name; they are valued at the prices of the new one.
4. Sums over trades of both sides of a split are taken in pieces, each with its factor (`rescaled`), so that quantities are those of the end.
"""

from collections.abc import Callable
from copy import copy
from math import prod

import numpy as np
from numpy.typing import NDArray

from parityd.core.rows import SHELF_NS
from parityd.core.summary import SYM_AT, Summary

DAY_NS = 86_400 * 1_000_000_000
I64 = NDArray[np.int64]
IN_UNITS = tuple(SYM_AT[name] for name in ("sizing_a", "model_a", "action_a", "q_allowed", "q_full", "q_live"))


class Splits:
    """(time, ratio) of the splits of each symbol (by its code), oldest first; and (time, symbol) of what it is called since."""

    def __init__(self) -> None:
        self.table: dict[int, list[tuple[int, float]]] = {}
        self.renamed: dict[int, tuple[int, int]] = {}

    def learn(self, sym: int, ts: int, ratio: float, new: int = 0) -> bool:
        """False where it is known already, or changes nothing. `new`: the code of the new symbol, 0 none."""
        named = new not in (0, sym) and sym not in self.renamed
        if named:
            self.renamed[sym] = ts, new
        known = self.table.get(sym, [])
        if ratio == 1.0 or any(r == ratio and t // DAY_NS == ts // DAY_NS for t, r in known):
            return named
        self.table[sym] = sorted([*known, (ts, ratio)])
        return True

    @property
    def version(self) -> int:
        """Another one wherever one was learned."""
        return sum(map(len, self.table.values())) + len(self.renamed)

    def between(self, sym: int, t: int, u: int) -> list[tuple[int, float]]:
        """Those after t, until u."""
        return [one for one in self.table.get(sym, ()) if t < one[0] <= u]

    def shelves(self, sym: int) -> list[tuple[int, float]]:
        """(interval of 15 minutes, ratio) of each, oldest first."""
        return [(ts // SHELF_NS, ratio) for ts, ratio in self.table.get(sym, ())]

    def factor(self, sym: int, t: int, u: int) -> float:
        return prod(ratio for _, ratio in self.between(sym, t, u))

    def factors(self, sym: int, t: I64, u: int) -> NDArray[np.float64]:
        """The same for many times t."""
        out = np.ones(len(t))
        for ts, ratio in self.table.get(sym, ()):
            if ts <= u:
                out[t < ts] *= ratio
        return out


def rescaled(s: Summary, splits: Splits, start: int, end: int, upto: int, part: Callable[[int, int], Summary]) -> Summary:
    """The sums of the trades of [start, end] with quantities in units of `upto`. `part(a, b)` gives the sums of [a, b]."""
    split = [k for k in s.sym if splits.between(k, start, upto)]
    if split:
        s = copy(s)  # the sums of shelves are shared
        s.sym = dict(s.sym)
    for sym in split:
        edges = [ts for ts, _ in splits.between(sym, start, upto) if ts <= end]
        whole = s.sym[sym].copy()
        whole[list(IN_UNITS)] = 0.0
        for a, b in zip([start, *edges], [*(ts - 1 for ts in edges), end], strict=True):
            mine = part(a, b).sym.get(sym)
            if mine is not None:
                whole[list(IN_UNITS)] += mine[list(IN_UNITS)] * splits.factor(sym, a, upto)
        s.sym[sym] = whole
    return s
