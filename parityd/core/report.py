"""The numbers of a UTC day as one record (CONTRACT 9). The same facts go into the JSON, the page and the notices.

1. A day's figures are of the day's own trades; positions carried in are valued from its first price to its last.
2. Levels, actions, findings and streaks are those that stand when the report is made; the portfolio is reported, not judged.
3. Sums over several currencies are in the reporting currency, or None with a sum per currency beside them.
4. Nothing here reads a clock: `now` is an argument.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from parityd.core.assessing import rates
from parityd.core.commands import ALL
from parityd.core.day_rows import pieces
from parityd.core.instants import day_start, rfc3339
from parityd.core.judging import carried_in, counts, cumulative_drift, late_rows
from parityd.core.measures import (
    SUBTOTALS,
    Attribution,
    Carried,
    Money,
    attribute,
    convert,
    coverage,
    in_bps,
    in_currency,
    match_rate,
    price_measures,
)
from parityd.core.monitor import Monitor
from parityd.core.portfolio import Part, books_end, measured, performance_of, pooled_markouts, together
from parityd.core.quality import quality_grade, quality_score
from parityd.core.ranking import WORST, Ranking
from parityd.core.records import LIVE, NO_TS
from parityd.core.rows import SHELF_NS, shelf_of
from parityd.core.splits import rescaled
from parityd.core.strategy import Strategy
from parityd.core.summary import Summary, total
from parityd.core.trade_view import cost, values
from parityd.core.window import DAY_NS, Window, of_day, settling, summed

SCHEMA = "parityd/report/1"
METRICS = (
    "match_rate", "tracking_error_bps", "mean_price_diff_bps", "std_price_diff_bps", "max_price_diff_bps", "mean_fee_diff_bps", "mean_timing_diff_ms",
    "median_latency_ms", "correlation", "hit_rate", "decision_parity", "action_parity", "tracking_error_returns_bps", "cumulative_drift_bps",
)  # fmt: skip


class DayOf(msgspec.Struct):
    """One strategy's day before it is written down."""

    sums: Summary
    trades: dict[str, int]
    attribution: Attribution
    variance: float
    worst: list[dict[str, Any]]
    best: list[dict[str, Any]]
    drift: float | None = None
    unpriced_funding: int = 0


