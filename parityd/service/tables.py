"""Faces of the commands on a terminal: tables with colours, plain where piped."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

_COLOURS = {"CONTINUE": "green", "WARNING": "yellow", "REDUCE_SIZE": "dark_orange", "DISABLE_TRADING": "red", "EMERGENCY_STOP": "bold red"}


def console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def coloured(action: str) -> str:
    return f"[{_COLOURS.get(action, 'white')}]{action}[/]"


def shown(x: object, digits: int = 2) -> str:
    """A number for people; a dash where it was not measured."""
    if x is None:
        return "-"
    return f"{x:,.{digits}f}" if isinstance(x, float) else str(x)


def action_table(document: Mapping[str, Any]) -> None:
    """Every strategy of parity_action.json."""
    c = console()
    t = Table("strategy", "action", "size", "tracking error", "matched", "missed", "unexpected", "reason")
    for name, s in sorted(document.get("strategies", {}).items()):
        trades, metrics = s.get("trades") or {}, s.get("metrics") or {}
        t.add_row(
            name, coloured(s["action"]), shown(float(s["size_multiplier"])), shown(metrics.get("tracking_error_bps")) + " bps",
            shown(trades.get("matched")), shown(trades.get("missed")), shown(trades.get("unexpected")), s["reason"],
        )  # fmt: skip
    c.print(t)
    c.print(f"in force: {coloured(document['action'])} until {document['expires_at']} - {document['reason']}")


def report_table(document: Mapping[str, Any]) -> None:
    """A day's report in short."""
    c = console()
    c.print(f"[bold]{document['day']}[/] revision {document['revision']}\n{document['headline']}")
    t = Table("strategy", "action", "tracking error bps", "matched", "missed", "unexpected", "pending", "total P&L diff bps")
    for name, s in document["strategies"].items():
        t.add_row(
            name, coloured(s.get("action") or "-"), shown(s["metrics"]["tracking_error_bps"]),
            *(shown(s["trades"][k]) for k in ("matched", "missed", "unexpected", "pending")), shown(s["attribution"]["total_pnl_diff_bps"]),
        )  # fmt: skip
    c.print(t)


def trade_table(found: list[dict[str, Any]]) -> None:
    """Everything known of a trade: its row, how it was joined, the chain of prices and costs, what it caused, its records."""
    c = console()
    for trade in found:
        t = Table("what", "value", title=f"{trade['strategy']} {trade['symbol']} {trade['trade_id']}")
        for k, v in _flat({k: x for k, x in trade.items() if k not in ("components", "records", "caused")}):
            t.add_row(k, shown(v, 6))
        c.print(t)
        for change in trade["caused"]["changes"]:
            c.print(f"{change['ts']}  {change['from']} -> {change['to']}  {change['reason']}", markup=False, soft_wrap=True)
        for f in trade["caused"]["findings"]:
            c.print(f"finding  {f['detail']}", markup=False, soft_wrap=True)
        for r in trade["records"]:
            rest = "  ".join(f"{k} {shown(v, 6)}" for k, v in r.items() if k not in ("ts", "book", "kind", "strategy", "symbol"))
            c.print(f"{r['ts']}  {r['book']} {r['kind']}  {rest}", markup=False, soft_wrap=True)


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for k, v in value.items():
        if isinstance(v, Mapping):
            yield from _flat(v, f"{before}{k}.")
        else:
            yield before + k, ", ".join(map(str, v)) or None if isinstance(v, list) else v


def status_table(document: Mapping[str, Any]) -> None:
    """What is in force now."""
    c = console()
    daemon = document["daemon"]
    c.print(f"daemon: {'process ' + str(daemon['pid']) if daemon else 'not running'}")
    if document["action"] is None:
        c.print("nothing has been published in " + document["data_dir"])
        return
    action_table(document["action"])
    for name, s in sorted(document["action"]["strategies"].items()):
        for o in s.get("overrides", []):
            c.print(
                f"  {name}: {o['command']} by {o.get('operator') or 'a file'} since {o.get('since')} until {o.get('expires_at') or 'reset'}: {o.get('reason')}",
                markup=False,
            )
