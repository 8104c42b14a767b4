"""Market prices by symbol, one set for both books (the rule of m_T, MATH 1).

1. The price at a time is the newest `mark` or decision mark at or before it, the live book's before the backtest's where both are as new;
   a fill price only where it is newer than these by more than 15 minutes.
2. The answer depends on the records alone, not on the order in which they came. What was taken back (`taken_back` of a rank) takes one equal
   point with it.
3. A price of before a split is, after it, that of a new unit.
4. Beyond `KEPT` points (of traded prices, `KEPT_TRADED`) a series is thinned to the last one of each 15 minutes, oldest part first: what is
   read later are the boundaries of 15 minutes and days.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from parityd.core.changes import Changes
from parityd.core.records import NO_TS
from parityd.core.rows import SHELF_NS
from parityd.core.splits import Splits

LIVE_MARK, BACKTEST_MARK, TRADED, TRADED_LIVE = 3, 2, 0, 1
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
FILL_LEAD_NS = 900 * 1_000_000_000
KEPT = 200_000
KEPT_TRADED = 20_000
FEW = 4  # times are looked up one by one
GRIDS = 500  # stretches of which prices are kept
MANY = 4096  # points are sorted in as they come once so many, and a good part of the series, wait


def taken_back(rank: int) -> int:
    """The rank under which a point of this rank is added to be taken back."""
    return -1 - rank


TRADES = (TRADED, TRADED_LIVE, taken_back(TRADED), taken_back(TRADED_LIVE))


def in_order(ts: I64, rank: NDArray[np.int8], px: F64) -> I64:
    """The order by time, then rank, then price. What comes is mostly in order of time, and few times are the same."""
    order: I64 = np.argsort(ts, kind="stable")
    new = np.diff(ts[order]) != 0
    if not new.all():
        alike = np.flatnonzero(np.concatenate([[False], ~new]) | np.concatenate([~new, [False]]))
        mine, group = order[alike], np.concatenate([[0], np.cumsum(new)])[alike]
        order[alike] = mine[np.lexsort((px[mine], rank[mine], group))]
    return order


class Series:
    """Points (time, rank, price), sorted so when read: of equal time the highest rank stands, of equal rank the largest price (any rule will
    do, if it does not depend on order).
    """

    __slots__ = ("_fresh", "_kept", "_room", "_waiting", "changes", "px", "rank", "thinned", "ts")

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self.ts: I64 = np.zeros(0, np.int64)
        self.rank: NDArray[np.int8] = np.zeros(0, np.int8)
        self.px: F64 = np.zeros(0)
        self._room: tuple[I64, NDArray[np.int8], F64] = (self.ts, self.rank, self.px)  # these columns, with room for what comes
        self._fresh: list[tuple[I64, NDArray[np.int8], F64]] = []
        self._waiting = 0
        self.thinned = False  # since this was last set to False: what is stored holds more than is needed
        self.changes = Changes()  # the earliest time of each batch that came or was taken back

    def add(self, ts: I64, rank: int, px: F64, *, later: bool = False) -> None:
        """New points; `later`: they are not sorted in before they are asked for."""
        if len(ts):
            self._fresh.append((ts, np.full(len(ts), rank, np.int8), px))
            self.changes.note(int(ts.min()))
            self._waiting += len(ts)
            if not later and self._waiting > MANY and 4 * self._waiting > len(self.ts):
                self.settle()

    def settle(self) -> None:
        if not self._fresh:
            return
        gone = [f for f in self._fresh if len(f[1]) and f[1][0] < 0]
        came = [f for f in self._fresh if len(f[1]) and f[1][0] >= 0]
        self._fresh, self._waiting = [], 0
        if came:
            self._take_in(*(np.concatenate([f[k] for f in came]) for k in range(3)))
        for t, r, p in gone:
            self._take_back(t, int(taken_back(int(r[0]))), p)
        self._thin()

    def _take_in(self, ts: I64, rank: NDArray[np.int8], px: F64) -> None:
        behind = len(self.ts) == 0 or int(ts.min()) > int(self.ts[-1])  # the usual case: only what is new is sorted
        if not behind:
            ts, rank, px = np.concatenate([self.ts, ts]), np.concatenate([self.rank, rank]), np.concatenate([self.px, px])
        order = in_order(ts, rank, px)
        ts, rank, px = ts[order], rank[order], px[order]
        if behind and len(self.ts):
            self._append(ts, rank, px)
        else:
            self.ts, self.rank, self.px = self._room = ts, rank, px

    def _append(self, ts: I64, rank: NDArray[np.int8], px: F64) -> None:
        """Behind what is there; what was given out stays as it was."""
        n, end = len(self.ts), len(self.ts) + len(ts)
        if end > len(self._room[0]):
            self._room = tuple(np.concatenate([x, np.zeros(len(ts) + end // 8, x.dtype)]) for x in (self.ts, self.rank, self.px))  # type: ignore[assignment]
        room_ts, room_rank, room_px = self._room
        room_ts[n:end], room_rank[n:end], room_px[n:end] = ts, rank, px
        self.ts, self.rank, self.px = room_ts[:end], room_rank[:end], room_px[:end]

    def _take_back(self, ts: I64, rank: int, px: F64) -> None:
        keep = np.ones(len(self.ts), np.bool_)
        for t, p in zip(ts.tolist(), px.tolist(), strict=True):
            lo, hi = np.searchsorted(self.ts, [t, t + 1])
            hit = np.flatnonzero(keep[lo:hi] & (self.rank[lo:hi] == rank) & (self.px[lo:hi] == p))
            keep[lo + hit[:1]] = False
        self.ts, self.rank, self.px = self._room = self.ts[keep], self.rank[keep], self.px[keep]

    def _thin(self) -> None:
        if len(self.ts) > self._kept:
            self.thinned = True
            self.changes.note(int(self.ts[0]))
            half = len(self.ts) // 2
            keep = np.ones(len(self.ts), np.bool_)
            shelf = self.ts[:half] // SHELF_NS
            keep[: half - 1] = shelf[1:] != shelf[:-1]
            self.ts, self.rank, self.px = self._room = self.ts[keep], self.rank[keep], self.px[keep]

    def at(self, t: int) -> tuple[float, int]:
        """(price, its time) newest at or before t, or (nan, NO_TS)."""
        self.settle()
        k = int(self.ts.searchsorted(t, side="right")) - 1
        return (float(self.px[k]), int(self.ts[k])) if k >= 0 else (float("nan"), NO_TS)


class Marks:
    """Marks and traded prices of every symbol (by its code)."""

    def __init__(self, splits: Splits | None = None) -> None:
        self.splits = splits or Splits()
        self.marks: dict[int, Series] = {}
        self.traded: dict[int, Series] = {}
        self._grids: dict[tuple[int, int, int], tuple[tuple[int, ...], F64]] = {}

    def add(self, symbol: int, rank: int, ts: I64, px: F64, *, later: bool = False) -> None:
        table = self.traded if rank in TRADES else self.marks
        series = table.get(symbol)
        if series is None:
            series = table[symbol] = Series(KEPT_TRADED if table is self.traded else KEPT)
        series.add(ts, rank, px, later=later)

    def thinned(self) -> Iterator[tuple[int, tuple[int, ...], list[tuple[int, I64, F64]]]]:
        """Series that were thinned since this was asked last: (symbol, all their ranks, what is left of each rank)."""
        for table, ranks in ((self.marks, (LIVE_MARK, BACKTEST_MARK)), (self.traded, (TRADED, TRADED_LIVE))):
            for symbol, s in table.items():
                if s.thinned:
                    s.settle()
                    s.thinned = False
                    left = [(r, s.ts[s.rank == r], s.px[s.rank == r]) for r in ranks]
                    yield symbol, (*ranks, *map(taken_back, ranks)), left

    def price(self, symbol: int, t: int, since: int = NO_TS) -> tuple[float, int]:
        """m_T: (price, its time), or (nan, NO_TS) where nothing is known at or before t; of what was renamed (after `since`) the new name's."""
        at, new = self.splits.renamed.get(symbol, (NO_TS, 0))
        if new and since < at <= t:
            found = self.price(new, t, at)
            if found[1] >= at:
                return found
        mark = self.marks[symbol].at(t) if symbol in self.marks else (float("nan"), NO_TS)
        fill = self.traded[symbol].at(t) if symbol in self.traded else (float("nan"), NO_TS)
        price, when = fill if fill[1] != NO_TS and (mark[1] == NO_TS or fill[1] - mark[1] > FILL_LEAD_NS) else mark
        return (price, when) if when == NO_TS else (price / self.splits.factor(symbol, when, t), when)

    def version(self, symbol: int) -> tuple[int, ...]:
        """Another one wherever a price of a symbol, or of what it is called since, came, was taken back or was let go of."""
        return tuple(0 if s is None else s.changes.version for s in self._of(symbol))

    def stands(self, symbol: int, t: int, version: tuple[int, ...]) -> bool:
        """Whether no price at or before t is another one since then."""
        return all(_stands(s, t, seen) for s, seen in zip(self._of(symbol), version, strict=True))

    def _of(self, symbol: int) -> list[Series | None]:
        out = [self.marks.get(symbol), self.traded.get(symbol)]
        _, new = self.splits.renamed.get(symbol, (NO_TS, 0))
        return [*out, *self._of(new)] if new else out

    def marks_only(self, symbol: int) -> tuple[I64, F64]:
        """All marks of a symbol (times, prices), oldest first. What is given is never changed afterwards."""
        series = self.marks.get(symbol)
        if series is None:
            return np.zeros(0, np.int64), np.zeros(0)
        series.settle()
        return series.ts, series.px

    def first_after(self, symbol: int, t: int) -> tuple[float, int]:
        """The first price after t, for a window that begins before any price is known."""
        best: tuple[float, int] = (float("nan"), NO_TS)
        for table in (self.marks, self.traded):
            if symbol in table:
                table[symbol].settle()
                s = table[symbol]
                k = int(np.searchsorted(s.ts, t, side="right"))
                if k < len(s.ts) and (best[1] == NO_TS or int(s.ts[k]) < best[1]):
                    best = s.at(int(s.ts[k]))
        return best if best[1] == NO_TS else (best[0] * self.splits.factor(symbol, t, best[1]), best[1])

    def boundaries(self, symbol: int, first: int, n: int) -> F64:
        """m_T at the begin of interval `first` and at the ends of the n intervals from there. Shape (n + 1,), not to be changed: strategies that trade
        one symbol ask for the same ones.
        """
        as_of = (*self.version(symbol), self.splits.version)
        seen, found = self._grids.get((symbol, first, n), ((), None))
        if found is None or seen != as_of:
            if len(self._grids) >= GRIDS:
                self._grids.clear()
            found = self.grid(symbol, (first + np.arange(n + 1, dtype=np.int64)) * SHELF_NS)
            found.flags.writeable = False
            self._grids[symbol, first, n] = (*self.version(symbol), self.splits.version), found
        return found

    def grid(self, symbol: int, ends: Sequence[int] | I64) -> F64:
        """m_T at each of the given times (sorted). Shape (len(ends),), NaN before the first price."""
        t = np.asarray(ends, np.int64)
        if len(t) <= FEW and len(self.splits.table.get(symbol, ())) < 2:
            return np.array([self.price(symbol, end)[0] for end in t.tolist()])
        return self.grid_of_many(symbol, t)

    def grid_of_many(self, symbol: int, t: I64) -> F64:
        """The same in columns."""
        out = np.full(len(t), np.nan)
        when = np.full(len(t), NO_TS)
        if symbol in self.marks:
            s = self.marks[symbol]
            s.settle()
            k = np.searchsorted(s.ts, t, side="right") - 1
            ok = k >= 0
            out[ok], when[ok] = s.px[k[ok]], s.ts[k[ok]]
        if symbol in self.traded:
            self.traded[symbol].settle()
        if symbol in self.traded and len(self.traded[symbol].ts):  # all may have been taken back
            s = self.traded[symbol]
            k = np.searchsorted(s.ts, t, side="right") - 1
            ok = k >= 0
            newer = ok & ((when == NO_TS) | (np.where(ok, s.ts[np.maximum(k, 0)], 0) - np.where(when == NO_TS, 0, when) > FILL_LEAD_NS))
            out[newer], when[newer] = s.px[k[newer]], s.ts[k[newer]]
        for ts, ratio in self.splits.table.get(symbol, ()):
            out[(when < ts) & (t >= ts)] /= ratio
        at, new = self.splits.renamed.get(symbol, (NO_TS, 0))
        if new and (t >= at).any():
            later = t >= at
            out[later] = [self.price(symbol, end)[0] for end in t[later].tolist()]
        return out


def _stands(s: Series | None, t: int, seen: int) -> bool:
    if s is None or s.changes.version == seen:
        return True
    changed, _ = s.changes.since(seen)
    return changed is not None and min(changed) > t
