"""Reads the NautilusTrader exports of one strategy run twice, as README.md says, and writes what must be found in them.

`python tests/golden/exports.py [FOLDER]` rewrites `nautilus/<case>/expected.json` from the folder that holds the cases (default: `GOLDEN_EXPORTS`). The tags `bar_ts=`/`signal_ts=` are the oracle of who belongs to whom; no record made here knows them.
"""

import csv
import gzip
import json
import os
import re
import sys
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXPORTS = Path(os.environ.get("GOLDEN_EXPORTS", ROOT.parent / "shared" / "data" / "nautilus"))
SAMPLE = ROOT / "data" / "sample"
if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))

from golden.books import Settings, micros  # noqa: E402
from golden.measures import cumulative_drift_bps, days, window  # noqa: E402
from golden.reference import Judged, Trade, judge  # noqa: E402

SYMBOLS: dict[str, dict[str, Any]] = {"ESH4": {"multiplier": "50"}, "6EH4": {"multiplier": "125000"}}
STATUS = {
    "OrderSubmitted": "submitted",
    "OrderAccepted": "accepted",
    "OrderRejected": "rejected",
    "OrderDenied": "rejected",
    "OrderCanceled": "cancelled",
    "OrderExpired": "expired",
}
Row = dict[str, Any]


@cache
def rows(path: Path) -> list[Row]:
    """Rows of a `.csv` or `.jsonl`, plain or gzipped."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as f:
        return list(csv.DictReader(f)) if ".csv" in path.suffixes else [json.loads(line) for line in f]


def fills_report(side: Path) -> list[Row]:
    return rows(next(p for n in ("fills_report.jsonl", "fills_report.jsonl.gz", "fills_report.csv") if (p := side / n).exists()))


def order_events(side: Path) -> list[Row]:
    return rows(next(p for n in ("order_events.jsonl", "order_events.jsonl.gz") if (p := side / n).exists()))


def moment(value: Any) -> str:
    """ISO text or integer nanoseconds -> RFC 3339, cut to microseconds."""
    us = value // 1000 if isinstance(value, int) else micros(str(value).replace(" ", "T"))
    return f"{datetime.fromtimestamp(us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}.{us % 1_000_000:06d}Z"


def decided(client_order_id: str, ts: str) -> str | None:
    found = re.match(r"O-(\d{8})-(\d{6})-", client_order_id)
    try:
        text = f"{datetime.strptime(found[1] + found[2], '%Y%m%d%H%M%S'):%Y-%m-%dT%H:%M:%S}.000000Z" if found else None
    except ValueError:
        return None
    return text if text and text <= ts else None


def place(row: Row) -> dict[str, str]:
    symbol, _, venue = row["instrument_id"].rpartition(".")
    return {"strategy": row["strategy_id"], "symbol": symbol or venue, **({"venue": venue} if symbol else {})}


def fill(row: Row) -> Row:
    """A row of fills_report, or an OrderFilled event."""
    ts = moment(row["ts_event"])
    fee, currency = row["commission"].split()
    record = {
        "kind": "fill",
        **place(row),
        "fill_id": row["trade_id"],
        "order_id": row["client_order_id"],
        "side": row["order_side"].lower(),
        "quantity": row["last_qty"],
        "price": row["last_px"],
        "ts": ts,
        "currency": row["currency"],
        "fee": fee,
        "fee_currency": currency,
        "order_type": row["order_type"].lower(),
        "account": row["account_id"],
    }
    if row["liquidity_side"] in {"MAKER", "TAKER"}:
        record["liquidity"] = row["liquidity_side"].lower()
    if stated := decided(row["client_order_id"], ts):
        record["decision_ts"] = stated
    return record


def orders(events: list[Row]) -> list[Row]:
    """The `order` records of order_events."""
    made = {e["client_order_id"]: e for e in events if e["type"] == "OrderInitialized"}
    filled: dict[str, float] = defaultdict(float)
    result = []
    for e in events:
        status, oid = STATUS.get(e["type"]), e["client_order_id"]
        if e["type"] == "OrderFilled":
            filled[oid] += float(e["last_qty"])
            status = "filled" if oid in made and filled[oid] >= float(made[oid]["quantity"]) - 1e-9 else None
        if status is None:
            continue
        where = {k: v for k, v in place(e).items() if k != "venue"}
        result.append({"kind": "order", **where, "order_id": oid, "status": status, "ts": moment(e["ts_event"])})
    return result


def book(side: Path, *, events: bool) -> list[Row]:
    """Native records of one side: the report's fills alone, or with the events' orders."""
    return [fill(r) for r in fills_report(side)] + (orders(order_events(side)) if events else [])


def tags(side: Path) -> dict[str, str]:
    """client_order_id -> its decision's tag and side, of the orders that carry one."""
    found = {}
    for e in order_events(side):
        if e["type"] == "OrderInitialized":
            for tag in e["tags"] or []:
                if tag.startswith(("bar_ts=", "signal_ts=")):
                    found[e["client_order_id"]] = f"{e['order_side']} {tag}"
    return found


