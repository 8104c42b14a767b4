"""The slow way, for the rare: a trade's records are fetched again and its rows made anew.

1. Asked for by a bust (the fill is left out) and by trades with several decisions of one id (each order goes to the newest decision at or
   before its submission; the n-th decisions of both books join).
2. What it makes replaces the rows of the trade's names; the ledgers lose a busted fill once.
3. `history(strategy)` yields (book, decisions, fills, rare) of stored files; records of the turn under way are added by `see`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parityd.core.books import KEY, OTHER, SIDE_FIELDS, add_side
from parityd.core.columns import DecisionColumns, FillColumns
from parityd.core.executions import Executions, decision_executions, fill_executions, names_of, order_name
from parityd.core.hashing import mix
from parityd.core.intake import Counted
from parityd.core.observed import note_fills
from parityd.core.records import BACKTEST, BOOKS, LIVE, NO_TS, Line, Order
from parityd.core.rows import B_ID, BY_ID, BY_NONE, L_ID, Rows, blank
from parityd.core.strategy import Strategy

if TYPE_CHECKING:
    from parityd.core.monitor import Monitor

Piece = tuple[str, DecisionColumns | None, FillColumns | None, list[Line]]
History = Callable[[str], Iterator[Piece]]
Ask = tuple[int, str, int, int]  # name, trade id ("" = by order), symbol, side


class Rebuilder:
    """Collects what must be made anew in a turn, and does it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._now: list[Piece] = []
        self._asked: dict[str, dict[int, Ask]] = {}
        self._fills: dict[str, set[tuple[str, int]]] = {}

    def begin(self) -> None:
        self._now = []

    def see(self, book: str, got: Counted) -> None:
        self._now.append((book, got.decisions, got.fills, got.rare))

    def ask(self, strategy: str, name: int, trade_id: str, sym: int, side: int) -> None:
        self._asked.setdefault(strategy, {})[name] = (name, trade_id, sym, side)

    def ask_fill(self, strategy: str, book: str, key: int) -> None:
        self._fills.setdefault(strategy, set()).add((book, key))

    def run(self, m: Monitor, s: Strategy) -> None:
        asked, fills = self._asked.pop(s.name, {}), self._fills.pop(s.name, set())
        if not asked and not fills:
            return
        pieces = [_real(p) for p in [*self.history(s.name), *self._now]]
        if fills:
            self._unpost(m, s, pieces, fills, asked)
        for ask in asked.values():
            self._one(m, s, pieces, ask)

    def _unpost(self, m: Monitor, s: Strategy, pieces: list[Piece], fills: set[tuple[str, int]], asked: dict[int, Ask]) -> None:
        """Find busted fills, take them out of the ledgers, and have their executions made anew."""
        wanted = np.fromiter({k for _, k in fills}, np.uint64)
        for book, _, c, _ in pieces:
            if c is None:
                continue
            hit = np.isin(c.key, wanted) & np.fromiter((x == s.name for x in c.strategy), np.bool_, len(c))
            if not hit.any():
                continue
            found = c.take(hit)
            e = fill_executions(book, found, m.instruments, m.fee_price)
            s.ledger.post(book, np.array([p.sym for p in e.pairs], np.int64)[e.postings.pair], e.postings, -1)
            if book == LIVE:
                note_fills(m, found, e, back=True)
            for row, text in zip(e.rows, e.texts, strict=True):
                asked[int(row[KEY[book]])] = (int(row[KEY[book]]), text, int(row["sym"]), int(row["side"]))

    def _one(self, m: Monitor, s: Strategy, pieces: list[Piece], ask: Ask) -> None:
        name, trade_id, sym, side = ask
        busted = np.fromiter(s.memory.busted, np.uint64, len(s.memory.busted))
        found: dict[str, tuple[Rows, Executions | None]] = {}
        orders: dict[str, list[Line]] = {}
        for book in BOOKS:
            decisions = self._decisions(m, s, pieces, book, trade_id, sym, side) if trade_id else blank(0)
            fills = self._fill_orders(m, s, pieces, book, name, busted, split=bool(trade_id))
            found[book] = (decisions, fills)
            orders[book] = [
                x for b, _, _, rare in pieces if b == book for x in rare if isinstance(x.record, Order) and x.record.strategy == s.name
            ]
        texts = trade_id
        _clear(s, name)
        rows = _compose(name, found, {b: _submissions(m, s, b, orders[b]) for b in BOOKS})
        if len(rows):
            s.books.append(rows, [texts] * len(rows))

    def _decisions(self, m: Monitor, s: Strategy, pieces: list[Piece], book: str, trade_id: str, sym: int, side: int) -> Rows:
        out: list[Rows] = []
        for b, c, _, _ in pieces:
            if b != book or c is None:
                continue
            mine = np.fromiter((t == trade_id and x == s.name for t, x in zip(c.trade_id, c.strategy, strict=True)), np.bool_, len(c))
            if mine.any():
                e = decision_executions(book, c.take(mine), m.instruments)
                e = m.without_superseded(book, e, c.take(mine).run_id)
                out.append(e.rows[(e.rows["sym"] == sym) & (e.rows["side"] == side)])
        rows = np.concatenate(out) if out else blank(0)
        return rows[np.argsort(rows["b_ts" if book == BACKTEST else "l_dts"], kind="stable")]

    def _fill_orders(
        self, m: Monitor, s: Strategy, pieces: list[Piece], book: str, name: int, busted: NDArray[np.uint64], *, split: bool
    ) -> Executions | None:
        """The fills of one execution's name, grouped by order where `split`, busted ones left out."""
        kept: list[FillColumns] = []
        for b, _, c, _ in pieces:
            if b != book or c is None:
                continue
            own = c.take(np.fromiter((x == s.name for x in c.strategy), np.bool_, len(c)) & ~np.isin(c.key, busted))
            if not len(own):
                continue
            own = m.with_parents(book, own)
            e = fill_executions(book, own, m.instruments, m.fee_price)
            place = {(p.strategy, p.symbol): k for k, p in enumerate(e.pairs)}
            which = np.fromiter(
                (
                    place[m.instruments.pair(book, x, y).strategy, m.instruments.pair(book, x, y).symbol]
                    for x, y in zip(own.strategy, own.symbol, strict=True)
                ),
                np.int64,
                len(own),
            )
            flip = np.where(np.array([p.inverse for p in e.pairs])[which], -1, 1)
            names, _ = names_of(e.pairs, which, own, (own.side * flip).astype(np.int8))
            if (names == name).any():
                kept.append(own.take(names == name))
        if not kept:
            return None
        c = FillColumns.joined(kept)
        if split:
            c.trade_id = [""] * len(c)
        return fill_executions(book, c, m.instruments, m.fee_price)


