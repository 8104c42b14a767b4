"""The rare records, one by one: what a heartbeat, an order, a position or a bust changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parityd.core.instants import DAY_NS, parse_time
from parityd.core.observed import note_funding, note_split
from parityd.core.records import (
    LIVE,
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
from parityd.core.rows import SHELF_NS
from parityd.core.runs import superseded
from parityd.core.standing import bust_keys
from parityd.core.strategy import Pulse, Reported, Strategy
from parityd.core.terms import canonical
from parityd.core.watch import Beat

if TYPE_CHECKING:
    from parityd.core.monitor import Monitor

FLAGS = ("broker_connected", "position_tracker_ok", "order_book_connected", "balance_synced")


def hear(m: Monitor, book: str, line: Line, run: str = "") -> list[str]:
    """Take one rare record in; returns the strategies it touches. `run`: the run of its file. Orders are rows, and `monitor`'s."""
    record, ts = line.record, line.ts
    if isinstance(record, (Mark, Run)):
        return [record.strategy] if isinstance(record, Run) else []
    if isinstance(record, Split):
        return _split(m, record, ts)
    s = m.strategy(record.strategy)
    s.memory.pulses[book].see(ts)
    if isinstance(record, Heartbeat):
        _heartbeat(s.memory.pulses[book], record, ts)
    elif isinstance(record, Order):
        if book == LIVE:
            s.memory.orders[record.status] = s.memory.orders.get(record.status, 0) + 1
    elif isinstance(record, Bust):
        _bust(m, s, book, record)
    elif isinstance(record, Funding):
        _fund(m, s, book, record, ts, run)
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
    return [s.name]


def _heartbeat(p: Pulse, record: Heartbeat, ts: int) -> None:
    """Kept until the end of the turn, when `observed` reads them in order of time."""
    flags = {name: value for name in FLAGS if (value := getattr(record, name)) is not None}
    p.beats.append(Beat(ts, record.override_sequence, parse_time(record.next_by), flags, record.detail or ""))


def replaced(m: Monitor, s: Strategy, book: str, symbol: str, ts: int, run: str) -> bool:
    """Whether a newer run has replaced this record of a backtest."""
    if book == LIVE or not s.books.runs:
        return False
    pair = m.instruments.pair(book, s.name, symbol)
    return bool(superseded(s.books.runs, [pair.symbol], np.zeros(1, np.int64), np.array([ts]), [run])[0])


def _fund(m: Monitor, s: Strategy, book: str, record: Funding, ts: int, run: str) -> None:
    if replaced(m, s, book, record.symbol, ts, run):
        return
    pair = m.instruments.pair(book, record.strategy, record.symbol)
    amount = m.prices.funding(pair, record.currency or "", record.amount, ts)
    m.prices.remember(s.memory.fee_until)
    s.books.changed_days.add(ts // DAY_NS)
    if amount is None:
        s.memory.unpriced_funding.append(ts)
        return
    s.ledger.fund(book, pair.sym, ts, amount)
    if book == LIVE:
        note_funding(s, pair.sym, ts, amount)


def _bust(m: Monitor, s: Strategy, book: str, record: Bust) -> None:
    for key in bust_keys(book, record, m.parameters):
        if key not in s.memory.busted:
            s.memory.busted.append(key)
            m.rebuilder.of(s.name).busts.add((book, key))


def _split(m: Monitor, record: Split, ts: int) -> list[str]:
    touched: list[str] = []
    sym = m.names.code(canonical(record.symbol, m.parameters))
    new = m.names.code(canonical(record.new_symbol, m.parameters)) if record.new_symbol else 0
    if not m.splits.learn(sym, ts, record.ratio, new):
        return touched
    for s in m.strategies.values():
        known = sym in s.ledger.entries or sym in s.ledger.opening
        s.ledger.split(sym, ts // SHELF_NS, record.ratio)
        if known:
            note_split(s, sym, ts, record.ratio)
            s.books.changed_days |= {day for number in s.books.summaries if (day := number * SHELF_NS // DAY_NS) >= ts // DAY_NS} | {
                ts // DAY_NS
            }
            touched.append(s.name)
    return touched
