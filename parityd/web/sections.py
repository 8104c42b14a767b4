"""Parts that the strategy's page and the daily report share: findings, charts, tables of trades, lists of measures.

1. Content in, words and charts out; what the content does not hold is left out or shown as not measured.
2. Nothing is judged here; limits are the ones the content names, else the standard profile's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from parityd.web import advice, charts
from parityd.web.views import (
    DASH,
    LEVELS,
    exact,
    instant,
    level_class,
    listed,
    mapped,
    number,
    plain,
    severity,
    share,
    signed,
    span,
    text,
    to_ns,
    whole,
)

Chart = tuple[str, Markup]
CHANNELS = ("mean", "scale", "correlation", "hit", "slippage")
COMPONENTS = (
    ("data_impact", "data"), ("timing_impact", "timing"), ("slippage_impact", "slippage"), ("market_impact", "market impact"),
    ("fee_impact", "fees"), ("sizing_impact", "sizing"), ("model_impact", "model"), ("funding_impact", "funding"), ("carry_impact", "carry"),
)  # fmt: skip
_SHAPES = (0, 1, 2, 4)


class Table(NamedTuple):
    """A table of words: columns with whether they are right-aligned."""

    caption: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Any]]
    empty: str = "None."
    more: str = ""


def limits(entry: Mapping[str, Any]) -> list[float]:
    """The three limits of the tracking error, bps."""
    own = mapped(entry.get("thresholds"))
    given = [number(own.get(k)) for k in ("warning_bps", "critical_bps", "emergency_bps")]
    return [v for v in given if v is not None] if None not in given else [20.0, 50.0, 100.0]


def findings(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Findings, worst first, with what they mean and what to do."""
    rows = []
    ordered = sorted(listed(entry.get("findings")), key=lambda f: -LEVELS.index(f["level"]) if f.get("level") in LEVELS else -4)
    for f in ordered:
        said, code, style = advice.of(text(f.get("code"))), text(f.get("code")), level_class(f.get("level"))
        value, threshold = number(f.get("value")), number(f.get("threshold"))
        detail = text(f.get("detail")).removeprefix(f"{code} ") if f.get("detail") else ""
        figures = (
            ""
            if value is None or detail
            else plain(value, 3 if abs(value) < 1 else 1) + ("" if threshold is None else f" against {threshold:g}")
        )
        rows.append(
            {
                "code": code,
                "level": text(f.get("level")),
                "style": style.replace("l", "t"),
                "shape": _SHAPES[int(style[1])],
                "figures": figures,
                "detail": detail,
                **said._asdict(),
                **({"ends": "Latched: only `parityd override reset` lifts it."} if f.get("level") == "EMERGENCY" else {}),
            }
        )
    return rows


