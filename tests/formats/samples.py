"""Small files of every format, made here, each with what must come of it. The contract suite runs over all of them."""

import io
import json
import sqlite3
import tempfile
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


# --- engines ----------------------------------------------------------------------------------------------------------------------------

MS = 1_795_169_700_000  # 2026-11-20T10:15:00Z
FT_ORDER = {
    "amount": 10.0,
    "safe_price": 100.0,
    "ft_order_side": "buy",
    "order_filled_timestamp": MS,
    "ft_is_entry": True,
    "ft_order_tag": "dip",
    "cost": 1001.0,
}
FT_EXIT = {
    **FT_ORDER,
    "safe_price": 110.0,
    "ft_order_side": "sell",
    "order_filled_timestamp": MS + 900_000,
    "ft_is_entry": False,
    "ft_order_tag": "roi",
}
FT_TRADE = {
    "pair": "XRP/USDT:USDT", "stake_amount": 500.0, "amount": 10.0, "open_date": "2026-11-20 10:15:00+00:00", "close_date": "2026-11-20 10:30:00+00:00",
    "open_rate": 100.0, "close_rate": 110.0, "fee_open": 0.001, "fee_close": 0.002, "is_open": False, "is_short": False, "enter_tag": "dip",
    "exit_reason": "roi", "open_timestamp": MS, "close_timestamp": MS + 900_000, "orders": [FT_ORDER, FT_EXIT], "funding_fees": -0.5,
}  # fmt: skip


def ft_result(trades: list[dict[str, Any]] | None = None, **k: Any) -> dict[str, Any]:
    strategy = {"trades": [FT_TRADE] if trades is None else trades, "timeframe": "15m", "stake_currency": "USDT", "backtest_start_ts": MS - 3_600_000,
                "backtest_end_ts": MS + 3_600_000, "backtest_run_start_ts": 1_795_200_000, "backtest_run_end_ts": 1_795_200_005, **k}  # fmt: skip
    return {"strategy": {"Demo": strategy}, "strategy_comparison": []}


FT_META = {"Demo": {"run_id": "abc", "backtest_start_time": 1_795_200_000}}
FT_API_ORDER = {**FT_ORDER, "order_id": "o-1", "status": "closed", "average": 100.0, "filled": 10.0, "remaining": 0.0, "price": 100.5, "order_type": "limit", "is_open": False,
                "order_timestamp": MS + 7_123, "order_date": "2026-11-20 10:15:07", "order_filled_timestamp": MS + 9_456, "ft_fee_base": None}  # fmt: skip
FT_API_EXIT = {**FT_API_ORDER, "order_id": "o-2", "ft_order_side": "sell", "ft_is_entry": False, "average": 110.0, "price": 110.0,
                                  "order_timestamp": MS + 905_000, "order_filled_timestamp": MS + 906_000}  # fmt: skip
FT_API_TRADE = {**FT_TRADE, "trade_id": 1, "exchange": "binance", "strategy": "Demo", "timeframe": 15, "open_rate_requested": 99.5, "close_rate_requested": 110.5,
                "orders": [FT_API_ORDER, FT_API_EXIT]}  # fmt: skip


