"""The decisions of both books of one strategy, kept on shelves of 15 minutes, for decision parity.

1. A decision lies on the shelf of its time, floored to the strategy's `timeframe` where one is configured.
2. What a newer backtest run covers is gone, also where it is read again from stored pieces.
3. 31 days are kept. Beyond `most` decisions in memory the oldest shelves are let go and read again through `load`; what was counted of them stays.
4. `pieces` gives each turn's new decisions by shelf, as bytes: the store keeps them one after the other.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from parityd.core.books import RunSpan
from parityd.core.columns import DecisionColumns
from parityd.core.executions import of_pairs, pairs_of
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.rows import SHELF_NS
from parityd.core.terms import Instruments, Names

KEPT = 31 * 96
MOST = 500_000
CODE = {BACKTEST: 0, LIVE: 1}

DECISION = np.dtype([
    ("t", "i8"), ("ts", "i8"), ("key", "u8"), ("run", "i8"), ("q", "f8"), ("sym", "i4"), ("book", "i1"), ("action", "i1"), ("side", "i1"), ("_", "i1"),
])  # fmt: skip
"""`t`: `ts` floored; `q` in units of the underlying, NaN where not said; `run`: when its run was created; action and side as in `columns`."""

Decided = NDArray[np.void]
LoadDecisions = Callable[[int], bytes]


class Decisions:
    """The kept decisions of one strategy."""

    def __init__(self, *, timeframe: float | None = None, load: LoadDecisions | None = None, most: int = MOST) -> None:
        self.timeframe = round(timeframe * 1e9) if timeframe else 0
        self.load, self.most = load, most
        self.shelves: dict[int, Decided] = {}
        self.known: set[int] = set()  # shelves that have decisions, in memory or not
        self.dirty: set[int] = set()  # shelves to be compared again
        self.newest = -1
        self._fresh: dict[int, list[Decided]] = {}
        self._runs: list[tuple[int, int, int, int]] = []  # (created, start, end, symbol or 0)

    def add(self, book: str, d: DecisionColumns, instruments: Instruments, created: NDArray[np.int64] | None = None) -> None:
        """Take a batch in, whose decisions are new and of this strategy. `created`: when the run of each was created (NO_TS: no run)."""
        rows = np.zeros(len(d), DECISION)
        pairs, which = pairs_of(book, d.owner, instruments)
        multiplier = np.where(np.isnan(d.multiplier), of_pairs(pairs, which, "multiplier", np.float64), d.multiplier)
        rows["ts"], rows["key"], rows["book"] = d.ts, d.key, CODE[book]
        rows["t"] = d.ts // self.timeframe * self.timeframe if self.timeframe else d.ts
        rows["sym"] = of_pairs(pairs, which, "sym", np.int32)
        rows["q"], rows["action"], rows["side"] = d.quantity * multiplier, d.action, d.side
        rows["run"] = NO_TS if created is None else created
        self.put(self._standing(rows), fresh=True)

    def put(self, rows: Decided, *, fresh: bool = False) -> None:
        """Rows onto their shelves; those older than the kept days are left out."""
        if len(rows) == 0:
            return
        numbers = rows["t"] // SHELF_NS
        self.newest = max(self.newest, int(numbers.max()))
        for number in np.unique(numbers).tolist():
            if number <= self.newest - KEPT:
                continue
            own = rows[numbers == number]
            self.shelves[number] = np.concatenate([self.rows(number), own])
            self.known.add(number)
            self.dirty.add(number)
            if fresh:
                self._fresh.setdefault(number, []).append(own)

    def rows(self, number: int) -> Decided:
        """The decisions of a shelf, in no order."""
        found = self.shelves.get(number)
        if found is None:
            data = self.load(number) if self.load is not None and number in self.known else b""
            found = self._standing(np.frombuffer(data, DECISION))
            if len(found):
                self.shelves[number] = found
        return found

    def _standing(self, rows: Decided) -> Decided:
        gone = np.zeros(len(rows), np.bool_)
        for created, start, end, sym in self._runs:
            covered = (rows["book"] == CODE[BACKTEST]) & (rows["run"] < created) & (rows["ts"] >= start) & (rows["ts"] < end)
            gone |= covered & ((rows["sym"] == sym) | (sym == 0))
        return rows[~gone] if gone.any() else rows

    def supersede(self, runs: Sequence[RunSpan], names: Names) -> None:
        """All backtest runs known by now: takes out what newer ones cover."""
        table = [(r.created, r.start, r.end, names.code(r.symbol) if r.symbol else 0) for r in runs]
        fresh = [r for r in table if r not in self._runs]
        self._runs = table
        for _, start, end, _ in fresh:
            for number in [k for k in self.known if (start - self.timeframe) // SHELF_NS <= k <= end // SHELF_NS]:
                rows = self.rows(number)
                kept = self._standing(rows)
                if len(kept) < len(rows):
                    self.shelves[number] = kept
                    self.dirty.add(number)

    def pieces(self) -> dict[int, bytes]:
        """New decisions by shelf since the last call, to be stored behind what the store has of the shelf."""
        out = {number: b"".join(p.tobytes() for p in parts) for number, parts in self._fresh.items()}
        self._fresh.clear()
        return out

    def restore(self, numbers: Sequence[int]) -> None:
        """The shelves that the store has; their rows are read when they are needed."""
        self.known.update(numbers)
        self.dirty.update(numbers)
        self.newest = max([self.newest, *numbers])

    def forget(self) -> list[int]:
        """Drop what is older than the kept days, and from memory what is too much; the shelves that the store may drop."""
        old = [k for k in self.known if k <= self.newest - KEPT]
        for number in old:
            self.known.discard(number)
            self.dirty.discard(number)
            self._fresh.pop(number, None)
            self.shelves.pop(number, None)
        held = sum(map(len, self.shelves.values()))
        for number in sorted(self.shelves):
            if held <= self.most or self.load is None:
                break
            if number not in self.dirty and number not in self._fresh:
                held -= len(self.shelves.pop(number))
        return old
