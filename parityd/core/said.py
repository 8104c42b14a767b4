"""The rare records, one by one: what a heartbeat, an order, a position or a bust changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parityd.core.columns import fill_key
from parityd.core.executions import order_name, trade_name
from parityd.core.instants import parse_time
from parityd.core.observed import note_funding, note_split
from parityd.core.records import (
    BACKTEST,
    LIVE,
    NO_TS,
    Balance,
    Bust,
    Funding,
    Heartbeat,
    Line,
    Mark,
    Order,
    Position,
    Run,
    Split,
    Transfer,
)  # fmt: skip
from parityd.core.rows import SHELF_NS, blank
from parityd.core.strategy import Pulse, Reported, Strategy
from parityd.core.terms import canonical
from parityd.core.watch import Beat

if TYPE_CHECKING:
    from parityd.core.monitor import Monitor

FLAGS = ("broker_connected", "position_tracker_ok", "order_book_connected", "balance_synced")
_SIDE = {"buy": 1, "sell": -1}


def hear(m: Monitor, book: str, line: Line) -> str | None:
    """Take one rare record in; returns the strategy it touches."""
    record, ts = line.record, line.ts
    if isinstance(record, (Mark, Run)):
        return getattr(record, "strategy", None)
    if isinstance(record, Split):
        _split(m, record, ts)
        return None
    s = m.strategy(record.strategy)
    s.memory.pulses[book].see(ts)
    if isinstance(record, Heartbeat):
        _heartbeat(s.memory.pulses[book], record, ts)
    elif isinstance(record, Order):
        _order(m, s, book, record, ts)
    elif isinstance(record, Bust):
        _bust(m, s, book, record)
    elif isinstance(record, Funding):
        sym = m.instruments.pair(book, record.strategy, record.symbol).sym
        s.ledger.fund(book, sym, ts, record.amount)
        if book == LIVE:
            note_funding(s, sym, ts, record.amount)
    elif isinstance(record, Transfer):
        if book == LIVE:
            s.memory.transfers.append((ts, record.amount))
    elif isinstance(record, Position) and book == LIVE:
        pair = m.instruments.pair(book, record.strategy, record.symbol)
        quantity = record.quantity * (-1 if pair.inverse else 1)
        said = Reported("position", ts, sym=pair.sym, quantity=quantity, account=str(record.account or ""), multiplier=pair.multiplier)
        s.memory.reports.append(said)
    elif isinstance(record, Balance) and book == LIVE:
        s.memory.reports.append(
            Reported("balance", ts, equity=record.equity, account=str(record.account or ""), currency=record.currency or "")
        )
    return s.name


def _heartbeat(p: Pulse, record: Heartbeat, ts: int) -> None:
    """Kept until the end of the turn, when `observed` reads them in order of time."""
    flags = {name: value for name in FLAGS if (value := getattr(record, name)) is not None}
    p.beats.append(Beat(ts, record.override_sequence, parse_time(record.next_by), flags, record.detail or ""))


def _order(m: Monitor, s: Strategy, book: str, record: Order, ts: int) -> None:
    """An order's submission is a decision time for its execution (JUDGEMENT 2)."""
    if book == LIVE:
        s.memory.orders[record.status] = s.memory.orders.get(record.status, 0) + 1
    if record.status != "submitted":
        return
    pair = m.instruments.pair(book, record.strategy, record.symbol)
    side = _SIDE.get(record.side or "", 0) * (-1 if pair.inverse else 1)
    order = order_name(pair, str(record.parent_id or record.order_id))
    trade_id = str(record.trade_id or "")
    names = {order, s.links.get(order, order)}
    if trade_id and side:
        names.add(trade_name(pair, trade_id, side))
    for name in sorted(names):
        row = blank(1)
        row["sym"], row["ccy"], row["side"] = pair.sym, pair.ccy, side
        if book == BACKTEST:
            row["bkey"], row["b_sub"] = name, ts
            s.books.absorb((row, [""]), None)
        else:
            row["lkey"], row["l_sub"] = name, ts
            s.books.absorb(None, (row, [""]))


def _bust(m: Monitor, s: Strategy, book: str, record: Bust) -> None:
    key = fill_key(book, record.strategy, record.symbol, str(record.fill_id), str(record.account or ""), str(record.venue or ""))
    if key not in s.memory.busted:
        s.memory.busted.append(key)
        m.rebuilder.ask_fill(s.name, book, key)


def _split(m: Monitor, record: Split, ts: int) -> None:
    sym = m.names.code(canonical(record.symbol, m.parameters))
    for s in m.strategies.values():
        if sym in s.ledger.entries or sym in s.ledger.opening:
            s.ledger.split(sym, ts // SHELF_NS, record.ratio)
            note_split(s, sym, ts, record.ratio)


__all__ = ["NO_TS", "hear"]
