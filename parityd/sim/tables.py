"""Rows of a table (names in lower case, values as read) -> bars, market conditions, orders.

1. What cannot be taken is a RowError: the row (from 1; 0 = the table as a whole) and the reason, which names the field.
2. Quotes are read from bid and ask, from L2 levels (`asks[0].price`, `asks[0].amount`, ...), or from bars with a spread model.
3. Orders are read from order rows, or from native `decision` records that buy or sell: a decision's price is then no limit.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from parityd.core.any_time import any_time
from parityd.core.instants import SECOND
from parityd.core.records import NO_TS
from parityd.sim.bars import PRICE_NAMES, TIME_NAMES, Bars, BarsError, make_bars, split_by_symbol, times
from parityd.sim.market import FixedSpread, MarketConditions, SpreadModel, from_bar, from_depth
from parityd.sim.orders import Order

Row = Mapping[str, Any]
_LEVEL = re.compile(r"(asks|bids)\[(\d+)\]\.(price|amount|size)")
_ALIASES = {
    "bid_price": "bid", "ask_price": "ask", "bid_amount": "bid_size", "ask_amount": "ask_size", "bid_qty": "bid_size", "ask_qty": "ask_size",
    "bid_volume": "bid_size", "ask_volume": "ask_size", "type": "order_type", "qty": "quantity", "price": "limit_price",
}  # fmt: skip
_NUMBERS = ("quantity", "limit_price", "stop_price", "trail_bps", "trail_offset")
_TEXTS = ("order_type", "time_in_force", "order_id", "trade_id", "strategy")


class RowError(ValueError):
    """A row that cannot be taken (rule 1)."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}" if row else reason)
        self.row, self.reason = row, reason


def _time_name(rows: Sequence[Row]) -> str:
    for name in TIME_NAMES:
        if name in rows[0]:
            return name
    raise RowError(0, f"no column of times: one of {', '.join(TIME_NAMES)}")


def bars_from_rows(rows: Sequence[Row], *, symbol: str = "", name: str = "SYMBOL") -> dict[str, Bars]:
    """Bars by symbol. A column `symbol` parts the table (`symbol` then picks one); without it `symbol`, else `name`, names them."""
    if rows and "kind" in rows[0]:
        rows = [r for r in rows if r.get("kind") == "mark"]
    if not rows:
        raise RowError(0, "no bars")
    clock = _time_name(rows)
    when = times([r.get(clock) for r in rows])
    price = next((n for n in PRICE_NAMES if n in rows[0]), None)
    if price is None:
        raise RowError(0, f"no column of prices: one of {', '.join(PRICE_NAMES)}")
    names = [n for n in ("open", "high", "low", "volume") if n in rows[0] and (n == "volume" or price == "close")]
    table: dict[str, Any] = {n: np.array(["nan" if r.get(n) is None else r[n] for r in rows], object) for n in names}
    table["close"] = np.array(["nan" if r.get(price) is None else r[price] for r in rows], object)
    try:
        if "symbol" in rows[0]:
            return split_by_symbol([str(r.get("symbol")) for r in rows], when, table, only=symbol)
        return {symbol or name: make_bars(symbol or name, when, **table)}
    except BarsError as e:
        raise RowError(e.row, e.reason) from None


def _seconds(row: Row, n: int) -> float:
    name = next((t for t in TIME_NAMES if t in row), None)
    ts = any_time(row[name]) if name is not None else NO_TS
    if ts == NO_TS:
        raise RowError(n, f"{name or 'ts'}: {row.get(name or '')!r} is not a time")
    return ts / SECOND


def _depth(row: Row) -> dict[str, list[tuple[object, object]]]:
    sides: dict[str, dict[int, dict[str, object]]] = {"asks": {}, "bids": {}}
    for name, value in row.items():
        found = _LEVEL.fullmatch(name)
        if found is not None and value is not None:
            side, level, what = found.groups()
            sides[side].setdefault(int(level), {})["size" if what == "amount" else what] = value
    return {side: [(v.get("price"), v.get("size")) for _, v in sorted(levels.items())] for side, levels in sides.items()}


