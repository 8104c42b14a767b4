"""Faces of the commands on a terminal: tables with colours; where piped plain columns, one line a row, nothing cut.

1. What a record or an operator says is text, never markup.
2. The worst stands first, with since when and why.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parityd.core.instants import parse_time
from parityd.core.ladder_table import SEVERITY
from parityd.core.records import NO_TS
from parityd.edges import clock

_COLOURS = {"CONTINUE": "green", "WARNING": "yellow", "REDUCE_SIZE": "dark_orange", "DISABLE_TRADING": "red", "EMERGENCY_STOP": "bold red"}
WIDE, NARROW = 110, (0, 1, 3, 4, 8)  # a terminal of fewer columns is shown these of the action table's
Column = tuple[str, str]  # heading; how it stands: left, right, or fold (the one that takes what room there is)


def console() -> Console:
    return Console(highlight=False, soft_wrap=False, markup=False)


def coloured(action: str) -> Text:
    return Text(action, _COLOURS.get(action, ""))


def painted(action: str) -> str:
    """The same as markup, for a line that is one."""
    return f"[{_COLOURS.get(action, 'white')}]{action}[/]"


def shown(x: object, digits: int = 2) -> str:
    """A number for people; a dash where it was not measured."""
    if x is None:
        return "-"
    return f"{x:,.{digits}f}" if isinstance(x, float) else str(x)


def table(c: Console, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> None:
    """Rows in columns, as the output can show them."""
    if not c.is_terminal:
        _plain(c, columns, [[str(cell) for cell in row] for row in rows])
        return
    t = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for k, (name, how) in enumerate(columns):
        longest = max([len(name), *(len(str(row[k])) for row in rows)])
        if how == "fold":
            t.add_column(name, overflow="fold", min_width=min(longest, 12), ratio=1 if k else None, max_width=None if k else 32)
        else:
            t.add_column(name, justify="right" if how == "right" else "left", no_wrap=True, min_width=longest)
    for row in rows:
        t.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    c.print(t)


def _plain(c: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    cells = [[name for name, _ in columns], *rows]
    widths = [max(len(row[k]) for row in cells) for k in range(len(columns))]
    for row in cells:
        aligned = (
            cell.rjust(width) if how == "right" else cell.ljust(width) for cell, width, (_, how) in zip(row, widths, columns, strict=True)
        )
        c.file.write("  ".join(aligned).rstrip() + "\n")


def say(c: Console, *parts: str | Text) -> None:
    """One line, however long."""
    c.print(Text.assemble(*parts), soft_wrap=True)


def since(ts: object, now_ns: int) -> str:
    """How long ago a time was: `35 min`, `6 h`, `3 d`; a dash where there is none."""
    ns = parse_time(ts) if isinstance(ts, str) else NO_TS
    if ns == NO_TS:
        return "-"
    seconds = max(0, now_ns - ns) // 1_000_000_000
    size, unit = next(((n, u) for n, u in ((86_400, "d"), (3600, "h"), (60, "min")) if seconds >= 2 * n), (1, "s"))
    return f"{seconds // size} {unit}"


def action_table(document: Mapping[str, Any], now_ns: int | None = None) -> None:
    """Every strategy of parity_action.json; `now_ns`: when it is looked at, else when it was issued."""
    c, now = console(), parse_time(document["issued_at"]) if now_ns is None else now_ns
    columns = (("strategy", "fold"), ("action", "left"), ("size", "right"), ("since", "right"), ("error bps", "right"), ("matched", "right"), ("missed", "right"), ("unexp.", "right"), ("why", "fold"))  # fmt: skip
    rows = []
    for name, s in sorted(document.get("strategies", {}).items(), key=lambda x: (-SEVERITY.get(x[1]["action"], 9), x[0])):
        trades, metrics = s.get("trades") or {}, s.get("metrics") or {}
        rows.append(
            (name, coloured(s["action"]), shown(float(s["size_multiplier"])), since(s.get("since"), now), shown(metrics.get("tracking_error_bps")),
             shown(trades.get("matched")), shown(trades.get("missed")), shown(trades.get("unexpected")), _one_line(s["reason"]).removeprefix(f"{name}: "))
        )  # fmt: skip
    kept = NARROW if c.is_terminal and c.width < WIDE else tuple(range(len(columns)))
    table(c, [columns[k] for k in kept], [[row[k] for k in kept] for row in rows])
    say(c, "in force: ", coloured(document["action"]), f" until {document['expires_at']} - {_one_line(document['reason'])}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def report_table(document: Mapping[str, Any]) -> None:
    """A day's report in short."""
    c = console()
    say(c, Text(str(document["day"]), "bold"), f" revision {document['revision']}")
    say(c, str(document["headline"]))
    columns = (("strategy", "fold"), ("action", "left"), ("error bps", "right"), ("matched", "right"), ("missed", "right"), ("unexp.", "right"), ("pending", "right"), ("cost bps", "right"), ("cost", "right"))  # fmt: skip
    rows = []
    for name, s in sorted(document["strategies"].items(), key=lambda x: (-SEVERITY.get(x[1].get("action"), -1), x[0])):
        attribution = s["attribution"]
        rows.append(
            (name, coloured(s.get("action") or "-"), shown(s["metrics"]["tracking_error_bps"]),
             *(shown(s["trades"][k]) for k in ("matched", "missed", "unexpected", "pending")), shown(attribution["total_pnl_diff_bps"]),
             f"{shown(attribution['currency']['total_pnl_diff'])} {attribution.get('in') or ''}".rstrip())
        )  # fmt: skip
    table(c, columns, rows)