def day_report(
    m: Monitor,
    day: str,
    now: int,
    *,
    waiting: bool,
    standing: Mapping[str, Mapping[str, Any]],
    extras: Mapping[str, Mapping[str, Any]],
    revision: int,
) -> dict[str, Any]:
    """The report of a day. `standing`: each strategy's part of the action file; `extras`: further parts by strategy (metrics, drift, performance ...),
    among them the `ranking` of the day's trades where its rows have been gone through already.
    """
    days = {name: _day_of(m, s, day, now, extras.get(name, {}).get("ranking"), waiting=waiting) for name, s in sorted(m.strategies.items())}
    strategies = {name: _strategy(m, d, day, standing.get(name, {}), extras.get(name, {})) for name, d in days.items()}
    portfolio = _portfolio(m, list(days.values()), day, {**extras.get(ALL, {}), **_added(m, strategies, extras, day)})
    return {
        "schema": SCHEMA, "day": day, "revision": revision, "generated_at": rfc3339(now // 1000 * 1000),
        "headline": headline(m, list(days.values()), day), "strategies": strategies, "portfolio": portfolio,
    }  # fmt: skip


def _day_of(m: Monitor, s: Strategy, day: str, now: int, ranking: Ranking | None, *, waiting: bool) -> DayOf:
    start = day_start(day)
    end = start + DAY_NS - 1
    paired = of_day(settling(s, m.parameters, now, waiting=waiting))
    sums, pending = summed(s.books, start, end, paired)
    sums = rescaled(sums, m.splits, start, end, end + 1, lambda a, b: summed(s.books, a, b, paired)[0])
    funding = _funding(s, start, end)
    carried = _carried(m, s, start, funding)
    a = attribute(sums, start, end + 1, m.marks, m.names, carried, funding, lambda sym, t: late_rows(s, start, end, paired, sym, t))  # type: ignore[arg-type]
    if ranking is None:
        ranking = Ranking(paired)
        for piece in pieces(s.books, shelf_of(start), shelf_of(end)):
            ranking.add(piece, cost(piece.rows, values(piece.rows, m.marks, end + 1)))
    worst, best = ranking.shown(s.name, m.marks, m.names, end + 1)
    window = Window(start, end, sums, pending)
    drift = cumulative_drift(s, paired, window, m.parameters.of(s.name)).drift
    unpriced = sum(start <= ts <= end for ts in s.memory.unpriced_funding)
    return DayOf(sums, counts(sums, pending), a, ranking.variance, worst, best, drift, unpriced)


def _carried(m: Monitor, s: Strategy, start: int, funding: dict[int, float]) -> dict[int, Carried]:
    """Positions carried in; and the currency of every symbol that was ever traded or funded, as its trades tell it, else its name."""
    out = {sym: Carried(*q) for sym, q in carried_in(s, start).items()}
    for sym in {*out, *funding}:
        found = out.get(sym, Carried())
        if not found.ccy:
            out[sym] = msgspec.structs.replace(found, ccy=m.instruments.pair(LIVE, s.name, m.names[sym]).ccy)
    return out


def _funding(s: Strategy, start: int, end: int) -> dict[int, float]:
    """Paid live less paid in the backtest, by symbol."""
    out: dict[int, float] = {}
    for sym in s.ledger.entries:
        paid = sum(e.funding[2] - e.funding[1] for _, e in s.ledger.each(sym, shelf_of(start), shelf_of(end)))
        if paid:
            out[sym] = paid
    return out


def _strategy(m: Monitor, d: DayOf, day: str, standing: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    own = dict(extra)
    more, returns = own.pop("metrics", {}), own.pop("returns", None)
    for inner in ("ledger", "ranking"):
        own.pop(inner, None)
    figures = _figures(m, [d], day, {**more, "cumulative_drift_bps": d.drift})
    last = shelf_of(day_start(day) + DAY_NS - 1)
    figures["attribution"]["pnl"] = books_end(returns, last, figures["attribution"]["currency"]["total_pnl_diff"])
    return {
        **{k: standing.get(k) for k in ("level", "grade", "quality_score", "quality_grade", "action", "would_be_action", "evidence")},
        "findings": list(standing.get("findings", [])),
        **figures,
        "worst_trades": d.worst, "best_trades": d.best,
        "markouts": None, "drift": standing.get("drift"), "performance": None, "streaks": standing.get("streaks"),
        **own,
    }  # fmt: skip


def _figures(m: Monitor, days: list[DayOf], day: str, metrics: Mapping[str, float | None]) -> dict[str, Any]:
    sums = days[0].sums if len(days) == 1 else total([d.sums for d in days])
    merged = _together([d.attribution for d in days])
    end = day_start(day) + DAY_NS - 1
    money = convert(merged, rates(m, list(merged.by_currency), end)) if merged.by_currency else None
    measured = {**price_measures(sums, m.parameters.tracking_error), "match_rate": match_rate(sums)}
    out: dict[str, Any] = {
        "trades": {k: sum(d.trades[k] for d in days) for k in ("matched", "missed", "unexpected", "pending", "suppressed", "ambiguous")},
        "matched_by": {"id": int(sums["by_id"]), "decision": int(sums["by_decision"]), "fill": int(sums["by_fill"])},
        "metrics": {k: measured[k] if k in measured else metrics.get(k) for k in METRICS},
        "attribution": {**in_bps(money), "currency": in_currency(money)},
        "coverage": coverage(sums),
        "unpriced_fees": int(sums["unpriced"]) + sum(d.unpriced_funding for d in days), "unmarked": merged.unmarked, "mark_age": merged.mark_age,
    }  # fmt: skip
    names = sorted(merged.by_currency)
    out["attribution"]["in"] = (names[0] or None) if len(names) == 1 else m.parameters.reporting_currency if money is not None else None
    if len(names) > 1:
        out["attribution"]["by_currency"] = {name: in_currency(merged.by_currency[name]) for name in names}
    return out


def _together(parts: list[Attribution]) -> Attribution:
    out = Attribution({}, sum(a.unmarked for a in parts), max((a.mark_age for a in parts if a.mark_age is not None), default=None))
    for a in parts:
        for ccy, money in a.by_currency.items():
            out.by_currency[ccy] = _sum(out.by_currency[ccy], money) if ccy in out.by_currency else money
    return out


def _sum(a: Money, b: Money) -> Money:
    both = {k: v if b.components[k] is None else b.components[k] if v is None else v + b.components[k] for k, v in a.components.items()}  # type: ignore[operator]
    return Money(both, a.notional + b.notional, a.live_notional + b.live_notional, a.action_impact + b.action_impact, a.merged + b.merged)


def _added(m: Monitor, strategies: Mapping[str, Any], extras: Mapping[str, Mapping[str, Any]], day: str) -> dict[str, Any]:
    """What the strategies' returns and markouts come to together."""
    end = day_start(day) + DAY_NS - 1
    known = {name: s["attribution"]["in"] for name, s in strategies.items() if extras.get(name, {}).get("returns") is not None}
    units = {name: unit for name, unit in known.items() if unit is not None or extras[name]["returns"].active.any()}
    same = len(set(units.values())) == 1
    worth = dict.fromkeys(units.values(), 1.0) if same else rates(m, [u for u in set(units.values()) if u], end)
    returns = together(Part(extras[name]["returns"], worth.get(unit)) for name, unit in units.items())
    found = _performance(m, strategies, extras, end)
    return {
        **measured(returns),
        "returns": returns,
        "markouts": pooled_markouts(s["markouts"] for s in strategies.values()),
        "performance": found,
    }


def _performance(m: Monitor, strategies: Mapping[str, Any], extras: Mapping[str, Mapping[str, Any]], end: int) -> dict[str, Any] | None:
    """Of all strategies together: their trips, orders and fees, and the profits of their days."""
    held = {name: extras[name]["ledger"] for name in strategies if extras.get(name, {}).get("ledger") is not None}
    units = {name: one.unit or strategies[name]["attribution"]["in"] for name, one in held.items()}
    quiet = {name for name, one in held.items() if not one.tally.fills and not any(one.tally.daily.values())}  # no money to be valued
    several = {unit for name, unit in units.items() if name not in quiet}
    worth = dict.fromkeys(several, 1.0) if len(several) == 1 else rates(m, [unit for unit in several if unit], end)
    calendars = {m.parameters.of(name).calendar for name in held}
    calendar, asked = next(iter(calendars), None) if len(calendars) == 1 else None, m.parameters.has_session
    ledgers = [(one, 1.0 if name in quiet else worth.get(units[name])) for name, one in held.items()]
    found = performance_of(ledgers, end, partial(asked, calendar) if calendar is not None and asked is not None else None)
    return None if found is None else msgspec.to_builtins(found)


def _portfolio(m: Monitor, days: list[DayOf], day: str, own: dict[str, Any]) -> dict[str, Any]:
    if not days:
        days = [DayOf(Summary(), counts(Summary(), 0), Attribution({}, 0, None), 0.0, [], [])]
    settled = sum(d.trades[k] for d in days for k in ("matched", "missed", "unexpected"))
    worst = sorted((t for d in days for t in d.worst), key=lambda t: -t["total_pnl_diff"])[:WORST]
    best = sorted((t for d in days for t in d.best), key=lambda t: t["total_pnl_diff"])[:WORST]
    figures = _figures(m, days, day, {**own["metrics"], **own.get("parity", {}), "cumulative_drift_bps": own.get("drift")})
    last = shelf_of(day_start(day) + DAY_NS - 1)
    figures["attribution"]["pnl"] = books_end(own["returns"], last, figures["attribution"]["currency"]["total_pnl_diff"])
    score = quality_score(
        tracking_error_bps=figures["metrics"]["tracking_error_bps"], emergency_bps=m.parameters.thresholds.emergency_bps,
        correlation=figures["metrics"]["correlation"], hit_rate=figures["metrics"]["hit_rate"], decision_parity=figures["metrics"]["decision_parity"],
    )  # fmt: skip
    return {
        "quality_score": score, "quality_grade": quality_grade(score), "evidence": "sufficient" if settled >= m.parameters.thresholds.min_trades else "insufficient",
        **figures, "worst_trades": worst, "best_trades": best, "markouts": own["markouts"], "drift": None, "performance": own["performance"], "series": own["series"],
    }  # fmt: skip


def headline(m: Monitor, days: list[DayOf], day: str) -> str:
    """One sentence: how much live trails, with its 95 % interval, and where it went."""
    merged = _together([d.attribution for d in days])
    n = sum(d.trades["matched"] + d.trades["missed"] + d.trades["unexpected"] for d in days)
    if not n:
        return f"No trade of {day} has been settled: nothing to compare."
    money = convert(merged, rates(m, list(merged.by_currency), day_start(day) + DAY_NS - 1))
    if money is None:
        return f"{n} trades of {day} in {len(merged.by_currency)} currencies: without [reporting_currency] and its marks they have no common sum."
    names = sorted(merged.by_currency)
    unit = (names[0] if len(names) == 1 else m.parameters.reporting_currency) or ""
    unit = f" {unit}" if unit else ""
    in_money = in_currency(money)
    x = in_money["total_pnl_diff"] or 0.0
    half = 1.96 * math.sqrt(sum(d.variance for d in days)) if len(names) == 1 else math.nan
    parts = {k: math.fsum(in_money[c] or 0.0 for c in v) for k, v in SUBTOTALS.items()}
    verb, sign = ("trails", 1.0) if x >= 0 else ("leads", -1.0)
    low, high = sorted((sign * (x - half), sign * (x + half)))
    interval = f" (95 % {low:,.2f} to {high:,.2f})" if not math.isnan(half) and n > 1 else ""
    text = f"live {verb} the backtest by {abs(x):,.2f}{unit} a day{interval}: {parts['execution']:,.2f} execution, {parts['opportunity']:,.2f} opportunity, {parts['funding']:,.2f} funding"
    if money.merged:
        text += f"; for {abs(money.merged):,.2f} of {abs(parts['execution']):,.2f} the split was not measured (merged links)"
    return text[0].upper() + text[1:]


__all__ = ["NO_TS", "SHELF_NS", "day_report", "headline"]
