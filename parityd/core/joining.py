"""Executions of one batch, of all its strategies at once: merged with rows that are known, joined by id, laid onto their shelves.

1. A name is of one strategy, so that batches of many strategies are sorted, looked up, joined and measured as one.
2. Only what meets a known row goes through that strategy's own `Books`; the usual record never does.
3. `Batch.known` is right until rows are written: who changes shelves first looks again (`batch`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parityd.core.attribution import derive
from parityd.core.fresh import Fresh, joined_by_id
from parityd.core.grouping import each, order_by
from parityd.core.hashing import U64
from parityd.core.index import GONE, Places
from parityd.core.records import BACKTEST, BOOKS, LIVE
from parityd.core.rows import SHELF_NS, TIMES, encoded, trade_time
from parityd.core.shelves import NEAR_NS, distances
from parityd.core.sides import KEY, nameless, presences
from parityd.core.text import TextColumn

if TYPE_CHECKING:
    from parityd.core.books import Books

BLOCK = 8192
KEPT_WHOLE = 2  # a new shelf keeps rows as they were made for several where these are at most so many times its own
NOTED = ("sym", "side", "flags", "how", "bkey", "lkey", "b_trade", "l_trade", "b_q", "l_q", *TIMES)  # what `Books.note` looks at
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
_Laid = tuple[Fresh, TextColumn, I64]  # rows with their trade ids, and whose each is


@dataclass(frozen=True, slots=True)
class Batch:
    """Executions of one book with their trade ids; `who`: whose, a place in the caller's list of strategies."""

    rows: Fresh
    texts: TextColumn
    who: I64
    known: Mask  # those whose name lies on a shelf
    repeated: Mask  # those whose name stands in the batch more than once
    order: I64 | None = None  # by name, where that is known

    def __len__(self) -> int:
        return self.rows.n

    def by_name(self, book: str) -> tuple[U64, I64]:
        """(the names in order, where each stands)."""
        names: U64 = self.rows[KEY[book]]
        order = np.argsort(names) if self.order is None else self.order
        return names[order], order

    def owners(self) -> I64:
        """Whose each row is."""
        return self.who

    def times(self) -> I64:
        """Of each row the time by which it finds its shelf, as far as it says one by itself."""
        return trade_time(self.rows)

    def laid(self, w: I64 | slice) -> _Laid:
        """Some of it."""
        return (self.rows, self.texts, self.who) if isinstance(w, slice) else (self.rows[w], self.texts.take(w), self.who[w])

    def only(self, index: Mask | I64) -> Batch:
        return Batch(self.rows[index], self.texts.take(index), self.who[index], self.known[index], self.repeated[index])


def batch(places: Places, book: str, rows: Fresh, texts: TextColumn, who: I64) -> Batch:
    """Look the names of these executions up."""
    names: U64 = rows[KEY[book]]
    order = np.argsort(names, kind="stable")
    ordered = names[order]
    known, repeated = np.empty(len(names), np.bool_), np.zeros(len(names), np.bool_)
    known[order] = places.find(ordered) != GONE
    again = np.flatnonzero(ordered[1:] == ordered[:-1])
    repeated[order[again]] = repeated[order[again + 1]] = True
    return Batch(rows, texts, who, known, repeated, order)


def absorb(books: Sequence[Books], parts: dict[str, Batch]) -> None:
    """Take in executions of both books; names may repeat and may be known."""
    left = dict(parts)
    while left:
        once: dict[str, Batch] = {}
        for book in [b for b in BOOKS if b in left]:
            part = left.pop(book)
            first, more = _firsts(book, part)
            once[book] = first
            if more is not None:
                left[book] = more
        for book, part in once.items():
            once[book] = _merged(books, book, part)
        _insert(books, once.get(BACKTEST), once.get(LIVE))
        for book, part in left.items():
            left[book] = batch(books[0].places, book, part.rows, part.texts, part.who)


def _firsts(book: str, part: Batch) -> tuple[Batch, Batch | None]:
    """(each name once; the repetitions, None where there are none)."""
    if not part.repeated.any():
        return part, None
    first = np.zeros(len(part), np.bool_)
    first[np.unique(part.rows[KEY[book]], return_index=True)[1]] = True
    return part.only(first), part.only(~first)


def _merged(books: Sequence[Books], book: str, part: Batch) -> Batch:
    """Merge what belongs to known rows; give back the rest."""
    if not part.known.any():
        return part
    rest = ~part.known
    spots = np.flatnonzero(part.known)
    for k, w in each(part.who[spots]):
        mine = spots[w]
        rest[mine] = ~books[k].merge_known(book, part.rows[mine], part.texts.take(mine).array())
    return part.only(rest)


def _insert(books: Sequence[Books], b: Batch | None, l: Batch | None) -> None:
    """New names of both books: joined by id where they share one, then laid onto their shelves, some shelves at a time."""
    sources: list[_Source] = []
    alone = {BACKTEST: b, LIVE: l}
    if b is not None and l is not None and len(b) and len(l):
        ib, il = _shared(b, l)
        if len(ib):
            sources.append(_Both(b, l, ib, il))
            alone = {BACKTEST: _without(b, ib), LIVE: _without(l, il)}
    sources += [p for p in alone.values() if p is not None and len(p)]
    if sum(map(len, sources)) <= BLOCK:
        _put(books, [s.laid(slice(None)) for s in sources])
        return
    starts = np.cumsum([0, *map(len, sources)])
    for w in _stretches(np.concatenate([s.owners() for s in sources]), np.concatenate([s.times() for s in sources])):
        cuts = np.searchsorted(w, starts)
        _put(books, [s.laid(w[i:j] - at) for s, at, i, j in zip(sources, starts.tolist(), cuts, cuts[1:], strict=False) if i < j])


