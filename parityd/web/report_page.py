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

from parityd.web import report_parts, sections
from parityd.web.assets import static
from parityd.web.pages import templates
from parityd.web.problems import POLICY
from parityd.web.sections import Table
from parityd.web.views import instant, listed, mapped, number, plain, severity, signed, text, whole

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
    worst = named[0][1].get("action") if named else None
    body = templates().get_template("report.html").render(
        day=text(report.get("day"), 10), headline=text(report.get("headline"), 1000), revision=whole(report.get("revision")),
        made=instant(report.get("generated_at")), action=text(worst) if named else "", size=severity(worst) if named else 0, verdict=_verdict(named), summary=_summary(named),
        nav=[{"id": f"s{i}", "name": n} for i, (n, _) in enumerate(named[: min(8, len(written))])], nav_more=max(0, len(named) - 8),
        portfolio=_portfolio(mapped(report.get("portfolio")), len(named)), refusals=report_parts.refusals(report), sections=written, left_out=_left_out(len(named), len(written), full),
    )  # fmt: skip
    return _prologue() + body.encode("utf-8", "replace")


def _left_out(strategies: int, written: int, full: int) -> str:
    if strategies == full:
        return ""
    rest = f", {strategies - written} in the table and the JSON alone" if strategies > written else ""
    return f"To keep this page small {written - full} of {strategies} strategies stand here without charts{rest}; each has its own page on the status server."


def _verdict(named: list[tuple[str, Mapping[str, Any]]]) -> str:
    """The worst strategy's finding in words, and how many others there are."""
    if not named:
        return "No strategy has sent anything yet: nothing is judged."
    acted, warned = sum(severity(e.get("action")) > 1 for _, e in named), sum(severity(e.get("action")) == 1 for _, e in named)
    counts = f"{len(named)} {'strategy' if len(named) == 1 else 'strategies'}: {warned} with a warning, {acted} reduced or stopped."
    rows = sections.findings(named[0][1]) if named and acted + warned else []
    first = f"{text(named[0][0], 64)}: {rows[0]['code']} {rows[0]['detail'] or rows[0]['figures']}. " if rows else ""
    return first + counts


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
    title, picture = sections.waterfall(entry)
    return {
        "measures": sections.measures(entry),
        "attribution": report_parts.attribution(entry),
        "markouts": report_parts.markouts(entry.get("markouts")),
        "performance": report_parts.performance(entry.get("performance"), sections.unit_of(entry)),
        "charts": [(title, picture), *sections.series_charts(entry.get("series"), entry)],
        "trades": [
            (f"{word} trades of all strategies", sections.trades(entry.get(f"{word.lower()}_trades"), f"{word} trades", most=10, named=True), f"all-{word[0].lower()}")
            for word in ("Worst", "Best")
        ],
    }  # fmt: skip


def _strategy(anchor: str, name: str, entry: Mapping[str, Any], *, full: bool) -> Markup:
    title, picture = sections.waterfall(entry)
    known = mapped(entry.get("series"))
    tables = [
        ("Worst trades, by money", sections.trades(entry.get("worst_trades"), "Worst trades"), "w", ""),
        ("Best trades", sections.trades(entry.get("best_trades") or known.get("best_trades"), "Best trades", most=10), "b", ""),
        (
            "Missed trades: in the backtest alone",
            sections.trades(entry.get("missed") or known.get("missed"), "Missed trades", most=25),
            "x",
            "missed_total",
        ),
        (
            "Unexpected trades: live alone",
            sections.trades(entry.get("unexpected") or known.get("unexpected"), "Unexpected trades", most=25),
            "u",
            "unexpected_total",
        ),
    ]
    return Markup(  # noqa: S704  the template escapes
        templates().get_template("report_strategy.html").render(
            id=anchor, name=name, full=full, head=sections.action_head(entry, 0), quality=_quality(entry), findings=sections.findings(entry),
            measures=sections.measures(entry), waterfall_title=title, waterfall=picture, charts=sections.series_charts(known, entry),
            attribution=report_parts.attribution(entry), markouts=report_parts.markouts(entry.get("markouts")), drift=report_parts.drift(mapped(entry.get("drift"))),
            rules=report_parts.rules(mapped(entry.get("drift"))), performance=report_parts.performance(entry.get("performance"), sections.unit_of(entry)), agents=report_parts.agents(entry.get("performance")), data=report_parts.data(entry),
            outliers=report_parts.outliers(mapped(known.get("price_diff"))), tables=[(f"{name}{_sum(known.get(total))}", t, key) for name, t, key, total in tables],
        )
    )  # fmt: skip


def _sum(found: Any) -> str:
    t = mapped(found)
    return (
        f": {whole(t.get('trades'))}, which cost {signed(t.get('total_pnl_diff'), 2)} {text(t['currency'], 12) if t.get('currency') else ''}".rstrip()
        if t
        else ""
    )
