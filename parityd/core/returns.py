"""Interval returns of the backtest (allowed) and live ledgers, and what is measured from them (MATH 4).

1. An interval of 15 minutes counts once both books' watermarks have passed its end. All books are valued with the same marks at both ends.
2. Active: the allowed or the live book traded in it, or held a position while the mark changed. What the full backtest did while it was allowed
   nothing makes no interval active.
3. The window is the last 7 days, reaching back until it holds 600 active intervals, at most 30 days, never before the line of a reset.
4. Capital is the configured one, else the largest gross notional of the allowed book at the boundaries of the window (of the full backtest
   where nothing was allowed): one figure for the whole window. Correlation and hit rate need none.
5. Several quote currencies become one at the given rates, or there are no returns: they are never added as they are.
6. A `Tape` keeps the ledger as columns and is told what changed; with or without it the numbers are the same.
"""

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.ledger import ALLOWED, BOOK, LIVE_BOOK, UNIT, Ledger
from parityd.core.marks import Marks
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.rows import SHELF_NS
from parityd.core.strategy import Strategy
from parityd.core.tape import Tape

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
Rate = Callable[[int], float | None]
"""Code of a quote currency -> its price in the one currency of the figures, None where it has none."""

__all__ = ["Rate", "Returns", "Tape", "correlation", "counted_until", "hit_rate", "interval_returns", "tracking_error_returns_bps"]

A_DAY = 96
RECENT, LONGEST, ENOUGH = 7 * A_DAY, 30 * A_DAY, 600
FEWEST = 30
"""Active intervals under which there is no correlation."""
_NOISE = 1e-12  # share of the books' size under which a profit is rounding


class Returns(msgspec.Struct, frozen=True, kw_only=True):
    """All counted intervals of the last 30 days (or those asked for), oldest first; the window is `begin` and later. Shapes (n,).

    `numbers`: interval k is [k, k + 1) x 15 min since 1970. Profits in one currency, `r_*` = profit / `capital` (NaN where that is None).
    `gross`: notional of the allowed book at the larger end of each interval. `days`: length of the window, in days.
    """

    numbers: I64
    r_backtest: F64
    r_live: F64
    active: Mask
    capital: float | None
    pnl_backtest_full: F64
    pnl_allowed: F64
    pnl_live: F64
    gross: F64
    begin: int
    days: float

    @property
    def count(self) -> int:
        """Active intervals of the window."""
        return int(self.active[self.begin :].sum())

    def pair(self) -> tuple[F64, F64]:
        """(allowed, live) profits of the window's active intervals."""
        which = self.active[self.begin :]
        return self.pnl_allowed[self.begin :][which], self.pnl_live[self.begin :][which]


class _Profit(msgspec.Struct):
    """Sums over symbols: profit (3, n) by book, activity, gross notional (2, n) of the full and the allowed book, whether all was measurable."""

    pnl: F64
    active: Mask
    gross: F64
    known: Mask
    size: float = 0.0


def _profits(tape: Tape, ledger_first: int, n: int, marks: Marks, rates: dict[int, float]) -> _Profit:
    at = ledger_first - tape.base
    ends = (ledger_first + np.arange(n + 1, dtype=np.int64)) * SHELF_NS
    out = _Profit(np.zeros((3, n)), np.zeros(n, np.bool_), np.zeros((2, n)), np.ones(n, np.bool_))
    held_all = np.concatenate([(tape.before + tape.q[:, :, :at].sum(axis=2))[:, :, None], tape.q[:, :, at : at + n]], axis=2).cumsum(axis=2)
    for sym, place in tape.places.items():
        units, moved = held_all[place, :3], tape.moved[place, :, at : at + n]
        if not units.any() and not moved.any():
            continue
        price, rate = marks.grid(sym, ends), rates[sym]
        opened, closed = price[:-1], price[1:]
        blind = np.isnan(closed)
        change = np.where(blind | np.isnan(opened), 0.0, closed - opened)
        value, held = np.where(blind, 0.0, closed), units / UNIT
        q, cash = tape.q[place, :3, at : at + n] / UNIT, tape.cash[place, :, at : at + n]
        out.pnl += rate * (cash + q * value + held[:, :-1] * change)
        two = units[ALLOWED : LIVE_BOOK + 1, :-1] != 0
        out.active |= moved[ALLOWED] | moved[LIVE_BOOK] | (two.any(axis=0) & (change != 0.0))
        out.known &= ~(blind & ((units[:, 1:] != 0).any(axis=0) | moved.any(axis=0)))
        begins = np.abs(held[:2, :-1]) * np.nan_to_num(opened)
        out.gross += rate * np.maximum(begins, np.abs(held[:2, 1:]) * value)
        out.size += rate * float(np.abs(cash).max(initial=0.0))
    out.active &= out.known
    return out


