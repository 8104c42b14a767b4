"""The slow way, for the rare: stored records are gone through again, and what they say of a trade is made anew.

1. Asked for by a bust, a newer run, a mark of a fee's currency that came late, a symbol in which order times begin to matter, and by trades
   with several decisions of one id.
2. What is made anew replaces both sides of the trade's rows; the ledgers lose what was taken back, once.
3. `history(strategy)` yields (book, decisions, fills, rare) of stored files; records of the turn under way are added by `see`. History is
   streamed, never held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from parityd.core.books import RunSpan
from parityd.core.columns import Columns, DecisionColumns, FillColumns
from parityd.core.executions import Executions, FeePrice, fill_executions, order_names
from parityd.core.instants import DAY_NS
from parityd.core.intake import Counted
from parityd.core.observed import note_fills, note_funding
from parityd.core.orders import follow, followed, link_rows, take_in
from parityd.core.prices import NONE
from parityd.core.records import BACKTEST, LIVE, NO_TS, Funding, Line
from parityd.core.remake import Taken, remake
from parityd.core.runs import run_of_file, superseded
from parityd.core.standing import busted, carried_out, opposites, replaced, replaced_by
from parityd.core.strategy import Strategy
from parityd.core.terms import Pair

if TYPE_CHECKING:
    from parityd.core.monitor import Monitor

Piece = tuple[str, DecisionColumns | None, FillColumns | None, list[Line]]
History = Callable[[str], Iterator[Piece]]
I64 = NDArray[np.int64]
C = TypeVar("C", bound=Columns)
Mask = NDArray[np.bool_]
Quotes = dict[int, tuple[I64, NDArray[np.float64]]]  # marks by symbol as they stood before the turn


class Asked:
    """What must be gone through again of one strategy."""

    def __init__(self) -> None:
        self.names: set[int] = set()  # trades to be made anew
        self.busts: set[tuple[str, int]] = set()  # (book, fill key)
        self.runs: list[RunSpan] | None = None  # the runs as they were before the turn
        self.quotes: Quotes = {}
        self.late: int = 2**62  # fees from here on may be worth something else
        self.orders: set[int] = set()  # symbols whose fills must say which order they belong to


class Rebuilder:
    """Collects what must be made anew in a turn, and does it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._now: list[Piece] = []
        self._asked: dict[str, Asked] = {}

    def end(self) -> None:
        """Let go of the turn: its records are not kept alive until the next."""
        self._now = []
        self._asked = {}

    def see(self, book: str, got: Counted) -> None:
        self._now.append((book, got.decisions, got.fills, got.rare))

    def of(self, strategy: str) -> Asked:
        """What is asked of a strategy, to be added to."""
        return self._asked.setdefault(strategy, Asked())

    def strategies(self) -> list[str]:
        return list(self._asked)

    def run(self, m: Monitor, s: Strategy) -> None:
        asked = self._asked.pop(s.name, None)
        if asked is None:
            return
        if asked.runs is not None or asked.quotes:
            for piece in self._pieces(s.name, now=False):
                _look_back(m, s, piece, asked)
        if asked.busts or asked.orders:
            for piece in self._pieces(s.name):
                _take_back(m, s, piece, asked)
                _tie_orders(m, s, piece, asked)
        if asked.names:
            remake(m, s, Taken(m, s, asked.names, lambda: self._pieces(s.name)))

    def _pieces(self, strategy: str, *, now: bool = True) -> Iterator[Piece]:
        """Stored records and those of the turn, the strategy's own."""
        for book, decisions, fills, rare in chain(self.history(strategy), self._now if now else ()):
            yield book, _own(decisions, strategy), _own(_real(fills), strategy), rare


def _own(c: C | None, strategy: str) -> C | None:
    own = c.only(strategy) if c is not None else None
    return own if own is not None and len(own) else None


def _real(c: FillColumns | None) -> FillColumns | None:
    """Without shadow fills, which history keeps beside the real ones."""
    return c.take(~c.shadow) if c is not None and c.shadow.any() else c


def _syms(e: Executions) -> I64:
    return np.array([p.sym for p in e.pairs], np.int64)


# --- what older records are worth now ---------------------------------------------------------------------------------


def _look_back(m: Monitor, s: Strategy, piece: Piece, asked: Asked) -> None:
    """Records of earlier turns: take out what a new run replaced, and price fees again where marks came late."""
    book, decisions, fills, _ = piece
    if asked.runs is not None and book == BACKTEST:
        for c in (decisions, fills):
            if c is not None:
                gone = replaced(m.instruments, s, book, c) & ~replaced_by(m.instruments, book, c, asked.runs)
                if gone.any():
                    _unprice(m, book, c.take(gone))
        if fills is not None:
            gone = replaced(m.instruments, s, book, fills) & ~replaced_by(m.instruments, book, fills, asked.runs) & ~busted(s, book, fills)
            if gone.any():
                e = fill_executions(book, fills.take(gone), m.instruments, _before(m, asked.quotes))
                s.ledger.post(book, _syms(e)[e.postings.pair], e.postings, -1)
        _unfund(m, s, piece, asked.runs, asked.quotes)
    if asked.quotes:
        _fund_again(m, s, piece, asked)
    if asked.quotes and fills is not None:
        _price_again(m, s, book, fills, asked)


def _funded(m: Monitor, s: Strategy, piece: Piece) -> Iterator[tuple[Funding, int, Pair, str]]:
    """Each funding record of the strategy with its time, instrument and run."""
    book, *columns, rare = piece
    run = (
        run_of_file(rare, s.name, *(c.run_id for c in columns if isinstance(c, DecisionColumns | FillColumns))) if book == BACKTEST else ""
    )
    for line in rare:
        if isinstance(line.record, Funding) and line.record.strategy == s.name:
            yield line.record, line.ts, m.instruments.pair(book, s.name, line.record.symbol), run


