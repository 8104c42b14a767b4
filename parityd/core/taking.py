"""One strategy's records of a turn -> executions absorbed, prices, ledgers, orders: the common way, whole columns at a time.

1. Busted fills and what newer runs have replaced leave first; the rest is a function of the records that stand.
2. Prices come before executions, whose fees they value.
3. What the common way cannot do (several decisions of one id) is left out here and asked of `rebuild`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from parityd.core import observed, owners
from parityd.core.columns import HOLD, Columns, DecisionColumns, FillColumns
from parityd.core.executions import Executions, decision_executions, fill_executions
from parityd.core.fresh import Fresh
from parityd.core.hashing import U64
from parityd.core.orders import follow, link_rows, order_rows, take_in, wants_orders
from parityd.core.records import BACKTEST, BOOKS, LIVE, NO_TS, Line, Order
from parityd.core.rows import B_FILLS, B_SAID, L_SAID, Rows, Texts, trade_time
from parityd.core.said import replaced as replaced_line
from parityd.core.sides import KEY, TRADE
from parityd.core.standing import busted, carried_out, give_runs, opposites, replaced
from parityd.core.strategy import Strategy

if TYPE_CHECKING:
    from parityd.core.monitor import Monitor

IMPORTED_NS = 7 * 86_400 * 1_000_000_000
C = TypeVar("C", bound=Columns)
Mask = NDArray[np.bool_]


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
    order = np.argsort(codes, kind="stable")
    for name, w in zip(names, np.split(order, np.flatnonzero(np.diff(codes[order])) + 1), strict=True):
        yield name, c.take(w)


class Share:
    """What a turn brings one strategy."""

    def __init__(self) -> None:
        self.decisions: dict[str, DecisionColumns] = {}
        self.fills: dict[str, FillColumns] = {}
        self.orders: dict[str, list[tuple[Line, str]]] = {b: [] for b in BOOKS}  # with the run of their file


def take_prices(m: Monitor, s: Strategy, share: Share) -> None:
    """See the records, drop those that do not stand, and learn the prices of the others."""
    for book, came in list(share.decisions.items()):
        s.memory.pulses[book].see(int(came.ts.max()))
        if not s.memory.sends_holds.get(book) and (came.action == HOLD).any():
            s.memory.sends_holds[book] = True
        d = share.decisions[book] = _standing(came, replaced(m.instruments, s, book, came))
        m.prices.mark_from(book, d.owner, d.ts, d.mark)
        done = carried_out(book, d)
        if done.all():
            m.prices.traded_from(book, d.owner, d.ts, d.price)
        elif done.any():
            kept = d.take(done)
            m.prices.traded_from(book, kept.owner, kept.ts, kept.price)
    for book, filled in list(share.fills.items()):
        s.memory.pulses[book].see(int(filled.ts.max()))
        c = share.fills[book] = _standing(filled, replaced(m.instruments, s, book, filled) | busted(s, book, filled))
        if len(c):
            m.prices.mark_from(book, c.owner, np.where(c.decision_ts != NO_TS, c.decision_ts, c.ts), c.decision_mark)
            m.prices.traded_from(book, c.owner, c.ts, c.price)
            s.memory.pulses[book].newest_fill = max(s.memory.pulses[book].newest_fill, int(c.ts.max()))


def _standing(c: C, gone: Mask) -> C:
    return c.take(~gone) if gone.any() else c


def take_in_share(m: Monitor, s: Strategy, share: Share, now: int) -> None:
    """Executions and orders onto the shelves, fills and simulated executions into the ledgers."""
    parts: dict[str, tuple[Fresh, Texts]] = {}
    filled: dict[str, Executions] = {}
    for book in BOOKS:
        found: list[Executions] = []
        d, c = share.decisions.get(book), share.fills.get(book)
        if d is not None and len(d):
            found.append(decision_executions(book, d, m.instruments))
            give_runs(s, found[0], d.run_id)
        if c is not None and len(c):
            e = fill_executions(book, c, m.instruments, m.prices.fees)
            give_runs(s, e, c.run_id)
            _post(m, s, book, c, e)
            filled[book] = e
            found.append(e)
        if found:
            rows, texts = _joined([(e.fresh, e.texts) for e in found])
            _note_imported(s, rows, now)
            parts[book] = _several(m, s, book, rows, texts)
    if BACKTEST in parts:
        s.ledger.post_rows(parts[BACKTEST][0])
    shared = {sym: cell.idless for sym, cell in s.books.cells.items()}
    s.books.absorb(parts.get(BACKTEST), parts.get(LIVE))
    _overrule(m, s, parts)
    for book in BOOKS:
        known, c = filled.get(book), share.fills.get(book)
        links = link_rows(book, c, known, wants_orders(s.books, known)) if known is not None and c is not None else None
        _tie(m, s, book, share, links, parts.get(book))
    turned = {sym for sym, cell in s.books.cells.items() if cell.idless and cell.ids_shared and not shared.get(sym, True)}
    if turned:
        m.rebuilder.of(s.name).orders |= turned


def _post(m: Monitor, s: Strategy, book: str, c: FillColumns, e: Executions) -> None:
    m.prices.remember(s.memory.fee_until)
    s.ledger.post(book, np.array([p.sym for p in e.pairs], np.int64)[e.postings.pair], e.postings)
    if book == LIVE:
        observed.note_fills(m, c, e)


def _overrule(m: Monitor, s: Strategy, parts: dict[str, tuple[Fresh, Texts]]) -> None:
    """Fills of the backtest take the place of its decisions, also of those on the other side of the trade."""
    if BACKTEST in parts:
        rows = parts[BACKTEST][0]
        s.memory.id_fills = s.memory.id_fills or bool((((rows["flags"] & B_FILLS) != 0) & (rows["b_trade"] != 0)).any())
        if s.memory.id_fills:
            s.books.fills_overrule(rows)
            if s.memory.multi:
                across = opposites(rows)
                m.rebuilder.of(s.name).names.update(across[np.isin(across, list(s.memory.multi))].tolist())
    s.post_overruled()


def _tie(m: Monitor, s: Strategy, book: str, share: Share, links: Rows | None, part: tuple[Fresh, Texts] | None) -> None:
    """Bring submissions, links and parents of orders to where they belong."""
    lines = [
        line
        for line, run in share.orders[book]
        if isinstance(line.record, Order) and not replaced_line(m, s, book, line.record.symbol, line.ts, run)
    ]
    told = order_rows(book, lines, m.instruments)
    rows = np.concatenate([told, links]) if links is not None else told
    take_in(s.books, book, rows)
    names = [rows[KEY[book]]]
    if part is not None:
        names.append(part[0][KEY[book]][part[0][TRADE[book]] == 0])
    every = np.concatenate(names)
    if len(every):
        follow(s.books, book, every)


def _note_imported(s: Strategy, rows: Fresh, now: int) -> None:
    """Trades older than seven days as they come in ask for nothing (imported history)."""
    t = trade_time(rows)
    old = t[(t != NO_TS) & (t < now - IMPORTED_NS)]
    if len(old):
        s.memory.imported_until = max(s.memory.imported_until, int(old.max()))


def _joined(parts: list[tuple[Fresh, Texts]]) -> tuple[Fresh, Texts]:
    if len(parts) == 1:
        return parts[0]
    return Fresh.joined([r for r, _ in parts]), np.concatenate([t for _, t in parts])


# --- several decisions of one id ----------------------------------------------------------------------------------------


def _several(m: Monitor, s: Strategy, book: str, rows: Fresh, texts: Texts) -> tuple[Fresh, Texts]:
    """Find trades with several decisions of one id, take them out, and ask for them to be made anew."""
    key = rows[KEY[book]]
    out = _repeats(s, book, rows, key)
    if s.memory.multi:
        out |= np.isin(key, np.fromiter(s.memory.multi, np.uint64, len(s.memory.multi)))
    if not out.any():
        return rows, texts
    names = np.unique(key[out])
    s.memory.multi |= dict.fromkeys(names.tolist(), "")
    found = rows[out]
    asked = m.rebuilder.of(s.name).names
    asked.update(names.tolist())
    asked.update(opposites(found).tolist())
    keep = ~np.isin(key, names)
    return rows[keep], texts[keep]


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
