"""One strategy's ledgers: backtest, allowed and live, by symbol and interval of 15 minutes (MATH 4).

1. A posting is additive, so postings may come in any order; taking one back is posting its negative. A split multiplies
   what is carried into its interval, whenever that is posted.
2. Positions are integers of 1e-8 units: what was bought and sold again is exactly zero.
3. All books are valued with the same marks; profit and loss of an interval = position held x change of mark + what was traded in it.
4. Intervals older than `KEPT` are folded into the opening position where retention asks for it.
5. A posting that would take an interval or a position over `MOST` units is refused (OverflowError), before anything of it is kept for good.
6. What is stored (`recall`) need not be in memory: the newest intervals and those that were asked for are; of the others `carried` holds the sums.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.executions import Postings
from parityd.core.fresh import Fresh
from parityd.core.records import BACKTEST, LIVE
from parityd.core.rows import B_FILLS, SHELF_NS, Rows
from parityd.core.splits import Splits

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
UNIT = 100_000_000
MOST = 2**62
"""In 1e-8 units: 46 billion of anything; more has no room in 64 bits."""
KEPT = 35 * 96
BOOK, ALLOWED, LIVE_BOOK, HELD = 0, 1, 2, 3
A_DAY = 96
NEWEST = 32
"""Intervals before the newest that stay in memory."""
EVER = 2**62


class Entry(msgspec.Struct, array_like=True):
    """One symbol and interval. Quantities in 1e-8 units by book (held: live less fees taken in base), money by book."""

    q: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0, 0])
    cash: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])  # without fees
    fees: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])
    funding: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])
    trades: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0])


Past = Callable[[int, int, int], Iterable[tuple[int, Entry]]]
"""The stored entries of a symbol in the intervals first..last, as (interval, entry)."""


class Ledger:
    """Entries by (symbol, interval); opening positions by symbol."""

    def __init__(self, splits: Splits | None = None) -> None:
        self.splits = splits or Splits()
        self.entries: dict[int, dict[int, Entry]] = {}
        self.opening: dict[int, list[int]] = {}
        self.changed: set[tuple[int, int]] = set()
        self.net: dict[int, list[int]] = {}  # position by book after all intervals, where it was asked for
        self.carried: dict[int, list[int]] = {}  # by symbol and book: what the stored entries that are not in memory add up to
        self.since = -EVER  # all entries from here on are in memory
        self.floor = -EVER  # all entries before this were folded
        self._past: Past | None = None
        self._days: set[tuple[int, int]] = set()  # days before `since` that are in memory, by symbol
        self._room = 0
        self._oldest: int | None = None

    # --- in memory or not -----------------------------------------------------------------------------------------

    def recall(self, past: Past, oldest: dict[int, int] | None = None, since: int = -EVER) -> None:
        """What is stored is read by `past`. `oldest`: the first stored interval of each symbol; those before `since` are not in memory, and `net`
        holds what all come to.
        """
        self._past = past
        if oldest is None:
            return
        self.since, self._oldest = since, min(oldest.values(), default=None)
        for sym in oldest:
            here = [self.opening.get(sym, [0, 0, 0, 0]), *(e.q for e in self.entries.setdefault(sym, {}).values())]
            whole = self.net.get(sym)
            self.carried[sym] = [0, 0, 0, 0] if whole is None else [w - sum(q) for w, q in zip(whole, zip(*here, strict=True), strict=True)]

    def trim(self, room: int) -> None:
        """Let go of what is stored and old, where more than `room` entries are in memory. All of them are stored, or about to be."""
        held = sum(map(len, self.entries.values()))
        if self._past is None or held <= max(room, self._room):
            return
        since = max(self.since, max(max(table) for table in self.entries.values() if table) - NEWEST)
        for sym, table in self.entries.items():
            for number in [k for k in table if k < since]:
                self._carry(sym, table.pop(number), 1)
        self.since, self._room = since, 2 * sum(map(len, self.entries.values()))
        self._days.clear()

    def _carry(self, sym: int, e: Entry, sign: int) -> None:
        base = self.carried.setdefault(sym, [0, 0, 0, 0])
        for side in range(4):
            base[side] += sign * e.q[side]

    def _fetch(self, sym: int, number: int) -> None:
        """Have a day of a symbol in memory."""
        day = number // A_DAY
        if self._past is None or number >= self.since or (sym, day) in self._days:
            return
        self._days.add((sym, day))
        table = self.entries.setdefault(sym, {})
        for k, e in self._past(sym, day * A_DAY, min((day + 1) * A_DAY, self.since) - 1):
            if k not in table:
                table[k] = e
                self._carry(sym, e, -1)

    def held(self, sym: int, number: int) -> Entry | None:
        """One entry, or None where nothing was posted."""
        self._fetch(sym, number)
        return self.entries.get(sym, {}).get(number)

    def _elsewhere(self, sym: int, first: int, last: int) -> Iterator[tuple[int, Entry]]:
        """Stored entries of first..last that are not in memory; they stay where they are."""
        if self._past is not None and first < self.since:
            table = self.entries.get(sym, {})
            yield from ((k, e) for k, e in self._past(sym, first, min(last, self.since - 1)) if k not in table)

    def each(self, sym: int, first: int, last: int) -> Iterator[tuple[int, Entry]]:
        """(interval, entry) of first..last, wherever they are."""
        yield from self._elsewhere(sym, first, last)
        yield from ((k, e) for k, e in self.entries.get(sym, {}).items() if first <= k <= last)

    # --- posted ---------------------------------------------------------------------------------------------------

    def _add(self, sym: int, e: Entry, side: int, units: int) -> None:
        net = self.net.get(sym)
        if net is None:
            net = self.net[sym] = self.start(sym, EVER)
        e.q[side] += units
        net[side] += units
        if max(abs(e.q[side]), abs(net[side])) > MOST:
            raise OverflowError(f"a position of more than {MOST / UNIT:.3g} units")

    def entry(self, sym: int, number: int) -> Entry:
        self.changed.add((sym, number))
        if self._oldest is not None and number < self._oldest:
            self._oldest = number
        if number < self.since:
            self._fetch(sym, number)
        return self.entries.setdefault(sym, {}).setdefault(number, Entry())

    def oldest(self) -> int:
        """An interval before which nothing was posted that is still in the entries."""
        if self._oldest is None:
            self._oldest = min((min(table) for table in self.entries.values() if table), default=None)
        return self._oldest if self._oldest is not None else 1

    def post(self, book: str, syms: NDArray[np.int64], p: Postings, sign: int = 1) -> None:
        """Post many fills at once; `syms` holds each posting's symbol code."""
        post([self], np.zeros(len(syms), np.int64), book, syms, p, sign)

    def post_rows(self, rows: Rows | Fresh, sign: int = 1) -> None:
        """Post the simulated executions of backtest decisions (rows whose backtest side has no fills), in full in both backtest books."""
        post_rows([self], np.zeros(len(rows), np.int64), rows, sign)

    def adjust(self, sym: int, t: int, side: int, quantity: float, cash: float, fee: float) -> None:
        """A single correction of one book (what the allowed book did not do)."""
        e = self.entry(sym, t // SHELF_NS)
        e.cash[side] += cash
        e.fees[side] += fee
        self.move(sym, t // SHELF_NS, (side,), round(quantity * UNIT))

    def post_fees(self, book: str, syms: NDArray[np.int64], ts: NDArray[np.int64], fees: F64) -> None:
        """Corrections of fees."""
        zero = np.zeros(len(ts))
        _post([self], np.zeros(len(ts), np.int64), book, syms, ts, Sums(zero, zero, fees, trades=False))

    def put(self, sym: int, number: int, sides: tuple[int, ...], units: int, cash: float, fee: float, trades: int) -> None:
        """The sum of some postings of one symbol and interval."""
        e = self.entry(sym, number)
        for side in sides:
            e.cash[side] += cash
            e.fees[side] += fee
            e.trades[side] += trades
        if units:
            self._move(sym, number, e, sides, units)

    def fund(self, book: str, sym: int, t: int, amount: float) -> None:
        e = self.entry(sym, t // SHELF_NS)
        for side in _sides(book):
            e.funding[side] += amount

    def move(self, sym: int, number: int, sides: tuple[int, ...], units: int) -> None:
        """A posting's quantity, and what the splits after it make of that."""
        if units:
            self._move(sym, number, self.entry(sym, number), sides, units)

    def _move(self, sym: int, number: int, e: Entry, sides: tuple[int, ...], units: int) -> None:
        for side in sides:
            self._add(sym, e, side, units)
        for at, ratio in self.splits.shelves(sym):
            if at > number:
                more = round(units * (ratio - 1))
                units += more
                later = self.entry(sym, at)
                for side in sides:
                    self._add(sym, later, side, more)

    def split(self, sym: int, number: int, ratio: float) -> None:
        """`ratio` new units for one, from this interval on, as `splits` knows it: every position carried in is multiplied (and `move` does so with
        what is posted before it later).
        """
        self.entry(sym, number)  # what it is worth changes, be nothing multiplied
        for side, units in enumerate(self.start(sym, number)):
            more = round(units * (ratio - 1))
            if not more:
                continue
            self._add(sym, self.entry(sym, number), side, more)
            for at, later in self.splits.shelves(sym):
                if at > number:
                    again = round(more * (later - 1))
                    self._add(sym, self.entry(sym, at), side, again)
                    more += again

    def open(self, sym: int, units: int, t: int) -> None:
        """A position of before all entries, in units of time t, in every book."""
        table = self.opening.setdefault(sym, [0, 0, 0, 0])
        for side in range(len(table)):
            table[side] += units
            if sym in self.net:
                self.net[sym][side] += units
        for at, ratio in self.splits.shelves(sym):
            if at > t // SHELF_NS:
                more = round(units * (ratio - 1))
                units += more
                for side in range(len(table)):
                    self._add(sym, self.entry(sym, at), side, more)

    def start(self, sym: int, before: int) -> list[int]:
        """Positions of all books at the start of an interval, in 1e-8 units."""
        table, carried, net = self.entries.get(sym, {}), self.carried.get(sym), self.net.get(sym)
        later = [e.q for k, e in table.items() if k >= before] if net is not None else []
        if net is not None and 2 * len(later) <= len(table):  # the shorter way is from the end
            later += [e.q for _, e in self._elsewhere(sym, before, EVER)]
            return [end - sum(after) for end, after in zip(net, zip(*later, strict=True), strict=True)] if later else list(net)
        out = list(self.opening.get(sym, (0, 0, 0, 0)))
        for e in (e for k, e in table.items() if k < before):
            out = [a + b for a, b in zip(out, e.q, strict=True)]
        if carried is not None:
            out = [a + b for a, b in zip(out, carried, strict=True)]
            for _, e in self._elsewhere(sym, before, EVER):
                out = [a - b for a, b in zip(out, e.q, strict=True)]
        return out

    def position(self, sym: int, side: int, before: int) -> int:
        """Position of one book at the start of an interval, in 1e-8 units."""
        return self.start(sym, before)[side]

    def fold(self, newest: int) -> list[tuple[int, int]]:
        """Let the oldest intervals go into the opening positions; returns what was dropped."""
        gone = []
        self.floor = newest - KEPT
        for sym, table in self.entries.items():
            for number, e in list(self.each(sym, -EVER, self.floor - 1)):
                base = self.opening.setdefault(sym, [0, 0, 0, 0])
                for side in range(4):
                    base[side] += e.q[side]
                if table.pop(number, None) is None:
                    self._carry(sym, e, -1)
                gone.append((sym, number))
        return gone


class Sums(NamedTuple):
    """What many postings add, shape (n,) each: signed units of quantity, money without fees, fees; units as the venue counts them (live)."""

    quantity: F64
    cash: F64
    fees: F64
    held: F64 | None = None
    trades: bool = True  # each is one


def post(ledgers: Sequence[Ledger], who: I64, book: str, syms: I64, p: Postings, sign: int = 1) -> None:
    """Post fills of many strategies at once: `who` is each posting's place in `ledgers`, `syms` its symbol code."""
    _post(ledgers, who, book, syms, p.ts, Sums(p.quantity, -p.quantity * p.price, p.fee, p.held if book == LIVE else None), sign)


def post_rows(ledgers: Sequence[Ledger], who: I64, rows: Rows | Fresh, sign: int = 1) -> None:
    """Post the simulated executions of backtest decisions of many strategies (see `Ledger.post_rows`)."""
    w = np.flatnonzero((rows["b_q"] > 0) & ((rows["flags"] & B_FILLS) == 0))
    s, q, cash, fees = (rows[f][w].astype(np.float64) for f in ("side", "b_q", "b_not", "b_fee"))
    _post(ledgers, who[w], BACKTEST, rows["sym"][w].astype(np.int64), rows["b_first"][w], Sums(s * q, -s * cash, fees), sign)


def _post(ledgers: Sequence[Ledger], who: I64, book: str, syms: I64, ts: I64, sums: Sums, sign: int = 1) -> None:
    if len(ts) == 0:
        return
    sides, table = _sides(book), np.unique(syms)
    codes = ((who * len(table) + np.searchsorted(table, syms)) << 32) + ts // SHELF_NS
    uniq, place = np.unique(codes, return_inverse=True)
    n = len(uniq)
    q, c, f = (np.bincount(place, sign * v, n).tolist() for v in (np.rint(sums.quantity * UNIT), sums.cash, sums.fees))
    k = (sign * np.bincount(place, minlength=n)).tolist() if sums.trades else [0] * n
    h = np.bincount(place, sign * np.rint(sums.held * UNIT), n).tolist() if sums.held is not None else []
    symbols = table.tolist()
    for i, code in enumerate(uniq.tolist()):
        at, number = code >> 32, code & 0xFFFFFFFF
        mine, sym = ledgers[at // len(symbols)], symbols[at % len(symbols)]
        mine.put(sym, number, sides, int(q[i]), c[i], f[i], k[i])
        if h:
            mine.move(sym, number, (HELD,), int(h[i]))


def _sides(book: str) -> tuple[int, ...]:
    return (BOOK, ALLOWED) if book == BACKTEST else (LIVE_BOOK,)
