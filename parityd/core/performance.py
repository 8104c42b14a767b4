"""Performance of the live ledger (MATH 6), computed when a report is made, from fills, orders and daily profits.

1. Trips count in the period in which they end; fees and notional in which they were paid. The history before the period gives the positions.
2. Money is in one currency: `rates` says what each symbol's is multiplied by. An absent measure is None, a count is 0.
3. Gross profit is the sum of the winning trips, gross loss that of the losing ones, both after fees; a trip of exactly 0 is neither.
4. Sharpe ratio and drawdown are of daily profits (UTC days), those before the first move left out: the last 30 days, sqrt(365), or with a calendar
   its sessions alone and sqrt(252). The drawdown is money below the running peak, positive.
5. The same for each agent that fills name, its positions counted from its own fills; and of several strategies together, whose positions stay their own.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.ledger import UNIT
from parityd.core.live_fills import MAKER, TAKER, LiveFills, Outcome, fill_rate
from parityd.core.marks import Marks
from parityd.core.returns import A_DAY, Returns
from parityd.core.round_trips import Lot, round_trips
from parityd.core.rows import SHELF_NS

F64 = NDArray[np.float64]
DAY_NS = A_DAY * SHELF_NS
ROLLING = 30
Daily = Mapping[int, float]
"""UTC day (days since 1970) -> profit."""
Sessions = Callable[[int], bool]
"""Whether a UTC day has a session; given only where the strategy has a calendar."""
MONEY = (
    "average_profit", "profit_factor", "gross_profit", "gross_loss", "fees", "fee_efficiency", "effective_fee_rate", "effective_fee_rate_maker",
    "effective_fee_rate_taker",
)  # fmt: skip
DAILY = ("sharpe", "maximum_drawdown", "maximum_drawdown_share")


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one period; rates are shares (0.0004 = 4 bps), money in one currency."""

    round_trips: int = 0
    win_rate: float | None = None
    average_profit: float | None = None
    profit_factor: float | None = None
    gross_profit: float | None = None
    gross_loss: float | None = None
    mean_holding_seconds: float | None = None
    max_consecutive_losses: int = 0
    consecutive_losses: int = 0
    sharpe: float | None = None
    maximum_drawdown: float | None = None
    maximum_drawdown_share: float | None = None
    orders: int = 0
    fill_rate: float | None = None
    fees: float | None = None
    fee_efficiency: float | None = None
    effective_fee_rate: float | None = None
    effective_fee_rate_maker: float | None = None
    effective_fee_rate_taker: float | None = None
    agents: dict[str, "Performance"] = {}


