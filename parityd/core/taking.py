"""The records of a turn -> executions absorbed, prices, ledgers, orders: the common way, whole columns of all strategies at once.

1. Busted fills and what newer runs have replaced leave first; the rest is a function of the records that stand.
2. Prices come before executions, whose fees they value.
3. What the common way cannot do (several decisions of one id) is left out here and asked of `rebuild`.
4. A strategy is gone into by itself only for what is its own: entries of its ledger, its shelves, its orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from parityd.core import joining, ledger, observed, owners
from parityd.core.columns import HOLD, Columns, DecisionColumns, FillColumns
from parityd.core.executions import Executions, decision_executions, fill_executions
from parityd.core.fresh import Fresh
from parityd.core.grouping import each
from parityd.core.hashing import U64
from parityd.core.joining import Batch
from parityd.core.orders import follow, link_rows, order_rows, take_in, wants_orders
from parityd.core.records import BACKTEST, BOOKS, LIVE, NO_TS, Line, Order
from parityd.core.rows import B_FILLS, B_SAID, L_SAID, Rows, trade_time
from parityd.core.said import replaced as replaced_line
from parityd.core.sides import KEY, TRADE
from parityd.core.standing import busted, carried_out, give_runs, opposites, replaced
from parityd.core.strategy import Strategy
from parityd.core.text import TextColumn

if TYPE_CHECKING:
    from parityd.core.monitor import Monitor

IMPORTED_NS = 7 * 86_400 * 1_000_000_000
C = TypeVar("C", bound=Columns)
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
Told = tuple[Executions, FillColumns, I64]  # executions of fills, these fills, and whose each fill is
_Part = tuple[Fresh, TextColumn, I64]


def by_strategy(parts: Sequence[C]) -> Iterator[tuple[str, C]]:
    """The records of several files, a strategy at a time."""
    c = type(parts[0]).joined(parts) if parts else None
    if c is None or not len(c):
        return
    names = {name: k for k, name in enumerate(dict.fromkeys(owners.name(o)[0] for o in owners.distinct(c.owner)))}
    if len(names) == 1:
        yield next(iter(names)), c
        return
    codes = owners.looked_up(c.owner, lambda strategy, _: names[strategy], np.int16)
    for name, (_, w) in zip(names, each(codes), strict=True):
        yield name, c.take(w)


class Haul:
    """What a turn brings, of all strategies. `strategies` are numbered by their place."""

    def __init__(self, m: Monitor) -> None:
        self.m = m
        self.decisions: dict[str, DecisionColumns] = {}
        self.fills: dict[str, FillColumns] = {}
        self.orders: dict[str, dict[str, list[tuple[Line, str]]]] = {}  # by strategy and book, with the run of their file
        self.strategies: list[Strategy] = []
        self.codes: dict[str, int] = {}

    def _add(self, name: str) -> None:
        if name not in self.codes:
            self.codes[name] = len(self.strategies)
            self.strategies.append(self.m.strategies[name])

    def bring(self, book: str, decisions: Sequence[DecisionColumns], fills: Sequence[FillColumns]) -> None:
        """One book's records."""
        decisions, fills = [d for d in decisions if len(d)], [c for c in fills if len(c)]
        for name in dict.fromkeys(owners.name(o)[0] for c in (*decisions, *fills) for o in owners.distinct(c.owner)):
            self._add(name)
        if decisions:
            self.decisions[book] = DecisionColumns.joined(decisions)
        if fills:
            self.fills[book] = FillColumns.joined(fills)

    def order(self, book: str, line: Line, strategy: str, run: str) -> None:
        self._add(strategy)
        self.orders.setdefault(strategy, {b: [] for b in BOOKS})[book].append((line, run))

    def who(self, c: Columns) -> I64:
        """Whose each record is."""
        return owners.looked_up(c.owner, lambda strategy, _: self.codes[strategy], np.int64)


# --- what stands, and prices ------------------------------------------------------------------------------------------


