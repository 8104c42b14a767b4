"""Pairs by time of one strategy: made, opened again before anything about their executions changes, and taken off.

1. A name lies on one row. Where a pair by time needs the place of a side that has no execution (a decision, an order), that side lies apart
   (`ASIDE`) until the pair is opened.
2. Leftovers that joined a pair (`PART`) are measured with it, and stand alone again when it is opened.
3. Which pairs are to be made is `pairing`'s to say.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parityd.core.attribution import with_parts
from parityd.core.hashing import U64
from parityd.core.heard import JOINED_BY_TIME, Heard
from parityd.core.matching import reach
from parityd.core.records import BACKTEST, BOOKS, LIVE, NO_TS
from parityd.core.rows import AMBIGUOUS, BY_ID, DEAD, HAS_PARTS, PAIRING_TIMES, PART, TWO_IDS, Rows, Shelf, Texts, blank
from parityd.core.shelves import At
from parityd.core.sides import KEY, OTHER, clear, put_on, taken_off

ASIDE = np.uint64(0xA51DE0FF5E7A51DE)


class Join(NamedTuple):
    """A pair to be made of the executions of these names."""

    b: int
    l: int
    how: int
    ambiguous: bool
    b_parts: tuple[int, ...] = ()
    l_parts: tuple[int, ...] = ()


class Timed(Heard):
    """The rows of one strategy, with their pairs by time."""

    def suspect_bps(self) -> float:
        """The price difference beyond which a trade of this strategy is suspect."""
        return self.parameters.of(self.strategy).thresholds.suspect_bps

    # --- opened ---------------------------------------------------------------------------------------------------

    def apart(self, names: U64) -> Rows:
        """The sides of these names that lie apart, blank rows where there are none."""
        at = self.locate_many(names ^ ASIDE)
        out = blank(len(names))
        found = at.places >= 0
        out[found] = self.read(at.only(found))
        return out

    def loose(self, at: At) -> NDArray[np.bool_]:
        """Which of these rows are joined by time, or with parts, or parts."""
        out = np.zeros(len(at.numbers), np.bool_)
        for number, w in at.groups():
            view, places = self.shelf(number).view, at.places[w]
            out[w] = (view["how"][places] > BY_ID) | ((view["flags"][places] & JOINED_BY_TIME) != 0)
        return out

    def open(self, names: U64) -> None:
        """Pairs by time that carry these names become their two executions again; parts stand alone."""
        at = self.locate_many(names)
        at = at.only(at.places >= 0)
        rows = self.read(at.only(self.loose(at)))
        if len(rows) == 0:
            return
        owners = rows["part_of"][(rows["flags"] & PART) != 0]
        pks = np.unique(np.concatenate([rows["pk"][(rows["flags"] & PART) == 0], owners]))
        self._free_parts(pks)
        self._part(pks)

    def _free_parts(self, pks: U64) -> None:
        """Leftovers that joined these pairs stand alone again."""
        at = self.locate_many(pks)
        rows = self.read(at)
        grown = (rows["flags"] & HAS_PARTS) != 0
        if not grown.any():
            return
        self.ask(rows[grown])
        found = [self._parts_of(row) for row in rows[grown]]
        spots = At(np.concatenate([f.numbers for f in found]), np.concatenate([f.places for f in found]))
        parts = self.read(spots)
        parts["part_of"] = 0
        parts["flags"] &= ~np.uint16(PART)
        names = np.where(parts["bkey"] != 0, parts["bkey"], parts["lkey"])
        self.write(spots, parts)
        self._rejoin(names)
        at = self.locate_many(rows["pk"][grown])
        mine = self.read(at)
        mine["flags"] &= ~np.uint16(HAS_PARTS)
        self.write(at, mine)

    def _parts_of(self, row: np.void) -> At:
        times = [int(row[f]) for f in PAIRING_TIMES if row[f] != NO_TS]
        far = self.far_ns()
        numbers: list[int] = []
        places: list[int] = []
        for number in self.numbers_near(min(times) - far, max(times) + far, self.cells[int(row["sym"])].slack):
            r = self.shelf(number).rows
            hit = np.flatnonzero((r["part_of"] == row["pk"]) & ((r["flags"] & (DEAD | PART)) == PART))
            places += hit.tolist()
            numbers += [number] * len(hit)
        return At(np.array(numbers, np.int64), np.array(places, np.int64))

    def _part(self, pks: U64) -> None:
        """Pairs by time among these rows are split."""
        at = self.locate_many(pks)
        rows = self.read(at)
        timed = rows["how"] > BY_ID
        if not timed.any():
            return
        at, rows = at.only(timed), rows[timed]
        self.ask(rows)
        live, texts = taken_off(rows, LIVE), self.texts(at)
        live["parent"] = live["link"] = 0
        first, second = _texts_apart(texts)
        clear(rows, LIVE)
        rows["flags"] &= ~np.uint16(AMBIGUOUS)
        for i in np.flatnonzero(first != texts).tolist():
            self.shelf(int(at.numbers[i])).retext(int(at.places[i]), first[i])
        names = np.concatenate([rows["bkey"], live["lkey"]])
        self.write(at, rows)
        self.append(live, second)
        self._rejoin(names)

    def _rejoin(self, names: U64) -> None:
        """Sides that lay apart return to the rows of their names."""
        at = self.locate_many(names ^ ASIDE)
        found = at.places >= 0
        if not found.any():
            return
        apart = self.read(at.only(found))
        self.kill(at.only(found))
        for book in BOOKS:
            w = apart[KEY[book]] != 0
            if w.any():
                back = apart[w]
                back[KEY[book]] = names[found][w]
                home = self.locate_many(back[KEY[book]])
                rows = self.read(home)
                put_on(rows, back, book)
                self.write(home, rows)

    # --- joined and stripped --------------------------------------------------------------------------------------

    def join(self, joins: list[Join]) -> None:
        """Make these pairs; none of their executions is part of another."""
        timed = [j for j in joins if j.how != BY_ID]
        if timed:
            self._join_timed(timed)
        for j in joins:
            if j.b_parts or j.l_parts:
                self._join_parts(j)

    def _join_timed(self, joins: list[Join]) -> None:
        b, l = np.array([j.b for j in joins], np.uint64), np.array([j.l for j in joins], np.uint64)
        self._set_aside(b, LIVE)
        self._set_aside(l, BACKTEST)
        at_b, at_l = self.locate_many(b), self.locate_many(l)
        rows, live = self.read(at_b), self.read(at_l)
        texts, others = self.texts(at_b), self.texts(at_l)
        self.kill(at_l)
        live["parent"] = live["link"] = 0  # of an order that is an execution by itself neither is asked any more
        put_on(rows, live, LIVE)
        rows["how"] = [j.how for j in joins]
        rows["flags"] |= np.array([AMBIGUOUS if j.ambiguous else 0 for j in joins], np.uint16)
        for i in np.flatnonzero((others != "") & (others != texts)).tolist():
            self.shelf(int(at_b.numbers[i])).retext(int(at_b.places[i]), f"{texts[i]}{TWO_IDS}{others[i]}")
        self.places.put_many(l, at_b.numbers)
        self.write(at_b, rows)

    def _set_aside(self, names: U64, book: str) -> None:
        """Of rows that shall be one book's execution alone, the other side (no execution) lies apart."""
        at = self.locate_many(names)
        rows = self.read(at)
        w = rows[KEY[book]] != 0
        if not w.any():
            return
        rows, at = rows[w], at.only(w)
        apart, texts = taken_off(rows, book), self.texts(at)
        apart[KEY[book]] ^= ASIDE
        clear(rows, book)
        self.write(at, rows)
        self.append(apart, texts)

    def _join_parts(self, j: Join) -> None:
        for names, other in ((j.b_parts, LIVE), (j.l_parts, BACKTEST)):
            if names:
                self._set_aside(np.array(names, np.uint64), other)
        at = self.locate_many(np.array([*j.b_parts, *j.l_parts], np.uint64))
        home = self.locate_many(np.array([j.b], np.uint64))
        row, parts = self.read(home), self.read(at)
        parts["part_of"] = row["pk"]
        parts["flags"] |= PART
        with_parts(row, parts, self.suspect_bps())
        self.write(home, row, derived=True)
        self.write(self.locate_many(np.array([*j.b_parts, *j.l_parts], np.uint64)), parts)

    def strip(self, names: U64, book: str) -> Rows:
        """Take one book's side off the rows of these names; what is left stands alone. Returns what was taken."""
        self.open(names)
        at = self.locate_many(names)
        at = at.only(at.places >= 0)
        rows = self.read(at)
        w = rows[KEY[book]] != 0
        at, rows = at.only(w), rows[w]
        gone = taken_off(rows, book)
        clear(rows, book)
        stays = (rows[KEY[OTHER[book]]] != 0) & (rows[KEY[OTHER[book]]] == rows["pk"])
        self.write(at.only(stays), rows[stays])
        self.kill(at.only(~stays))
        return gone if len(gone) else blank(0)

    def rewrite(self, shelf: Shelf, places: NDArray[np.int64], rows: Rows) -> None:
        """Put back rows of which `alpha` was changed, in place; a pair with parts is measured anew with them."""
        at = At(np.full(len(places), shelf.number), places)
        joined = (rows["flags"] & JOINED_BY_TIME) != 0
        self.write(at.only(~joined), rows[~joined])
        for row in rows[joined]:
            name = row["bkey"] or row["lkey"]
            self.write(self.locate_many(np.array([name], np.uint64)), np.array([row]), derived=True)
            self._measure_whole(row["part_of"] if int(row["flags"]) & PART else row["pk"])

    def _measure_whole(self, pk: np.uint64) -> None:
        home = self.locate_many(np.array([pk], np.uint64))
        row = self.read(home)
        with_parts(row, self.read(self._parts_of(row[0])), self.suspect_bps())
        self.write(home, row, derived=True)

    # --- how far a pair reaches -------------------------------------------------------------------------------------

    def far_ns(self) -> int:
        gap, tolerance = self.gap_ns()
        return max(reach(gap, tolerance), gap)

    def gap_ns(self) -> tuple[int, int]:
        """(gap, tolerance) of this strategy in ns."""
        timeframe = self.parameters.of(self.strategy).timeframe
        m = self.parameters.matching
        return round((timeframe / 2 if timeframe else m.gap) * 1e9), round(m.tolerance * 1e9)


def _texts_apart(texts: Texts) -> tuple[Texts, Texts]:
    """The trade ids of both books of pairs by time."""
    first, second = texts.copy(), texts.copy()
    for i, text in enumerate(texts.tolist()):
        a, sep, b = text.partition(TWO_IDS)
        if sep:
            first[i], second[i] = a, b
    return first, second
