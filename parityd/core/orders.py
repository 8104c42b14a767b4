"""Orders as rows: when they were submitted, whose fills they have, which parent order they belong to (JUDGEMENT 2: executions).

1. An order is a row under the name that its fills have without a trade id; it needs no fill to be there.
2. `link` leads from an order to the execution with a trade id that its fills belong to, `parent` to its parent order's execution. Both may become
   known before or after the submission and the fills: `follow` brings everything where it belongs, whatever came last.
3. An execution's submission is the earliest of its orders and their parents.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from parityd.core import owners
from parityd.core.books import Books, Part
from parityd.core.columns import FillColumns
from parityd.core.executions import Executions, name_of_side, named_orders, of_pairs, order_names, pairs_of, trade_hashes
from parityd.core.hashing import U64
from parityd.core.records import BACKTEST, LIVE, NO_TS, Line, Order
from parityd.core.rows import Rows, blank, text_column
from parityd.core.sides import KEY, TRADE, clear, executed, taken_off
from parityd.core.terms import Instruments
from parityd.core.text import TextColumn

SUB = {BACKTEST: "b_sub", LIVE: "l_sub"}
_SIDES = {"buy": 1, "sell": -1}
I64 = NDArray[np.int64]


def rows_named(book: str, names: U64, **columns: NDArray[np.generic] | int) -> Rows:
    """Rows of one book's side with nothing but these columns."""
    rows = blank(len(names))
    rows[KEY[book]] = names
    for f, v in columns.items():
        rows[f] = v
    return rows


def order_rows(book: str, lines: list[Line], instruments: Instruments) -> Rows:
    """Order records of one strategy -> rows: the order's own and its parent's with the submission, and what ties them together."""
    told = [(line.ts, line.record) for line in lines if isinstance(line.record, Order)]
    told = [(ts, r) for ts, r in told if r.status == "submitted" or r.parent_id not in ("", None)]
    if not told:
        return blank(0)
    pairs, which = pairs_of(book, owners.codes([r.strategy for _, r in told], [r.symbol for _, r in told]), instruments)
    parents = [str(r.parent_id) if r.parent_id not in ("", None) else "" for _, r in told]
    own, parent = (named_orders(pairs, which, texts) for texts in ([str(r.order_id) for _, r in told], parents))
    sub = np.array([ts if r.status == "submitted" else NO_TS for ts, r in told], np.int64)
    turn = np.where(of_pairs(pairs, which, "inverse", np.bool_), -1, 1)
    side = np.array([_SIDES.get(r.side or "", 0) for _, r in told], np.int64) * turn
    sym, ccy = of_pairs(pairs, which, "sym", np.int32), of_pairs(pairs, which, "ccy", np.int32)
    link = _links(told, of_pairs(pairs, which, "by_trade", np.uint64), side)
    rows = rows_named(book, own, sym=sym, ccy=ccy, side=side, parent=parent, link=link)
    rows[SUB[book]] = sub
    w = parent != 0
    above = rows_named(book, parent[w], sym=sym[w], ccy=ccy[w], side=side[w], link=link[w])
    above[SUB[book]] = sub[w]
    return np.concatenate([rows, above])


def _links(told: list[tuple[int, Order]], seeds: U64, side: I64) -> U64:
    """The execution that an order's own trade id names, 0 without."""
    ids = [str(r.trade_id) if r.trade_id not in ("", None) else "" for _, r in told]
    texts = TextColumn.of(ids)
    known = texts.given() & (side != 0)
    trades = trade_hashes(texts, seeds, known)
    return np.array([name_of_side(int(t), int(s)) if t else 0 for t, s in zip(trades, side, strict=True)], np.uint64)


def link_rows(book: str, c: FillColumns, e: Executions, wanted: NDArray[np.bool_]) -> tuple[Rows, I64]:
    """What fills with a trade id say of their orders: that these belong to the trade; and a fill of each. `wanted`: of which fills."""
    if not wanted.any():
        return blank(0), np.zeros(0, np.int64)
    w = np.flatnonzero(wanted & c.trade_id.given() & (c.decision_ts == NO_TS))
    if len(w) == 0:
        return blank(0), w
    orders = order_names(e.pairs, e.fill_pair, c)[w]
    w, orders = w[orders != 0], orders[orders != 0]
    orders, first = np.unique(orders, return_index=True)
    of = w[first]
    sym, ccy = (np.array([getattr(p, f) for p in e.pairs], np.int32)[e.fill_pair[of]] for f in ("sym", "ccy"))
    return rows_named(book, orders, sym=sym, ccy=ccy, side=np.sign(e.postings.quantity[of]).astype(np.int8), link=e.fill_name[of]), of


