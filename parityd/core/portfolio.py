"""What all strategies come to together, where their parts can be added: returns, drift of seven days, markouts, parity.

1. Money is added in one currency only: each strategy's own where all have the same, else at the given worth; with one unknown there are none.
2. An interval counts once it counts for every strategy that has returns; it is active if it is for one of them.
3. Seven days' drift is the sum of the daily means over the matched trades of all strategies.
4. Nothing here judges: the portfolio is reported.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from parityd.core.instants import DAY_NS
from parityd.core.judging import WEEK
from parityd.core.parity import Parity
from parityd.core.performance import DAILY, MONEY, Performance, Sessions, Tally, figures, without
from parityd.core.performance import together as added
from parityd.core.returns import A_DAY, Returns, correlation, hit_rate, tracking_error_returns_bps
from parityd.core.strategy import Strategy
from parityd.core.trailing import profits
from parityd.core.window import Settling, summed


class Part(msgspec.Struct, frozen=True):
    """One strategy's day: its returns and what a unit of their money is worth (None: unknown)."""

    returns: Returns
    worth: float | None


class Ledger(msgspec.Struct, frozen=True):
    """What one strategy's live ledger did in a period: in which currency (None: it has no fills that say), and whether all of its own could be summed."""

    tally: Tally
    unit: str | None
    capital: float | None
    summable: bool


def performance_of(ledgers: list[tuple[Ledger, float | None]], end: int, sessions: Sessions | None) -> Performance | None:
    """The figures of all ledgers, each with what a unit of its money is worth (None: unknown); None where nothing was traded or ordered."""
    if not any(one.tally.fills or one.tally.ends for one, _ in ledgers):
        return None
    known = [worth for _, worth in ledgers if worth is not None]
    capital = sum(one.capital * worth for one, worth in ledgers if one.capital is not None and worth is not None)
    whole = len(known) == len(ledgers) and all(one.capital is not None for one, _ in ledgers)
    found = figures(
        added([(one.tally, 1.0 if worth is None else worth) for one, worth in ledgers]), end, capital if whole else None, sessions
    )
    if len(known) < len(ledgers):
        return without(found, MONEY + DAILY)
    return found if all(one.summable for one, _ in ledgers) else without(found, MONEY)


def together(parts: Iterable[Part]) -> Returns | None:
    """The returns of all as one; None where there are none or money cannot be added. All begin with the same interval."""
    held = list(parts)
    if not held or any(p.worth is None for p in held):
        return None
    n = min(len(p.returns.numbers) for p in held)
    first = held[0].returns
    sums = {
        name: np.sum([getattr(p.returns, name)[:n] * (p.worth or 0.0) for p in held], axis=0)
        for name in ("pnl_backtest_full", "pnl_allowed", "pnl_live", "gross")
    }
    known = [p.returns.capital * (p.worth or 0.0) for p in held if p.returns.capital is not None]
    capital = float(np.sum(known)) if len(known) == len(held) else None
    r = {name: sums[name] / capital if capital else np.full(n, np.nan) for name in ("pnl_allowed", "pnl_live")}
    return Returns(
        numbers=first.numbers[:n], r_backtest=r["pnl_allowed"], r_live=r["pnl_live"], active=np.any([p.returns.active[:n] for p in held], axis=0),
        capital=capital, begin=0, days=n / A_DAY, **sums,
    )  # fmt: skip


def books_end(r: Returns | None, last: int, total: float | None) -> dict[str, float] | None:
    """`{backtest, live}`: the profits of the (allowed) backtest and of live over the day, `total` apart; None until its last interval counts."""
    if r is None or total is None or int(r.numbers[-1]) != last:
        return None
    live = float(r.pnl_live.sum())
    return {"backtest": live + total, "live": live}


def week_drift(strategies: Iterable[tuple[Strategy, Settling]], end: int) -> float | None:
    """Sum over the seven UTC days up to `end` (ns) of the mean price difference of each day's matched trades, bps."""
    days = np.zeros((WEEK, 2))
    last = end // DAY_NS
    for s, until in strategies:
        for k in range(WEEK):
            start = (last - WEEK + 1 + k) * DAY_NS
            sums, _ = summed(s.books, start, min(start + DAY_NS - 1, end), until)
            days[k] += (sums["n"], sums["d"])
    traded = days[days[:, 0] > 0]
    return float((traded[:, 1] / traded[:, 0]).sum()) if len(traded) else None


def parities(found: Iterable[Parity]) -> dict[str, float | None]:
    """Decision and action parity over the decisions of all strategies that compare them."""
    both = [p for p in found if p.both]
    pooled = Parity(**{k: sum(getattr(p, k) for p in both) for k in ("decisions", "alike", "actions", "actions_alike")}, both=bool(both))
    return {"decision_parity": pooled.decision_parity, "action_parity": pooled.action_parity}


def pooled_markouts(found: Iterable[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Markouts of all strategies, each mean by its number of fills."""
    sums: dict[tuple[str, str], list[float]] = {}
    for one in found:
        for liquidity, horizons in (one or {}).items():
            for horizon, v in horizons.items():
                own = sums.setdefault((liquidity, horizon), [0.0, 0])
                own[0] += (v["mean_bps"] or 0.0) * v["n"]
                own[1] += v["n"]
    out: dict[str, Any] = {}
    for (liquidity, horizon), (total, n) in sums.items():
        out.setdefault(liquidity, {})[horizon] = {"mean_bps": total / n if n else None, "n": int(n)}
    return out or None


def measured(r: Returns | None) -> dict[str, Any]:
    """`metrics` and `series` of the returns of all."""
    if r is None or not len(r.numbers):
        return {"metrics": {}, "series": {}}
    metrics = {"correlation": correlation(r), "hit_rate": hit_rate(r), "tracking_error_returns_bps": tracking_error_returns_bps(r)}
    return {"metrics": metrics, "series": {"pnl": profits(r)}}