def _quote(row: Row, ts: float, symbol: str, spread: SpreadModel | None, seconds: float) -> MarketConditions:
    extra: dict[str, Any] = {k: float(row[k]) for k in ("last", "volume_1m", "volatility") if row.get(k) is not None}
    if any(_LEVEL.fullmatch(name) for name in row):
        levels = _depth(row)
        return from_depth(symbol, timestamp=ts, bids=levels["bids"], asks=levels["asks"], **extra)
    renamed = {_ALIASES.get(k, k): v for k, v in row.items() if v is not None}
    if "bid" in renamed or "ask" in renamed:
        missing = [k for k in ("bid", "ask") if k not in renamed]
        if missing:
            raise ValueError(f"{missing[0]}: missing")
        sizes: dict[str, Any] = {k: renamed[k] for k in ("bid_size", "ask_size") if k in renamed}
        return MarketConditions(symbol=symbol, bid=renamed["bid"], ask=renamed["ask"], timestamp=ts, **sizes, **extra)
    if row.get("close") is not None:
        close = float(row["close"])
        bar = {k: float(row[k]) if row.get(k) is not None else close for k in ("open", "high", "low")}
        volatility = extra.get("volatility", float("nan"))
        return from_bar(
            symbol,
            timestamp=ts,
            close=close,
            volume=float(row.get("volume") or 0.0),
            spread=spread,
            seconds=seconds,
            volatility=volatility,
            **bar,
        )
    raise ValueError("bid: missing (nor levels, nor a close)")


def quotes_from_rows(rows: Sequence[Row], *, symbol: str = "", spread: SpreadModel | None = None) -> list[MarketConditions]:
    """Market conditions in the table's order (rule 2)."""
    stamps = [_seconds(row, n) for n, row in enumerate(rows, 1)]
    gaps = np.diff(np.unique(stamps)) if len(stamps) > 1 else np.array([60.0])
    seconds = float(np.median(gaps)) if len(gaps) else 60.0
    out = []
    for n, (row, ts) in enumerate(zip(rows, stamps, strict=True), 1):
        name = str(row.get("symbol") or symbol)
        if not name:
            raise RowError(n, "symbol: missing")
        if symbol and name != symbol:
            continue
        try:
            out.append(_quote(row, ts, name, spread or FixedSpread(), seconds))
        except (TypeError, ValueError) as e:
            raise RowError(n, str(e)) from None
    if not out:
        raise RowError(0, "no quotes")
    return out


def _order(row: Row, n: int, strategy: str) -> Order | None:
    given = {k if k in row and k == "type" and "order_type" in row else _ALIASES.get(k, k): v for k, v in row.items() if v is not None}
    side = str(given.get("side") or given.get("action") or "").lower()
    if given.get("kind", "order") == "decision" and side not in ("buy", "sell"):
        return None  # holds and closes of a decision stream ask for nothing that could be simulated alone
    if given.get("kind") == "decision":
        given.pop("limit_price", None)  # a decision's price is the backtest's execution price, not a limit
    fields: dict[str, Any] = {k: given[k] for k in _NUMBERS if k in given}
    fields |= {k: str(given[k]) for k in _TEXTS if k in given}
    fields.setdefault("order_type", "limit" if "limit_price" in fields else "stop" if "stop_price" in fields else "market")
    if fields["order_type"] == "market":
        fields.pop("limit_price", None)
    if given.get("expires_at") is not None:
        fields["expires_at"] = _seconds({"ts": given["expires_at"]}, n)
    fields.setdefault("strategy", strategy)
    if "quantity" not in fields:
        raise ValueError("quantity: missing")
    return Order(symbol=str(given.get("symbol") or ""), side=side, timestamp=_seconds(row, n), **fields)  # type: ignore[arg-type]


def orders_from_rows(rows: Sequence[Row], *, strategy: str = "simulated") -> list[Order]:
    """Orders (rule 3): ts symbol side quantity; optional order_type limit_price stop_price trail_bps trail_offset expires_at time_in_force
    order_id trade_id strategy.
    """
    out = []
    seen: set[str] = set()
    for n, row in enumerate(rows, 1):
        try:
            order = _order(row, n, strategy)
        except RowError:
            raise
        except (TypeError, ValueError) as e:
            raise RowError(n, str(e)) from None
        if order is None:
            continue
        if order.order_id and order.order_id in seen:
            raise RowError(n, f"order_id: {order.order_id!r} is there twice")
        seen.add(order.order_id)
        out.append(order)
    if not out:
        raise RowError(0, "no orders")
    return out
