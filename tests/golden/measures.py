"""The money of the reference: components, sums and tracking figures of the trades that `reference.judge` found, in rational arithmetic.

A window is a strategy and a span of UTC time; its trades are those whose day lies in it (the whole history: all). Invariants: the components of a
trade sum to its shortfall; the components of a window sum to P&L of the backtest less P&L of live; days add up to the window over them.
It does not know interval returns, scores, drift or publications.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from math import sqrt
from typing import Any

from golden.books import DAY, SECOND, Book, Valuation, day_start, micros
from golden.reference import Execution, Judged, Trade, is_execution

BPS = 10_000
STALE = 15 * 60 * SECOND
CHAIN = ("data", "timing", "slippage", "impact")
COMPONENTS = (*CHAIN, "fee", "sizing", "model", "funding", "carry")
NAMES = {
    "slippage": "slippage_impact",
    "impact": "market_impact",
    "fee": "fee_impact",
    "funding": "funding_impact",
    "timing": "timing_impact",
    "data": "data_impact",
    "sizing": "sizing_impact",
    "model": "model_impact",
    "carry": "carry_impact",
}


@dataclass(frozen=True, kw_only=True)
class Price:
    """A price of a symbol at the end of a window."""

    ts: int
    price: Fraction


class Prices:
    """Marks, decision marks and fill prices of both books, by symbol: the rule of m_T."""

    def __init__(self, judged: Judged) -> None:
        self.quoted: dict[str, list[tuple[int, int, str, Fraction]]] = {}
        self.traded: dict[str, list[tuple[int, int, str, Fraction]]] = {}
        self.known: dict[tuple[str, int], Price | None] = {}
        value = Valuation((judged.backtest, judged.live), judged.settings)
        for book in (judged.backtest, judged.live):
            self._read(book, value)

    def _read(self, book: Book, value: Valuation) -> None:
        live = int(book.name == "live")

        def put(where: dict[str, list[tuple[int, int, str, Fraction]]], symbol: str, ts: int, key: str, price: Any, r: Any) -> None:
            if price is not None:
                turned = 1 / Fraction(str(price)) if value.inverse(r, symbol) else Fraction(str(price))
                where.setdefault(symbol, []).append((ts, live, key, turned))

        for symbol, ts, price in book.marks:
            put(self.quoted, symbol, ts, "", price, {"symbol": symbol})
        for d in book.decisions:
            symbol, ts = book.symbol(d["symbol"]), micros(d["ts"])
            put(self.quoted, symbol, ts, "", d.get("mark"), d)
            if not live and is_execution(d):
                put(self.traded, symbol, ts, "", d["price"], d)
        for f in book.fills:
            symbol, ts = book.symbol(f["symbol"]), micros(f["ts"])
            put(self.traded, symbol, ts, "", f["price"], f)
            put(self.quoted, symbol, micros(f.get("decision_ts", f["ts"])), "", f.get("decision_mark"), f)

    def at(self, symbol: str, end: int) -> Price | None:
        """The newest mark at or before `end`, live before backtest at one time; a fill where it is newer by more than 15 minutes (choice E)."""
        if (symbol, end) not in self.known:
            quoted = max((q for q in self.quoted.get(symbol, ()) if q[0] <= end), default=None)
            traded = max((q for q in self.traded.get(symbol, ()) if q[0] <= end), default=None)
            chosen = quoted if quoted and not (traded and traded[0] - quoted[0] > STALE) else traded
            self.known[symbol, end] = Price(ts=chosen[0], price=chosen[3]) if chosen else None
        return self.known[symbol, end]

    def first(self, symbol: str, start: int) -> Price | None:
        """The price as a window begins, else the first one after."""
        known = self.at(symbol, start)
        if known is None:
            later = [q[0] for table in (self.quoted, self.traded) for q in table.get(symbol, ()) if q[0] > start]
            known = self.at(symbol, min(later)) if later else None
        return known


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """One trade's components in quote currency; None = not measurable. `merged`: components that hold a swallowed link."""

    parts: dict[str, Fraction | None]
    merged: frozenset[str]
    unmarked: bool
    pnl_backtest: Fraction
    pnl_live: Fraction

    @property
    def total(self) -> Fraction:
        return sum((v for v in self.parts.values() if v is not None), Fraction(0))


def chain(b: Execution, e: Execution) -> tuple[dict[str, Fraction | None], frozenset[str]]:
    """Split s q_l (p_l - p_b) along the references at hand; a missing node melts its two links into one."""
    nodes = [
        ("modelled", b.mean("mark")),
        ("data", e.mean("mark")),
        ("timing", e.mean("arrival")),
        ("spread", e.mean("touch")),
        ("impact", e.price),
    ]
    parts: dict[str, Fraction | None] = dict.fromkeys(CHAIN)
    merged = set()
    at, links = b.price, []
    for link, node in nodes:
        links.append(link)
        if node is None:
            continue
        owner = links[0] if len(links) == 1 else "slippage" if {"modelled", "spread"} & set(links) else "timing"
        owner = "slippage" if owner in {"modelled", "spread"} else owner
        if len(links) > 1:
            merged.add(owner)
        parts[owner] = (parts[owner] or Fraction(0)) + b.sign * e.quantity * (node - at)
        at, links = node, []
    return parts, frozenset(merged)


