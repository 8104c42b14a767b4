"""hummingbot: its trade CSV, its database, and the CSV of `history --export`.

1. A fill is the same in the CSV and in the database, whose prices and amounts are integers of a millionth (a number with a fraction is taken as is).
2. `trade_fee`: flat fees in their own tokens, and a percentage of the notional in quote. Fees in several tokens: fills of equal shares.
3. An order id with `//` in it is paper trading: the fill is a shadow. Funding received is positive there and negative here.
4. The exported history knows neither strategy nor fee nor order, and its times are local: it needs `[sources.<name>] strategy` (and `timezone`).

Tried with what hummingbot 20260922 writes. Unknown columns are passed over.
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from parityd.core.columns import Block
from parityd.core.instants import rfc3339
from parityd.core.records import NAN, Fill, Funding, Native, Order
from parityd.formats.depth import deeper
from parityd.formats.documents import value
from parityd.formats.fields import Unfit, as_number, instant, need, need_instant, need_number, side, text
from parityd.formats.increments import charged
from parityd.formats.port import Context, Part, Sample, strategy_of
from parityd.formats.rows import converted

Row = Mapping[str, Any]
MILLI = 1_000_000
SCALE = 1_000_000
TABLES = ("TradeFill", "Order", "FundingPayment")
_COLUMNS = frozenset(
    {"exchange_trade_id", "strategy", "market", "symbol", "timestamp", "order_id", "trade_type", "price", "amount", "trade_fee"}
)
_HISTORY = frozenset({"Id", "Timestamp", "Exchange", "Market", "Side", "Price", "Amount"})
_ENDS = {
    "Completed": "filled",
    "Cancelled": "cancelled",
    "OrderCancelled": "cancelled",
    "Failure": "rejected",
    "OrderFailure": "rejected",
    "Expired": "expired",
}
_LONGEST = 10_000


def is_trades(sample: Sample) -> bool:
    return sample.keys >= _COLUMNS


def is_history(sample: Sample) -> bool:
    return sample.keys >= _HISTORY


def is_database(sample: Sample) -> bool:
    return sample.shape == "database" and "TradeFill" in sample.keys


def fees_of(row: Row, notional: float, quote: str) -> dict[str, float]:
    """`trade_fee` by token: JSON in the database, a Python literal in the CSV."""
    said = row.get("trade_fee")
    found = _literal(said) if isinstance(said, str) else said
    if not isinstance(found, Mapping):
        if said in (None, ""):
            return {}
        raise Unfit("bad_value", f"trade_fee is {str(said)[:60]!r}")
    fees: dict[str, float] = {}
    percent = found.get("percent")
    if percent is not None and (share := as_number("trade_fee.percent", percent)):
        fees[str(found.get("percent_token") or quote)] = share * notional
    flat = found.get("flat_fees") or []
    for fee in flat if isinstance(flat, list) else []:
        if isinstance(fee, Mapping):
            token = text(fee, "token") or quote
            fees[token] = fees.get(token, 0.0) + as_number("trade_fee.flat_fees", fee.get("amount"))
    return fees or {quote: 0.0}


def _literal(said: str) -> Any:
    if len(said) > _LONGEST or deeper(said.encode("utf-8", "surrogatepass"), 8):
        raise Unfit("bad_value", "trade_fee is too long or too deep")
    found, code, _ = value(said.encode("utf-8", "surrogatepass"), 8)
    if not code:
        return found
    try:
        return ast.literal_eval(said.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _scaled(row: Row, name: str, *, stored: bool) -> float:
    number = need_number(row, name)
    return number / SCALE if stored and isinstance(row[name], int) else number


def fill(row: Row, *, stored: bool = False) -> Iterator[Fill]:
    """A row of the CSV, or of TradeFill (`stored`)."""
    price, quantity = _scaled(row, "price", stored=stored), _scaled(row, "amount", stored=stored)
    quote, order_id = text(row, "quote_asset"), need(row, "order_id")
    made = Fill(
        ts=rfc3339(need_instant(row, "timestamp", unit=MILLI)), strategy=need(row, "strategy"), symbol=need(row, "symbol"),
        fill_id=need(row, "exchange_trade_id"), order_id=order_id, side=side(row, "trade_type"), quantity=quantity, price=price, currency=quote,
        venue=need(row, "market"), order_type=text(row, "order_type").lower(), shadow="//" in order_id,
    )  # fmt: skip
    yield from charged(made, fees_of(row, price * quantity, quote))


def _order(row: Row) -> Iterator[Order]:
    began = need_instant(row, "creation_timestamp", unit=MILLI)
    status = need(row, "last_status")
    place: dict[str, Any] = {"strategy": need(row, "strategy"), "symbol": need(row, "symbol"), "order_id": need(row, "id")}
    way = "buy" if status.startswith("Buy") else "sell" if status.startswith("Sell") else ""
    price = _scaled(row, "price", stored=True)
    yield Order(
        ts=rfc3339(began), **place, status="submitted", side=way, quantity=_scaled(row, "amount", stored=True),  # type: ignore[arg-type]
        limit_price=price if price > 0 else NAN,
    )  # fmt: skip
    end = next((made for word, made in _ENDS.items() if status.endswith(word)), None)
    if end is not None:
        yield Order(ts=rfc3339(need_instant(row, "last_update_timestamp", unit=MILLI)), **place, status=end)  # type: ignore[arg-type]


def read_trades(part: Part, context: Context) -> Iterator[Block]:
    return converted(part, context, fill)


def read_database(part: Part, context: Context) -> Iterator[Block]:
    strategies: dict[str, str] = {}

    def take(entry: Row) -> list[Native]:
        table, row = entry.get("table"), entry.get("row")
        if not isinstance(row, Mapping):
            return []
        if table == "TradeFill":
            strategies.setdefault(text(row, "config_file_path"), text(row, "strategy"))
            return list(fill(row, stored=True))
        if table == "Order":
            return list(_order(row))
        return [_funding(row, strategies.get(text(row, "config_file_path")) or context.strategy or "")]

    return converted(part, context, take)


def _funding(row: Row, strategy: str) -> Funding:
    if not strategy:
        raise Unfit("missing_field", "no trade names the strategy of this configuration: set [sources.<name>] strategy")
    symbol, when = need(row, "symbol"), need_instant(row, "timestamp", unit=MILLI)
    return Funding(
        ts=rfc3339(when), strategy=strategy, symbol=symbol, amount=-need_number(row, "amount"), currency=symbol.partition("-")[2],
        funding_id=f"{text(row, 'market')}:{symbol}:{when // MILLI}",
    )  # fmt: skip


def read_history(part: Part, context: Context) -> Iterator[Block]:
    strategy = strategy_of(context)

    def take(row: Row) -> list[Native]:
        made = Fill(
            ts=rfc3339(instant("Timestamp", need(row, "Timestamp"), context.timezone)), strategy=strategy, symbol=need(row, "Market"),
            fill_id=need(row, "Id"), side=side(row, "Side"), quantity=need_number(row, "Amount"), price=need_number(row, "Price"),
            venue=need(row, "Exchange"), order_type=text(row, "Order_type").lower(),
        )  # fmt: skip
        return [made]

    return converted(part, context, take)