def _rates(s: Strategy, tape: Tape, rate: Rate | None) -> dict[int, float] | None:
    """What each symbol's money is multiplied by; None where several currencies cannot become one."""
    for sym in tape.places.keys() - tape.currency.keys():
        code = _currency(s, sym)
        if code is not None:
            tape.currency[sym] = code
    codes = {tape.currency[sym] for sym in tape.places if sym in tape.currency}
    if len(codes) <= 1:
        return dict.fromkeys(tape.places, 1.0)
    table = {code: None if rate is None else rate(code) for code in codes}
    out: dict[int, float] = {}
    for sym in tape.places:
        found = table.get(tape.currency.get(sym, -1))
        if found is None:
            return None
        out[sym] = found
    return out


def _currency(s: Strategy, sym: int) -> int | None:
    """The quote currency of a symbol, as its newest trades have it."""
    for number in sorted(s.books.summaries, reverse=True):
        for part in s.books.summaries[number].parts:
            if sym in part.ccy:
                return part.ccy[sym]
    return None


def counted_until(s: Strategy, now: int) -> int | None:
    """The last interval that counts, or None."""
    marks = [s.memory.pulses[book].watermark for book in (LIVE, BACKTEST)]
    return None if NO_TS in marks else min(*marks, now) // SHELF_NS - 1


def interval_returns(
    s: Strategy,
    marks: Marks,
    *,
    capital: float | None,
    now: int,
    first: int | None = None,
    last: int | None = None,
    rate: Rate | None = None,
    tape: Tape | None = None,
) -> Returns | None:
    """Returns of the counted intervals; None where none counts or currencies cannot become one. `first` and `last` (intervals, both
    included) ask for a period of its own, such as a day; without them it is the window of MATH 4, for which a `tape` spares reading the whole ledger.
    """
    newest = counted_until(s, now)
    if newest is None:
        return None
    end = newest if last is None else min(newest, last)
    begin = max(end - LONGEST + 1, 0) if first is None else first
    if s.memory.line != NO_TS and first is None:
        begin = max(begin, -(-s.memory.line // SHELF_NS))
    if end < begin:
        return None
    columns = tape if tape is not None and first is None else Tape()
    columns.hold(s.ledger, begin, end)
    rates = _rates(s, columns, rate)
    if rates is None:
        return None
    p = _profits(columns, begin, end - begin + 1, marks, rates)
    numbers = np.arange(begin, end + 1, dtype=np.int64)
    start = 0 if first is not None else _window(p.active)
    days = len(numbers) / A_DAY if first is not None else _length(s.ledger, int(numbers[start]), end)
    return _returns(p, numbers, start, days, capital)


def _window(active: Mask) -> int:
    """Where the window begins."""
    n = len(active)
    start = max(0, n - RECENT)
    if int(active[start:].sum()) >= ENOUGH:
        return start
    later = np.flatnonzero(active)
    return int(later[-ENOUGH]) if len(later) >= ENOUGH else 0


def _length(ledger: Ledger, first: int, last: int) -> float:
    """Days from the window's begin, or from the ledger's where that is later."""
    oldest = min((min(table) for table in ledger.entries.values() if table), default=first)
    return (last - max(first, min(oldest, last)) + 1) / A_DAY


def _returns(p: _Profit, numbers: I64, start: int, days: float, capital: float | None) -> Returns:
    allowed, full = (float(p.gross[k][start:].max(initial=0.0)) for k in (ALLOWED, BOOK))
    noise = _NOISE * max(allowed, full, p.size)
    pnl = np.where(np.abs(p.pnl) <= noise, 0.0, p.pnl)
    base = capital if capital is not None else allowed or full or None
    r = pnl / base if base else np.full(pnl.shape, np.nan)
    return Returns(
        numbers=numbers, r_backtest=r[ALLOWED], r_live=r[LIVE_BOOK], active=p.active, capital=base, pnl_backtest_full=pnl[BOOK],
        pnl_allowed=pnl[ALLOWED], pnl_live=pnl[LIVE_BOOK], gross=p.gross[ALLOWED], begin=start, days=days,
    )  # fmt: skip


def correlation(r: Returns | None) -> float | None:
    """Pearson of the active intervals; None under 30 of them or where a side is constant."""
    if r is None or r.count < FEWEST:
        return None
    x, y = r.pair()
    if any(np.ptp(v) <= _NOISE * np.abs(v).max() for v in (x, y)):
        return None
    a, b = x / np.abs(x).max(), y / np.abs(y).max()
    a, b = a - a.mean(), b - b.mean()
    value = float((a * b).sum()) / math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return max(-1.0, min(1.0, value))


def hit_rate(r: Returns | None) -> float | None:
    """Share of active intervals in which both books went the same way."""
    if r is None or r.count == 0:
        return None
    x, y = r.pair()
    return float((np.sign(x) == np.sign(y)).mean())


def tracking_error_returns_bps(r: Returns | None) -> float | None:
    """Sample standard deviation of r_l - r_b over a day's worth of active intervals, in bps of capital."""
    if r is None or r.capital is None or r.count < 2 or r.days <= 0:
        return None
    x, y = r.pair()
    return float(np.std((y - x) / r.capital, ddof=1)) * math.sqrt(r.count / r.days) * 1e4
