"""The smaller parts of a strategy's report, as tables and lists of words: attribution, markouts, drift, performance, the quality of its data.

1. Content in, words out: units are written, percentages are shares times a hundred, and nothing else is computed.
2. What is absent or null is shown as not measured.
"""

from collections.abc import Callable, Mapping
from typing import Any

from parityd.web import sections
from parityd.web.metrics import evidence_of
from parityd.web.sections import COMPONENTS, Table
from parityd.web.views import DASH, instant, listed, mapped, number, plain, share, signed, span, text, whole

PERFORMANCE: tuple[tuple[str, str, Callable[[Any], str], str], ...] = (
    ("round_trips", "Round trips", whole, ""), ("win_rate", "Win rate", share, ""), ("average_profit", "Average profit", lambda v: signed(v, 2), "money"),
    ("profit_factor", "Profit factor", lambda v: plain(v, 2), ""), ("gross_profit", "Gross profit", lambda v: plain(v, 2), "money"),
    ("gross_loss", "Gross loss", lambda v: plain(v, 2), "money"), ("mean_holding_seconds", "Mean holding time", span, ""),
    ("max_consecutive_losses", "Longest run of losses", whole, ""), ("consecutive_losses", "Losses in a row at the end", whole, ""),
    ("sharpe", "Sharpe ratio, 30 days", lambda v: plain(v, 2), ""), ("maximum_drawdown", "Maximum drawdown", lambda v: plain(v, 2), "money"),
    ("maximum_drawdown_share", "Maximum drawdown, of capital", lambda v: share(v, 2), ""), ("orders", "Orders", whole, ""),
    ("fill_rate", "Fill rate", share, ""), ("fees", "Fees", lambda v: plain(v, 2), "money"), ("fee_efficiency", "Fees, of gross profit", share, ""),
    ("effective_fee_rate", "Fee rate", lambda v: share(v, 4), ""), ("effective_fee_rate_maker", "Fee rate, maker", lambda v: share(v, 4), ""),
    ("effective_fee_rate_taker", "Fee rate, taker", lambda v: share(v, 4), ""),
)  # fmt: skip


def attribution(entry: Mapping[str, Any]) -> Table:
    attribution, coverage = mapped(entry.get("attribution")), mapped(entry.get("coverage"))
    money = mapped(attribution.get("currency"))
    rows = []
    for key, name in (*COMPONENTS, ("total_pnl_diff", "total"), ("action_impact", "action impact, beside")):
        covered = next((coverage[k] for k in (key, key + "_bps", key.removesuffix("_impact")) if k in coverage), None)
        rows.append((name, signed(attribution.get(key + "_bps"), 2), signed(money.get(key), 2), share(covered, 0)))
    return Table(
        "Attribution: cost of live by component",
        (("Component", False), ("bps", True), (sections.unit_of(entry) or "Money", True), ("Measured in", True)),
        rows,
    )


def markouts(found: Any) -> Table:
    """Markouts as `{maker|taker: {horizon: bps}}` or `{horizon: {maker|taker: bps}}`, or a list of flat rows."""
    flat: list[tuple[str, ...]] = []
    for a, inner in mapped(found).items():
        for b, v in mapped(inner).items():
            value = v.get("mean_bps", v.get("bps")) if isinstance(v, Mapping) else v
            count = whole(v.get("n", v.get("count"))) if isinstance(v, Mapping) else DASH
            flat.append((text(a, 30), text(b, 30), signed(value, 2), count))
    if not any(f[2] != DASH for f in flat):
        flat.clear()
    flat += [
        (text(r.get("liquidity"), 30), text(r.get("horizon"), 30), signed(r.get("mean_bps", r.get("bps")), 2), whole(r.get("n")))
        for r in listed(found)
    ]
    return Table(
        "Price after the fill against the fill",
        (("Liquidity", False), ("After", False), ("bps", True), ("Fills", True)),
        flat,
        "Not measured: no marks after the fills.",
    )


def drift(drift: Mapping[str, Any]) -> Table:
    shares, rows = evidence_of(drift), []
    for name, c in mapped(drift.get("channels")).items():
        one = mapped(c)
        alarm = one.get("alarm")
        said = "no" if not alarm else _alarm(mapped(alarm))
        rows.append((text(name, 30), share(shares.get(str(name)), 0), share(one.get("confidence"), 1), said))
    columns = (("Channel", False), ("Evidence, of its limit", True), ("Confidence", True), ("Alarm", False))
    return Table("Drift evidence by channel", columns, rows, "Not measured yet: the detectors are still learning the reference.")