def _text(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def ft_tables(trade: dict[str, Any] = FT_API_TRADE) -> dict[str, list[dict[str, Any]]]:
    """The same trade as the database keeps it."""
    kept = {k: v for k, v in trade.items() if k not in ("trade_id", "orders", "open_timestamp", "close_timestamp", "enter_tag")}
    row = {
        "id": trade["trade_id"],
        **kept,
        "open_date": _text(trade["open_timestamp"]),
        "close_date": _text(trade["close_timestamp"]),
        "is_open": 0,
        "is_short": 0,
    }
    orders = [
        {"id": k, "ft_trade_id": trade["trade_id"], "ft_order_side": o["ft_order_side"], "ft_is_open": 0, "ft_price": 100.0, "order_id": o["order_id"], "status": o["status"],
         "order_type": o["order_type"], "side": o["ft_order_side"], "price": o["price"], "average": o["average"], "amount": o["amount"], "filled": o["filled"],
         "order_date": _text(o["order_timestamp"]), "order_filled_date": _text(o["order_filled_timestamp"]), "ft_fee_base": o["ft_fee_base"]}
        for k, o in enumerate(trade["orders"])
    ]  # fmt: skip
    return {"trades": [row], "orders": orders}


CCXT_TRADE = {"info": {}, "id": "t1", "timestamp": MS, "datetime": "2026-11-20T10:15:00.000Z", "symbol": "BTC/USDT:USDT", "order": "o1", "type": "limit", "side": "buy",
              "takerOrMaker": "maker", "price": 100.5, "amount": 2, "cost": 201, "fee": {"cost": 0.1, "currency": "USDT"}, "fees": [{"cost": 0.1, "currency": "USDT"}]}  # fmt: skip
CCXT_ORDER = {"info": {}, "id": "o1", "clientOrderId": None, "timestamp": MS, "datetime": "2026-11-20T10:15:00.000Z", "lastTradeTimestamp": MS + 1000, "status": "closed",
              "symbol": "BTC/USDT", "type": "limit", "side": "sell", "price": 100.5, "amount": 2, "filled": 2, "remaining": 0, "average": 101, "cost": 202, "trades": [],
              "fee": {"cost": 0.2, "currency": "USDT"}}  # fmt: skip

HB_TRADE = {"exchange_trade_id": "x1", "config_file_path": "conf.yml", "strategy": "pmm", "market": "binance_perpetual", "symbol": "BTC-USDT", "base_asset": "BTC",
            "quote_asset": "USDT", "timestamp": MS, "order_id": "HBOT1", "trade_type": "SELL", "order_type": "LIMIT", "price": "100.5", "amount": "2.25", "leverage": 20,
            "trade_fee": "{'fee_type': 'AddedToCost', 'percent': '0', 'percent_token': None, 'flat_fees': [{'token': 'USDT', 'amount': '0.25'}]}",
            "trade_fee_in_quote": "0.25", "position": "OPEN", "age": "00:00:00"}  # fmt: skip
HB_STORED = {**{k: v for k, v in HB_TRADE.items() if k != "age"}, "price": 100_500_000, "amount": 2_250_000, "trade_fee_in_quote": 250_000,
             "trade_fee": json.dumps({"fee_type": "AddedToCost", "percent": "0", "percent_token": None, "flat_fees": [{"token": "USDT", "amount": "0.25"}]})}  # fmt: skip
HB_ORDER = {"id": "HBOT1", "config_file_path": "conf.yml", "strategy": "pmm", "market": "binance_perpetual", "symbol": "BTC-USDT", "creation_timestamp": MS - 500, "amount": 2_250_000,
            "price": 0, "last_status": "SellOrderCompleted", "last_update_timestamp": MS + 500}  # fmt: skip
HB_FUNDING = {
    "timestamp": MS,
    "config_file_path": "conf.yml",
    "market": "binance_perpetual",
    "rate": 0.0001,
    "symbol": "BTC-USDT",
    "amount": -0.75,
}
HB_HISTORY = {"Id": "x1", "Timestamp": "2026-11-20 10:15:00", "Exchange": "binance_perpetual", "Market": "BTC-USDT", "Order_type": "limit", "Side": "sell", "Price": "100.5", "Amount": "2.25",
              "Leverage": 20, "Position": "OPEN", "Age": "00:00:00"}  # fmt: skip

LEAN_EVENT = {"id": "alg-1-2", "algorithmId": "alg", "orderId": 1, "orderEventId": 2, "symbol": "SPY R735QTJ8XC9X", "symbolValue": "SPY", "symbolPermtick": "SPY", "time": MS / 1000,
              "status": "filled", "orderFeeAmount": 1.0, "orderFeeCurrency": "USD", "fillPrice": 138.5, "fillPriceCurrency": "USD", "fillQuantity": -10.0, "direction": "sell",
              "message": None, "isAssignment": False, "quantity": -10.0}  # fmt: skip
LEAN_SUBMITTED = {
    **LEAN_EVENT,
    "id": "alg-1-1",
    "orderEventId": 1,
    "status": "submitted",
    "fillPrice": 0.0,
    "fillQuantity": 0.0,
    "orderFeeAmount": None,
    "time": MS / 1000 - 1,
}
LEAN_ORDER = {"type": 0, "id": 1, "symbol": {"value": "SPY", "id": "SPY R735QTJ8XC9X", "permtick": "SPY"}, "price": 138.5, "priceCurrency": "USD", "time": "2026-11-20T10:15:00Z",
              "createdTime": "2026-11-20T10:14:59Z", "lastFillTime": "2026-11-20T10:15:00Z", "quantity": -10.0, "status": 3, "direction": 1, "priceAdjustmentMode": 1,
              "orderSubmissionData": {"bidPrice": 138.4, "askPrice": 138.6, "lastPrice": 138.5}}  # fmt: skip
LEAN_RESULT = {"charts": {}, "orders": {"1": LEAN_ORDER}, "statistics": {}, "state": {"EndTime": "2026-11-20 12:00:00"},
               "algorithmConfiguration": {"startDate": "2026-11-19T00:00:00Z", "endDate": "2026-11-20T11:00:00Z"}}  # fmt: skip


def pascal(row: Any) -> Any:
    if isinstance(row, dict):
        return {k[:1].upper() + k[1:]: pascal(v) for k, v in row.items()}
    return [pascal(v) for v in row] if isinstance(row, list) else row


def fix(sep: str = "\x01", **tags: Any) -> bytes:
    """An execution report, a fill unless told otherwise."""
    base = {"t35": "8", "t34": 2, "t49": "B", "t52": "20261120-10:15:01.000", "t56": "T", "t11": "c1", "t12": "0.5", "t13": "3", "t14": 2, "t15": "USD", "t17": "e1", "t31": "100.5",
            "t32": 2, "t37": "v1", "t38": 2, "t39": 2, "t40": 2, "t44": "101", "t54": 1, "t55": "ESH4", "t60": "20261120-10:15:00.123456", "t150": "F", "t151": 0,
            "t479": "USD", "t851": 2}  # fmt: skip
    base.update(tags)
    body = sep.join(f"{k[1:]}={v}" for k, v in base.items() if v is not None)
    return f"20261120-10:15:01.000 : 8=FIX.4.4{sep}9=100{sep}{body}{sep}10=123{sep}".encode()


FIX_LOG = b"\n".join([fix(t35="A"), fix(t35="D", t150=None, t17=None, t32=None), fix(t150="0", t32=None, t39=0, t17="e0"), fix()]) + b"\n"
FIX_EVENTS = b"20261120-09:59:07.544445000 : Created session\n20261120-09:59:07 : Connecting\n"
MAPPED = b"When;Side;Qty;Px;Sym;Note\n2026-11-20 10:15:00;B;2;100.5;ESH4;x\n2026-11-20 10:15:00;SLD;2;100.5;ESH4;x\n"
MAP = {"ts": "When", "side": "Side", "quantity": "Qty", "price": "Px", "symbol": "Sym", "kind": "=fill"}
_PINNED = {"strategy": "mom"}


def _engines() -> list[Sample]:
    with tempfile.TemporaryDirectory() as folder:
        ft = sqlite(f"{folder}/a", ft_tables())
        hb = sqlite(f"{folder}/b", {"TradeFill": [HB_STORED], "Order": [HB_ORDER], "FundingPayment": [HB_FUNDING]})
    result = json.dumps(ft_result()).encode()
    stem = "backtest-result-2026-11-20_09-47-07"
    packed = zipped(
        {
            f"{stem}.json": result,
            f"{stem}_config.json": b"{}",
            f"{stem}_Demo.py": b"x = 1",
            f"{stem}_market_change.feather": b"\0ARROW1",
            f"{stem}_signals.pkl": b"\x80",
        }
    )
    return [
        Sample("backtest-result.json", result, "freqtrade_result", (2, 0, 3), book="backtest"),
        Sample("backtest-result.zip", packed, "freqtrade_result", (2, 0, 3), book="backtest"),
        Sample("backtest-result.meta.json", json.dumps(FT_META).encode(), "freqtrade_meta", (0, 0, 0), book="backtest"),
        Sample("trades.jsonl", lines(FT_API_TRADE), "freqtrade_trades", (0, 2, 5)),
        Sample(
            "trades.json",
            json.dumps({"trades": [FT_API_TRADE], "trades_count": 1, "total_trades": 1, "offset": 0}).encode(),
            "freqtrade_trades",
            (0, 2, 5),
        ),
        Sample("tradesv3.sqlite", ft, "freqtrade_sqlite", (0, 2, 5)),
        Sample("my_trades.json", json.dumps([CCXT_TRADE]).encode(), "ccxt_trades", (0, 1, 0), source=_PINNED),
        Sample("my_trades.jsonl", lines({"exchange": "okx", "unified": CCXT_TRADE}), "ccxt_trades", (0, 1, 0), source=_PINNED),
        Sample("orders.jsonl", lines(CCXT_ORDER), "ccxt_orders", (0, 1, 2), source=_PINNED),
        Sample("trades_conf.csv", table([HB_TRADE]), "hummingbot_trades", (0, 1, 0)),
        Sample("history.csv", table([HB_HISTORY]), "hummingbot_history", (0, 1, 0), source=_PINNED),
        Sample("conf.sqlite", hb, "hummingbot_sqlite", (0, 1, 3)),
        Sample("x-order-events.json", json.dumps([LEAN_SUBMITTED, LEAN_EVENT]).encode(), "lean_events", (0, 1, 2), source=_PINNED),
        Sample(
            "lean-orders.jsonl",
            lines(LEAN_ORDER, pascal({**LEAN_ORDER, "id": 2, "events": [LEAN_EVENT]})),
            "lean_orders",
            (0, 2, 3),
            source=_PINNED,
        ),
        Sample("lean.json", json.dumps(LEAN_RESULT).encode(), "lean_result", (0, 1, 3), book="backtest", source=_PINNED),
        Sample("session.event.log", FIX_EVENTS, "fix_events", (0, 0, 0)),
        Sample("drop.messages.log", FIX_LOG, "fix", (0, 1, 3), source=_PINNED),
        Sample("any.csv", MAPPED, "mapped", (0, 2, 0), source={**_PINNED, "columns": MAP}),
    ]


SAMPLES += _engines()


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
    kinds = ("decisions", "fills")
    out: list[Any] = [sorted(zip(column(found, kind, "key"), column(found, kind, "content"), strict=True)) for kind in kinds]
    out.append(sorted(repr((x.ts, x.record)) for b in found for x in b.rare))
    out.append(sorted(r.code for b in found for r in b.refusals))
    return out


SMALL = Limits(child_memory=1 << 30, child_seconds=60)