def _real(piece: Piece) -> Piece:
    """Without shadow fills, which history keeps beside the real ones."""
    book, decisions, fills, rare = piece
    return book, decisions, fills.take(~fills.shadow) if fills is not None and fills.shadow.any() else fills, rare


def _clear(s: Strategy, name: int) -> None:
    """Take this trade's rows off their shelves."""
    k, misses = 0, 0
    while misses < 3:
        own = _nth(name, k)
        found = s.books.locate(own)
        misses = misses + 1 if found is None else 0
        for book in BOOKS:
            found = s.books.locate(own)
            if found is not None and int(found[0].view[KEY[book]][found[1]]) == own:
                s.books.strip(*found, book)
        k += 1


def _nth(name: int, k: int) -> int:
    return name if k == 0 else int(mix(np.array([name], np.uint64), np.array([k], np.uint64))[0])


def _submissions(m: Monitor, s: Strategy, book: str, lines: list[Line]) -> dict[int, int]:
    """First submission by the order's name."""
    out: dict[int, int] = {}
    for line in lines:
        r = line.record
        if isinstance(r, Order) and r.status == "submitted":
            pair = m.instruments.pair(book, s.name, r.symbol)
            key = order_name(pair, str(r.parent_id or r.order_id))
            out[key] = min(out.get(key, line.ts), line.ts)
    return out


def _compose(name: int, found: dict[str, tuple[Rows, Executions | None]], submitted: dict[str, dict[int, int]]) -> Rows:
    """Rows of one trade: the n-th executions of both books side by side."""
    sides: dict[str, dict[int, np.void]] = {book: _executions(book, found, submitted) for book in BOOKS}
    out: list[np.void] = []
    for k in sorted({*sides[BACKTEST], *sides[LIVE]}):
        row = blank(1)[0]
        for book in BOOKS:
            own = sides[book].get(k)
            if own is not None:
                for f in ("sym", "side", *SIDE_FIELDS[book]):
                    row[f] = own[f]
                row["ccy"] = own["ccy"] or row["ccy"]
                row["flags"] = int(row["flags"]) | int(own["flags"]) | (L_ID if book == LIVE and int(own["flags"]) & L_ID else 0)
                row[KEY[book]] = _nth(name, k)
        row["how"] = BY_ID if row["b_q"] > 0 and row["l_q"] > 0 else BY_NONE
        out.append(row)
    return np.array(out) if out else blank(0)


def _executions(book: str, found: dict[str, tuple[Rows, Executions | None]], submitted: dict[str, dict[int, int]]) -> dict[int, np.void]:
    decisions, fills = found[book]
    others = found[OTHER[book]][0]
    out: dict[int, np.void] = {}
    clock = "b_ts" if book == BACKTEST else "l_dts"
    if fills is None:
        for k, d in enumerate(decisions):
            out[k] = d.copy()
        return out
    when = others["b_ts" if book == LIVE else "l_dts"]
    has_id = len(decisions) > 0 or len(others) > 0
    for row in fills.rows:
        own = row.copy()
        own["flags"] = int(own["flags"]) | ((L_ID if book == LIVE else B_ID) if has_id else 0)
        sub, first, said = ("l_sub", "l_first", "l_dts") if book == LIVE else ("b_sub", "b_first", "b_ts")
        own[sub] = submitted[book].get(int(row[KEY[book]]), NO_TS)
        at = next(int(own[f]) for f in (sub, said, first) if own[f] != NO_TS)
        k = max(0, int(np.searchsorted(when, at, side="right")) - 1) if len(when) > 1 else 0
        if k in out:
            add_side(book, out[k], own)
        else:
            out[k] = own
    for k, d in enumerate(decisions):  # a decision gives its execution time and mark
        if k in out:
            add_side(book, out[k], d.copy())
            out[k][clock] = d[clock]
    return out
