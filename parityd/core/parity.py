"""Decision and action parity (MATH 4): do both books decide alike? Beside execution parity, never mixed with it.

1. Decisions of one symbol are aligned by time as matching aligns decision times. With a `timeframe` equal floored times meet, equal actions first.
2. Alike: the same action (for `close` the same side), and a quantity within the tolerance of the allowed one. A quantity that one of them does
   not say is not compared. While sizes are or were scaled, the full quantity is like the allowed one: an engine may log its decision before it asks.
3. A book that sends no holds is taken to hold where it is silent. What was not allowed at all counts in neither number.
4. A pair counts once both watermarks have reached both times; silence once they are past the time by as far as a pair can reach.
5. A shelf is compared again when it or one that its decisions can reach has changed: counts are sums over shelves, whatever the history.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.columns import CLOSE, HOLD
from parityd.core.decisions import CODE, KEPT, Decided, Decisions
from parityd.core.matching import align, reach
from parityd.core.records import BACKTEST, LIVE
from parityd.core.rows import SHELF_NS

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

# kinds of a unit: a pair of decisions, or one that the other book is silent to
ALIKE_HOLD, ALIKE_ACT, UNLIKE, B_HOLD, B_ACT, L_HOLD, L_ACT, SUPPRESSED = range(8)
KINDS = 8
UNIT = np.dtype([("t", "i8"), ("due", "i8"), ("kind", "i1"), ("books", "i1")])
"""`t`: time of the backtest decision, else of the live one; `due`: what both watermarks must have reached; `books`: bit 0 backtest, bit 1 live."""
Units = NDArray[np.void]


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a window; both rates are None unless both books sent decisions in it."""

    decisions: int = 0
    alike: int = 0
    actions: int = 0
    actions_alike: int = 0
    suppressed: int = 0
    both: bool = False

    @property
    def decision_parity(self) -> float | None:
        return self.alike / self.decisions if self.both and self.decisions else None

    @property
    def action_parity(self) -> float | None:
        return self.actions_alike / self.actions if self.both and self.actions else None


class Scales:
    """What was published and obeyed: the size multiplier in force at a time, and whether sizes had been scaled before it."""

    def __init__(self, scales: Sequence[tuple[int, float]] = ()) -> None:
        self.since = np.array([t for t, _ in scales], np.int64)
        self.factor = np.array([1.0, *(x for _, x in scales)])
        self.cut = np.maximum.accumulate(self.factor < 1.0)

    def at(self, ts: NDArray[np.int64]) -> tuple[F64, Mask]:
        """(multiplier, was ever scaled by then)."""
        place = np.searchsorted(self.since, ts, side="right")
        return self.factor[place], self.cut[place]


class _Shelf:
    """The compared units of one shelf and their sums."""

    __slots__ = ("books", "counts", "due", "high", "low", "units")

    def __init__(self, units: Units) -> None:
        self.units = units
        self.counts, self.books = _sums(units)
        self.low, self.high = (int(units["t"].min()), int(units["t"].max())) if len(units) else (0, 0)
        self.due = int(units["due"].max()) if len(units) else 0


def _sums(units: Units) -> tuple[NDArray[np.int64], int]:
    return np.bincount(units["kind"], minlength=KINDS), int(np.bitwise_or.reduce(units["books"], initial=0)) if len(units) else 0