def _unfund(m: Monitor, s: Strategy, piece: Piece, before: list[RunSpan], quotes: Quotes) -> None:
    for r, ts, pair, run in _funded(m, s, piece):
        at = np.zeros(1, np.int64), np.array([ts]), [run]
        if superseded(s.books.runs, [pair.symbol], *at)[0] and not superseded(before, [pair.symbol], *at)[0]:
            amount = m.prices.funding(pair, r.currency or "", r.amount, ts, quotes)
            if amount is None:
                s.memory.unpriced_funding.remove(ts)
            else:
                s.ledger.fund(BACKTEST, pair.sym, ts, -amount)


def _fund_again(m: Monitor, s: Strategy, piece: Piece, asked: Asked) -> None:
    """Funding in another currency, where marks of that came late."""
    book = piece[0]
    for r, ts, pair, run in _funded(m, s, piece):
        if (
            not r.currency
            or ts < asked.late
            or (book == BACKTEST and superseded(s.books.runs, [pair.symbol], np.zeros(1, np.int64), np.array([ts]), [run])[0])
        ):
            continue
        old, new = (m.prices.funding(pair, r.currency, r.amount, ts, quotes) for quotes in (asked.quotes, NONE))
        more = (new or 0.0) - (old or 0.0)
        if old is None and new is not None:
            s.memory.unpriced_funding.remove(ts)
        if more:
            s.ledger.fund(book, pair.sym, ts, more)
            s.books.changed_days.add(ts // DAY_NS)
            if book == LIVE:
                note_funding(s, pair.sym, ts, more)


def _unprice(m: Monitor, book: str, c: DecisionColumns | FillColumns) -> None:
    """Marks and prices that these records brought are taken back."""
    if isinstance(c, FillColumns):
        m.prices.mark_from(book, c.owner, np.where(c.decision_ts != NO_TS, c.decision_ts, c.ts), c.decision_mark, back=True)
        m.prices.traded_from(book, c.owner, c.ts, c.price, back=True)
    else:
        m.prices.mark_from(book, c.owner, c.ts, c.mark, back=True)
        done = carried_out(book, c)
        if done.any():
            m.prices.traded_from(book, c.owner[done], c.ts[done], c.price[done], back=True)


def _before(m: Monitor, quotes: Quotes) -> FeePrice:
    """Prices as they were before the turn."""
    return lambda currency, quote, t: m.prices.worth(currency, quote, t, quotes)


def _price_again(m: Monitor, s: Strategy, book: str, c: FillColumns, asked: Asked) -> None:
    w = (c.ts >= asked.late) & c.fee_currency.given() & ~replaced(m.instruments, s, book, c)
    w &= ~busted(s, book, c, but=asked.busts)
    if not w.any():
        return
    c = c.take(w)
    old = fill_executions(book, c, m.instruments, _before(m, asked.quotes))
    new = fill_executions(book, c, m.instruments, m.prices.fees)
    differs = (old.postings.fee != new.postings.fee) | (old.postings.fee_known != new.postings.fee_known)
    if differs.any():
        p = new.postings
        s.ledger.post_fees(book, _syms(new)[p.pair][differs], p.ts[differs], (p.fee - old.postings.fee)[differs])
        asked.names.update(followed(s.books, new)[differs].tolist())


# --- taken back ---------------------------------------------------------------------------------------------------------


def _take_back(m: Monitor, s: Strategy, piece: Piece, asked: Asked) -> None:
    """Find busted fills, take them out of ledgers and prices, and have their trades made anew."""
    book, _, c, _ = piece
    keys = {k for b, k in asked.busts if b == book}
    if c is None or not keys:
        return
    hit = busted(s, book, c, only=keys) & ~busted(s, book, c, but=asked.busts) & ~replaced(m.instruments, s, book, c)
    if not hit.any():
        return
    found = c.take(hit)
    e = fill_executions(book, found, m.instruments, m.prices.fees)
    s.ledger.post(book, _syms(e)[e.postings.pair], e.postings, -1)
    _unprice(m, book, found)
    if book == LIVE:
        note_fills(m, found, e, back=True)
    _untie(s, found, e)
    asked.names.update(followed(s.books, e).tolist())
    if book == BACKTEST:
        asked.names.update(opposites(e.rows).tolist())


def _untie(s: Strategy, c: FillColumns, e: Executions) -> None:
    """The orders of busted fills no longer say whose they are; the fills that are left will."""
    orders = order_names(e.pairs, e.fill_pair, c)
    names = np.unique(orders[orders != 0])
    at = s.books.locate_many(names)
    names, at = names[at.places >= 0], at.only(at.places >= 0)
    names = names[np.isin(s.books.read(at)["link"], e.fill_name)]
    if len(names):
        s.books.open(names)
        at = s.books.locate_many(names)
        rows = s.books.read(at)
        rows["link"] = 0
        s.books.write(at, rows)


def _tie_orders(m: Monitor, s: Strategy, piece: Piece, asked: Asked) -> None:
    """Fills with a trade id say which orders are theirs, where that did not matter before."""
    book, _, c, _ = piece
    if c is None or not asked.orders:
        return
    e = fill_executions(book, c, m.instruments, m.prices.fees)
    wanted = np.isin(_syms(e)[e.fill_pair], list(asked.orders)) & ~busted(s, book, c) & ~replaced(m.instruments, s, book, c)
    rows, _ = link_rows(book, c, e, wanted)
    if len(rows):
        take_in(s.books, book, rows)
        follow(s.books, book, rows["lkey" if book == LIVE else "bkey"])
