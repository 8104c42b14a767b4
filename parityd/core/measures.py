"""Sums -> the measures of MATH 2 and 3, under the names of the report.

1. A measure that could not be taken is None, never 0; money is in one quote currency, or in the reporting currency, or None with a sum per
   currency beside it.
2. The components add up to `total_pnl_diff`; `action_impact` stands beside it.
3. Symbols are valued at m_T, the price at the window's end; positions carried in, at the price at its start.
"""

import math

import msgspec
import numpy as np

from parityd.core.marks import Marks
from parityd.core.parameters import TrackingError
from parityd.core.records import NO_TS
from parityd.core.rows import Rows
from parityd.core.splits import Splits
from parityd.core.summary import SYM_AT, Summary
from parityd.core.terms import Names

COMPONENTS = (
    "slippage_impact", "market_impact", "fee_impact", "funding_impact", "timing_impact", "data_impact", "sizing_impact", "model_impact", "carry_impact",
)  # fmt: skip
NIL = 1e-9  # money: what the rounding of sums over closed positions may leave
SUBTOTALS = {
    "execution": ("data_impact", "timing_impact", "slippage_impact", "market_impact", "fee_impact"),
    "opportunity": ("sizing_impact", "model_impact", "carry_impact"),
    "funding": ("funding_impact",),
}


class Carried(msgspec.Struct, frozen=True):
    """Positions of one symbol as the window began: allowed, full and live, in units; and the code of its quote currency, 0 unknown."""

    allowed: float = 0.0
    full: float = 0.0
    live: float = 0.0
    ccy: int = 0


NOWHERE = Carried()


class Money(msgspec.Struct):
    """One currency's share of the attribution. None where a component was measured in no trade."""

    components: dict[str, float | None]
    notional: float
    live_notional: float
    action_impact: float
    merged: float
    pnl_backtest: float = 0.0


class Attribution(msgspec.Struct):
    """The shortfall of one window, by currency; `unmarked` counts trades valued at their own price."""

    by_currency: dict[str, Money]
    unmarked: int
    mark_age: float | None  # seconds between the oldest m_T in use and the window's end


def price_measures(s: Summary, how: TrackingError) -> dict[str, float | None]:
    """Tracking error, mean, std and extremes of price_diff_bps, and what else is averaged over matched trades."""
    n = s["n"]
    if n == 0:
        names = (
            "tracking_error_bps",
            "mean_price_diff_bps",
            "std_price_diff_bps",
            "max_price_diff_bps",
            "mean_fee_diff_bps",
            "mean_timing_diff_ms",
            "median_latency_ms",
        )
        return dict.fromkeys(names)
    mean, std = s["d"] / n, _std(s["d"], s["d2"], n)
    waits = np.concatenate(s.latency) if s.latency else np.zeros(0)
    return {
        "tracking_error_bps": _error(s["d"], s["d2"], n, s["wd"], s["wd2"], s["w"], how),
        "mean_price_diff_bps": mean,
        "std_price_diff_bps": std,
        "max_price_diff_bps": s.peak,
        "mean_fee_diff_bps": s["fee_bps"] / n,
        "mean_timing_diff_ms": s["timing_ms"] / s["timing_n"] if s["timing_n"] else None,
        "median_latency_ms": float(np.median(waits)) if len(waits) else None,
    }


def without_largest(s: Summary, how: TrackingError) -> float | None:
    """The tracking error with the largest absolute d left out; None where nothing is left."""
    n = s["n"] - 1
    if n < 1:
        return None
    w = s.peak_w
    return _error(s["d"] - s.peak, s["d2"] - s.peak**2, n, s["wd"] - w * s.peak, s["wd2"] - w * s.peak**2, s["w"] - w, how)


def _std(d: float, d2: float, n: float) -> float | None:
    return math.sqrt(max(0.0, (d2 - d * d / n) / (n - 1))) if n >= 2 else None