class DecisionParity:
    """Comparison of one strategy's decisions, kept up to date. `gap`, `tolerance` in ns as in matching."""

    def __init__(self, decisions: Decisions, *, gap: int, tolerance: int, quantity_tolerance: float) -> None:
        self.decisions, self.gap, self.tolerance, self.quantity_tolerance = decisions, gap, tolerance, quantity_tolerance
        self.far = 0 if decisions.timeframe else max(0, reach(gap, tolerance))
        self.around = -(-8 * self.far // SHELF_NS)  # shelves beside a shelf from which its pairs can depend
        self._shelves: dict[int, _Shelf] = {}
        self._scales: tuple[tuple[int, float], ...] = ()

    def refresh(self, scales: Sequence[tuple[int, float]] = ()) -> None:
        """Compare what changed. `scales`: (from ns, size multiplier) as published and obeyed, sorted."""
        known, dirty = self.decisions.known, self.decisions.dirty
        if tuple(scales) != self._scales:
            first = next((b[0] for a, b in zip((*self._scales, None), scales, strict=False) if a != b), 0)
            dirty |= {k for k in known if k >= first // SHELF_NS}
            self._scales = tuple(scales)
        table = Scales(scales)
        again = {k + j for k in dirty for j in range(-self.around, self.around + 1)} & (known | self._shelves.keys())
        for number in sorted(again):
            self._shelves[number] = _Shelf(self._compare(number, table))
        dirty.clear()
        for number in [k for k in self._shelves if k <= self.decisions.newest - KEPT]:
            del self._shelves[number]

    def window(self, start: int, end: int, reached: int, sends_holds: Mapping[str, bool]) -> Parity:
        """Counts of the units with start <= t <= end (ns) that watermarks up to `reached` (the smaller of both) let count."""
        counts, books = np.zeros(KINDS, np.int64), 0
        first = max((start - self.decisions.timeframe) // SHELF_NS, self.decisions.newest - KEPT)
        for number in range(first, min(end // SHELF_NS, self.decisions.newest) + 1):
            shelf = self._shelves.get(number)
            if shelf is None:
                continue
            found, who = shelf.counts, shelf.books
            if shelf.low < start or shelf.high > end or shelf.due > reached:
                u = shelf.units
                found, who = _sums(u[(u["t"] >= start) & (u["t"] <= end) & (u["due"] <= reached)])
            counts += found
            books |= who
        return _parity(counts, sends_holds, both=books == 3)

    def _compare(self, number: int, scales: Scales) -> Units:
        """The units that lie on this shelf, found among all that they can depend on."""
        near = [self.decisions.rows(k) for k in range(number - self.around, number + self.around + 1) if k in self.decisions.known]
        rows = np.concatenate(near) if near else self.decisions.rows(number)
        out = [self._symbol(rows[rows["sym"] == sym], number, scales) for sym in np.unique(rows["sym"]).tolist()]
        units: Units = np.concatenate(out) if out else np.zeros(0, UNIT)
        return units

    def _symbol(self, rows: Decided, number: int, scales: Scales) -> Units:
        rows = rows[np.lexsort((rows["key"], rows["ts"], rows["action"], rows["t"]))]
        b, l = rows[rows["book"] == CODE[BACKTEST]], rows[rows["book"] == CODE[LIVE]]
        pairs = _met(b, l) if self.decisions.timeframe else self._aligned(b, l)
        alone_b, alone_l = np.ones(len(b), np.bool_), np.ones(len(l), np.bool_)
        alone_b[pairs[:, 0]] = alone_l[pairs[:, 1]] = False
        units = np.concatenate(
            [self._pairs(b[pairs[:, 0]], l[pairs[:, 1]], scales), self._silent(b[alone_b], 1, scales), self._silent(l[alone_l], 2, scales)]
        )
        floored = np.concatenate([b["t"][pairs[:, 0]], b["t"][alone_b], l["t"][alone_l]])
        mine: Units = units[floored // SHELF_NS == number]
        return mine

    def _aligned(self, b: Decided, l: Decided) -> NDArray[np.int64]:
        """Pairs as places in b and l."""
        if len(b) == len(l) and np.array_equal(b["t"], l["t"]):
            return np.stack([np.arange(len(b))] * 2, axis=1)
        here, there = (list(zip(x["t"].tolist(), range(len(x)), strict=True)) for x in (b, l))
        found = align(here, there, self.gap, self.tolerance, lambda _i, _j: True)
        return np.array(found, np.int64).reshape(-1, 2)

    def _pairs(self, b: Decided, l: Decided, scales: Scales) -> Units:
        out = np.zeros(len(b), UNIT)
        factor, cut = scales.at(b["ts"])
        alike = (b["action"] == l["action"]) & ((b["action"] != CLOSE) | (b["side"] == l["side"]) | (b["side"] == 0) | (l["side"] == 0))
        alike &= (
            (b["action"] == HOLD)
            | self._same_size(b, l, factor)
            | (cut & (self._same_size(b, l, np.ones(len(b))) | (b["action"] == CLOSE)))
        )
        holding = (b["action"] == HOLD) & (l["action"] == HOLD)
        refused = (factor == 0.0) & (b["action"] != HOLD) & (b["action"] != CLOSE)
        out["kind"] = np.where(refused, SUPPRESSED, np.where(alike, np.where(holding, ALIKE_HOLD, ALIKE_ACT), UNLIKE))
        out["t"], out["due"], out["books"] = b["ts"], np.maximum(b["ts"], l["ts"]), 3
        return out

    def _same_size(self, b: Decided, l: Decided, factor: F64) -> Mask:
        wanted, unsaid = b["q"] * factor, np.isnan(b["q"]) | np.isnan(l["q"])
        with np.errstate(invalid="ignore"):
            return np.asarray(unsaid | (np.abs(l["q"] - wanted) <= self.quantity_tolerance * wanted * (1 + 1e-12)))

    def _silent(self, rows: Decided, book: int, scales: Scales) -> Units:
        out = np.zeros(len(rows), UNIT)
        factor, _ = scales.at(rows["ts"])
        holds = rows["action"] == HOLD
        kinds = (B_HOLD, B_ACT) if book == 1 else (L_HOLD, L_ACT)
        refused = (factor == 0.0) & ~holds & (rows["action"] != CLOSE) & (book == 1)
        out["kind"] = np.where(refused, SUPPRESSED, np.where(holds, *kinds))
        step = self.decisions.timeframe
        out["t"], out["books"] = rows["ts"], book
        out["due"] = rows["t"] + step if step else rows["ts"] + self.far
        return out


def _met(b: Decided, l: Decided) -> NDArray[np.int64]:
    """Decisions of equal floored times: equal actions first, then the rest in order."""
    groups: dict[tuple[int, ...], tuple[list[int], list[int]]] = {}
    out: list[tuple[int, int]] = []
    left_b, left_l = range(len(b)), range(len(l))
    for columns in (("t", "action"), ("t",)):
        groups.clear()
        for side, rows, left in ((0, b, left_b), (1, l, left_l)):
            for place in left:
                key = tuple(int(rows[f][place]) for f in columns)
                groups.setdefault(key, ([], []))[side].append(place)
        found = [pair for here, there in groups.values() for pair in zip(here, there, strict=False)]
        out += found
        used_b, used_l = {i for i, _ in found}, {j for _, j in found}
        left_b, left_l = ([i for i in left_b if i not in used_b], [j for j in left_l if j not in used_l])  # type: ignore[assignment]
    return np.array(sorted(out), np.int64).reshape(-1, 2)


def _parity(counts: NDArray[np.int64], sends_holds: Mapping[str, bool], *, both: bool) -> Parity:
    n = [int(c) for c in counts]
    implied = (0 if sends_holds.get(LIVE, False) else n[B_HOLD]) + (0 if sends_holds.get(BACKTEST, False) else n[L_HOLD])
    actions = n[ALIKE_ACT] + n[UNLIKE] + n[B_ACT] + n[L_ACT]
    return Parity(
        decisions=actions + n[ALIKE_HOLD] + n[B_HOLD] + n[L_HOLD], alike=n[ALIKE_ACT] + n[ALIKE_HOLD] + implied,
        actions=actions, actions_alike=n[ALIKE_ACT], suppressed=n[SUPPRESSED], both=both,
    )  # fmt: skip
