"""The native records of both books as tables: kind -> fields, required or not, each with its type.

1. A record that leaves here has a kind, all required fields, no unknown one, and values of the right sort; what is None is left out.
2. It is a plain dict for `Spool.write`; numbers and times stay as they were given, so a Decimal keeps its digits.
3. It checks what one record can say alone. Whether it is a duplicate, a conflict or late is parityd's to judge.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, Required, TypedDict, get_args, get_origin, get_type_hints

from parityd.engine.publication import STRATEGY

Number = Decimal | float | int | str
"""A finite number; money and sizes best as Decimal or as decimal text."""
Moment = datetime | float | int | str
"""An aware datetime, epoch seconds, or RFC 3339 text with an offset."""
Side = Literal["buy", "sell"]


class Decision(TypedDict, total=False):
    symbol: Required[str]
    ts: Required[Moment]
    action: Required[Literal["buy", "sell", "close", "hold"]]
    trade_id: str | None
    quantity: Number | None
    price: Number | None
    fee: Number | None
    mark: Number | None
    side: Side | None
    filled: bool | None
    equity: Number | None
    reason: str | None
    guards: list[str] | None
    agent: str | None
    currency: str | None
    multiplier: Number | None


class Execution(TypedDict, total=False):
    """A decision that was filled on paper: quantity and price are required; `action` may be left to `side`."""

    symbol: Required[str]
    ts: Required[Moment]
    quantity: Required[Number]
    price: Required[Number]
    action: Literal["buy", "sell", "close"] | None
    side: Side | None
    trade_id: str | None
    fee: Number | None
    mark: Number | None
    equity: Number | None
    reason: str | None
    guards: list[str] | None
    agent: str | None
    currency: str | None
    multiplier: Number | None


class Fill(TypedDict, total=False):
    symbol: Required[str]
    fill_id: Required[str]
    side: Required[Side]
    quantity: Required[Number]
    price: Required[Number]
    ts: Required[Moment]
    trade_id: str | None
    order_id: str | None
    parent_id: str | None
    decision_ts: Moment | None
    currency: str | None
    multiplier: Number | None
    fee: Number | None
    fee_currency: str | None
    liquidity: Literal["maker", "taker"] | None
    order_type: str | None
    reduce_only: bool | None
    account: str | None
    venue: str | None
    latency_ms: Number | None
    decision_mark: Number | None
    arrival_mark: Number | None
    arrival_bid: Number | None
    arrival_ask: Number | None
    shadow: bool | None
    agent: str | None


class Bust(TypedDict, total=False):
    symbol: Required[str]
    fill_id: Required[str]
    ts: Required[Moment]
    reason: str | None
    account: str | None
    venue: str | None


class Funding(TypedDict, total=False):
    symbol: Required[str]
    amount: Required[Number]
    ts: Required[Moment]
    currency: str | None
    funding_id: str | None
    type: Literal["funding", "borrow", "dividend"] | None


class Order(TypedDict, total=False):
    symbol: Required[str]
    order_id: Required[str]
    status: Required[Literal["submitted", "accepted", "rejected", "cancelled", "expired", "filled"]]
    ts: Required[Moment]
    side: Side | None
    quantity: Number | None
    limit_price: Number | None
    reason: str | None
    trade_id: str | None
    parent_id: str | None


class Mark(TypedDict, total=False):
    symbol: Required[str]
    price: Required[Number]
    ts: Required[Moment]
    bid: Number | None
    ask: Number | None
    volume: Number | None


class Position(TypedDict, total=False):
    symbol: Required[str]
    quantity: Required[Number]
    ts: Required[Moment]
    average_price: Number | None
    account: str | None


class Balance(TypedDict, total=False):
    equity: Required[Number]
    ts: Required[Moment]
    cash: Number | None
    currency: str | None
    account: str | None


class Transfer(TypedDict, total=False):
    amount: Required[Number]
    ts: Required[Moment]
    currency: str | None


class Split(TypedDict, total=False):
    symbol: Required[str]
    ratio: Required[Number]
    ts: Required[Moment]
    new_symbol: str | None


Run = TypedDict(
    "Run",
    {
        "run_id": Required[str],
        "created": Required[Moment],
        "from": Required[Moment],
        "to": Required[Moment],
        "symbol": str | None,
        "version": str | None,
        "adjusted": bool | None,
    },
    total=False,
)


class Heartbeat(TypedDict, total=False):
    ts: Required[Moment]
    override_sequence: int | None
    next_by: Moment | None
    broker_connected: bool | None
    position_tracker_ok: bool | None
    order_book_connected: bool | None
    balance_synced: bool | None
    detail: str | None


KINDS: dict[str, type] = {
    "decision": Decision,
    "fill": Fill,
    "bust": Bust,
    "funding": Funding,
    "order": Order,
    "mark": Mark,
    "position": Position,
    "balance": Balance,
    "transfer": Transfer,
    "split": Split,
    "run": Run,
    "heartbeat": Heartbeat,
}
WITHOUT_STRATEGY = frozenset({"mark", "split"})
_HINTS = {kind: get_type_hints(fields) for kind, fields in KINDS.items()}
_POSITIVE = frozenset({"quantity", "price", "multiplier", "ratio"})
_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})")
_OFFSET_FREE = "a time needs an offset (datetime.now(UTC), or text that ends with Z or +00:00)"


def native_record(kind: str, strategy: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """One record, checked. Raises TypeError for a missing or unknown field, ValueError for a value that parityd would refuse."""
    table = KINDS[kind]
    given = {name: value for name, value in fields.items() if value is not None}
    missing, unknown = sorted(table.__required_keys__ - given.keys()), sorted(fields.keys() - _HINTS[kind].keys())  # type: ignore[attr-defined]
    if missing or unknown:
        raise TypeError(
            f"{kind}: " + "; ".join(f"{what} {', '.join(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names)
        )
    if given.get("action") == "close" and "side" not in given:
        raise TypeError("a close needs its side")
    if not STRATEGY.fullmatch(strategy):
        raise ValueError(f"no possible name of a strategy: {strategy!r}")
    for name, value in given.items():
        try:
            _check(kind, name, value)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise ValueError(f"{kind}.{name}: {error or type(error).__name__}") from None
    head = {"kind": kind} if kind in WITHOUT_STRATEGY else {"kind": kind, "strategy": strategy}
    return head | given


def _check(kind: str, name: str, value: Any) -> None:
    sorts = get_args(_HINTS[kind][name]) or (_HINTS[kind][name],)
    words = [word for sort in sorts if get_origin(sort) is Literal for word in get_args(sort)] or [
        word for word in sorts if isinstance(word, str)
    ]
    if words:
        if value not in words:
            raise ValueError(f"{value!r} is none of {', '.join(words)}")
    elif bool in sorts:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not true or false")
    elif datetime in sorts:
        _moment(value)
    elif Decimal in sorts:
        _number(value, positive=name in _POSITIVE and kind != "position")
    elif int in sorts:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{value!r} is no sequence")
    elif str in sorts:
        if not isinstance(value, str) or not value:
            raise ValueError(f"{value!r} is no text")
    elif isinstance(value, str) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{value!r} is no list of texts")


def _number(value: Any, *, positive: bool) -> None:
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no number")  # noqa: TRY004  one error for every value that parityd would refuse
    size = Decimal(value) if isinstance(value, Decimal | str) else float(value)
    if not math.isfinite(size):
        raise ValueError(f"{value!r} is not finite")
    if positive and size <= 0:
        raise ValueError(f"{value!r} is not positive")


def _moment(value: Any) -> None:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(_OFFSET_FREE)
    elif isinstance(value, str):
        if not _RFC3339.fullmatch(value):
            raise ValueError(f"{value!r} is no RFC 3339 time; {_OFFSET_FREE}")
        datetime.fromisoformat(value.upper())
    elif isinstance(value, Decimal):
        raise ValueError("epoch seconds are a float or an int")  # noqa: TRY004  one error for every value that parityd would refuse
    else:
        _number(value, positive=False)
        datetime.fromtimestamp(float(value), UTC)