def _error(d: float, d2: float, n: float, wd: float, wd2: float, w: float, how: TrackingError) -> float | None:
    if how.weighting == "notional":
        if w <= 0:
            return None
        mean = wd / w
        return math.sqrt(max(0.0, wd2 / w - (mean * mean if how.method == "stdev" else 0.0)))
    return _std(d, d2, n) if how.method == "stdev" else math.sqrt(max(0.0, d2 / n))


def match_rate(s: Summary) -> float | None:
    return s["matched"] / s.settled if s.settled else None


def attribute(
    s: Summary, start: int, end: int, marks: Marks, names: Names, carried: dict[int, Carried], funding: dict[int, float], late: "LateRows"
) -> Attribution:
    """Split the shortfall of the window [start, end]. `late(sym, t)` gives the settled rows of the symbol with trade time after t: those
    that m_T is too old for.
    """
    out: dict[str, Money] = {}
    idle: set[str] = set()  # currencies of which nothing but the rounding of closed positions is there
    unmarked, oldest = 0, None
    for sym in sorted({*s.sym, *(k for k, c in carried.items() if c.allowed != c.live or c.full != c.live), *funding}):
        v = s.sym.get(sym)
        price, when = marks.price(sym, end)
        if v is not None and when != NO_TS:
            oldest = when if oldest is None else min(oldest, when)
        position = carried.get(sym, NOWHERE)
        move = _move(marks, sym, start, end, price) if position is not NOWHERE else 0.0
        carry, action = (position.allowed - position.live) * move, (position.full - position.allowed) * move
        ccy = names[s.ccy.get(sym, 0) or position.ccy]
        if v is not None or funding.get(sym) or abs(carry) + abs(action) > NIL:
            idle.discard(ccy)
        elif ccy not in out:
            idle.add(ccy)
        m = out.setdefault(ccy, Money(dict.fromkeys(COMPONENTS), 0.0, 0.0, 0.0, 0.0))
        if v is not None:
            unmarked += _trades(m, v, s.latest[sym], sym, price, when, late, marks.splits, end)
        _add(m, "carry_impact", carry)
        m.action_impact += action
        _add(m, "funding_impact", funding.get(sym, 0.0))
    if len(idle) < len(out):
        out = {ccy: m for ccy, m in out.items() if ccy not in idle}
    _null_unmeasured(out, s)
    return Attribution(out, unmarked, None if oldest is None else (end - oldest) / 1e9)


def _null_unmeasured(out: dict[str, Money], s: Summary) -> None:
    """What was measured in no trade is None, what was measured and is nothing 0."""
    counts = {"data_impact": s["data_n"], "timing_impact": s["timing_c"], "market_impact": s["impact_n"], "slippage_impact": s["slip_c"]}
    for m in out.values():
        for name in COMPONENTS:
            m.components[name] = m.components[name] or 0.0
        for name, count in counts.items():
            if not count:
                m.components[name] = None
        if not s["n"]:
            m.components["fee_impact"] = m.components["sizing_impact"] = None
        if not s.settled:
            m.components["model_impact"] = None


class LateRows:
    """Rows of a window, asked for only where a symbol's newest price is older than its newest trade."""

    def __call__(self, sym: int, t: int) -> Rows:
        raise NotImplementedError


def _add(m: Money, name: str, value: float) -> None:
    m.components[name] = (m.components[name] or 0.0) + value