def take_prices(m: Monitor, haul: Haul) -> None:
    """See the records, drop those that do not stand, and learn the prices of the others."""
    for book, came in list(haul.decisions.items()):
        who = haul.who(came)
        _see(haul, book, who, came.ts)
        holds = came.action == HOLD
        if holds.any():
            for k in np.unique(who[holds]).tolist():
                haul.strategies[k].memory.sends_holds[book] = True
        d = haul.decisions[book] = _standing(m, haul, book, came, who)
        if not len(d):
            continue
        m.prices.mark_from(book, d.owner, d.ts, d.mark)
        done = carried_out(book, d)
        if done.all():
            m.prices.traded_from(book, d.owner, d.ts, d.price)
        elif done.any():
            kept = d.take(done)
            m.prices.traded_from(book, kept.owner, kept.ts, kept.price)
    for book, filled in list(haul.fills.items()):
        who = haul.who(filled)
        _see(haul, book, who, filled.ts)
        c = haul.fills[book] = _standing(m, haul, book, filled, who)
        if len(c):
            m.prices.mark_from(book, c.owner, np.where(c.decision_ts != NO_TS, c.decision_ts, c.ts), c.decision_mark)
            m.prices.traded_from(book, c.owner, c.ts, c.price)
            for k, ts in _newest(haul.who(c), c.ts):
                pulse = haul.strategies[k].memory.pulses[book]
                pulse.newest_fill = max(pulse.newest_fill, ts)


def _newest(who: I64, ts: I64) -> Iterator[tuple[int, int]]:
    """(whose, the newest of their times)."""
    top = np.full(int(who.max()) + 1, NO_TS)
    np.maximum.at(top, who, ts)
    for k in np.flatnonzero(np.bincount(who)).tolist():
        yield k, int(top[k])


def _see(haul: Haul, book: str, who: I64, ts: I64) -> None:
    for k, newest in _newest(who, ts):
        haul.strategies[k].memory.pulses[book].see(newest)


def _standing(m: Monitor, haul: Haul, book: str, c: C, who: I64) -> C:
    """Without what newer runs replaced and what was busted."""
    gone = np.zeros(len(c), np.bool_)
    for k, s in enumerate(haul.strategies):
        if not ((s.books.runs and book == BACKTEST) or (s.memory.busted and isinstance(c, FillColumns))):
            continue
        w = np.flatnonzero(who == k)
        own = c.take(w)
        if len(w) and isinstance(own, DecisionColumns | FillColumns):
            gone[w] = replaced(m.instruments, s, book, own)
            if isinstance(own, FillColumns):
                gone[w] |= busted(s, book, own)
    return c.take(~gone) if gone.any() else c


# --- executions -------------------------------------------------------------------------------------------------------


def take_in_all(m: Monitor, haul: Haul, now: int) -> None:
    """Executions and orders onto the shelves, fills and simulated executions into the ledgers."""
    parts: dict[str, Batch] = {}
    filled: dict[str, list[Told]] = {b: [] for b in BOOKS}
    for book in BOOKS:
        found = [*_decided(m, haul, book)]
        for e, c, who in _fills(m, haul, book):
            _post(m, haul, book, e, c, who)
            filled[book].append((e, c, who))
            found.append((e.fresh, e.texts, who[e.lead]))
        if found:
            part = joining.batch(m.places, book, *_joined(found))
            _note_imported(haul, part, now)
            parts[book] = _several(m, haul, book, part)
    if BACKTEST in parts:
        ledger.post_rows([s.ledger for s in haul.strategies], parts[BACKTEST].who, parts[BACKTEST].rows)
    shared = [{sym for sym, cell in s.books.cells.items() if not cell.idless} for s in haul.strategies]
    joining.absorb([s.books for s in haul.strategies], parts)
    _overrule(m, haul, parts.get(BACKTEST))
    for book in BOOKS:
        _tie_all(m, haul, book, filled[book], parts.get(book))
    for s, before in zip(haul.strategies, shared, strict=True):
        turned = {sym for sym in before if s.books.cells[sym].idless and s.books.cells[sym].ids_shared}
        if turned:
            m.rebuilder.of(s.name).orders |= turned