def shortfall(t: Trade, price: Price | None) -> Shortfall:
    b, e, s = t.backtest, t.live, t.one.sign
    own = t.one
    unmarked = price is None or price.ts < own.first
    mark = own.price if price is None or unmarked else price.price
    pnl_b = s * b.quantity * (mark - b.price) - b.fee if b else Fraction(0)
    pnl_l = s * e.quantity * (mark - e.price) - e.fee if e else Fraction(0)
    parts: dict[str, Fraction | None] = dict.fromkeys(COMPONENTS[:-2])
    merged: frozenset[str] = frozenset()
    if b and e:
        links, merged = chain(b, e)
        parts.update(links)
        parts["fee"] = e.fee - b.fee * e.quantity / b.quantity
        parts["sizing"] = (b.quantity - e.quantity) * s * (mark - b.price) - b.fee * (1 - e.quantity / b.quantity)
        parts["model"] = Fraction(0)
    elif b:
        parts["model"] = s * b.quantity * (mark - b.price) - b.fee
    elif e:
        parts["model"] = e.fee - s * e.quantity * (mark - e.price)
    return Shortfall(parts=parts, merged=merged, unmarked=unmarked, pnl_backtest=pnl_b, pnl_live=pnl_l)


def price_diff_bps(t: Trade) -> Fraction | None:
    if t.backtest is None or t.live is None:
        return None
    return t.backtest.sign * (t.live.price - t.backtest.price) / t.backtest.price * BPS


def fee_diff_bps(t: Trade) -> Fraction | None:
    b, e = t.backtest, t.live
    return None if b is None or e is None else (e.fee - b.fee * e.quantity / b.quantity) / (e.quantity * b.price) * BPS


def timing_diff_ms(t: Trade) -> Fraction | None:
    b, e = t.backtest, t.live
    return None if b is None or e is None or b.decided is None else Fraction(e.first - b.decided, 1000)


def latency_ms(t: Trade) -> Fraction | None:
    """Largest over the fills that are not marked maker (choice F)."""
    known = [p.latency for p in t.live.pieces if p.latency is not None and p.liquidity != "maker"] if t.live else []
    return max(known, default=None)


# --- windows -------------------------------------------------------------------------------------------------------------------------


def _mean(values: Iterable[Fraction | None]) -> Fraction | None:
    known = [v for v in values if v is not None]
    return sum(known, Fraction(0)) / len(known) if known else None


def _median(values: Iterable[Fraction | None]) -> Fraction | None:
    known = sorted(v for v in values if v is not None)
    if not known:
        return None
    half = len(known) // 2
    return known[half] if len(known) % 2 else (known[half - 1] + known[half]) / 2


def _root(value: Fraction | None) -> float | None:
    return None if value is None else sqrt(value)


def tracking(trades: list[Trade], judged: Judged) -> dict[str, float | Fraction | None]:
    """Tracking error and its kin over the matched of `trades`; pairs beyond `suspect_bps` are left out of everything but match_rate."""
    limit = judged.settings.suspect_bps
    matched = [t for t in trades if t.state == "matched" and abs(price_diff_bps(t) or 0) <= limit]
    d = [x for t in matched if (x := price_diff_bps(t)) is not None]
    weights = [
        t.backtest.quantity * t.backtest.price if judged.settings.weighting == "notional" and t.backtest else Fraction(1) for t in matched
    ]
    total = sum(weights, Fraction(0))
    mean = sum((w * x for w, x in zip(weights, d, strict=True)), Fraction(0)) / total if d else None
    square = sum((w * x * x for w, x in zip(weights, d, strict=True)), Fraction(0)) / total if d else None
    plain = _mean(d)
    spread = sum(((x - plain) ** 2 for x in d), Fraction(0)) / (len(d) - 1) if plain is not None and len(d) > 1 else None
    settled = sum((t.settled for t in trades), 0)
    return {
        "match_rate": Fraction(sum(t.settled for t in trades if t.state == "matched"), settled) if settled else None,
        "tracking_error_bps": _root(spread) if judged.settings.method == "stdev" else _root(square),
        "mean_price_diff_bps": mean,
        "std_price_diff_bps": _root(spread),
        "max_price_diff_bps": max(d, key=lambda x: (abs(x), x), default=None),
        "mean_fee_diff_bps": _mean(fee_diff_bps(t) for t in matched),
        "mean_timing_diff_ms": _mean(timing_diff_ms(t) for t in matched),
        "median_latency_ms": _median(latency_ms(t) for t in matched),
    }