def performance(
    fills: LiveFills,
    ends: Sequence[Outcome],
    start: int,
    end: int,
    *,
    daily: Daily | None = None,
    marks: Marks | None = None,
    opening: Mapping[int, Lot] | None = None,
    rates: Mapping[int, float] | None = None,
    capital: float | None = None,
    sessions: Sessions | None = None,
) -> tuple[Performance, "Tally"]:
    """(the figures of [start, end] (ns), what they are made of). `fills`: the period's and the history before it (30 days, or since `opening`, the positions before its first fill);
    `ends`: the orders that ended in the period; `daily`: the live ledger's profits (`daily_profits`); `marks` value the agents' positions.
    """
    table = rates or {}
    named = fills.by_agent()
    agents = {}
    for name, own in named.items():
        days = daily_of_fills(own, marks, end, table) if marks is not None else None
        done = tally(own, [x for x in ends if x.agent == name], start, end, daily=days, rates=table, marks=marks)
        agents[name] = figures(done, end, capital, sessions)
    whole = tally(fills, ends, start, end, daily=daily, opening=opening, rates=table, marks=marks)
    return msgspec.structs.replace(figures(whole, end, capital, sessions), agents=agents), whole


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What of a period its figures are made of, so that several can be added. Money in one currency."""

    profits: F64  # of the trips, in order of their end
    won: dict[str, Any]  # what the trips say together
    closed: NDArray[np.int64]
    seconds: F64
    paid: tuple[float, float, float]  # fees of all fills, of makers, of takers
    traded: tuple[float, float, float]  # their notional
    fills: int
    ends: tuple[Outcome, ...]
    daily: Daily


def tally(
    fills: LiveFills,
    ends: Sequence[Outcome],
    start: int,
    end: int,
    *,
    daily: Daily | None = None,
    opening: Mapping[int, Lot] | None = None,
    rates: Mapping[int, float] | None = None,
    marks: Marks | None = None,
) -> Tally:
    """Of [start, end] (ns), as `performance` takes it."""
    trips = round_trips(fills, opening, marks.splits if marks is not None else None)[0]
    trips = trips.take((trips.closed >= start) & (trips.closed <= end))
    own = fills.between(start, end)
    rate = _worth(own.sym, rates or {})
    fees, notional = own.fee * rate, np.abs(own.quantity) * own.price * rate
    masks = (slice(None), own.liquidity == MAKER, own.liquidity == TAKER)
    profits, seconds = trips.profit * _worth(trips.sym, rates or {}), (trips.closed - trips.opened) / 1e9
    return Tally(
        profits=profits, closed=trips.closed, seconds=seconds, won=_won(profits, seconds),
        paid=_sums(fees, masks), traded=_sums(notional, masks), fills=len(own), ends=tuple(ends), daily=daily or {},
    )  # fmt: skip


def _sums(values: F64, masks: Sequence[Any]) -> tuple[float, float, float]:
    whole, maker, taker = (float(values[mask].sum()) for mask in masks)
    return whole, maker, taker


def together(parts: Sequence[tuple[Tally, float]]) -> Tally:
    """Several as one, each at what a unit of its money is worth."""
    if len(parts) == 1 and parts[0][1] == 1.0:
        return parts[0][0]
    profits, closed, seconds = (np.concatenate(v) for v in zip(*((t.profits * x, t.closed, t.seconds) for t, x in parts), strict=True))
    order = np.argsort(closed, kind="stable")
    daily: dict[int, float] = {}
    for t, x in parts:
        for day, profit in t.daily.items():
            daily[day] = daily.get(day, 0.0) + profit * x

    def added(name: str) -> tuple[float, float, float]:
        whole, maker, taker = (math.fsum(getattr(t, name)[k] * x for t, x in parts) for k in range(3))
        return whole, maker, taker

    return Tally(
        profits=profits[order], closed=closed[order], seconds=seconds[order], won=_won(profits[order], seconds[order]), paid=added("paid"), traded=added("traded"),
        fills=sum(t.fills for t, _ in parts), ends=tuple(one for t, _ in parts for one in t.ends), daily=daily,
    )  # fmt: skip


def figures(t: Tally, end: int, capital: float | None, sessions: Sessions | None) -> Performance:
    """The figures of a period that ends at `end` (ns)."""
    days = _last_days(t.daily, end // DAY_NS, sessions)
    drawdown, share = maximum_drawdown(days, capital)
    won = t.won
    total = t.paid[0] if t.fills else None
    gross = won.get("gross_profit")
    rate, maker, taker = (paid / traded if traded else None for paid, traded in zip(t.paid, t.traded, strict=True))
    return Performance(
        **won, sharpe=sharpe(days, 252 if sessions is not None else 365), maximum_drawdown=drawdown, maximum_drawdown_share=share,
        orders=sum(x.n for x in t.ends), fill_rate=fill_rate(t.ends), fees=total, fee_efficiency=total / gross if total is not None and gross else None,
        effective_fee_rate=rate, effective_fee_rate_maker=maker, effective_fee_rate_taker=taker,
    )  # fmt: skip


def without(found: Performance, names: Sequence[str]) -> Performance:
    """The figures but these: what their money is worth is not known."""
    return msgspec.structs.replace(found, **dict.fromkeys(names))


def _worth(sym: NDArray[np.int64], rates: Mapping[int, float]) -> F64:
    """What a unit of each one's money is worth."""
    if not rates:
        return np.ones(len(sym))
    codes, place = np.unique(sym, return_inverse=True)
    return np.array([rates.get(k, 1.0) for k in codes.tolist()])[place]