def _trades(m: Money, v: np.ndarray, latest: int, sym: int, price: float, when: int, late: LateRows, splits: Splits, end: int) -> int:
    at = SYM_AT
    for name, column in (
        ("slippage_impact", "slip"),
        ("market_impact", "impact"),
        ("fee_impact", "fee"),
        ("timing_impact", "timing"),
        ("data_impact", "data"),
    ):
        _add(m, name, float(v[at[column]]))
    m.notional += float(v[at["N"]])
    m.live_notional += float(v[at["LN"]])
    m.merged += float(v[at["merged"]])
    p = 0.0 if math.isnan(price) else price
    sizing, model = v[at["sizing_a"]] * p + v[at["sizing_b"]], v[at["model_a"]] * p + v[at["model_b"]]
    action = v[at["action_a"]] * p + v[at["action_b"]]
    unmarked = 0
    if when == NO_TS or latest > when:  # some trades are newer than the newest price: each is valued at its own
        r = late(sym, when)
        unmarked = len(r)
        p_own = p * splits.factors(sym, r["t"], end)
        gap = np.nan_to_num(r["oa"] * (r["own"] - p_own))
        both = (r["bkey"] != 0) & (r["lkey"] != 0) & (r["b_q"] > 0) & (r["l_q"] > 0) & (r["alpha"] > 0)
        sizing += gap[both].sum()
        model += gap[~both].sum()
        bought = (1.0 - r["alpha"]) * r["side"] * np.where(r["bkey"] != 0, r["b_q"], 0.0)
        action += np.nan_to_num(bought * (np.where(r["b_q"] > 0, r["b_not"] / np.where(r["b_q"] > 0, r["b_q"], 1), 0) - p_own)).sum()
    _add(m, "sizing_impact", float(sizing))
    _add(m, "model_impact", float(model))
    m.action_impact += float(action)
    return unmarked


def _move(marks: Marks, sym: int, start: int, end: int, price: float) -> float:
    """How far the market moved a unit that the window began with, 0 where a price is lacking."""
    first, when = marks.price(sym, start)
    if when == NO_TS:
        first, _ = marks.first_after(sym, start)
    return 0.0 if math.isnan(first) or math.isnan(price) else price * marks.splits.factor(sym, start, end) - first


def convert(a: Attribution, rate: dict[str, float | None]) -> Money | None:
    """All currencies as one, at the given rates into the target; None where a rate is missing. One currency needs no rate."""
    if len(a.by_currency) == 1:
        return next(iter(a.by_currency.values()))
    out = Money(dict.fromkeys(COMPONENTS, 0.0), 0.0, 0.0, 0.0, 0.0)
    seen: dict[str, bool] = dict.fromkeys(COMPONENTS, False)
    for ccy, m in a.by_currency.items():
        r = rate.get(ccy)
        if r is None:
            return None
        for name, value in m.components.items():
            if value is not None:
                seen[name] = True
                out.components[name] = (out.components[name] or 0.0) + value * r
        out.notional += m.notional * r
        out.live_notional += m.live_notional * r
        out.action_impact += m.action_impact * r
        out.merged += m.merged * r
    for name, known in seen.items():
        if not known:
            out.components[name] = None
    return out


def in_currency(m: Money | None) -> dict[str, float | None]:
    """Components, total and action impact in money."""
    if m is None:
        return dict.fromkeys((*COMPONENTS, "total_pnl_diff", "action_impact"))
    total = math.fsum(v for v in m.components.values() if v is not None)
    return {**m.components, "total_pnl_diff": total, "action_impact": m.action_impact}


def in_bps(m: Money | None) -> dict[str, float | None]:
    """The same over the notional of the backtest (of live where there is none)."""
    money = in_currency(m)
    base = 0.0 if m is None else m.notional or m.live_notional
    return {f"{k}_bps": None if v is None or not base else v / base * 1e4 for k, v in money.items()}


def coverage(s: Summary) -> dict[str, float | None]:
    """Share of matched trades in which each component was measured."""
    n = s["n"]
    names = {"data_impact": "data_n", "timing_impact": "timing_c", "slippage_impact": "slip_c", "market_impact": "impact_n"}
    out: dict[str, float | None] = {k: s[v] / n if n else None for k, v in names.items()}
    out["fee_impact"] = 1.0 if n else None
    out["slippage_unmerged"] = s["slip_alone_n"] / n if n else None
    out["timing_unmerged"] = s["timing_alone_n"] / n if n else None
    return out


def mean_component(s: Summary, name: str) -> tuple[float | None, float | None]:
    """(mean over the trades in which slip or timing was measured unmerged, each in bps of its q_l p_b; their share)."""
    if not s["n"]:
        return None, None
    count = s[name + "_alone_n"]
    return (s[name + "_alone_bps"] / count if count else None), count / s["n"]


def mean_fee(s: Summary) -> float | None:
    """Mean over the trades of the fee difference, each in bps of its q_l p_b."""
    return s["fee_bps"] / s["n"] if s["n"] else None