def _filled(side: Path) -> set[str]:
    return {r["client_order_id"] for r in fills_report(side)}


def true_pairs(case: Path) -> set[tuple[str, str]]:
    """(backtest order, live order) of one tag and side, both filled: known without any matching."""
    live = {tag: oid for oid, tag in tags(case / "live").items() if oid in _filled(case / "live")}
    filled = _filled(case / "backtest")
    return {(oid, live[tag]) for oid, tag in tags(case / "backtest").items() if oid in filled and tag in live}


def order_pairs(case: Path, judged: Judged) -> list[tuple[str, str]]:
    """The matches as pairs of order ids (of a joined leftover: each of its orders)."""
    names = [{r["trade_id"]: r["client_order_id"] for r in fills_report(case / side)} for side in ("backtest", "live")]

    def ids(t: Trade, k: int) -> list[str]:
        return sorted({names[k][key] for key in t.keys[k]})

    return [(b, e) for t in judged.trades if t.state == "matched" for b in ids(t, 0) for e in ids(t, 1)]


def expected(case: Path) -> Row:
    """Everything a test compares, as of 36 h after the newest record: nothing is pending by then."""
    symbol = place(fills_report(case / "live")[0])["symbol"]
    settings = Settings(symbols={k: v for k, v in SYMBOLS.items() if k == symbol})
    judged = judge(book(case / "backtest", events=True), book(case / "live", events=True), settings)
    alone = judge(book(case / "backtest", events=False), book(case / "live", events=False), settings)
    if [t.keys for t in judged.trades] != [t.keys for t in alone.trades]:
        raise AssertionError(f"{case.name}: the events change the matching")
    (strategy,) = {t.strategy for t in judged.trades}
    span = days(judged, strategy)
    whole = window(judged, strategy, span[0], span[-1]).plain()
    return {
        "origin": "NautilusTrader 1.221.0: one strategy run twice on the same market data",
        "strategy": strategy,
        "symbol": symbol,
        "settings": {"symbols": settings.symbols, "matching": "defaults (gap 30 s, tolerance 5 min, grace 36 h)"},
        "at": moment(judged.at * 1000),
        "engine_pnl": {side: engine_pnl(case / side) for side in ("backtest", "live")},
        "input": {side: _counts(case / side) for side in ("backtest", "live")},
        "pairs": pairs(case, judged),
        "whole": whole,
        "days": {str(d): _day(judged, strategy, d) for d in span},
    }


def pairs(case: Path, judged: Judged) -> Row:
    """What the tags say of the matches. `entry_with_exit`: one of the two orders has no tag, so they differ although all that a fill shows agrees."""
    found, true = order_pairs(case, judged), true_pairs(case)
    left, right = tags(case / "backtest"), tags(case / "live")
    return {
        "known_by_tag": len(true),
        "known_and_found": len(true & set(found)),
        "wrong": sorted(p for p in found if p[0] in left and p[1] in right and p not in true),
        "entry_with_exit": sum((p[0] in left) != (p[1] in right) for p in found),
        "exit_with_exit": sum(p[0] not in left and p[1] not in right for p in found),
    }


def _day(judged: Judged, strategy: str, day: date) -> Row:
    drift = cumulative_drift_bps(judged, strategy, day)
    return {**window(judged, strategy, day).plain(), "cumulative_drift_bps": None if drift is None else round(drift, 9)}


def engine_pnl(side: Path) -> float | None:
    """The engine's own total P&L in the quote currency, of the positions it counts as closed."""
    run = side / "run.json"
    currency = fills_report(side)[0]["currency"]
    return json.loads(run.read_text())["stats_pnls"][currency]["PnL (total)"] if run.exists() else None


def _counts(side: Path) -> Row:
    fills, events = fills_report(side), order_events(side)
    return {
        "fills": len(fills),
        "orders_filled": len({r["client_order_id"] for r in fills}),
        "orders": sum(e["type"] == "OrderInitialized" for e in events),
        "events": dict(sorted(Counter(e["type"] for e in events).items())),
        "first_fill": min(moment(r["ts_event"]) for r in fills),
        "last_fill": max(moment(r["ts_event"]) for r in fills),
    }


def cases(folder: Path = EXPORTS) -> dict[str, Path]:
    """Name -> folder of the pairs at hand; the bundled sample is always there."""
    found = {p.name: p for p in sorted(folder.iterdir()) if p.is_dir()} if folder.is_dir() else {}
    return {"sample": SAMPLE, **found}


def target(name: str) -> Path:
    return HERE / "nautilus" / name / "expected.json"


def main() -> None:
    for name, case in cases(Path(sys.argv[1]) if len(sys.argv) > 1 else EXPORTS).items():
        target(name).parent.mkdir(parents=True, exist_ok=True)
        target(name).write_text(json.dumps(expected(case), indent=1) + "\n")
        print(target(name))


if __name__ == "__main__":
    main()
