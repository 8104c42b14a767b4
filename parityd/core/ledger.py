"""One strategy's ledgers: backtest, allowed and live, by symbol and interval of 15 minutes (MATH 4).

1. A posting is additive, so postings may come in any order; taking one back is posting its negative.
2. Positions are integers of 1e-8 units: what was bought and sold again is exactly zero.
3. All books are valued with the same marks; profit and loss of an interval = position held x change of mark + what was traded in it.
4. Intervals older than `KEPT` are folded into the opening position.
5. A posting that would take an interval or a position over `MOST` units is refused (OverflowError), before anything of it is kept for good.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.executions import Postings
from parityd.core.records import BACKTEST
from parityd.core.rows import SHELF_NS

F64 = NDArray[np.float64]
UNIT = 100_000_000
KEPT = 35 * 96
MOST = 2**62
"""In 1e-8 units: 46 billion of anything; more has no room in 64 bits."""
BOOK, ALLOWED, LIVE_BOOK, HELD = 0, 1, 2, 3


class Entry(msgspec.Struct, array_like=True):
    """One symbol and interval. Quantities in 1e-8 units by book (held: live less fees taken in base), money by book."""

    q: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0, 0])
    cash: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])  # without fees
    fees: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])
    funding: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])
    trades: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0])


class Ledger:
    """Entries by (symbol, interval); opening positions by symbol."""

    def __init__(self) -> None:
        self.entries: dict[int, dict[int, Entry]] = {}
        self.opening: dict[int, list[int]] = {}
        self.changed: set[tuple[int, int]] = set()
        self.net: dict[int, list[int]] = {}  # position by book after all intervals, where it was asked for

    def _add(self, sym: int, e: Entry, side: int, units: int) -> None:
        net = self.net.get(sym)
        if net is None:
            net = self.net[sym] = [self.position(sym, one, MOST) for one in range(4)]
        e.q[side] += units
        net[side] += units
        if max(abs(e.q[side]), abs(net[side])) > MOST:
            raise OverflowError(f"a position of more than {MOST / UNIT:.3g} units")

    def entry(self, sym: int, number: int) -> Entry:
        self.changed.add((sym, number))
        return self.entries.setdefault(sym, {}).setdefault(number, Entry())

    def post(self, book: str, syms: NDArray[np.int64], p: Postings, sign: int = 1) -> None:
        """Post many at once; `syms` holds each posting's symbol code."""
        if len(p.ts) == 0:
            return
        codes = syms.astype(np.int64) * (1 << 32) + p.ts // SHELF_NS
        uniq, place = np.unique(codes, return_inverse=True)
        n = len(uniq)
        q = np.bincount(place, np.rint(p.quantity * UNIT), n)
        held = np.bincount(place, np.rint(p.held * UNIT), n)
        cash = np.bincount(place, -p.quantity * p.price, n)
        fees = np.bincount(place, p.fee, n)
        count = np.bincount(place, minlength=n)
        for k, code in enumerate(uniq.tolist()):
            e = self.entry(code >> 32, code & 0xFFFFFFFF)
            for side in (BOOK, ALLOWED) if book == BACKTEST else (LIVE_BOOK,):
                self._add(code >> 32, e, side, sign * int(q[k]))
                e.cash[side] += sign * float(cash[k])
                e.fees[side] += sign * float(fees[k])
                e.trades[side] += sign * int(count[k])
            if book != BACKTEST:
                self._add(code >> 32, e, HELD, sign * int(held[k]))

    def adjust(self, sym: int, t: int, side: int, quantity: float, cash: float, fee: float) -> None:
        """A single correction of one book (what the allowed book did not do, what a run no longer does)."""
        e = self.entry(sym, t // SHELF_NS)
        self._add(sym, e, side, round(quantity * UNIT))
        e.cash[side] += cash
        e.fees[side] += fee

    def fund(self, book: str, sym: int, t: int, amount: float) -> None:
        e = self.entry(sym, t // SHELF_NS)
        for side in (BOOK, ALLOWED) if book == BACKTEST else (LIVE_BOOK,):
            e.funding[side] += amount

    def position(self, sym: int, side: int, before: int) -> int:
        """Position at the start of an interval, in 1e-8 units."""
        start = self.opening.get(sym, [0, 0, 0, 0])[side]
        return start + sum(e.q[side] for k, e in self.entries.get(sym, {}).items() if k < before)

    def split(self, sym: int, number: int, ratio: float) -> None:
        """`ratio` new units for one, from this interval on: every position carried in is multiplied."""
        e = self.entry(sym, number)
        for side in range(4):
            carried = self.position(sym, side, number)
            self._add(sym, e, side, round(carried * (ratio - 1)))

    def fold(self, newest: int) -> list[tuple[int, int]]:
        """Let the oldest intervals go into the opening positions; returns what was dropped."""
        gone = []
        for sym, table in self.entries.items():
            for number in [k for k in table if k < newest - KEPT]:
                base = self.opening.setdefault(sym, [0, 0, 0, 0])
                for side in range(4):
                    base[side] += table[number].q[side]
                del table[number]
                gone.append((sym, number))
        return gone

    def series(self, sym: int, first: int, last: int) -> tuple[F64, F64, F64]:
        """(position at the start, quantity traded, cash less fees and funding) by book and interval first..last; shapes (4, n), (4, n), (3, n)."""
        n = last - first + 1
        q, cash = np.zeros((4, n)), np.zeros((3, n))
        table = self.entries.get(sym, {})
        numbers = range(first, last + 1) if n < len(table) else [k for k in table if first <= k <= last]
        for k in numbers:
            e = table.get(k)
            if e is not None:
                q[:, k - first] = e.q
                cash[:, k - first] = [c - f - x for c, f, x in zip(e.cash, e.fees, e.funding, strict=True)]
        start = np.array([self.position(sym, side, first) for side in range(4)], float)
        held = start[:, None] + np.concatenate([np.zeros((4, 1)), np.cumsum(q, axis=1)[:, :-1]], axis=1)
        return held / UNIT, q / UNIT, cash
