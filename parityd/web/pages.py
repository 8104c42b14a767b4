"""The pages that a desk keeps open: all strategies, one strategy, the list of reports.

1. A page is a function of what the desk says; templates print and compute nothing.
2. Every text of a record passes the template's escaping; nothing is inline, so the policy `default-src 'self'` holds.
3. The worst stands first; beyond 200 strategies the mildest are left out until they are asked for.
4. Blocks for the time of rendering: called in a thread.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from parityd.web import advice, charts, sections
from parityd.web.assets import source
from parityd.web.desk import Content, Seen
from parityd.web.metrics import commands_of, evidence_of
from parityd.web.sections import Table
from parityd.web.views import (
    ACTIONS,
    DASH,
    ago,
    instant,
    left,
    level_class,
    listed,
    mapped,
    number,
    plain,
    severity,
    share,
    span,
    text,
    to_ns,
    whole,
)

MOST_ROWS = 200
MOST_TRADES = 50


@cache
def templates() -> Environment:
    """The templates, with every value escaped and no value silently missing."""
    made = Environment(
        loader=FunctionLoader(lambda name: source("templates", name)), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters["code"] = _code
    return made


def _code(words: str) -> Markup:
    """Our own words with what stands between backticks as code."""
    parts = words.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def _write(template: str, **content: Any) -> bytes:
    return templates().get_template(template).render(content).encode("utf-8", "replace")


def _frame(seen: Seen) -> dict[str, Any]:
    version = text(seen.status.get("version"), 40)
    return {"as_of": instant(seen.now), "footer": f"parityd {version}" if version != DASH else "parityd"}


def status_page(seen: Seen, *, everything: bool = False) -> bytes:
    """All strategies at a glance."""
    now, not_ready, action, override, status = seen
    judged = _judged(seen)
    entries = [(str(n), mapped(e)) for n, e in mapped(action.get("strategies")).items() if n != "*"]
    entries.sort(key=lambda p: (-severity(p[1].get("action")), -len(listed(p[1].get("findings"))), p[0].casefold()))
    shown = entries if everything else entries[:MOST_ROWS]
    return _write(
        "status.html",
        **_frame(seen),
        head=_head(action, override, now, _since(entries, override, status, judged), _worst_finding(entries)),
        strip=_strip(status, now),
        not_ready=[text(r) for r in not_ready],
        degraded=[text(d) for d in status.get("degraded") or ()],
        halts=[_halt(h) for h in listed(status.get("halts"))],
        tally=_tally(entries),
        rows=[_row(n, e, mapped(mapped(override.get("strategies")).get(n)), judged) for n, e in shown],
        more=len(entries) - len(shown),
        actions=[_change(c) for c in listed(status.get("last_actions"))[:12]],
        commands=[*_halted(status), *sections.commands(listed(status.get("commands")), now)],
        books=_books(status, judged),
        service=_service(status, override, now),
    )


def _judged(seen: Seen) -> int:
    """The time by which trades are judged; the wall's, but on a replay's clock."""
    return to_ns(seen.status.get("judged_at")) or seen.now


def _since(entries: list[tuple[str, Mapping[str, Any]]], override: Content, status: Content, judged: int) -> str:
    """Since when what is in force at the top stands: a HALT of all, else of the strategies that it stands for the longest."""
    if severity(override.get("action")) == 0:
        return ""
    found = [ns for h in listed(status.get("halts")) if h.get("strategy") == "*" and (ns := to_ns(h.get("since"))) is not None]
    found = found or [ns for _, e in entries if e.get("action") == override.get("action") and (ns := to_ns(e.get("since"))) is not None]
    return f"since {instant(min(found))[5:16]} UTC, {span((judged - min(found)) / 1e9)}" if found else ""


def _worst_finding(entries: list[tuple[str, Mapping[str, Any]]]) -> str:
    """The code of the first finding of the strategy that stands first."""
    found = sections.findings(entries[0][1]) if entries else []
    return found[0]["code"] if found else ""


def _strip(status: Content, now: int) -> dict[str, str]:
    """What a desk asks next, in one line above the strategies."""
    backlog, lag = mapped(status.get("backlog")), mapped(status.get("lag"))
    waits = [f"{b} {whole(n)}" + (f" (oldest {span(lag[b])})" if number(n) and number(lag.get(b)) else "") for b, n in backlog.items()]
    last = next(iter(listed(status.get("last_actions"))), {})
    changed = f"{instant(last.get('ts'))[5:16]} {_whose(last)} → {text(last.get('to'))}" if last else "none yet"
    orders = len(listed(status.get("commands"))) + len(listed(status.get("halts")))
    check = "not yet" if to_ns(status.get("last_check")) is None else ago(now, status.get("last_check"))
    return {"waiting": ", ".join(waits) or DASH, "change": changed, "commands": f"{orders} in force" if orders else "none", "check": check}


def _head(action: Content, override: Content, now: int, since: str = "", worst: str = "") -> dict[str, Any]:
    stands = override or action
    size = severity(stands.get("action")) if stands.get("action") else 4
    remaining = left(now, stands.get("expires_at"))
    expired = remaining is not None and remaining <= 0
    words = {True: "enabled", False: "disabled"}.get(stands.get("trading_enabled"), DASH)  # type: ignore[arg-type]
    return {
        "action": text(stands.get("action")) if stands else "NOT PUBLISHED",
        "size": size,
        "reason": text(stands.get("reason")) if stands else "No override has been published yet: engines stay stopped.",
        "does": advice.ACTIONS.get(str(stands.get("action")), ""),
        "do": (advice.first(str(stands.get("reason") or "")) or (advice.of(worst).do if worst else "")) if size else "",
        "since": since,
        "left": None if remaining is None else round(remaining),
        "left_text": "EXPIRED" if expired else DASH if remaining is None else f"for {span(remaining)}",
        "enabled": words,
        "multiplier": plain(stands.get("size_multiplier"), 2),
        "decision": text(stands.get("decision_sequence"), 24),
        "issue": text(stands.get("sequence"), 24),
    }


def _tally(entries: list[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    counts = [sum(severity(e.get("action")) == i for _, e in entries) for i in range(5)]
    return [{"action": ACTIONS[i], "size": i, "n": counts[i]} for i in range(4, -1, -1) if counts[i]]


def _row(name: str, entry: Mapping[str, Any], published: Mapping[str, Any], now: int) -> dict[str, Any]:
    metrics, trades = mapped(entry.get("metrics")), mapped(entry.get("trades"))
    drift = evidence_of(entry.get("drift"))
    most = max(drift, key=lambda k: drift[k], default="")
    limits = sections.limits(entry)
    head = sections.action_head(entry, now)
    counts = [f"{whole(trades.get(k))} {k}" for k in ("missed", "unexpected", "pending") if number(trades.get(k))]
    return {
        "name": name,
        "href": f"/strategies/{quote(name, safe='')}",
        **{k: head[k] for k in ("action", "size", "would")},
        "since": ago(now, entry.get("since")),
        "error": plain(metrics.get("tracking_error_bps")),
        "error_meter": charts.meter(metrics.get("tracking_error_bps"), limits)
        if number(metrics.get("tracking_error_bps")) is not None
        else "",
        "rate": share(metrics.get("match_rate")),
        "matched": f"{whole(trades.get('matched'))} matched" if trades else "",
        "counts": ", ".join(counts),
        "drift": share(drift[most], 0) if most else DASH,
        "drift_meter": charts.meter(drift[most], (0.5, 0.8, 1.0), f"of the limit ({most})") if most else "",
        "chips": _chips(entry),
        "note": _note(name, entry, published),
    }


def _chips(entry: Mapping[str, Any]) -> list[dict[str, str]]:
    commands = [{"text": f"operator: {text(c.get('command'), 20)}", "style": "t2"} for c in commands_of(entry)]
    found = [
        {"text": text(f.get("code"), 30), "style": level_class(f.get("level")).replace("l", "t")} for f in listed(entry.get("findings"))
    ]
    return commands + found[:8]


def _own(reason: str, name: str) -> str:
    """A reason without the name of the strategy beside which it stands."""
    return reason.removeprefix(f"{name}: ")


def _note(name: str, entry: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    if severity(entry.get("action")) > 0:
        return _own(text(published.get("reason") or entry.get("reason") or "", 160), name).replace(DASH, "")
    if entry.get("evidence") == "insufficient":
        return "not enough settled trades to judge"
    return str(entry.get("grade") or "").lower()


def _change(c: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "ts": instant(c.get("ts")), "strategy": _whose(c), "was": text(c.get("from")), "now": text(c.get("to")),
        "size": severity(c.get("to")), "reason": _own(text(c.get("reason")), str(c.get("strategy"))),
    }  # fmt: skip


def _halted(status: Content) -> list[dict[str, Any]]:
    """Each HALT as a command in force: it has no end and names nobody."""
    found = [(_halt(h)["scope"].removeprefix("for "), h) for h in listed(status.get("halts"))]
    return [
        {
            "command": "HALT",
            "scope": scope,
            "left": None,
            "ends": DASH,
            "who": text(h.get("name"), 80),
            "reason": f"since {instant(h.get('since'))}",
        }
        for scope, h in found
    ]


def _halt(h: Mapping[str, Any]) -> dict[str, str]:
    scope = "for all strategies" if h.get("strategy") in ("*", None) else f"for {text(h['strategy'], 70)}"
    return {"name": text(h.get("name"), 80), "scope": scope, "since": instant(h.get("since"))}


def _books(status: Mapping[str, Any], now: int) -> Table:
    backlog, lag, marks = (mapped(status.get(k)) for k in ("backlog", "lag", "watermarks"))
    rows = [(b, whole(backlog.get(b)), span(lag.get(b)), ago(now, marks.get(b))) for b in ("live", "backtest")]
    return Table("Files that wait, by book", (("Book", False), ("Files waiting", True), ("Oldest", True), ("Watermark", True)), rows)


def _service(status: Mapping[str, Any], override: Content, now: int) -> list[tuple[str, str]]:
    free = number(status.get("free_bytes"))
    return [
        ("Version", text(status.get("version"), 40)),
        ("Instance", text(status.get("instance") or override.get("instance"), 60)),
        ("Up for", span(status.get("uptime_seconds"))),
        ("Last check", _when(now, status.get("last_check"))),
        ("Report of", _when(now, status.get("last_report"))),
        ("Published", _when(now, override.get("issued_at"))),
        ("Free space", DASH if free is None else f"{plain(free / 2**30)} GiB"),
        ("Mode", {True: "advisory", False: "in command"}.get(status.get("advisory"), DASH)),  # type: ignore[arg-type]
    ]


def _whose(of: Mapping[str, Any]) -> str:
    return "all strategies" if of.get("strategy") == "*" else text(of.get("strategy"), 70)


def _when(now: int, then: Any) -> str:
    """How long ago, a day as it is, or that it has not happened yet."""
    return "none yet" if not then else text(then, 10) if to_ns(then) is None else ago(now, then)


def strategy_page(seen: Seen, name: str, found: Content, trades: tuple[list[Content], str | None]) -> bytes:
    """One strategy: `found` is what the desk says of it, `trades` its newest ones and whether there are more."""
    now, published = seen.now, mapped(mapped(seen.override.get("strategies")).get(name))
    judged = _judged(seen)
    entry = {
        **{k: v for k, v in published.items() if k in ("reason", "size_multiplier")},
        **{k: v for k, v in found.items() if v is not None},
    }
    rows, following = trades
    every = f"/api/v1/trades?strategy={quote(name, safe='')}"
    more = Markup('The newest {}; <a href="{}">all of them as JSON</a>.').format(len(rows), every) if following else ""
    drawn = sections.series_charts(found.get("series"), entry)
    if mapped(entry.get("attribution")):
        title, picture = sections.waterfall(entry)
        drawn.append((f"{title}, of the window", picture))
    return _write(
        "strategy.html",
        **_frame(seen),
        name=name,
        head=sections.action_head(entry, judged),
        do=advice.first(str(entry.get("reason") or "")) if severity(entry.get("action")) else "",
        commands=sections.commands(commands_of(entry), now),
        findings=sections.findings(entry),
        quiet="None: every measure that could be taken is within its band."
        if entry.get("evidence") == "sufficient"
        else "None; there are not enough settled trades to judge yet.",
        measures=sections.measures(entry),
        charts=drawn or [("Charts", charts.nothing("No history yet: charts appear with the first settled trades."))],
        trades=sections.trades(rows, f"Newest trades of {name}", more=more, empty="No trade yet."),
    )


def reports_page(seen: Seen, reports: list[Content]) -> bytes:
    """The reports at hand."""
    days = [
        {
            "day": text(d.get("day"), 10),
            "revision": whole(d["revision"]) if number(d.get("revision")) else "",
            "headline": text(d.get("headline"), 500),
        }
        for d in listed(reports)[:400]
    ]
    return _write("reports.html", **_frame(seen), head=_head(seen.action, seen.override, seen.now), days=days)