def _decided(m: Monitor, haul: Haul, book: str) -> Iterator[_Part]:
    d = haul.decisions.get(book)
    if d is not None and len(d):
        e, who = decision_executions(book, d, m.instruments), haul.who(d)
        _give_runs(haul, e, d.run_id, who)
        yield e.fresh, e.texts, who[e.lead]


def _fills(m: Monitor, haul: Haul, book: str) -> Iterator[Told]:
    """The executions of all fills at once; where fees ask for prices a strategy at a time, so that each remembers what it asked for."""
    c = haul.fills.get(book)
    if c is None or not len(c):
        return
    asked, who = dict(m.prices.asked), haul.who(c)
    e = fill_executions(book, c, m.instruments, m.prices.fees)
    if m.prices.asked == asked or len(haul.strategies) == 1:
        _give_runs(haul, e, c.run_id, who)
        yield e, c, who
        return
    m.prices.asked.clear()
    for _, w in each(who):
        own = c.take(w)
        e = fill_executions(book, own, m.instruments, m.prices.fees)
        _give_runs(haul, e, own.run_id, who[w])
        yield e, own, who[w]


def _give_runs(haul: Haul, e: Executions, run_id: Sequence[str], who: I64) -> None:
    if e.book == BACKTEST:
        for k, s in enumerate(haul.strategies):
            if s.books.runs:
                give_runs(s, e, run_id, who == k)


def _post(m: Monitor, haul: Haul, book: str, e: Executions, c: FillColumns, who: I64) -> None:
    if m.prices.asked:  # these are one strategy's fills
        m.prices.remember(haul.strategies[int(who[0])].memory.fee_until)
    syms = np.array([p.sym for p in e.pairs], np.int64)[e.postings.pair]
    ledger.post([s.ledger for s in haul.strategies], who, book, syms, e.postings)
    if book == LIVE:
        observed.note_fills(m, c, e)