def follow(books: Books, book: str, names: U64) -> None:
    """Of these orders: pass links on to parents, submissions on to linked executions, and fills without a trade id on to the parent's execution."""
    for _ in range(8):  # an order's parent's parent; a ring of parents ends here
        names = np.unique(names)
        at = books.locate_many(names)
        at = at.only(at.places >= 0)
        rows = books.read(at)
        mine = (rows[KEY[book]] != 0) & ((rows["link"] != 0) | (rows["parent"] != 0)) & (rows["parent"] != rows[KEY[book]])
        rows = rows[mine]
        if len(rows) == 0:
            return
        both, told = (rows["parent"] != 0), (rows["link"] != 0) & (rows[SUB[book]] != NO_TS)
        up = rows[both]
        passed = rows_named(book, up["parent"], sym=up["sym"], ccy=up["ccy"], side=up["side"], link=up["link"])
        passed[SUB[book]] = up[SUB[book]]
        down = rows[told]
        timed = rows_named(book, down["link"], sym=down["sym"], ccy=down["ccy"], side=down["side"])
        timed[SUB[book]] = down[SUB[book]]
        moved = _moved(books, book, rows[both & executed(rows, book) & (rows[TRADE[book]] == 0)])
        take_in(books, book, np.concatenate([passed, timed, moved]))
        names = up["parent"]


def _moved(books: Books, book: str, rows: Rows) -> Rows:
    """Executions by an order whose parent is known, taken off the order's row, under the parent's name."""
    if len(rows) == 0:
        return blank(0)
    names, parents = rows[KEY[book]].copy(), rows["parent"].copy()
    gone = books.strip(names, book)
    stay = gone.copy()
    clear(stay, book)
    for f in (KEY[book], SUB[book]):
        stay[f] = gone[f]
    take_in(books, book, stay)
    order = np.argsort(names)
    gone[KEY[book]] = parents[order][np.searchsorted(names[order], gone[KEY[book]])]
    gone["parent"] = gone["link"] = 0
    return taken_off(gone, book)


def take_in(books: Books, book: str, rows: Rows) -> None:
    """Absorb rows without trade ids of their own."""
    if len(rows):
        part: Part = (rows, text_column([""] * len(rows)))
        books.absorb(part if book == BACKTEST else None, part if book == LIVE else None)


def resolved(books: Books, names: U64) -> U64:
    """The names of executions by order, with the parent order's where that is known."""
    for _ in range(8):
        at = books.locate_many(names)
        found = np.flatnonzero(at.places >= 0)
        rows = books.read(at.only(found))
        more = (rows["parent"] != 0) & (rows["parent"] != names[found])
        if not more.any():
            return names
        names = names.copy()
        names[found[more]] = rows["parent"][more]
    return names


def followed(books: Books, e: Executions) -> U64:
    """The name of each fill's execution, under its parent order where only an `order` record tells that."""
    alone = np.flatnonzero(~np.isin(e.fill_name, e.rows[KEY[e.book]][e.rows[TRADE[e.book]] != 0]))
    if len(alone) == 0:
        return e.fill_name
    names = e.fill_name.copy()
    names[alone] = resolved(books, names[alone])
    return names


def wants_orders(books: Sequence[Books], e: Executions) -> NDArray[np.bool_]:
    """Fills whose order's submission can matter: of the live book only where executions are joined by time. `books`: of each of `e.pairs`."""
    if e.book == BACKTEST:
        return np.ones(len(e.fill_pair), np.bool_)
    cells = [own.cells.get(p.sym) for own, p in zip(books, e.pairs, strict=True)]
    return np.array([c is None or c.idless or not c.ids_shared for c in cells], np.bool_)[e.fill_pair]