def measures(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The measures as name and words."""
    m, t = mapped(entry.get("metrics")), mapped(entry.get("trades"))
    score, mark = entry.get("quality_score", m.get("quality_score")), entry.get("quality_grade", m.get("quality_grade"))
    return [
        ("Tracking error", _with(m.get("tracking_error_bps"), "bps")),
        ("Mean price difference", _with(m.get("mean_price_diff_bps"), "bps", sign=True)),
        ("Standard deviation", _with(m.get("std_price_diff_bps"), "bps")),
        ("Largest difference", _with(m.get("max_price_diff_bps"), "bps", sign=True)),
        ("Mean fee difference", _with(m.get("mean_fee_diff_bps"), "bps", sign=True)),
        ("Mean timing difference", _with(m.get("mean_timing_diff_ms"), "ms", sign=True)),
        ("Median latency", _with(m.get("median_latency_ms"), "ms")),
        ("Match rate", share(m.get("match_rate"))),
        ("Correlation", plain(m.get("correlation"), 3)),
        ("Hit rate", share(m.get("hit_rate"))),
        ("Decision parity", share(m.get("decision_parity"), 2)),
        ("Action parity", share(m.get("action_parity"), 2)),
        ("Tracking error of returns", _with(m.get("tracking_error_returns_bps"), "bps a day")),
        ("Drift of 7 days", _with(m.get("cumulative_drift_bps"), "bps", sign=True)),
        ("Quality", f"{plain(score, 0)}{f' ({mark})' if mark else ''}"),
        *((name.capitalize(), whole(t.get(name))) for name in ("matched", "missed", "unexpected", "pending", "suppressed", "ambiguous")),
    ]


def _with(value: Any, unit: str, *, sign: bool = False) -> str:
    found = signed(value) if sign else plain(value)
    return found if found == DASH else f"{found} {unit}"


def series_charts(series: Any, entry: Mapping[str, Any]) -> list[Chart]:
    """Every chart whose series is at hand."""
    s, drawn = mapped(series), []
    money = unit_of(entry)
    if s.get("failed"):
        drawn.append(("Charts", charts.nothing(f"They could not be made: {text(s['failed'])}")))
    bands = [
        charts.Limit(v, f"l{i + 1}", n) for i, (v, n) in enumerate(zip(limits(entry), ("warning", "critical", "emergency"), strict=True))
    ]
    if s.get("tracking_error"):
        line = charts.Line("tracking error", "c2", charts.points(s["tracking_error"]))
        drawn.append(
            ("Tracking error of each hour against its bands, bps", charts.lines("Tracking error against its bands", [line], bands, "bps"))
        )
    if s.get("pnl"):
        books = [charts.Line(n, c, charts.points(s["pnl"], n)) for n, c in (("backtest", "c1"), ("allowed", "c3"), ("live", "c2"))]
        if books[0].points and books[0].points == books[1].points:
            books.pop(1)
        title = f"Cumulative P&L of the books, gap shaded{f', {money}' if money else ''}"
        drawn.append((title, charts.lines("Cumulative P&L of the books", books, unit=money, shade=True)))
    if s.get("price_diff"):
        drawn.append(("Price differences, number of trades by bps", charts.histogram("Distribution of price differences", s["price_diff"])))
    if s.get("drift"):
        drawn.append(("Drift evidence, share of its limit", _drift(s["drift"])))
    if s.get("correlation"):
        two = [
            charts.Line(n.replace("_", " "), c, charts.points(s["correlation"], n)) for n, c in (("correlation", "c2"), ("hit_rate", "c3"))
        ]
        drawn.append(("Correlation and hit rate of the books' returns, trailing", charts.lines("Correlation and hit rate", two, lone=True)))
    hours = [(number(r.get("hour")) or 0.0, number(r.get("total_bps"))) for r in listed(s.get("costs_by_hour"))]
    if hours:
        drawn.append(("Cost by hour (UTC), bps", charts.columns("Cost by hour", hours, "bps", "hour (UTC)", 24)))
    symbols = [(str(r.get("symbol", DASH)), number(r.get("total_bps")), _money(r)) for r in listed(s.get("costs_by_symbol"))][:24]
    if symbols:
        drawn.append(("Cost by symbol, bps and money", charts.bars("Cost by symbol", symbols)))
    return drawn


def _money(r: Mapping[str, Any]) -> str:
    """What a symbol cost, with its currency."""
    cost = number(r.get("total_pnl_diff"))
    return "" if cost is None else f"{charts.short(cost)} {text(r['currency'], 5) if r.get('currency') else ''}".rstrip()


def waterfall(entry: Mapping[str, Any]) -> tuple[str, Markup]:
    """From the backtest's P&L to live's, in money where there is one currency, else in bps."""
    attribution = mapped(entry.get("attribution"))
    money = mapped(attribution.get("currency"))
    total = number(money.get("total_pnl_diff"))
    unit, source, suffix = ("money", money, "") if total is not None else ("bps", attribution, "_bps")
    total = total if total is not None else number(attribution.get("total_pnl_diff_bps"))
    if total is None:
        return "From backtest to live", charts.nothing("No attribution: nothing was traded, or the currencies cannot be added.")
    costs = [(name, number(source.get(key + suffix))) for key, name in COMPONENTS]
    counts = mapped(entry.get("trades"))
    if (
        counts
        and not any(number(counts.get(k)) for k in ("matched", "missed", "unexpected"))
        and not total
        and not any(v for _, v in costs)
    ):
        return "From backtest to live", charts.nothing("No trade of the day has been settled, and nothing was carried through it.")
    rest = total - sum(v for _, v in costs if v is not None)
    steps = [(name, None if v is None else -v) for name, v in costs]
    if abs(rest) > 1e-9 * max(1.0, abs(total), *(abs(v) for _, v in costs if v is not None)):
        steps.append(("rest", -rest))
    pnl = mapped(attribution.get("pnl")) if unit == "money" else {}
    live, back = number(pnl.get("live")), number(pnl.get("backtest"))
    start = back if live is not None and back is not None else 0.0
    names = ("backtest", "live") if live is not None and back is not None else ("backtest = 0", "live")
    told = text(attribution["in"], 12) if unit == "money" and attribution.get("in") else unit
    picture = charts.waterfall("From the backtest's P&L to live's", (names[0], start), steps, (names[1], start - total), told)
    return f"From backtest to live, {told}", picture


def unit_of(entry: Mapping[str, Any]) -> str:
    """The currency of an entry's money."""
    found = mapped(entry.get("attribution")).get("in")
    return text(found, 12) if found else ""


def _drift(series: Any) -> Markup:
    names = [n for n in CHANNELS if any(n in mapped(p.get("channels")) for p in listed(series))]
    flat = [{"ts": p.get("ts"), **mapped(p.get("channels"))} for p in listed(series)]
    drawn = [charts.Line(n, f"c{CHANNELS.index(n) + 1}", charts.points(flat, n)) for n in names]
    return charts.lines("Drift evidence as a share of its limit", drawn, [charts.Limit(1.0, "l3", "alarm")], lone=True)


_CENT = 0.005
TRADE_COLUMNS = (
    ("Time, UTC", False), ("Trade", False), ("Side", False), ("Backtest", True), ("Live", True), ("Diff, bps", True), ("Cost", True),
    ("Where it went, and what is known of it", False),
)  # fmt: skip
Cell = str | tuple[str, str]
"""What a table's cell says, and a smaller line below it."""


def trades(rows: Any, caption: str, *, most: int = 50, empty: str = "None.", more: str = "", named: bool = False) -> Table:
    """Trades as a table, each with its components and everything else that is known; `named` says whose each is."""
    shown = listed(rows)[:most]
    return Table(caption, TRADE_COLUMNS, [_trade(t, named=named) for t in shown], empty, more)


def _trade(t: Mapping[str, Any], *, named: bool) -> tuple[Cell, ...]:
    money = t.get("total_pnl_diff")
    how = f" by {t['matched_by']}" if t.get("matched_by") else ""
    marks = "".join(f", {word}" for word in ("ambiguous", "suspect") if t.get(word))
    unit = text(t["currency"], 12) if t.get("currency") and number(money) is not None else ""
    day, _, clock = instant(t.get("ts")).partition(" ")
    return (
        (day, clock),
        (text(t.get("trade_id"), 40), (f"{text(t.get('strategy'), 64)}: " if named else "") + text(t.get("state")) + how + marks),
        (text(t.get("side"), 8), text(t.get("symbol"), 40)),
        _side(t, "backtest"),
        _side(t, "live"),
        signed(t.get("price_diff_bps"), 2),
        (signed(money, 2), unit),
        (_parts(mapped(t.get("components"))), _known(t)),
    )


def _side(t: Mapping[str, Any], book: str) -> Cell:
    quantity, price = number(t.get(f"{book}_quantity")), number(t.get(f"{book}_price"))
    return DASH if quantity is None or price is None else (exact(price), f"× {exact(quantity)}")


def _parts(components: Mapping[str, Any]) -> str:
    known = [(name, v) for key, name in COMPONENTS if (v := number(components.get(key))) is not None and abs(v) >= _CENT]
    known.sort(key=lambda p: -abs(p[1]))
    return ", ".join(f"{name} {signed(v, 2)}" for name, v in known) or DASH


def _known(t: Mapping[str, Any]) -> str:
    """The rest of what a trade's record says, in words; what is not known is not there."""
    said = []
    fees = [number(t.get(f"{book}_fee")) for book in ("backtest", "live")]
    if any(fees):
        said.append("fees " + " → ".join(plain(f, 2) for f in fees if f is not None))
    references = (("backtest's mark", "backtest_mark"), ("live mark", "live_mark"), ("arrival", "arrival_price"), ("touch", "arrival_touch"), ("price at the day's end", "mark"))  # fmt: skip
    said += [f"{name} {exact(v)}" for name, key in references if (v := number(t.get(key))) is not None]
    said += [f"live's first fill {instant(at)[11:]}" for at in (t.get("live_time"),) if to_ns(at) is not None]
    said += [f"{name} {signed(v)} ms" for name, key in (("timing", "timing_diff_ms"),) if (v := number(t.get(key))) is not None]
    said += [f"latency {plain(v)} ms" for v in (number(t.get("latency_ms")),) if v is not None]
    said += [f"{whole(n)} fills" for n in (number(t.get("fills")),) if n is not None and n > 1]
    said += [f"{whole(n)} fees unpriced" for n in (number(t.get("unpriced_fees")),) if n]
    said += [f"allowed × {plain(n, 2)}" for n in (number(t.get("allowed")),) if n is not None and n != 1]
    return "; ".join(said)


def commands(found: Sequence[Mapping[str, Any]], now: int) -> list[dict[str, Any]]:
    """Operators' commands in force, in words."""
    rows = []
    for c in found:
        ns = to_ns(c.get("expires_at"))
        left = None if ns is None else round((ns - now) / 1e9)
        scope = "all strategies" if c.get("strategy") in ("*", None) else text(c["strategy"])
        size = f" to × {plain(c['size_multiplier'], 2)}" if number(c.get("size_multiplier")) is not None else ""
        rows.append(
            {
                "command": text(c.get("command")) + size,
                "scope": scope,
                "left": left,
                "ends": DASH if left is None else f"ends in {span(left)}" if left > 0 else "EXPIRED",
                "who": text(c.get("operator"), 60),
                "reason": text(c.get("reason")),
            }
        )
    return rows


def action_head(entry: Mapping[str, Any], now: int) -> dict[str, Any]:
    """What stands for one strategy: the words of its banner."""
    size = severity(entry.get("action"))
    since = to_ns(entry.get("since"))
    advised = entry.get("would_be_action")
    return {
        "action": text(entry.get("action")),
        "size": size,
        "would": advised if advised and advised != entry.get("action") else "",
        "reason": text(
            entry.get("reason")
            or "; ".join(f"{f.get('code')}: {f.get('detail') or f.get('level')}" for f in listed(entry.get("findings"))[:3])
        ),
        "does": advice.ACTIONS.get(str(entry.get("action")), ""),
        "since": DASH if since is None else f"{instant(since)} ({span((now - since) / 1e9)})",
        "level": text(entry.get("level")),
        "grade": entry.get("grade") or "",
        "evidence": text(entry.get("evidence")),
        "multiplier": plain(entry.get("size_multiplier"), 2),
    }
