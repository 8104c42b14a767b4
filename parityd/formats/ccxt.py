"""ccxt's unified trades and orders, as `fetchMyTrades`, `watchMyTrades`, `fetchOrders`, `watchOrders` give them.

1. Null symbol, side, price, amount, time or id: refused, never guessed. A trade without an order id is refused too: public trades have none.
2. `fees` is taken where it says anything, else `fee`: they tell the same twice. A fee whose currency is not named is in currency `UNKNOWN`, so it
   is left unpriced. Fees in several currencies: as many fills of equal shares.
3. A funding execution among the trades is funding.
4. An order tells its fills by its `trades`, else as differences of `filled` (`increments`), priced by what the averages differ.
5. No strategy is named: `[sources.<name>] strategy`. Contract sizes are not known: `[symbols.<symbol>] multiplier`.

Tried with what ccxt 4.5.90 makes of 63 exchanges. A row may be wrapped as {exchange, unified}: the exchange is then the venue.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from parityd.core.columns import Block
from parityd.core.instants import rfc3339
from parityd.core.records import NAN, Fill, Funding, Native, Order
from parityd.formats.fields import Unfit, amount, as_number, instant, need, need_number, side, text
from parityd.formats.increments import Increments, Reached, charged
from parityd.formats.port import Context, Part, Sample, strategy_of
from parityd.formats.rows import converted

Row = Mapping[str, Any]
MILLI = 1_000_000
_BOTH = frozenset({"info", "symbol", "side", "price", "amount", "timestamp", "datetime", "id"})
_STATUS = {"open": "accepted", "closed": "filled", "canceled": "cancelled", "expired": "expired", "rejected": "rejected"}
_DONE = ("closed", "canceled", "expired", "rejected")
_UNNAMED = "UNKNOWN"


def _keys(sample: Sample) -> frozenset[str]:
    inner = sample.row.get("unified")
    return frozenset(inner) if isinstance(inner, Mapping) else sample.keys


def is_trades(sample: Sample) -> bool:
    keys = _keys(sample)
    return keys >= _BOTH | {"order", "takerOrMaker"} and "filled" not in keys


def is_orders(sample: Sample) -> bool:
    return _keys(sample) >= _BOTH | {"status", "filled", "remaining", "average"}


def opened(row: Row) -> tuple[Row, str]:
    """(the unified structure, its exchange where the row says one)."""
    inner = row.get("unified")
    return (inner, text(row, "exchange")) if isinstance(inner, Mapping) else (row, "")


def quote_of(symbol: str) -> str:
    """The quote of `BASE/QUOTE` or `BASE/QUOTE:SETTLE`, "" of a raw id."""
    return symbol.partition("/")[2].partition(":")[0]


def fees_of(row: Row) -> dict[str, float]:
    """Fees by currency; a cost that is null says nothing."""
    several = row.get("fees")
    single = row.get("fee")
    listed = [f for f in several if isinstance(f, Mapping)] if isinstance(several, list) else []
    found: dict[str, float] = {}
    for fee in listed or ([single] if isinstance(single, Mapping) else []):
        if fee.get("cost") is not None:
            currency = text(fee, "currency") or _UNNAMED
            found[currency] = found.get(currency, 0.0) + as_number("fee.cost", fee["cost"])
    if not found and listed and isinstance(single, Mapping):
        return fees_of({"fee": single})
    return found


def _symbol(row: Row, context: Context) -> str:
    return text(row, "symbol") or context.symbol or need(row, "symbol")


def _when(row: Row, *names: str) -> str:
    for name in names:
        if row.get(name):  # 0 is no time either
            return rfc3339(instant(name, row[name], unit=None if isinstance(row[name], str) else MILLI))
    raise Unfit("missing_field", f"{names[0]} is missing")


def trade(row: Row, context: Context) -> Iterator[Native]:
    """A row of fetchMyTrades."""
    found, venue = opened(row)
    strategy = strategy_of(context)
    symbol = _symbol(found, context)
    info = found.get("info")
    if isinstance(info, Mapping) and text({"x": info.get("execType")}, "x") == "Funding":
        yield from _funding(found, strategy, symbol)
        return
    fill_id, order_id = need(found, "id"), need(found, "order")
    liquidity = found.get("takerOrMaker")
    made = Fill(
        ts=_when(found, "timestamp", "datetime"), strategy=strategy, symbol=symbol, fill_id=fill_id, order_id=order_id, side=side(found, "side"),
        quantity=need_number(found, "amount"), price=need_number(found, "price"), currency=quote_of(symbol), venue=venue,
        liquidity=liquidity if liquidity in ("maker", "taker") else "",
        order_type=text(found, "type").lower(),
    )  # fmt: skip
    yield from charged(made, fees_of(found))


def _funding(found: Row, strategy: str, symbol: str) -> Iterator[Funding]:
    fees = fees_of(found)
    if len(fees) != 1:
        raise Unfit("missing_field", "fee is missing: a funding execution pays or earns one")
    ((currency, paid),) = fees.items()
    yield Funding(
        ts=_when(found, "timestamp", "datetime"), strategy=strategy, symbol=symbol, amount=paid, currency=currency, funding_id=text(found, "id")
    )  # fmt: skip


def read_trades(part: Part, context: Context) -> Iterator[Block]:
    strategy_of(context)
    return converted(part, context, lambda row: trade(row, context))


def order(row: Row, context: Context, increments: Increments) -> Iterator[Native]:
    """A row of fetchOrders: the state of an order, and what it has filled since."""
    found, venue = opened(row)
    strategy, symbol, order_id = strategy_of(context), _symbol(found, context), need(found, "id")
    status = text(found, "status")
    place: dict[str, Any] = {"strategy": strategy, "symbol": symbol, "order_id": order_id}
    way = text(found, "side").lower()
    if found.get("timestamp"):
        known = way if way in ("buy", "sell") else ""
        limit = amount(found, "price")
        yield Order(
            ts=_when(found, "timestamp"), **place, status="submitted", side=known,  # type: ignore[arg-type]
            quantity=_positive(amount(found, "amount")), limit_price=_positive(limit),
        )  # fmt: skip
        if status in _STATUS:
            yield Order(ts=_when(found, "lastUpdateTimestamp", "lastTradeTimestamp", "timestamp"), **place, status=_STATUS[status])  # type: ignore[arg-type]
    trades = [t for t in found.get("trades") or [] if isinstance(t, Mapping)]
    if trades and increments.singly(venue, symbol, order_id):
        for one in trades:
            yield from trade(
                {"exchange": venue, "unified": {**one, "order": order_id, "symbol": symbol, "side": one.get("side") or way}}, context
            )
        increments.told_singly(venue, symbol, order_id, _sum_of(trades))
        return
    filled = amount(found, "filled")
    if not filled > 0:
        return
    yield from _filled(found, filled, place, venue, increments, done=status in _DONE)


def _sum_of(trades: list[Row]) -> Reached:
    """Trades that were just told, in all."""
    filled = [(as_number("amount", t["amount"]), as_number("price", t["price"])) for t in trades]
    fees = [fee for t in trades for fee in fees_of(t).values()]
    return Reached(sum(q for q, _ in filled), sum(q * p for q, p in filled), sum(fees))


def _positive(number: float) -> float:
    return number if number > 0 else NAN


def _filled(found: Row, filled: float, place: dict[str, Any], venue: str, increments: Increments, *, done: bool) -> Iterator[Native]:
    average, cost = amount(found, "average"), amount(found, "cost")
    value = average * filled if average > 0 else cost
    fees = fees_of(found)
    currency = "" if not fees else next(iter(fees)) if len(fees) == 1 else _UNNAMED  # of several nobody knows which increment paid which
    fee = sum(fees.values())
    template = Fill(
        ts=_when(found, "lastTradeTimestamp", "lastUpdateTimestamp", "timestamp", "datetime"), **place, fill_id="", side=side(found, "side"), quantity=1.0, price=1.0,
        currency=quote_of(place["symbol"]), venue=venue, fee_currency=currency, order_type=text(found, "type").lower(),
    )  # fmt: skip
    yield from increments.at(template, Reached(filled, value, fee), done=done, priced=value > 0)


def read_orders(part: Part, context: Context) -> Iterator[Block]:
    strategy_of(context)
    increments = Increments(context.told)
    return converted(part, context, lambda row: order(row, context, increments))
