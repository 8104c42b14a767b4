"""Trades made anew from all their records, and trades with several decisions of one id (JUDGEMENT 2).

1. `Taken` gathers, in one pass over the records, what they say of the asked names: decisions, fills, and the submissions of their orders.
2. A trade with one decision a book is absorbed like any other. With several, each order goes to the newest decision of the other book at or before
   its submission (before the first of them: to the first), and the n-th executions of both books join under a name of their own.
3. Simulated executions are posted to the ledgers as they come and unposted as they go; fills keep their postings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parityd.core.columns import DecisionColumns, FillColumns
from parityd.core.executions import Executions, decision_executions, fill_executions, named_orders, order_names, pairs_of
from parityd.core.hashing import U64, mix
from parityd.core.orders import follow, followed, link_rows, order_rows, resolved, take_in, wants_orders
from parityd.core.records import BACKTEST, BOOKS, LIVE, NO_TS, Line, Order
from parityd.core.rows import B_ID, BY_ID, BY_NONE, L_ID, Rows, Texts, blank, text_column
from parityd.core.sides import KEY, OTHER, OWN_FLAGS, SIDE_FIELDS, TRADE, add, least, without_execution
from parityd.core.standing import busted, give_runs, opposites, replaced
from parityd.core.strategy import Strategy
from parityd.core.text import TextColumn

if TYPE_CHECKING:
    from parityd.core.monitor import Monitor

CLOCK = {BACKTEST: "b_ts", LIVE: "l_dts"}
SUB = {BACKTEST: "b_sub", LIVE: "l_sub"}
FIRST = {BACKTEST: "b_first", LIVE: "l_first"}
MARK = {BACKTEST: "b_mark", LIVE: "l_dm"}
Pieces = Iterable[tuple[str, DecisionColumns | None, FillColumns | None, list[Line]]]


class Taken:
    """The records of the asked names, those of the other side of their trades included."""

    def __init__(self, m: Monitor, s: Strategy, names: set[int], pieces: Callable[[], Pieces]) -> None:
        self.m, self.s = m, s
        self.names = np.array(sorted(names), np.uint64)
        self.decisions: dict[str, list[tuple[Rows, Texts]]] = {b: [] for b in BOOKS}
        self.fills: dict[str, list[FillColumns]] = {b: [] for b in BOOKS}
        self.named: dict[str, list[U64]] = {b: [] for b in BOOKS}
        self.times: dict[str, tuple[U64, NDArray[np.int64]]] = {b: (np.zeros(0, np.uint64), np.zeros(0, np.int64)) for b in BOOKS}
        self.most = 1  # decisions that any of these names ever had, replaced ones included
        for piece in pieces():
            self._see(*piece)

    def _see(self, book: str, d: DecisionColumns | None, c: FillColumns | None, rare: list[Line]) -> None:
        if isinstance(d, DecisionColumns):
            self._decisions(book, d)
        if isinstance(c, FillColumns):
            self._fills(book, c)
        lines = [line for line in rare if isinstance(line.record, Order) and line.record.strategy == self.s.name]
        if lines:
            rows = order_rows(book, lines, self.m.instruments)
            rows = rows[rows[SUB[book]] != NO_TS]
            told = np.concatenate([rows[KEY[book]], rows["link"]]), np.concatenate([rows[SUB[book]]] * 2)
            self.times[book] = _earliest(*(np.concatenate([a, b]) for a, b in zip(self.times[book], told, strict=True)))

    def _decisions(self, book: str, d: DecisionColumns) -> None:
        e = decision_executions(book, d, self.m.instruments)
        w = np.isin(e.fill_name, self.names)
        if w.any():
            d = d.take(w)
            counts = np.unique(e.fill_name[w], return_counts=True)[1]
            self.most += int(counts.max())
            gone = replaced(self.m.instruments, self.s, book, d)
            d = d.take(~gone)
            e = decision_executions(book, d, self.m.instruments)
            give_runs(self.s, e, d.run_id)
            self.decisions[book].append((e.rows, e.texts.array()))

    def _fills(self, book: str, c: FillColumns) -> None:
        e = fill_executions(book, c, self.m.instruments, self.m.prices.fees)
        names = followed(self.s.books, e)
        w = np.isin(names, self.names) & ~busted(self.s, book, c) & ~replaced(self.m.instruments, self.s, book, c)
        if w.any():
            self.fills[book].append(c.take(w))
            self.named[book].append(names[w])

    def submissions(self, book: str, names: U64) -> NDArray[np.int64]:
        """When the orders of these names were first submitted."""
        known, times = self.times[book]
        if len(known) == 0:
            return np.full(len(names), NO_TS)
        at = np.minimum(np.searchsorted(known, names), len(known) - 1)
        return np.where((known[at] == names) & (names != 0), times[at], NO_TS)


def _earliest(names: U64, times: NDArray[np.int64]) -> tuple[U64, NDArray[np.int64]]:
    order = np.lexsort((times, names))
    names, times = names[order], times[order]
    first = np.ones(len(names), np.bool_)
    first[1:] = names[1:] != names[:-1]
    return names[first], times[first]


def remake(m: Monitor, s: Strategy, taken: Taken) -> None:
    """Put what the records say in the place of these trades' rows."""
    _clear(s, taken)
    decisions = {b: _joined(taken.decisions[b]) for b in BOOKS}
    several = _several(decisions)
    parts: dict[str, list[tuple[Rows, Texts]]] = {b: [] for b in BOOKS}
    for book in BOOKS:
        rows, texts = decisions[book]
        alone = ~np.isin(rows[KEY[book]], several)
        parts[book].append((rows[alone], texts[alone]))
        for e in _executions(m, s, taken, book, several, inside=False):
            parts[book].append((e.rows, e.texts.array()))
    for book in BOOKS:
        whole = _joined(parts[book])
        s.ledger.post_rows(whole[0])
        s.books.absorb(whole if book == BACKTEST else None, whole if book == LIVE else None)
    for name in several.tolist():
        _compose(m, s, taken, decisions, name)
    for book in BOOKS:
        _orders(s, taken, book)
    s.memory.multi = {k: v for k, v in s.memory.multi.items() if k in several or k not in taken.names} | dict.fromkeys(several.tolist(), "")
    s.books.fills_overrule(s.books.read_names(taken.names))
    s.post_overruled()
    s.books.recheck(list(s.books.cells))


