"""NautilusTrader: fills, orders, order fills, positions and account reports, and order events.

1. The same fill comes out alike of `fills_report` and of the events: what only one of the two knows goes into other records.
2. A fill's identity is the engine's trade id; the order's is the client's. The engine's ids never join the two books: no `trade_id`.
3. `decision_ts` is the second written in the client order id, where it carries one that is not after the fill.
4. Fills that reconciliation made up (`reconciliation` true) are no executions: nothing is taken of them.
5. Order reports give `order` records only; positions and account reports are recognised and give nothing.
6. Times are cut to microseconds: reports written by pandas have no more.

Tried with the exports of NautilusTrader 1.221.0. Unknown columns and events are passed over.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from parityd.core.columns import Block
from parityd.core.records import NAN, Fill, Native, Order
from parityd.formats.fields import Unfit, as_number, flag, need, need_instant, need_number, number, side, text
from parityd.formats.port import Context, Part, Sample
from parityd.formats.rows import converted

Row = Mapping[str, Any]
_FILL_COLUMNS = frozenset(
    {"client_order_id", "trade_id", "last_qty", "last_px", "order_side", "commission", "ts_event", "instrument_id", "strategy_id"}
)
_ORDER_COLUMNS = frozenset({"client_order_id", "filled_qty", "avg_px", "status", "ts_last"})
_STATED = re.compile(r"O-(\d{8})-(\d{6})-", re.ASCII)
_MONEY = re.compile(r"([+-]?[0-9._,]+(?:[eE][+-]?\d+)?)\s+(\S+)\Z", re.ASCII)
_STATUS: dict[str, Literal["submitted", "accepted", "rejected", "cancelled", "expired", "filled"]] = {
    "SUBMITTED": "submitted", "ACCEPTED": "accepted", "REJECTED": "rejected", "DENIED": "rejected", "CANCELED": "cancelled",
    "EXPIRED": "expired", "FILLED": "filled",
}  # fmt: skip


def is_fills(sample: Sample) -> bool:
    return sample.keys >= _FILL_COLUMNS and "type" not in sample.keys


def is_orders(sample: Sample) -> bool:
    return sample.keys >= _ORDER_COLUMNS and "last_qty" not in sample.keys


def is_positions(sample: Sample) -> bool:
    return sample.keys >= {"position_id", "ts_opened", "avg_px_open", "peak_qty"}


def is_account(sample: Sample) -> bool:
    return sample.keys >= {"account_id", "account_type", "total", "locked", "free", "margins"}


def place(row: Row) -> tuple[str, str, str]:
    """(strategy, symbol, venue): an instrument is `SYMBOL.VENUE`, split at the last dot."""
    instrument = need(row, "instrument_id")
    symbol, _, venue = instrument.rpartition(".")
    return need(row, "strategy_id"), symbol or instrument, venue if symbol else ""


def money(said: str) -> tuple[float, str]:
    """`47.28 USD` -> (47.28, "USD"); absent where nothing is said."""
    if said.strip() in ("", "None", "nan", "null"):
        return NAN, ""
    found = _MONEY.match(said.strip())
    if found is None:
        raise Unfit("bad_value", f"commission is {said[:60]!r}: must be an amount and a currency")
    return as_number("commission", found[1].replace("_", "").replace(",", "")), found[2]


def stated(client_order_id: str, not_after: int) -> str | None:
    """The time in a client order id, where it carries one."""
    found = _STATED.match(client_order_id)
    if found is None:
        return None
    try:
        t = datetime.strptime(found[1] + found[2], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return f"{t:%Y-%m-%dT%H:%M:%S}.000000Z" if int(t.timestamp()) * 10**9 <= not_after else None


def cut(ns: int) -> str:
    """RFC 3339 of microseconds, always with six digits: the form that is read fastest."""
    seconds, rest = divmod(ns // 1000, 10**6)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


def fill(row: Row, zone: str = "UTC") -> Iterator[Fill]:
    """A row of fills_report, or an OrderFilled event. `zone` is that of times without offset."""
    strategy, symbol, venue = place(row)
    fill_id, order_id = need(row, "trade_id"), need(row, "client_order_id")
    if flag(row, "reconciliation"):
        return
    ns = need_instant(row, "ts_event", zone)
    fee, fee_currency = money(text(row, "commission"))
    liquidity = text(row, "liquidity_side").strip().lower()
    yield Fill(
        ts=cut(ns),
        strategy=strategy,
        symbol=symbol,
        venue=venue,
        fill_id=fill_id,
        order_id=order_id,
        side=side(row, "order_side"),
        quantity=need_number(row, "last_qty"),
        price=need_number(row, "last_px"),
        decision_ts=stated(order_id, ns),
        currency=text(row, "currency"),
        fee=fee,
        fee_currency=fee_currency,
        liquidity=liquidity if liquidity in ("maker", "taker") else "",  # type: ignore[arg-type]
        order_type=text(row, "order_type").lower(),
        account=text(row, "account_id"),
    )


def order_rows(row: Row, zone: str = "UTC") -> Iterator[Order]:
    """A row of orders_report or order_fills_report: its submission, and the state it is in."""
    strategy, symbol, _ = place(row)
    order_id = need(row, "client_order_id")
    began = need_instant(row, "ts_init", zone)
    yield Order(
        ts=cut(began), strategy=strategy, symbol=symbol, order_id=order_id, status="submitted", side=side(row, "side"),
        quantity=need_number(row, "quantity"), limit_price=number(row, "price"), parent_id=text(row, "exec_spawn_id"),
    )  # fmt: skip
    status = _STATUS.get(need(row, "status").upper())
    if status is not None and status != "submitted":
        yield Order(ts=cut(need_instant(row, "ts_last", zone)), strategy=strategy, symbol=symbol, order_id=order_id, status=status)


def read_fills(part: Part, context: Context) -> Iterator[Block]:
    return converted(part, context, partial(fill, zone=context.timezone))


def read_orders(part: Part, context: Context) -> Iterator[Block]:
    return converted(part, context, partial(order_rows, zone=context.timezone))


def read_nothing(part: Part, context: Context) -> Iterator[Block]:
    """A report with nothing in it that a record says; its lines are still looked at, and damage refused."""

    def none(_row: Row) -> Iterator[Native]:
        return iter(())

    return converted(part, context, none)