def _won(profits: F64, seconds: F64) -> dict[str, Any]:
    n = len(profits)
    if not n:
        return {}
    won, lost = profits > 0, profits < 0
    gain, loss = math.fsum(profits[won].tolist()), -math.fsum(profits[lost].tolist())
    places = np.arange(n)
    run = np.where(lost, places - np.maximum.accumulate(np.where(lost, -1, places)), 0)  # losses in a row up to each
    return {
        "round_trips": n, "win_rate": int(won.sum()) / n, "average_profit": math.fsum(profits.tolist()) / n,
        "profit_factor": gain / loss if loss else None, "gross_profit": gain, "gross_loss": loss,
        "mean_holding_seconds": math.fsum(seconds.tolist()) / n, "max_consecutive_losses": int(run.max()), "consecutive_losses": int(run[-1]),
    }  # fmt: skip


def daily_profits(r: Returns | None) -> dict[int, float]:
    """The live ledger's profit by UTC day, from the first day on which anything moved."""
    if r is None or not r.active.any():
        return {}
    first = int(np.flatnonzero(r.active)[0])
    days, place = np.unique(r.numbers[first:] // A_DAY, return_inverse=True)
    return dict(zip(days.tolist(), np.bincount(place, r.pnl_live[first:]).tolist(), strict=True))


def daily_of_fills(fills: LiveFills, marks: Marks, end: int, rates: Mapping[int, float]) -> dict[int, float]:
    """Profit by UTC day of positions that begin at nothing, valued at the price at each day's end (the last at `end`)."""
    if not len(fills):
        return {}
    first, last = int(fills.ts[0]) // DAY_NS, end // DAY_NS
    out = np.zeros(last - first + 1)
    closes = np.minimum((np.arange(first, last + 1, dtype=np.int64) + 1) * DAY_NS, end)
    for sym in np.unique(fills.sym).tolist():
        own = fills.take((fills.sym == sym) & (fills.ts <= end))
        place, n = own.ts // DAY_NS - first, len(out)
        units = np.bincount(place, np.rint(own.quantity * UNIT), n)
        cash = np.bincount(place, -own.quantity * own.price - own.fee, n)
        price = np.nan_to_num(marks.grid(sym, closes))
        held = np.cumsum(units) / UNIT
        worth = held * price
        out += rates.get(sym, 1.0) * (cash + worth - np.concatenate([[0.0], worth[:-1]]))
    return dict(zip(range(first, last + 1), out.tolist(), strict=True))


def _last_days(daily: Daily, last: int, sessions: Sessions | None) -> list[float]:
    days = [d for d in sorted(daily) if last - ROLLING < d <= last]
    return [daily[d] for d in days if sessions is None or sessions(d) or daily[d] != 0.0]


def sharpe(days: Sequence[float], periods: int) -> float | None:
    """Mean over sample standard deviation of daily profits, a year; None for under 2 days or without variation."""
    if len(days) < 2:
        return None
    spread = float(np.std(days, ddof=1))
    return float(np.mean(days)) / spread * math.sqrt(periods) if spread > 1e-12 * max(map(abs, days)) else None


def maximum_drawdown(days: Sequence[float], capital: float | None) -> tuple[float | None, float | None]:
    """(money, share of the peak equity) that the equity fell below its running peak, which begins at the capital."""
    if not days:
        return None, None
    equity = np.concatenate([[0.0], np.cumsum(days)])
    peak = np.maximum.accumulate(equity)
    fall = peak - equity
    share = None if not capital else float((fall / np.maximum(peak + capital, 1e-300)).max())
    return float(fall.max()), share