def _clear(s: Strategy, taken: Taken) -> None:
    names = np.unique(np.concatenate([nth(taken.names, k) for k in range(taken.most + 1)]))
    for book in BOOKS:
        told = _order_side(s, names, book)
        gone = s.books.strip(names, book)
        if book == BACKTEST:
            s.ledger.post_rows(gone, -1)
        take_in(s.books, book, told)


def _order_side(s: Strategy, names: U64, book: str) -> Rows:
    """What rows that are orders know as such: it stays."""
    rows = s.books.read_names(names)
    rows = rows[
        (rows[KEY[book]] != 0) & (rows[TRADE[book]] == 0) & ((rows[SUB[book]] != NO_TS) | (rows["parent"] != 0) | (rows["link"] != 0))
    ]
    out = blank(len(rows))
    for f in ("sym", "ccy", "side", "parent", "link", KEY[book], SUB[book]):
        out[f] = rows[f]
    return out


def nth(names: U64, k: int) -> U64:
    """The names of the k-th executions of trades with several decisions."""
    if k == 0:
        return names
    out = mix(names, np.uint64(k))
    out[out == 0] = 1
    return out


def _several(decisions: dict[str, tuple[Rows, Texts]]) -> U64:
    """Names that a book has several decisions of."""
    out = [np.zeros(0, np.uint64)]
    for book in BOOKS:
        rows = decisions[book][0]
        names, counts = np.unique(rows[KEY[book]][rows[TRADE[book]] != 0], return_counts=True)
        out.append(names[counts > 1])
    return np.unique(np.concatenate(out))