def _joined(parts: list[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    return Fresh.joined([r for r, _, _ in parts]), TextColumn.joined([t for _, t, _ in parts]), np.concatenate([w for _, _, w in parts])


def _note_imported(haul: Haul, part: Batch, now: int) -> None:
    """Trades older than seven days as they come in ask for nothing (imported history)."""
    t = trade_time(part.rows)
    old = np.flatnonzero((t != NO_TS) & (t < now - IMPORTED_NS))
    for k, newest in _newest(part.who[old], t[old]) if len(old) else ():
        memory = haul.strategies[k].memory
        memory.imported_until = max(memory.imported_until, newest)


def _overrule(m: Monitor, haul: Haul, part: Batch | None) -> None:
    """Fills of the backtest take the place of its decisions, also of those on the other side of the trade."""
    if part is not None:
        flags = part.rows["flags"]
        for k in np.unique(part.who[((flags & B_FILLS) != 0) & (part.rows["b_trade"] != 0)]).tolist():
            haul.strategies[k].memory.id_fills = True
        for k, s in enumerate(haul.strategies):
            if not s.memory.id_fills:
                continue
            rows = part.rows[part.who == k]
            s.books.fills_overrule(rows)
            if s.memory.multi:
                across = opposites(rows)
                m.rebuilder.of(s.name).names.update(across[np.isin(across, list(s.memory.multi))].tolist())
    for s in haul.strategies:
        s.post_overruled()


# --- orders -------------------------------------------------------------------------------------------------------------


def _tie_all(m: Monitor, haul: Haul, book: str, filled: list[Told], part: Batch | None) -> None:
    """Bring submissions, links and parents of orders to where they belong."""
    links: dict[int, list[Rows]] = {}
    for e, c, who in filled:
        rows, of = link_rows(book, c, e, wants_orders([haul.strategies[haul.codes[p.strategy]].books for p in e.pairs], e))
        for k, w in each(who[of]):
            links.setdefault(k, []).append(rows[w])
    alone: dict[int, U64] = {}
    if part is not None:
        spots = np.flatnonzero(part.rows[TRADE[book]] == 0)
        alone = {k: part.rows[KEY[book]][spots[w]] for k, w in each(part.who[spots])}
    told = {haul.codes[name] for name in haul.orders}
    for k in sorted({*links, *alone, *told}):
        _tie(m, haul.strategies[k], book, haul, links.get(k, []), alone.get(k))


def _tie(m: Monitor, s: Strategy, book: str, haul: Haul, links: list[Rows], alone: U64 | None) -> None:
    lines = [
        line
        for line, run in haul.orders.get(s.name, {}).get(book, ())
        if isinstance(line.record, Order) and not replaced_line(m, s, book, line.record.symbol, line.ts, run)
    ]
    rows = np.concatenate([order_rows(book, lines, m.instruments), *links])
    take_in(s.books, book, rows)
    names = rows[KEY[book]] if alone is None else np.concatenate([rows[KEY[book]], alone])
    if len(names):
        follow(s.books, book, names)


# --- several decisions of one id ----------------------------------------------------------------------------------------


def _several(m: Monitor, haul: Haul, book: str, part: Batch) -> Batch:
    """Find trades with several decisions of one id, take them out, and ask for them to be made anew."""
    odd = part.known | part.repeated
    for k, s in enumerate(haul.strategies):
        if s.memory.multi:
            odd |= part.who == k
    spots = np.flatnonzero(odd)
    keep = np.ones(len(part), np.bool_)
    for k, w in each(part.who[spots]):
        keep[spots[w]] = _single(m, haul.strategies[k], book, part.rows[spots[w]])
    return part if keep.all() else part.only(keep)


def _single(m: Monitor, s: Strategy, book: str, rows: Fresh) -> Mask:
    """Which of these rows are of trades with one decision a book; the others are asked for."""
    key = rows[KEY[book]]
    out = _repeats(s, book, rows, key)
    if s.memory.multi:
        out |= np.isin(key, np.fromiter(s.memory.multi, np.uint64, len(s.memory.multi)))
    if not out.any():
        return np.ones(len(rows), np.bool_)
    names = np.unique(key[out])
    s.memory.multi |= dict.fromkeys(names.tolist(), "")
    found = rows[out]
    asked = m.rebuilder.of(s.name).names
    asked.update(names.tolist())
    asked.update(opposites(found).tolist())
    return ~np.isin(key, names)


def _repeats(s: Strategy, book: str, rows: Fresh, key: U64) -> Mask:
    """Decisions whose id another decision of the same book already carries."""
    flag = np.uint16(B_SAID if book == BACKTEST else L_SAID)
    out = np.zeros(len(rows), np.bool_)
    w = np.flatnonzero(((rows["flags"] & flag) != 0) & (rows[TRADE[book]] != 0))
    if len(w) == 0:
        return out
    order = w[np.argsort(key[w])]
    again = np.flatnonzero(key[order][1:] == key[order][:-1])
    out[order[again]] = out[order[again + 1]] = True
    at = s.books.locate_many(key[order])
    known = order[at.places >= 0]
    if len(known):
        there = s.books.read(at.only(at.places >= 0))
        said = ((there["flags"] & flag) != 0) & (there[KEY[book]] == key[known])
        out[known] |= said
        out[known] |= _apart(s, book, key[known], flag) & ~said
    return out


def _apart(s: Strategy, book: str, names: U64, flag: np.uint16) -> Mask:
    """Decisions whose side lies apart (see `books`)."""
    found = s.books.apart(names)
    hit: Mask = (found[KEY[book]] != 0) & ((found["flags"] & flag) != 0)
    return hit