@dataclass(frozen=True, slots=True)
class _Both:
    """Rows of two batches that share names: where they stand in each."""

    b: Batch
    l: Batch
    ib: I64
    il: I64

    def __len__(self) -> int:
        return len(self.ib)

    def owners(self) -> I64:
        return self.b.who[self.ib]

    def times(self) -> I64:
        return self.b.times()[self.ib]

    def laid(self, w: I64 | slice) -> _Laid:
        b, ib = self.b, self.ib[w]
        return joined_by_id(b.rows[ib], self.l.rows[self.il[w]]), b.texts.take(ib), b.who[ib]


_Source = Batch | _Both


def _shared(b: Batch, l: Batch) -> tuple[I64, I64]:
    """Where the names stand that both have (each once)."""
    (names, ob), (others, ol) = b.by_name(BACKTEST), l.by_name(LIVE)
    at = np.searchsorted(others, names)
    at[at == len(others)] = 0
    hit = others[at] == names
    return ob[hit], ol[at[hit]]


def _stretches(who: I64, t: I64) -> list[I64]:
    """Rows by their owners and times, those of whole shelves together, some `BLOCK` at a time: what is worked on stays in the processor's cache."""
    numbers = t // SHELF_NS
    order = order_by(numbers)
    order = order[order_by(who[order])]
    ordered, owner = numbers[order], who[order]
    out, at = [], 0
    for end in [*(np.flatnonzero((ordered[1:] != ordered[:-1]) | (owner[1:] != owner[:-1])) + 1).tolist(), len(t)]:
        if end - at >= BLOCK or end == len(t):
            out.append(np.sort(order[at:end]))
            at = end
    return out


def _put(books: Sequence[Books], parts: list[_Laid]) -> None:
    """Measured and laid."""
    if not parts:
        return
    limits = np.array([x.suspect_bps() for x in books])
    for rows, _, who in parts:
        derive(rows, float(limits[0]) if len(limits) == 1 or (limits == limits[0]).all() else limits[who])
    lay(
        books, Fresh.joined([x for x, _, _ in parts]), TextColumn.joined([x for _, x, _ in parts]), np.concatenate([x for _, _, x in parts])
    )


def _without(part: Batch, gone: I64) -> Batch:
    keep = np.ones(len(part), np.bool_)
    keep[gone] = False
    return part.only(keep)


def lay(books: Sequence[Books], rows: Fresh, texts: TextColumn, who: I64) -> None:
    """New rows that were derived already, each onto the shelf of its trade time."""
    rows["pk"] = np.where(rows["bkey"] != 0, rows["bkey"], rows["lkey"])
    numbers = rows["t"] // SHELF_NS
    order = np.lexsort((numbers, who)) if who[0] != who[-1] or (who != who[0]).any() else np.argsort(numbers, kind="stable")
    books[0].place(rows, numbers)
    who, numbers = who[order], numbers[order]
    text, lengths = encoded(texts.take(order))
    laid, ends = rows.laid(order), np.concatenate([[0], np.cumsum(lengths)])
    edges = np.flatnonzero((numbers[1:] != numbers[:-1]) | (who[1:] != who[:-1])) + 1
    starts, stops = [0, *edges.tolist()], [*edges.tolist(), len(who)]
    for a, b, k, number in zip(starts, stops, who[starts].tolist(), numbers[starts].tolist(), strict=True):
        books[k].shelf(number).lay(laid[a:b], text[ends[a] : ends[b]], lengths[a:b], own=KEPT_WHOLE * (b - a) >= len(laid))
        books[k].mark(number)
        books[k].written += b - a
    _note(books, rows, who, order)


def _note(books: Sequence[Books], rows: Fresh, who: I64, order: I64) -> None:
    """Let every strategy learn from its new rows, a symbol at a time; of the usual ones only how far they lie apart. `who` is sorted, by `order`."""
    by = np.lexsort((rows["sym"][order], who))
    order, who = order[by], who[by]
    sym, told = rows["sym"][order], rows.only(NOTED)
    parts = np.flatnonzero(np.append(True, (who[1:] != who[:-1]) | (sym[1:] != sym[:-1])))
    first = np.flatnonzero(np.append(True, who[parts][1:] != who[parts][:-1]))
    near, odd = distances(rows)[order], (nameless(rows, BACKTEST) | nameless(rows, LIVE))[order]
    widest = np.maximum.reduceat(near, parts[first]).tolist()
    strange = np.logical_or.reduceat(odd, parts[first]).tolist()
    found, syms = presences(rows, order, parts, near, odd), sym[parts].tolist()
    edges = [*parts.tolist(), len(who)]
    for i, (a, b) in enumerate(zip(first.tolist(), [*first[1:].tolist(), len(parts)], strict=True)):
        mine = books[int(who[edges[a]])]
        if not strange[i] and widest[i] <= NEAR_NS and mine.nothing_new(syms[a:b], widest[i]):
            continue
        for k in range(a, b):
            mine.learn(syms[k], found[k], partial(told.__getitem__, order[edges[k] : edges[k + 1]]))