def _joined(parts: list[tuple[Rows, Texts]]) -> tuple[Rows, Texts]:
    if not parts:
        return blank(0), text_column([])
    return np.concatenate([r for r, _ in parts]), np.concatenate([t for _, t in parts])


# --- fills ----------------------------------------------------------------------------------------------------------


def _executions(m: Monitor, s: Strategy, taken: Taken, book: str, several: U64, *, inside: bool) -> Iterator[Executions]:
    """Executions of the fills whose name is (`inside`) or is not one of several decisions, with their orders' submissions."""
    for c, names in zip(taken.fills[book], taken.named[book], strict=True):
        w = np.isin(names, several) == inside
        if not w.any():
            continue
        kept = c.take(w)
        e = fill_executions(book, kept, m.instruments, m.prices.fees)
        give_runs(s, e, kept.run_id)
        _rename(e, names[w])
        sub = _submitted(m, s, taken, book, kept, e)
        for i, name in enumerate(e.rows[KEY[book]].tolist()):
            own = sub[e.fill_name == name]
            own = own[own != NO_TS]
            if len(own) and e.rows[TRADE[book]][i]:
                e.rows[SUB[book]][i] = own.min()
        yield e


def _rename(e: Executions, names: U64) -> None:
    """Executions by order under the names of their parent orders."""
    table = dict(zip(e.fill_name.tolist(), names.tolist(), strict=True))
    key = KEY[e.book]
    e.rows[key] = [table[k] for k in e.rows[key].tolist()]
    e.fill_name = names


def _submitted(m: Monitor, s: Strategy, taken: Taken, book: str, c: FillColumns, e: Executions) -> NDArray[np.int64]:
    """Submission of each fill's order, or of its parent order, whichever was first."""
    own = order_names(e.pairs, e.fill_pair, c)
    pairs, which = pairs_of(book, c.owner, m.instruments)
    alone = named_orders(pairs, which, c.order_id)
    parents = resolved(s.books, alone)
    return least(
        least(taken.submissions(book, own), taken.submissions(book, alone)),
        least(taken.submissions(book, parents), taken.submissions(book, e.fill_name)),
    )


def _orders(s: Strategy, taken: Taken, book: str) -> None:
    """Tie the orders of these fills to their trades again."""
    for c, names in zip(taken.fills[book], taken.named[book], strict=True):
        e = fill_executions(book, c, taken.m.instruments, taken.m.prices.fees)
        rows, _ = link_rows(book, c, e, wants_orders([s.books] * len(e.pairs), e) & ~np.isin(names, list(s.memory.multi)))
        if len(rows):
            take_in(s.books, book, rows)
            follow(s.books, book, rows[KEY[book]])


# --- several decisions of one id --------------------------------------------------------------------------------------


def _compose(m: Monitor, s: Strategy, taken: Taken, decisions: dict[str, tuple[Rows, Texts]], name: int) -> None:
    """Rows of one trade: the n-th executions of both books side by side."""
    key = np.array([name], np.uint64)
    own = {b: _sorted(decisions[b][0][decisions[b][0][KEY[b]] == key[0]], b) for b in BOOKS}
    text = next((str(t[0]) for b in BOOKS for r, t in [decisions[b]] for t in [t[r[KEY[b]] == key[0]]] if len(t)), "")
    sides = {b: _slots(m, s, taken, b, own, key) for b in BOOKS}
    out = []
    for k in sorted({*sides[BACKTEST], *sides[LIVE]}):
        row = blank(1)
        for book in BOOKS:
            side = sides[book].get(k)
            if side is not None:
                _put(row, side, book)
                row[KEY[book]] = nth(key, k)
        both = (row["b_q"] > 0) & (row["l_q"] > 0)
        row["how"] = np.where(both, BY_ID, BY_NONE)
        out.append(row)
    if out:
        rows = np.concatenate(out)
        s.ledger.post_rows(rows)
        s.books.append(rows, text_column([text] * len(rows)))


