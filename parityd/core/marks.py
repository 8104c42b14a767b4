"""Market prices by symbol, one set for both books (the rule of m_T, MATH 1).

1. The price at a time is the newest `mark` or decision mark at or before it, the live book's before the backtest's where both are as new;
   a fill price only where it is newer than these by more than 15 minutes.
2. The answer depends on the records alone, not on the order in which they came.
3. Beyond `KEPT` points a series is thinned to the last one of each 15 minutes, oldest part first: what is read later are the boundaries of
   15 minutes and days.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from parityd.core.records import NO_TS
from parityd.core.rows import SHELF_NS

LIVE_MARK, BACKTEST_MARK, TRADED, TRADED_LIVE = 3, 2, 0, 1
FILL_LEAD_NS = 900 * 1_000_000_000
KEPT = 200_000


class Series:
    """Points (time, rank, price), sorted by time then rank when read. Of equal time and rank the largest price stands (any rule will do,
    if it does not depend on order).
    """

    __slots__ = ("_fresh", "px", "rank", "ts")

    def __init__(self) -> None:
        self.ts: NDArray[np.int64] = np.zeros(0, np.int64)
        self.rank: NDArray[np.int8] = np.zeros(0, np.int8)
        self.px: NDArray[np.float64] = np.zeros(0)
        self._fresh: list[tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.float64]]] = []

    def add(self, ts: NDArray[np.int64], rank: int, px: NDArray[np.float64]) -> None:
        self._fresh.append((ts, np.full(len(ts), rank, np.int8), px))

    def settle(self) -> None:
        if not self._fresh:
            return
        ts = np.concatenate([f[0] for f in self._fresh])
        rank = np.concatenate([f[1] for f in self._fresh])
        px = np.concatenate([f[2] for f in self._fresh])
        self._fresh.clear()
        later = len(self.ts) == 0 or (len(ts) > 0 and int(ts.min()) > int(self.ts[-1]))
        if not later:
            ts, rank, px = np.concatenate([self.ts, ts]), np.concatenate([self.rank, rank]), np.concatenate([self.px, px])
        ts, rank, px = _sorted(ts, rank, px)
        if later and len(self.ts):  # the usual case: what is new lies behind what is known
            ts, rank, px = np.concatenate([self.ts, ts]), np.concatenate([self.rank, rank]), np.concatenate([self.px, px])
        if len(ts) > KEPT:
            half = len(ts) // 2
            keep = np.ones(len(ts), np.bool_)
            shelf = ts[:half] // SHELF_NS
            keep[: half - 1] = shelf[1:] != shelf[:-1]
            ts, rank, px = ts[keep], rank[keep], px[keep]
        self.ts, self.rank, self.px = ts, rank, px

    def at(self, t: int) -> tuple[float, int]:
        """(price, its time) newest at or before t, or (nan, NO_TS)."""
        self.settle()
        k = int(np.searchsorted(self.ts, t, side="right")) - 1
        return (float(self.px[k]), int(self.ts[k])) if k >= 0 else (float("nan"), NO_TS)


def _sorted(
    ts: NDArray[np.int64], rank: NDArray[np.int8], px: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.float64]]:
    """By time, rank and price; of equal time and rank the last stands."""
    order = np.lexsort((px, rank, ts))
    ts, rank, px = ts[order], rank[order], px[order]
    last = np.ones(len(ts), np.bool_)
    last[:-1] = (ts[1:] != ts[:-1]) | (rank[1:] != rank[:-1])
    return ts[last], rank[last], px[last]


class Marks:
    """Marks and traded prices of every symbol (by its code)."""

    def __init__(self) -> None:
        self.marks: dict[int, Series] = {}
        self.traded: dict[int, Series] = {}

    def add(self, symbol: int, rank: int, ts: NDArray[np.int64], px: NDArray[np.float64]) -> None:
        table = self.traded if rank in (TRADED, TRADED_LIVE) else self.marks
        table.setdefault(symbol, Series()).add(ts, rank, px)

    def price(self, symbol: int, t: int) -> tuple[float, int]:
        """m_T: (price, its time), or (nan, NO_TS) where nothing is known at or before t."""
        mark = self.marks[symbol].at(t) if symbol in self.marks else (float("nan"), NO_TS)
        fill = self.traded[symbol].at(t) if symbol in self.traded else (float("nan"), NO_TS)
        if fill[1] == NO_TS:
            return mark
        return fill if mark[1] == NO_TS or fill[1] - mark[1] > FILL_LEAD_NS else mark

    def mark_only(self, symbol: int, t: int) -> tuple[float, int]:
        """The newest mark (no traded price) at or before t."""
        return self.marks[symbol].at(t) if symbol in self.marks else (float("nan"), NO_TS)

    def first_after(self, symbol: int, t: int) -> tuple[float, int]:
        """The first price after t, for a window that begins before any price is known."""
        best: tuple[float, int] = (float("nan"), NO_TS)
        for table in (self.marks, self.traded):
            if symbol in table:
                table[symbol].settle()
                s = table[symbol]
                k = int(np.searchsorted(s.ts, t, side="right"))
                if k < len(s.ts) and (best[1] == NO_TS or int(s.ts[k]) < best[1]):
                    best = (float(s.px[k]), int(s.ts[k]))
        return best

    def grid(self, symbol: int, ends: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """m_T at each of the given times (sorted). Shape (len(ends),), NaN before the first price."""
        t = np.asarray(ends, np.int64)
        out = np.full(len(t), np.nan)
        when = np.full(len(t), NO_TS)
        if symbol in self.marks:
            s = self.marks[symbol]
            s.settle()
            k = np.searchsorted(s.ts, t, side="right") - 1
            ok = k >= 0
            out[ok], when[ok] = s.px[k[ok]], s.ts[k[ok]]
        if symbol in self.traded:
            s = self.traded[symbol]
            s.settle()
            k = np.searchsorted(s.ts, t, side="right") - 1
            ok = k >= 0
            newer = ok & ((when == NO_TS) | (np.where(ok, s.ts[np.maximum(k, 0)], 0) - np.where(when == NO_TS, 0, when) > FILL_LEAD_NS))
            out[newer] = s.px[k[newer]]
        return out
