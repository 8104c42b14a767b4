"""What comes in: the native records, and what is said when one cannot be taken.

1. One frozen structure a kind; `kind` is the tag, unknown fields are ignored, absent numbers are `NAN`, absent text is "" (a null means absent too).
2. `ts` is kept as it was written (RFC 3339 text, or epoch seconds); `core.columns` and `nanoseconds` make it int64 ns UTC and are
   where a record is finally accepted or refused: value ranges, finiteness and names are checked there, once, for every format.
3. A refusal is a value: where (line, from 1), which code of the contract, why, and the raw text.
4. Nothing here knows of files, books or settings.
"""

import struct
from typing import Literal

import msgspec

ABSENT_BITS = 0x7FF8_0000_0000_5A5A
_ABSENT = struct.pack("<q", ABSENT_BITS)
NAN: float = struct.unpack("<d", _ABSENT)[0]
"""Absent. A NaN with a payload of its own: one that somebody wrote as a number (text "nan") has another, and is refused."""
NO_TS = -(2**63)  # "no time": the smallest int64


def is_absent(value: float | None) -> bool:
    """Whether a number is absent, as a default or as a null."""
    return value is None or value is NAN or struct.pack("<d", value) == _ABSENT


LIVE, BACKTEST = "live", "backtest"
BOOKS = (LIVE, BACKTEST)

CODES = (
    "bad_encoding", "bad_json", "missing_field", "bad_value", "unknown_kind", "unknown_format", "future_timestamp", "too_old",
    "conflict", "too_long", "unreadable_file", "poison", "internal_error",
)  # fmt: skip


class Refusal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One record that was not taken. `line` counts from 1; `raw` is at most 64 KiB of the text as it came."""

    line: int
    code: str
    reason: str
    raw: str = ""


Text = str | int | None  # an identifier: a number is taken as its digits, null as absent


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind"):
    """What every kind has: `ts`."""

    ts: str | float


class Decision(Record, frozen=True, kw_only=True, gc=False, tag="decision"):
    strategy: str
    symbol: str
    action: Literal["buy", "sell", "close", "hold"]
    trade_id: Text = ""
    quantity: float | None = NAN
    price: float | None = NAN
    fee: float | None = NAN
    mark: float | None = NAN
    side: Literal["buy", "sell", ""] | None = ""
    filled: bool | None = None
    equity: float | None = NAN
    reason: str | None = ""
    guards: list[str] | None = None
    agent: str | None = ""
    currency: str | None = ""
    multiplier: float | None = NAN
    run_id: Text = ""  # set by the decision log, and by the `run` record of the same file


class Fill(Record, frozen=True, kw_only=True, gc=False, tag="fill"):
    strategy: str
    symbol: str
    fill_id: str | int
    side: Literal["buy", "sell"]
    quantity: float
    price: float
    trade_id: Text = ""
    order_id: Text = ""
    parent_id: Text = ""
    decision_ts: str | float | None = None
    currency: str | None = ""
    multiplier: float | None = NAN
    fee: float | None = NAN
    fee_currency: str | None = ""
    liquidity: Literal["maker", "taker", ""] | None = ""
    order_type: str | None = ""
    reduce_only: bool | None = None
    account: Text = ""
    venue: Text = ""
    latency_ms: float | None = NAN
    decision_mark: float | None = NAN
    arrival_mark: float | None = NAN
    arrival_bid: float | None = NAN
    arrival_ask: float | None = NAN
    shadow: bool | None = False
    agent: str | None = ""


class Bust(Record, frozen=True, kw_only=True, gc=False, tag="bust"):
    strategy: str
    symbol: str
    fill_id: str | int
    reason: str | None = ""
    account: Text = ""
    venue: Text = ""


class Funding(Record, frozen=True, kw_only=True, gc=False, tag="funding"):
    strategy: str
    symbol: str
    amount: float
    currency: str | None = ""
    funding_id: Text = ""
    type: Literal["funding", "borrow", "dividend"] | None = "funding"


class Order(Record, frozen=True, kw_only=True, gc=False, tag="order"):
    strategy: str
    symbol: str
    order_id: str | int
    status: Literal["submitted", "accepted", "rejected", "cancelled", "expired", "filled"]
    side: Literal["buy", "sell", ""] | None = ""
    quantity: float | None = NAN
    limit_price: float | None = NAN
    reason: str | None = ""
    trade_id: Text = ""
    parent_id: Text = ""


class Mark(Record, frozen=True, kw_only=True, gc=False, tag="mark"):
    symbol: str
    price: float
    bid: float | None = NAN
    ask: float | None = NAN
    volume: float | None = NAN


class Position(Record, frozen=True, kw_only=True, gc=False, tag="position"):
    strategy: str
    symbol: str
    quantity: float
    average_price: float | None = NAN
    account: Text = ""


class Balance(Record, frozen=True, kw_only=True, gc=False, tag="balance"):
    strategy: str
    equity: float
    cash: float | None = NAN
    currency: str | None = ""
    account: Text = ""


class Transfer(Record, frozen=True, kw_only=True, gc=False, tag="transfer"):
    strategy: str
    amount: float
    currency: str | None = ""


class Split(Record, frozen=True, kw_only=True, gc=False, tag="split"):
    symbol: str
    ratio: float
    new_symbol: str | None = ""


class Run(Record, frozen=True, kw_only=True, gc=False, tag="run"):
    """A backtest run. `ts` is not required of it: the format fills it with `created`."""

    strategy: str
    run_id: str | int
    created: str | float
    from_: str | float = msgspec.field(name="from")
    to: str | float
    symbol: str | None = ""
    version: str | None = ""
    adjusted: bool | None = None
    ts: str | float = 0.0


class Heartbeat(Record, frozen=True, kw_only=True, gc=False, tag="heartbeat"):
    strategy: str
    override_sequence: int | None = None
    next_by: str | float | None = None
    broker_connected: bool | None = None
    position_tracker_ok: bool | None = None
    order_book_connected: bool | None = None
    balance_synced: bool | None = None
    detail: str | None = None


Rare = Bust | Funding | Order | Mark | Position | Balance | Transfer | Split | Run | Heartbeat
Native = Decision | Fill | Rare


class Line(msgspec.Struct, frozen=True, gc=False):
    """A rare record with its place in the file and its time in int64 ns UTC."""

    line: int
    ts: int
    record: Rare