def _put(row: Rows, side: Rows, book: str) -> None:
    for f in ("sym", "side", *SIDE_FIELDS[book]):
        row[f] = side[f]
    row["ccy"] = np.where(side["ccy"] != 0, side["ccy"], row["ccy"])
    row["flags"] |= side["flags"] & OWN_FLAGS[book]


def _sorted(rows: Rows, book: str) -> Rows:
    return rows[np.lexsort((rows["b_not"], rows["b_q"], rows[CLOCK[book]]))]


def _slots(m: Monitor, s: Strategy, taken: Taken, book: str, decisions: dict[str, Rows], name: U64) -> dict[int, Rows]:
    """One book's executions of the trade, each at its place among the decisions of the other book."""
    mine, theirs = decisions[book], decisions[OTHER[book]]
    whole = blank(0)
    for e in _by_order(m, s, taken, book, name):
        whole = np.concatenate([whole, e])
    if not len(whole):
        out = {k: mine[k : k + 1].copy() for k in range(len(mine))}
        if book == BACKTEST and len(mine) and any(np.isin(opposites(mine), names).any() for names in taken.named[book]):
            for row in out.values():
                without_execution(row)
        return out
    found: dict[int, Rows] = {}
    when = theirs[CLOCK[OTHER[book]]]
    for i in range(len(whole)):
        order = whole[i : i + 1].copy()
        k = _newest(when, _moment(order, book)) if len(when) > 1 else 0
        if k in found:
            add(found[k], order, book)
        else:
            found[k] = order
    if len(mine):
        for row in found.values():
            times = [int(row[f][0]) for f in (SUB[book], CLOCK[book], FIRST[book]) if row[f][0] != NO_TS]
            said = mine[_newest(mine[CLOCK[book]], min(times))]
            row[CLOCK[book]], row[MARK[book]] = said[CLOCK[book]], said[MARK[book]]
    has_id = np.uint16(L_ID if book == LIVE else B_ID)
    for row in found.values():
        row["flags"] |= has_id
    return found


def _moment(order: Rows, book: str) -> int:
    """When an order was sent, as far as anything says."""
    return next(int(order[f][0]) for f in (SUB[book], CLOCK[book], FIRST[book]) if order[f][0] != NO_TS)


def _newest(times: NDArray[np.int64], t: int) -> int:
    """The newest of sorted decision times at or before t; the first where all are later."""
    return max(0, int(np.searchsorted(times, t, side="right")) - 1)


def _by_order(m: Monitor, s: Strategy, taken: Taken, book: str, name: U64) -> Iterator[Rows]:
    """The trade's fills as one row an order."""
    found: list[Rows] = []
    for c, names in zip(taken.fills[book], taken.named[book], strict=True):
        w = names == name[0]
        if not w.any():
            continue
        kept = c.take(w)
        whole = fill_executions(book, kept, m.instruments, m.prices.fees)
        sub = _submitted(m, s, taken, book, kept, whole)
        trade = whole.rows[TRADE[book]][0]
        kept.trade_id = TextColumn.repeated("", len(kept))
        e = fill_executions(book, kept, m.instruments, m.prices.fees)
        give_runs(s, e, kept.run_id)
        _rename(e, resolved(s.books, e.fill_name))
        e.rows[TRADE[book]] = trade
        for i, order in enumerate(e.rows[KEY[book]].tolist()):
            own = sub[e.fill_name == order]
            own = own[own != NO_TS]
            e.rows[SUB[book]][i] = own.min() if len(own) else NO_TS
        found.append(e.rows)
    if found:
        yield _merged(np.concatenate(found), book)


def _merged(rows: Rows, book: str) -> Rows:
    """Pieces of one order from several files as one row."""
    order = np.argsort(rows[KEY[book]], kind="stable")
    rows = rows[order]
    keys = rows[KEY[book]]
    out = [rows[:1].copy()]
    for i in range(1, len(rows)):
        if keys[i] == keys[i - 1]:
            add(out[-1], rows[i : i + 1].copy(), book)
        else:
            out.append(rows[i : i + 1].copy())
    return np.concatenate(out)
