"""Small files of every format, made here, each with what must come of it. The contract suite runs over all of them."""

import io
import json
import sqlite3
import zipfile
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from parityd.core.columns import Block
from parityd.formats import Context, Limits, Source, read

TS = "2026-11-20T10:15:00.000000Z"


@dataclass(frozen=True)
class Sample:
    """`counts`: (decisions, fills, rare). `source`: what a `[sources.*]` must say of it."""

    name: str
    data: bytes
    format: str
    counts: tuple[int, int, int]
    book: str = "live"
    source: dict[str, Any] = field(default_factory=dict)

    def context(self, **changes: Any) -> Context:
        source = Source(name="src", **self.source) if self.source else None
        return Context(**{"book": self.book, "name": self.name, "source": source, **changes})


def fill(i: int = 1, **k: Any) -> dict[str, Any]:
    return {"kind": "fill", "strategy": "mom", "symbol": "BTC/USD", "fill_id": f"f{i}", "side": "buy", "quantity": "1.5", "price": "50000.5",
            "fee": "1.2", "ts": f"2026-11-20T10:15:{i % 60:02d}.000000Z", **k}  # fmt: skip


def decision(i: int = 1, **k: Any) -> dict[str, Any]:
    return {"kind": "decision", "strategy": "mom", "symbol": "BTC/USD", "action": "buy", "trade_id": f"t{i}", "quantity": 1, "price": 50000,
            "ts": f"2026-11-20T10:15:{i % 60:02d}.000000Z", **k}  # fmt: skip


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(r).encode() + b"\n" for r in rows)


RARE = [
    {"kind": "bust", "strategy": "mom", "symbol": "X", "fill_id": "f9", "ts": TS},
    {"kind": "funding", "strategy": "mom", "symbol": "X", "amount": "-0.5", "ts": TS},
    {"kind": "order", "strategy": "mom", "symbol": "X", "order_id": 7, "status": "accepted", "ts": TS},
    {"kind": "mark", "symbol": "X", "price": 1, "bid": None, "ts": 1790000000},
    {"kind": "position", "strategy": "mom", "symbol": "X", "quantity": "-2", "ts": TS},
    {"kind": "balance", "strategy": "mom", "equity": 5, "ts": TS},
    {"kind": "transfer", "strategy": "mom", "amount": 5, "ts": TS},
    {"kind": "split", "symbol": "X", "ratio": 4, "ts": TS},
    {"kind": "run", "strategy": "mom", "run_id": "r1", "created": TS, "from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z"},
    {"kind": "heartbeat", "strategy": "mom", "ts": TS, "override_sequence": "17", "broker_connected": True},
]


def log(**k: Any) -> dict[str, Any]:
    """A decision log: bought, held, refused by a guard, closed."""

    def entry(minute: int, action: str, quantity: str | None, filled: bool, state: Any, **more: Any) -> dict[str, Any]:
        return {
            "context": {"timestamp": f"2026-11-20T10:{minute:02d}:00", "symbol": "BTC/USD", "current_mark": "100.5", "recent_marks": ["100", "100.5"],
                        "position_state": state, "equity": "10000", "signal_label": "up"},
            "decision": {"action": action, "quantity": quantity, "target_notional": None, "reason": "r", **more},
            "execution": {"filled": filled, "fill_price": "101" if filled else None, "filled_quantity": "2" if filled else "0",
                          "commission": "0.1" if filled else "0", "slippage": "0.5"},
        }  # fmt: skip

    flat, long = {"quantity": "0", "side": "flat"}, {"quantity": "2", "side": "long"}
    return {
        "run_id": "r-1", "strategy_name": "mom", "symbol": "BTC/USD", "start_time": "2026-11-20T10:00:00", "end_time": "2026-11-20T11:00:00Z",
        "config": {"x": [1, {"y": 2}]},
        "decisions": [
            entry(1, "buy", "2.5", True, flat), entry(2, "hold", "0", False, long), entry(3, "buy", "0", False, long, guards=["max_position"]),
            entry(4, "close", "2", True, long),
        ],
        "metrics": {"sharpe": "1"}, **k,
    }  # fmt: skip


