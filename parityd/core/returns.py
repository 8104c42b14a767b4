"""Interval returns of the backtest (allowed) and live ledgers, and what is measured from them (MATH 4).

1. An interval of 15 minutes counts once both books' watermarks have passed its end. All books are valued with the same marks at both ends.
2. Active: the allowed or the live book traded in it, or held a position while the mark changed. What the full backtest did while it was allowed
   nothing makes no interval active.
3. The window is the last 7 days, reaching back until it holds 600 active intervals, at most 30 days, never before the line of a reset.
4. Capital is the configured one, else the largest gross notional of the allowed book at the boundaries of the window (of the full backtest
   where nothing was allowed): one figure for the whole window. Correlation and hit rate need none.
5. Several quote currencies become one at the given rates, or there are no returns: they are never added as they are.
6. `Columns` keep the ledger and what was worked out of it, and are told what changed; with or without them the numbers are the same.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.ledger import ALLOWED, BOOK, LIVE_BOOK, Ledger
from parityd.core.marks import Marks
from parityd.core.profits import Profit, Profits, profits
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.rows import SHELF_NS
from parityd.core.strategy import Strategy
from parityd.core.stretches import SPANS
from parityd.core.tape import Tape

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
Rate = Callable[[int], float | None]
"""Code of a quote currency -> its price in the one currency of the figures, None where it has none."""

__all__ = [
    "Columns",
    "Measured",
    "Rate",
    "Returns",
    "correlation",
    "counted_until",
    "hit_rate",
    "measured_returns",
    "part_of",
    "tracking_error_returns_bps",
    "window_begin",
]

A_DAY = 96
RECENT, LONGEST, ENOUGH = 7 * A_DAY, 30 * A_DAY, 600
FEWEST = 30
"""Active intervals under which there is no correlation."""
_NOISE = 1e-12  # share of the books' size under which a profit is rounding


class Columns:
    """What is kept of one strategy from look to look: its ledger as columns, and the profits worked out of them."""

    def __init__(self) -> None:
        self.tape, self.profits = Tape(), Profits()
        self._of: tuple[object, ...] = ()
        self._found: Measured | None = None

    def measured(self, of: tuple[object, ...], made: Callable[[], "Returns"]) -> "Measured":
        """What was made of the profits, until these or what they are looked at by change."""
        of = (self.profits.version, *of)
        if self._found is None or of != self._of:
            self._of, self._found = of, measured(made())
        return self._found


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


class Measured(NamedTuple):
    """Returns, and what is measured from them."""

    returns: Returns | None
    correlation: float | None
    hit_rate: float | None
    tracking_error_bps: float | None


NOTHING = Measured(None, None, None, None)


def measured(r: Returns) -> Measured:
    """What these returns say."""
    return Measured(r, correlation(r), hit_rate(r), tracking_error_returns_bps(r))


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
    table = s.books.summaries
    for index in reversed(list(table.over(-(2**62), 2**62))):
        known = [part.ccy[sym] for part in table.stretch(len(SPANS) - 1, index).parts if sym in part.ccy]
        if known:
            return max(known)
    return None


def counted_until(s: Strategy, now: int) -> int | None:
    """The last interval that counts, or None."""
    marks = [s.memory.pulses[book].watermark for book in (LIVE, BACKTEST)]
    return None if NO_TS in marks else min(*marks, now) // SHELF_NS - 1


def _first(ledger: Ledger) -> int:
    """The interval before the first in which anything was posted; 0 where positions come from before all entries."""
    return 0 if any(any(base) for base in ledger.opening.values()) else ledger.oldest() - 1


def measured_returns(
    s: Strategy,
    marks: Marks,
    *,
    capital: float | None,
    now: int,
    first: int | None = None,
    last: int | None = None,
    rate: Rate | None = None,
    kept: Columns | None = None,
) -> Measured:
    """Returns of the counted intervals, and what is measured from them; NOTHING where none counts or currencies cannot become one. `first` and `last`
    (intervals, both included) ask for a period of its own, such as a day; without them it is the window of MATH 4. What was `kept` of the last look is not
    worked out again.
    """
    newest = counted_until(s, now)
    if newest is None:
        return NOTHING
    end = newest if last is None else min(newest, last)
    begin = max(end - LONGEST + 1, 0) if first is None else first
    if s.memory.line != NO_TS and first is None:
        begin = max(begin, -(-s.memory.line // SHELF_NS))
    begin = max(begin, min(_first(s.ledger), end)) if first is None else begin
    if end < begin:
        return NOTHING
    since = max(begin, min(_first(s.ledger), end))  # before it nothing was traded and nothing held
    columns = kept if kept is not None and (first is None or kept.tape.covers(since)) else Columns()
    columns.tape.hold(s.ledger, since, end)
    rates = _rates(s, columns.tape, rate)
    if rates is None:
        return NOTHING
    if first is None or rates == columns.profits.rates:
        p = columns.profits.of(columns.tape, since, end - since + 1, marks, rates)
    else:
        p = profits(columns.tape, since, end - since + 1, marks, rates)
    p = p.behind(since - begin)

    def made() -> Returns:
        numbers = np.arange(begin, end + 1, dtype=np.int64)
        start = 0 if first is not None else window_begin(p.active)
        days = len(numbers) / A_DAY if first is not None else _length(s.ledger, int(numbers[start]), end)
        return _returns(p, numbers, start, days, capital)

    if first is not None:
        return measured(made())
    return columns.measured((begin, end, capital, s.ledger.oldest()), made)


def part_of(r: Returns, first: int, capital: float | None) -> Returns | None:
    """The intervals from `first` on as a period of their own; None where there are none, or no capital for them."""
    at = int(np.searchsorted(r.numbers, first))
    n = len(r.numbers) - at
    base = capital if capital is not None else float(r.gross[at:].max(initial=0.0)) or None
    if not n or base is None:
        return None
    return Returns(
        numbers=r.numbers[at:], r_backtest=r.pnl_allowed[at:] / base, r_live=r.pnl_live[at:] / base, active=r.active[at:], capital=base,
        pnl_backtest_full=r.pnl_backtest_full[at:], pnl_allowed=r.pnl_allowed[at:], pnl_live=r.pnl_live[at:], gross=r.gross[at:], begin=0, days=n / A_DAY,
    )  # fmt: skip


def window_begin(active: Mask) -> int:
    """Where the window begins."""
    n = len(active)
    start = max(0, n - RECENT)
    if int(active[start:].sum()) >= ENOUGH:
        return start
    later = np.flatnonzero(active)
    return int(later[-ENOUGH]) if len(later) >= ENOUGH else 0


def _length(ledger: Ledger, first: int, last: int) -> float:
    """Days from the window's begin, or from the ledger's where that is later."""
    return (last - max(first, min(ledger.oldest(), last)) + 1) / A_DAY


def _returns(p: Profit, numbers: I64, start: int, days: float, capital: float | None) -> Returns:
    allowed, full = (float(p.gross[k][start:].max(initial=0.0)) for k in (ALLOWED, BOOK))
    noise = _NOISE * max(allowed, full, float(p.cash.max(initial=0.0)))
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