def trade_table(found: list[dict[str, Any]]) -> None:
    """Everything known of a trade: its row, how it was joined, the chain of prices and costs, what it caused, its records."""
    c = console()
    for trade in found:
        say(c, Text(f"{trade['strategy']} {trade['symbol']} {trade['trade_id']}", "bold"))
        parts = _flat({k: x for k, x in trade.items() if k not in ("components", "records", "caused")})
        table(c, (("what", "left"), ("value", "fold")), [(k, shown(v, 6)) for k, v in parts])
        for change in trade["caused"]["changes"]:
            say(c, f"{change['ts']}  {change['from']} -> {change['to']}  {change['reason']}")
        for f in trade["caused"]["findings"]:
            say(c, f"finding  {f['detail']}")
        for r in trade["records"]:
            rest = "  ".join(f"{k} {shown(v, 6)}" for k, v in r.items() if k not in ("ts", "book", "kind", "strategy", "symbol"))
            say(c, f"{r['ts']}  {r['book']} {r['kind']}  {rest}")


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for k, v in value.items():
        if isinstance(v, Mapping):
            yield from _flat(v, f"{before}{k}.")
        else:
            yield before + k, ", ".join(map(str, v)) or None if isinstance(v, list) else v


def _runs(daemon: Mapping[str, Any] | None) -> str:
    if daemon is None:
        return "not running"
    silent = daemon.get("http")
    if daemon["pid"] is not None:
        return f"process {daemon['pid']}" + (f"; it does not answer on [http]: {_one_line(silent)}" if silent else "")
    return (
        f"not known: this user may not see the lock, and nothing of it answers on [http] ({_one_line(silent)})" if silent else "it answers"
    )


def status_table(document: Mapping[str, Any]) -> None:
    """What is in force now."""
    c = console()
    daemon = document["daemon"]
    say(c, f"daemon: {_runs(daemon)}")
    for word in ("not_ready", "degraded"):
        for reason in (daemon or {}).get(word, ()):
            say(c, Text(f"  {word.replace('_', ' ')}: ", "bold red"), _one_line(reason))
    waiting = {k: v for k, v in ((daemon or {}).get("backlog") or {}).items() if v}
    if waiting:
        say(c, "  waiting files: " + ", ".join(f"{book} {n}" for book, n in waiting.items()))
    if document["action"] is None:
        say(c, "nothing has been published in " + document["data_dir"])
        return
    action, now = document["action"], clock.now()
    if parse_time(action["expires_at"]) < now:
        say(
            c,
            Text(f"  the publication expired {since(action['expires_at'], now)} ago: ", "bold red"),
            f"engines act as on expiry, {action['on_expiry']}",
        )
    judged = parse_time((daemon or {}).get("judged_at"))  # a replay's clock is not the wall's
    action_table(document["action"], now if judged == NO_TS else judged)
    for name, s in sorted(document["action"]["strategies"].items()):
        for o in s.get("overrides", []):
            until = o.get("expires_at") or ("it is lifted" if o["command"] == "HALT" else "reset")
            say(
                c,
                f"  {name}: {o['command']} by {o.get('operator') or 'a file'} since {o.get('since')} until {until}: {_one_line(o.get('reason'))}",
            )