NAUTILUS_FILL = {
    "client_order_id": "O-20231225-230002-001-ES-1", "trader_id": "T-001", "strategy_id": "QuoteMom-ES", "instrument_id": "GBP/USD.FXCM",
    "venue_order_id": "V1", "account_id": "GLBX-001", "trade_id": "V-1-001", "position_id": "P", "order_side": "BUY", "order_type": "MARKET",
    "last_qty": "8", "last_px": "4801.50", "currency": "USD", "commission": "47.28 USD", "liquidity_side": "TAKER", "event_id": "e1",
    "ts_event": "2023-12-25T23:00:02.123456789Z", "ts_init": "2023-12-25T23:00:02Z", "info": {}, "reconciliation": False,
}  # fmt: skip
_ID = {k: NAUTILUS_FILL[k] for k in ("trader_id", "strategy_id", "instrument_id", "client_order_id")}
NAUTILUS_EVENTS = [
    {"type": "OrderInitialized", **_ID, "order_side": "BUY", "order_type": "LIMIT", "quantity": "8", "reduce_only": False,
     "options": {"price": "4801.50"}, "parent_order_id": None, "exec_spawn_id": None, "tags": ["x"], "ts_init": 1703545202000000000},
    {"type": "OrderSubmitted", **_ID, "ts_event": 1703545202000000000},
    {"type": "OrderPendingUpdate", **_ID, "ts_event": 1703545202000000001},
    {"type": "OrderFilled", **NAUTILUS_FILL, "ts_event": 1703545202123456789},
]  # fmt: skip
NAUTILUS_ORDER = {
    **_ID, "type": "LIMIT", "side": "BUY", "quantity": "8", "filled_qty": "8", "avg_px": 4801.5, "status": "FILLED", "price": "4801.50",
    "exec_spawn_id": None, "tags": ["x"], "ts_init": "2023-12-25T23:00:02Z", "ts_last": 1703545202123456789,
}  # fmt: skip
NAUTILUS_POSITION = {"position_id": "P", "strategy_id": "S", "instrument_id": "X.Y", "ts_opened": TS, "avg_px_open": 1.5, "peak_qty": "8"}
NAUTILUS_ACCOUNT = {
    "ts_event": TS,
    "account_id": "A",
    "account_type": "MARGIN",
    "total": "5",
    "locked": "0",
    "free": "5",
    "margins": [],
    "info": {},
}


def table(rows: list[dict[str, Any]], names: list[str] | None = None) -> bytes:
    names = names or list(dict.fromkeys(k for r in rows for k in r))
    import csv

    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    writer.writerows([["" if r.get(n) is None else r[n] for n in names] for r in rows])
    return out.getvalue().encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members.items():
            z.writestr(name, data)
    return out.getvalue()


def sqlite(tmp: str, tables: dict[str, list[dict[str, Any]]]) -> bytes:
    db = sqlite3.connect(tmp)
    for name, rows in tables.items():
        names = ", ".join(f'"{k}"' for k in rows[0])
        db.execute(f'CREATE TABLE "{name}" ({names})')
        db.executemany(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(rows[0]))})', [list(r.values()) for r in rows])
    db.commit()
    db.close()
    with open(tmp, "rb") as f:
        return f.read()


NATIVE = [decision(1), *[fill(i) for i in range(1, 4)], *RARE]
SAMPLES = [
    Sample("n.jsonl", lines(*NATIVE), "native", (1, 3, 10)),
    Sample("n.csv", table([{**r, "guards": "a;b"} if r["kind"] == "decision" else r for r in NATIVE]), "native", (1, 3, 10)),
    Sample("n.json", json.dumps(NATIVE, indent=1).encode(), "native", (1, 3, 10)),
    Sample("one.json", json.dumps(fill()).encode(), "native", (0, 1, 0)),
    Sample("n.parquet", parquet([fill(1), fill(2, fee=None)]), "native", (0, 2, 0)),
    Sample("n.zip", zipped({"a.jsonl": lines(*NATIVE), "b.csv": table([fill(7)])}), "native", (1, 4, 10)),
    Sample("log.json", json.dumps(log()).encode(), "decision_log", (4, 0, 2), book="backtest"),
    Sample("log.jsonl", json.dumps(log()).encode(), "decision_log", (4, 0, 0)),
    Sample("fills.csv", table([NAUTILUS_FILL]), "nautilus_fills", (0, 1, 0)),
    Sample("fills.jsonl", lines(NAUTILUS_FILL), "nautilus_fills", (0, 1, 0)),
    Sample("events.jsonl", lines(*NAUTILUS_EVENTS), "nautilus_events", (1, 1, 2)),
    Sample("events.json", json.dumps(NAUTILUS_EVENTS).encode(), "nautilus_events", (1, 1, 2)),
    Sample("orders.csv", table([NAUTILUS_ORDER]), "nautilus_orders", (0, 0, 2)),
    Sample("positions.csv", table([NAUTILUS_POSITION]), "nautilus_positions", (0, 0, 0)),
    Sample("account.csv", table([NAUTILUS_ACCOUNT]), "nautilus_account", (0, 0, 0)),
]


def blocks(data: bytes, name: str = "x.jsonl", book: str = "live", **k: Any) -> list[Block]:
    return list(read(io.BytesIO(data), Context(book=book, name=name, **k)))


def counts(found: list[Block]) -> tuple[int, int, int]:
    return (
        sum(len(b.decisions) for b in found if b.decisions is not None),
        sum(len(b.fills) for b in found if b.fills is not None),
        sum(len(b.rare) for b in found),
    )


def refused(found: list[Block]) -> list[tuple[int, str]]:
    return [(r.line, r.code) for b in found for r in b.refusals]


def column(found: list[Block], kind: str, name: str) -> list[Any]:
    parts = [getattr(b, kind) for b in found if getattr(b, kind) is not None]
    return [x for p in parts for x in list(getattr(p, name))]


def said(found: list[Block]) -> list[Any]:
    """All that the blocks say, without the lines: what must not depend on the container."""
    out: list[Any] = []
    for kind in ("decisions", "fills"):
        out.append(sorted(zip(column(found, kind, "key"), column(found, kind, "content"), strict=True)))
    out.append(sorted(repr((x.ts, x.record)) for b in found for x in b.rare))
    out.append(sorted(r.code for b in found for r in b.refusals))
    return out


SMALL = Limits(child_memory=1 << 30, child_seconds=60)