def _alarm(alarm: Mapping[str, Any]) -> str:
    parts = [text(alarm.get("direction"), 30)] if alarm.get("direction") else ["yes"]
    if alarm.get("changed_at") or alarm.get("change_ts"):
        parts.append(f"since {instant(alarm.get('changed_at') or alarm.get('change_ts'))}")
    if number(alarm.get("effect_bps")) is not None:
        parts.append(f"{signed(alarm['effect_bps'])} bps")
    return ", ".join(parts)


def rules(drift: Mapping[str, Any]) -> Table:
    crossed = {True: "yes", False: "no"}
    rows = [
        (text(n, 30).replace("_", " "), plain(r.get("value"), 3), plain(r.get("baseline"), 3), share(r.get("change"), 0), crossed.get(r.get("crossed"), DASH))  # type: ignore[arg-type]
        for n, v in mapped(drift.get("rules")).items() if (r := mapped(v))
    ]  # fmt: skip
    return Table("Rules of thumb", (("Rule", False), ("Now", True), ("Baseline", True), ("Change", True), ("Crossed", False)), rows)


def performance(found: Any, unit: str) -> list[tuple[str, str]]:
    money = f" {unit}" if unit else ""
    p = mapped(found)
    rows = [
        (name, shown if (shown := write(p.get(key))) == DASH or not after else shown + (money if after == "money" else after))
        for key, name, write, after in PERFORMANCE
        if key in p
    ]
    known = {key for key, *_ in PERFORMANCE}
    rows += [
        (text(k, 40).replace("_", " ").capitalize(), plain(v, 2) if number(v) is not None else text(v, 60))
        for k, v in p.items()
        if k not in known and not isinstance(v, Mapping | list)
    ]
    return rows or [("Performance", "not measured")]


def agents(found: Any) -> Table:
    columns = (
        ("Agent", False),
        ("Round trips", True),
        ("Win rate", True),
        ("Average profit", True),
        ("Profit factor", True),
        ("Fees", True),
    )
    rows = [
        (text(name, 40), whole(p.get("round_trips")), share(p.get("win_rate")), signed(p.get("average_profit"), 2), plain(p.get("profit_factor"), 2), plain(p.get("fees"), 2))
        for name, v in mapped(mapped(found).get("agents")).items() if (p := mapped(v))
    ]  # fmt: skip
    return Table("Performance by agent", columns, rows)


def data(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    how, trades, marks = mapped(entry.get("matched_by")), mapped(entry.get("trades")), mapped(entry.get("watermarks"))
    rows = [(f"Matched by {k}", whole(how.get(k))) for k in ("id", "decision", "fill")]
    rows += [("Ambiguous pairs", whole(trades.get("ambiguous"))), ("Still pending", whole(trades.get("pending")))]
    rows += [
        ("Unpriced fees", _measure(entry.get("unpriced_fees"))), ("Unpriced, by currency", _unpriced(entry.get("unpriced"))),
        ("Trades without a mark at the end", _measure(entry.get("unmarked"))), ("Age of the oldest mark", span(entry.get("mark_age"))),
    ]  # fmt: skip
    rows += [(f"Newest word of {book}", instant(ts)) for book, ts in marks.items()]
    return rows + [(f"Closed days in a row at {str(k).upper()}", whole(v)) for k, v in mapped(entry.get("streaks")).items()]


def _unpriced(found: Any) -> str:
    said = [
        f"{whole(mapped(v).get('fees'))} of {plain(mapped(v).get('amount'), 4)} {text(k, 12)}"
        if isinstance(v, Mapping)
        else f"{text(k, 12)} {_measure(v)}"
        for k, v in mapped(found).items()
    ]
    return ", ".join(said[:8]) or "none"


def refusals(report: Mapping[str, Any]) -> Table:
    """Refused records of the day's files, by book and code."""
    found = mapped(mapped(report.get("data_quality")).get("refused"))
    rows = [(text(book, 20), text(code, 30), whole(n)) for book, codes in found.items() for code, n in mapped(codes).items()]
    return Table(
        "Refused records", (("Book", False), ("Code", False), ("Records", True)), rows, "No record of the day's files was refused."
    )


def _measure(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{text(k, 30)} {_measure(v)}" for k, v in list(value.items())[:8]) or "0"
    if isinstance(value, list):
        return whole(len(value))
    return plain(value, 0 if isinstance(value, int) else 1) if number(value) is not None else text(value, 60)


def outliers(series: Mapping[str, Any]) -> Table:
    rows = [
        ((text(o.get("trade_id"), 40), instant(o.get("ts")).replace(DASH, "")), text(o.get("symbol"), 40), signed(o.get("value_bps"), 1), signed(o.get("total_pnl_diff"), 2))
        for o in listed(series.get("outliers"))[:20]
    ]  # fmt: skip
    columns = (("Trade", False), ("Symbol", False), ("Diff, bps", True), ("Cost", True))
    return Table("Outliers of the price differences", columns, rows, "None: no trade lies far from the others.")
