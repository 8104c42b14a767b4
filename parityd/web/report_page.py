"""The daily report as one self-contained page.

1. The page holds what the report's JSON holds; only the waterfall's running totals are computed, and they close exactly: what the components
   leave over is a step of its own.
2. No request leaves the page: style and script are inline and allowed by their hash; both stand before the first word of data, so that
   nothing a record says can be taken for them.
3. Under 500 KB however many strategies: the worst come first in full, then in short, then in the table alone, and the page says so.
4. What is absent or null is shown as not measured.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from markupsafe import Markup

from parityd.web import charts, sections
from parityd.web.assets import static
from parityd.web.metrics import evidence_of
from parityd.web.pages import templates
from parityd.web.problems import POLICY
from parityd.web.sections import COMPONENTS, Table
from parityd.web.views import DASH, instant, listed, mapped, number, plain, severity, share, signed, text, whole

FULL_UP_TO, SHORT_UP_TO, MOST_SUMMARY = 260_000, 330_000, 200  # bytes of sections written so far; rows
_INLINE = re.compile(
    rb"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n(?:<meta [^>]*>\n)?<style>(.*?)</style>\n<script>(.*?)</script>\n",
    re.DOTALL,
)


def _hash(source: bytes) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(source).digest()).decode() + "'"


def policy(page: bytes) -> str:
    """The content security policy under which a stored report may be shown: its own style and script, by hash."""
    found = _INLINE.match(page)
    return POLICY if found is None else f"{POLICY}; style-src 'self' {_hash(found[1])}; script-src 'self' {_hash(found[2])}"


@cache
def _prologue() -> bytes:
    style, script = static("page.css").strip(), static("report.js").strip()
    meta = f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    return (
        b'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="'
        + meta.encode() + b'">\n<style>' + style + b"</style>\n<script>" + script + b"</script>\n"
    )  # fmt: skip


def render(report: dict[str, Any]) -> bytes:
    """The page of a report (CONTRACT 9's content, with an optional `series` in each strategy and in `portfolio`)."""
    named = [(str(n), mapped(s)) for n, s in mapped(report.get("strategies")).items()]
    named.sort(
        key=lambda p: (
            -severity(p[1].get("action")),
            -(number(mapped(p[1].get("metrics")).get("tracking_error_bps")) or 0.0),
            p[0].casefold(),
        )
    )
    written, size, full = [], 0, 0
    for i, (name, entry) in enumerate(named):
        if size > SHORT_UP_TO:
            break
        part = _strategy(f"s{i}", name, entry, full=size <= FULL_UP_TO)
        full += size <= FULL_UP_TO
        size += len(part.encode("utf-8", "replace"))
        written.append(part)
    worst = named[0][1].get("action") if named else "CONTINUE"
    body = templates().get_template("report.html").render(
        day=text(report.get("day"), 10), headline=text(report.get("headline"), 1000), revision=whole(report.get("revision")),
        made=instant(report.get("generated_at")), action=text(worst), size=severity(worst), verdict=_verdict(named), summary=_summary(named),
        nav=[{"id": f"s{i}", "name": n} for i, (n, _) in enumerate(named[: min(8, len(written))])], nav_more=max(0, len(named) - 8),
        portfolio=_portfolio(mapped(report.get("portfolio")), len(named)), sections=written, left_out=_left_out(len(named), len(written), full),
    )  # fmt: skip
    return _prologue() + body.encode("utf-8", "replace")


def _left_out(strategies: int, written: int, full: int) -> str:
    if strategies == full:
        return ""
    rest = f", {strategies - written} in the table and the JSON alone" if strategies > written else ""
    return f"To keep this page small {written - full} of {strategies} strategies stand here without charts{rest}; each has its own page on the status server."


def _verdict(named: list[tuple[str, Mapping[str, Any]]]) -> str:
    acted = sum(severity(e.get("action")) > 1 for _, e in named)
    warned = sum(severity(e.get("action")) == 1 for _, e in named)
    return f"{len(named)} {'strategy' if len(named) == 1 else 'strategies'}, {warned} with a warning, {acted} reduced or stopped"


def _summary(named: list[tuple[str, Mapping[str, Any]]]) -> Table:
    columns = (
        ("Strategy", False), ("Action", False), ("Tracking error, bps", True), ("Cost, bps", True), ("Matched", True), ("Missed", True), ("Unexpected", True),
        ("Quality", True), ("Findings", False),
    )  # fmt: skip
    rows = []
    for name, e in named[:MOST_SUMMARY]:
        m, t, a = (mapped(e.get(k)) for k in ("metrics", "trades", "attribution"))
        codes = ", ".join(text(f.get("code")) for f in listed(e.get("findings")))
        counts = (whole(t.get(k)) for k in ("matched", "missed", "unexpected"))
        rows.append(
            (text(name, 64), text(e.get("action")), plain(m.get("tracking_error_bps")), signed(a.get("total_pnl_diff_bps")), *counts, _quality(e), text(codes, 120))
        )  # fmt: skip
    more = f"The worst {MOST_SUMMARY} of {len(named)}; the JSON has all." if len(named) > MOST_SUMMARY else ""
    return Table("All strategies", columns, rows, "No strategy had a trade on this day.", more)


def _quality(e: Mapping[str, Any]) -> str:
    mark = e.get("quality_grade")
    return plain(e.get("quality_score"), 0) + (f" {mark}" if mark else "")


def _portfolio(entry: Mapping[str, Any], strategies: int) -> dict[str, Any] | None:
    if not entry or strategies < 2:
        return None
    title, picture = _waterfall(entry)
    return {"measures": sections.measures(entry), "charts": [(title, picture), *sections.series_charts(entry.get("series"), entry)]}


def _strategy(anchor: str, name: str, entry: Mapping[str, Any], *, full: bool) -> Markup:
    title, picture = _waterfall(entry)
    known = mapped(entry.get("series"))
    tables = [
        ("Worst trades, by money", sections.trades(entry.get("worst_trades"), "Worst trades"), "w"),
        ("Best trades", sections.trades(entry.get("best_trades") or known.get("best_trades"), "Best trades", most=10), "b"),
        (
            "Missed trades: in the backtest alone",
            sections.trades(entry.get("missed") or known.get("missed"), "Missed trades", most=25),
            "x",
        ),
        (
            "Unexpected trades: live alone",
            sections.trades(entry.get("unexpected") or known.get("unexpected"), "Unexpected trades", most=25),
            "u",
        ),
    ]
    return Markup(  # noqa: S704  the template escapes
        templates().get_template("report_strategy.html").render(
            id=anchor, name=name, full=full, head=sections.action_head(entry, 0), quality=_quality(entry), findings=sections.findings(entry),
            measures=sections.measures(entry), waterfall_title=title, waterfall=picture, charts=sections.series_charts(known, entry),
            attribution=_attribution(entry), markouts=_markouts(entry.get("markouts")), drift=_drift(mapped(entry.get("drift"))),
            rules=_rules(mapped(entry.get("drift"))), performance=_figures(entry.get("performance")), data=_data(entry),
            outliers=_outliers(mapped(known.get("price_diff"))), tables=tables,
        )
    )  # fmt: skip


def _waterfall(entry: Mapping[str, Any]) -> tuple[str, Markup]:
    """From the backtest's P&L to live's, in money where there is one currency, else in bps."""
    attribution = mapped(entry.get("attribution"))
    money = mapped(attribution.get("currency"))
    total = number(money.get("total_pnl_diff"))
    unit, source, suffix = ("money", money, "") if total is not None else ("bps", attribution, "_bps")
    total = total if total is not None else number(attribution.get("total_pnl_diff_bps"))
    if total is None:
        return "From backtest to live", charts.nothing("No attribution: nothing was traded, or the currencies cannot be added.")
    costs = [(name, number(source.get(key + suffix))) for key, name in COMPONENTS]
    rest = total - sum(v for _, v in costs if v is not None)
    steps = [(name, None if v is None else -v) for name, v in costs]
    if abs(rest) > 1e-9 * max(1.0, abs(total), *(abs(v) for _, v in costs if v is not None)):
        steps.append(("rest", -rest))
    pnl = [p for p in listed(mapped(entry.get("series")).get("pnl")) if number(p.get("live")) is not None] if unit == "money" else []
    live = number(pnl[-1]["live"]) if pnl else None
    start = (live + total) if live is not None else 0.0
    names = ("backtest", "live") if live is not None else ("backtest = 0", "live")
    told = text(attribution["in"], 12) if unit == "money" and attribution.get("in") else unit
    picture = charts.waterfall("From the backtest's P&L to live's", (names[0], start), steps, (names[1], start - total), told)
    return f"From backtest to live, {told}", picture


def _attribution(entry: Mapping[str, Any]) -> Table:
    attribution, coverage = mapped(entry.get("attribution")), mapped(entry.get("coverage"))
    money = mapped(attribution.get("currency"))
    rows = []
    for key, name in (*COMPONENTS, ("total_pnl_diff", "total"), ("action_impact", "action impact, beside")):
        covered = next((coverage[k] for k in (key, key + "_bps", key.removesuffix("_impact")) if k in coverage), None)
        rows.append((name, signed(attribution.get(key + "_bps"), 2), signed(money.get(key), 2), share(covered, 0)))
    return Table(
        "Attribution: cost of live by component", (("Component", False), ("bps", True), ("Money", True), ("Measured in", True)), rows
    )


def _markouts(found: Any) -> Table:
    """Markouts as `{maker|taker: {horizon: bps}}` or `{horizon: {maker|taker: bps}}`, or a list of flat rows."""
    flat: list[tuple[str, ...]] = []
    for a, inner in mapped(found).items():
        for b, v in mapped(inner).items():
            value = v.get("mean_bps", v.get("bps")) if isinstance(v, Mapping) else v
            count = whole(v.get("n", v.get("count"))) if isinstance(v, Mapping) else DASH
            flat.append((text(a, 30), text(b, 30), signed(value, 2), count))
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


def _drift(drift: Mapping[str, Any]) -> Table:
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


def _rules(drift: Mapping[str, Any]) -> Table:
    crossed = {True: "yes", False: "no"}
    rows = [
        (text(n, 30).replace("_", " "), plain(r.get("value"), 3), plain(r.get("baseline"), 3), share(r.get("change"), 0), crossed.get(r.get("crossed"), DASH))  # type: ignore[arg-type]
        for n, v in mapped(drift.get("rules")).items() if (r := mapped(v))
    ]  # fmt: skip
    return Table("Rules of thumb", (("Rule", False), ("Now", True), ("Baseline", True), ("Change", True), ("Crossed", False)), rows)


def _figures(found: Any) -> list[tuple[str, str]]:
    rows = []
    for key, v in mapped(found).items():
        value = number(v)
        if isinstance(v, Mapping | list):
            continue
        digits = 0 if isinstance(v, int) else 2 if value is None or abs(value) >= 0.1 else 5
        rows.append(
            (text(key, 40).replace("_", " ").capitalize(), DASH if v is None else plain(v, digits) if value is not None else text(v, 60))
        )
    return rows or [("Performance", "not measured")]


def _data(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    how = mapped(entry.get("matched_by"))
    rows = [(f"Matched by {k}", whole(how.get(k))) for k in ("id", "decision", "fill")]
    rows += [("Ambiguous", whole(mapped(entry.get("trades")).get("ambiguous")))]
    rows += [
        (n, _measure(entry.get(k)))
        for n, k in (
            ("Unpriced fees", "unpriced_fees"),
            ("Unpriced by currency", "unpriced"),
            ("Unmarked trades", "unmarked"),
            ("Age of marks", "mark_age"),
        )
    ]
    return rows + [(f"Streak at {str(k).upper()}", whole(v)) for k, v in mapped(entry.get("streaks")).items()]


def _measure(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{text(k, 30)} {_measure(v)}" for k, v in list(value.items())[:8]) or "0"
    if isinstance(value, list):
        return whole(len(value))
    return plain(value, 0 if isinstance(value, int) else 1) if number(value) is not None else text(value, 60)


def _outliers(series: Mapping[str, Any]) -> Table:
    rows = [
        (text(o.get("trade_id"), 40), text(o.get("symbol"), 40), signed(o.get("value_bps"), 1)) for o in listed(series.get("outliers"))[:20]
    ]
    return Table("Outliers of the price differences", (("Trade", False), ("Symbol", False), ("Diff, bps", True)), rows)
