"""One ledger as columns over a stretch of intervals, kept up to date: what a check reads instead of thousands of entries.

1. It is told which entries changed and writes those alone; a symbol that is new is read whole. It reaches further than was asked, so that the
   stretch moves on without being read again.
2. A book of the backtest has moved where it posted and something is left of it: a posting that a newer run or a stop took back has not.
3. Positions are integers; what the ledger folds into its opening leaves the columns.
4. The columns are a function of the ledger as it is, however it became so: a fresh tape holds the same.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from parityd.core.ledger import ALLOWED, BOOK, LIVE_BOOK, Entry, Ledger

I64 = NDArray[np.int64]
SPARE = 96
NEVER = 2**62
_NOTHING = 1e-9  # money under which a book counts as not having moved: the rounding of a posting taken back


class Tape:
    """One ledger as columns: quantities in 1e-8 units (symbols, 4, n), cash less fees and funding (symbols, 3, n), which books moved."""

    def __init__(self) -> None:
        self.base, self.length = 0, 0
        self.places: dict[int, int] = {}
        self.currency: dict[int, int] = {}
        self._opening: dict[int, list[int]] = {}
        self._changed: set[tuple[int, int]] = set()
        self._earliest = NEVER
        self._room(0)

    def _room(self, symbols: int) -> None:
        self.q = np.zeros((symbols, 4, self.length), np.int64)
        self.cash = np.zeros((symbols, 3, self.length))
        self.moved = np.zeros((symbols, 3, self.length), np.bool_)
        self.before = np.zeros((symbols, 4), np.int64)
        self._summed, self._sums = 0, np.zeros((symbols, 4), np.int64)  # what was bought and sold before that place

    @property
    def size(self) -> int:
        """Bytes held."""
        return self.q.nbytes + self.cash.nbytes + self.moved.nbytes

    def covers(self, number: int) -> bool:
        """Whether its stretch begins at or before this interval."""
        return self.length > 0 and self.base <= number

    def held(self, at: int) -> I64:
        """Positions (symbols, 4) before the interval at this place."""
        if at < self._summed:
            self._summed, self._sums = 0, np.zeros_like(self._sums)
        self._sums = self._sums + self.q[:, :, self._summed : at].sum(axis=2)
        self._summed = at
        return self.before + self._sums

    def note(self, changed: Iterable[tuple[int, int]]) -> None:
        """Entries (symbol, interval) of the ledger that changed since the last call."""
        self._changed.update(changed)

    def taken(self) -> int:
        """The earliest interval whose columns, or the position before it, changed since the last call; `NEVER` where none did."""
        earliest, self._earliest = self._earliest, NEVER
        return earliest

    def hold(self, ledger: Ledger, first: int, last: int) -> None:
        """Bring the columns to the ledger's present state and let them cover at least first..last."""
        if not self.length or first < self.base or first >= self.base + self.length:
            self._start(ledger, first, last - first + 1 + SPARE)
        elif last >= self.base + self.length:
            self._shift(first - self.base, last - first + 1)
        self._add(ledger, {*ledger.entries, *ledger.opening} - self.places.keys())
        changed, self._changed = self._changed, set()
        early = {sym for sym, base in ledger.opening.items() if self._opening.get(sym) != base}
        for sym, number in changed:
            if number < self.base:
                early.add(sym)
            elif number >= self.base + self.length:
                self._changed.add((sym, number))
            elif (e := ledger.held(sym, number)) is not None:
                self._write(self.places[sym], number - self.base, e)
                self._earliest = min(self._earliest, number)
        for sym in early:
            self._carry(ledger, sym)

    def _start(self, ledger: Ledger, first: int, length: int) -> None:
        self.base, self.length = first, length
        self.places.clear()
        self._changed.clear()
        self._room(0)
        self._add(ledger, {*ledger.entries, *ledger.opening})

    def _shift(self, by: int, at_least: int) -> None:
        self.before += self.q[:, :, :by].sum(axis=2)
        self.base += by
        self.length = max(self.length, at_least + SPARE)
        kept = (self.q[:, :, by:], self.cash[:, :, by:], self.moved[:, :, by:])
        before = self.before
        self._room(len(before))
        self.before = before
        for column, old in zip((self.q, self.cash, self.moved), kept, strict=True):
            column[:, :, : old.shape[2]] = old

    def _add(self, ledger: Ledger, symbols: set[int]) -> None:
        if not symbols:
            return
        for name in ("q", "cash", "moved", "before", "_sums"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros((len(symbols), *column.shape[1:]), column.dtype)]))
        self._earliest = self.base
        for sym in symbols:
            self.places[sym] = place = len(self.places)
            for k, e in ledger.each(sym, self.base, NEVER):
                if k >= self.base + self.length:
                    self._changed.add((sym, k))
                else:
                    self._write(place, k - self.base, e)
            self._carry(ledger, sym)

    def _write(self, place: int, at: int, e: Entry) -> None:
        if at < self._summed:
            self._sums[place] += np.array(e.q) - self.q[place, :, at]
        self.q[place, :, at] = e.q
        self.cash[place, :, at] = [c - f - x for c, f, x in zip(e.cash, e.fees, e.funding, strict=True)]
        self.moved[place, :, at] = [_moved(e, BOOK), _moved(e, ALLOWED), e.trades[LIVE_BOOK] > 0]

    def _carry(self, ledger: Ledger, sym: int) -> None:
        """The position at the base anew; what the ledger has folded into its opening is no longer in the columns."""
        place = self.places[sym]
        folded = max(0, min(ledger.floor, self.base + self.length) - self.base)
        if folded:
            for column in (self.q, self.cash, self.moved):
                column[place, :, :folded] = 0
            self._summed, self._sums = 0, np.zeros_like(self._sums)
        before = np.array(ledger.start(sym, self.base), np.int64)
        if folded or (before != self.before[place]).any():
            self._earliest = self.base
        self.before[place] = before
        self._opening[sym] = list(ledger.opening.get(sym, (0, 0, 0, 0)))


def _moved(e: Entry, side: int) -> bool:
    """Whether a book of the backtest traded: a posting that a run or a stop took back has not."""
    return e.trades[side] > 0 and (e.q[side] != 0 or abs(e.cash[side]) + abs(e.fees[side]) > _NOTHING)