@dataclass(frozen=True, kw_only=True)
class Window:
    """The measures of one strategy's trades in [first, last] (UTC days, inclusive)."""

    strategy: str
    first: date
    last: date
    trades: dict[str, int]
    matched_by: dict[str, int]
    metrics: dict[str, float | Fraction | None]
    currency: dict[str, Fraction | None]
    bps: dict[str, Fraction | None]
    coverage: dict[str, Fraction | None]
    notional: Fraction
    pnl_backtest: Fraction
    pnl_live: Fraction
    unpriced_fees: int
    unmarked: int

    def plain(self, digits: int = 9) -> dict[str, Any]:
        """JSON-ready: floats rounded to `digits`, None kept."""

        def number_of(v: float | Fraction | None) -> float | None:
            return None if v is None else round(float(v), digits) + 0.0

        return {
            "first": str(self.first),
            "last": str(self.last),
            "trades": self.trades,
            "matched_by": self.matched_by,
            "metrics": {k: number_of(v) for k, v in self.metrics.items()},
            "attribution": {k: number_of(v) for k, v in self.bps.items()}
            | {"currency": {k: number_of(v) for k, v in self.currency.items()}},
            "coverage": {k: number_of(v) for k, v in self.coverage.items()},
            "notional": number_of(self.notional),
            "pnl_backtest": number_of(self.pnl_backtest),
            "pnl_live": number_of(self.pnl_live),
            "unpriced_fees": self.unpriced_fees,
            "unmarked": self.unmarked,
        }


def _carried(judged: Judged, strategy: str, before: date) -> dict[str, Fraction]:
    """Backtest position less live position carried into `before`, by symbol, of the trades of earlier days."""
    gap: dict[str, Fraction] = {}
    for t in judged.of(strategy):
        if t.day < before and t.state != "pending":
            b = t.backtest.sign * t.backtest.quantity if t.backtest else 0
            e = t.live.sign * t.live.quantity if t.live else 0
            gap[t.symbol] = gap.get(t.symbol, Fraction(0)) + b - e
    return gap


def window(judged: Judged, strategy: str, first: date, last: date | None = None) -> Window:
    """All measures of the days first..last (last defaults to first)."""
    last = last or first
    start, end = day_start(first), day_start(last) + DAY
    prices = Prices(judged)
    trades = [t for t in judged.of(strategy) if first <= t.day <= last]
    counted = [t for t in trades if t.state != "pending"]
    found = [(t, shortfall(t, prices.at(t.symbol, end))) for t in counted]
    sums: dict[str, Fraction | None] = {}
    for name in COMPONENTS[:-2]:
        known = [v for _, s in found if (v := s.parts[name]) is not None]
        sums[name] = sum(known, Fraction(0)) if known else None
    paid = {
        book.name: sum((a for s, _, ts, a in book.funding if s == strategy and start <= ts < end), Fraction(0))
        for book in (judged.live, judged.backtest)
    }
    sums["funding"] = paid["live"] - paid["backtest"]
    sums["carry"] = Fraction(0)
    for symbol, quantity in _carried(judged, strategy, first).items():
        new, old = prices.at(symbol, end), prices.first(symbol, start)
        if new and old:
            sums["carry"] += quantity * (new.price - old.price)
    notional = sum((t.backtest.quantity * t.backtest.price for t in counted if t.backtest), Fraction(0))
    base = notional or sum((t.live.quantity * t.live.price for t in counted if t.live), Fraction(0))
    currency = {NAMES[k]: v for k, v in sums.items()}
    currency["total_pnl_diff"] = sum((v for v in sums.values() if v is not None), Fraction(0))
    matched = [(t, s) for t, s in found if t.state == "matched"]
    executions = [e for t in counted for e in (t.backtest, t.live) if e]
    return Window(
        strategy=strategy,
        first=first,
        last=last,
        trades={
            **{state: sum(t.state == state for t in trades) for state in ("matched", "missed", "unexpected", "pending")},
            "ambiguous": sum(t.ambiguous for t in trades),
        },
        matched_by={how: sum(t.matched_by == how for t in trades) for how in ("id", "decision", "fill")},
        metrics=tracking(trades, judged),
        currency=currency,
        bps={f"{k}_bps": v / base * BPS if v is not None and base else None for k, v in currency.items()},
        coverage={
            name: Fraction(sum(s.parts[name] is not None for _, s in matched), len(matched)) if matched else None
            for name in (*CHAIN, "fee", "sizing")
        },
        notional=notional,
        pnl_backtest=sum((s.pnl_backtest for _, s in found), Fraction(0)),
        pnl_live=sum((s.pnl_live for _, s in found), Fraction(0)),
        unpriced_fees=sum(not p.fee_known for e in executions for p in e.pieces),
        unmarked=sum(s.unmarked for _, s in found),
    )


def days(judged: Judged, strategy: str) -> list[date]:
    """The UTC days that hold a trade of the strategy."""
    return sorted({t.day for t in judged.of(strategy)})


def cumulative_drift_bps(judged: Judged, strategy: str, last: date) -> float | None:
    """Sum over the 7 UTC days that end with `last` of that day's mean_price_diff_bps."""
    means = [window(judged, strategy, last - timedelta(days=k)).metrics["mean_price_diff_bps"] for k in range(7)]
    known = [float(m) for m in means if m is not None]
    return sum(known) if known else None
