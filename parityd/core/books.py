"""One strategy's executions: taken in, joined, kept on their shelves (JUDGEMENT 2).

1. Joining by id is a look-up by name, whole batches at a time; pairs by time are made by `pairing` and opened again here, before
   anything about their executions changes.
2. The rows are a function of the records, not of their order: what the next record of a name finds is what it would have found first.
3. A name lies on one row. Where a pair by time needs the place of a side that has no execution (a decision, an order), that side lies apart
   (`ASIDE`) until the pair is opened.
4. Nothing here knows of thresholds, clocks or files.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.attribution import with_parts
from parityd.core.fresh import Fresh
from parityd.core.hashing import U64, mix
from parityd.core.index import Places
from parityd.core.joining import absorb, batch
from parityd.core.matching import reach
from parityd.core.parameters import Parameters
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.rows import (
    AMBIGUOUS,
    B_FILLS,
    B_ID,
    BY_ID,
    DEAD,
    HAS_PARTS,
    L_ID,
    PAIRING_TIMES,
    PART,
    TWO_IDS,
    Rows,
    Shelf,
    Texts,
    blank,
)  # fmt: skip
from parityd.core.shelves import NEAR_NS, At, Load, Shelves, Slack, distances
from parityd.core.sides import KEY, OTHER, TRADE, Presence, add, clear, executed, nameless, put_on, taken_off, without_execution
from parityd.core.text import TextColumn

Part = tuple[Rows | Fresh, Texts | TextColumn | list[str]]  # rows and their trade ids
BOOKS = (BACKTEST, LIVE)
ASIDE = np.uint64(0xA51DE0FF5E7A51DE)
JOINED_BY_TIME = PART | HAS_PARTS


class Cell(msgspec.Struct):
    """What is known of one symbol: do the books share ids, is there an execution without one, which books trade it."""

    ids_shared: bool = False
    idless: bool = False
    backtest: bool = False
    live: bool = False
    slack: Slack = msgspec.field(default_factory=Slack)


class RunSpan(msgspec.Struct, frozen=True):
    """A backtest run and what it covers: [start, end) ns; `symbol` "" = all."""

    run_id: str
    created: int
    start: int
    end: int
    symbol: str = ""


class Join(NamedTuple):
    """A pair to be made of the executions of these names."""

    b: int
    l: int
    how: int
    ambiguous: bool
    b_parts: tuple[int, ...] = ()
    l_parts: tuple[int, ...] = ()


class Books(Shelves):
    """The rows of one strategy."""

    def __init__(self, strategy: str, parameters: Parameters, places: Places, load: Load) -> None:
        super().__init__(strategy, parameters, places, load)
        self.cells: dict[int, Cell] = {}
        self.runs: list[RunSpan] = []
        self.touched: dict[tuple[int, int], list[NDArray[np.int64]]] = {}  # (symbol, side) -> times to pair again
        self.overruled: list[Rows] = []  # simulated executions that fills replaced, for the ledgers

    # --- taking in ------------------------------------------------------------------------------------------------

    def absorb(self, backtest: Part | None, live: Part | None) -> None:
        """Rows of one batch, each with one side filled; names may repeat and may be known."""
        parts = {
            book: batch(self.places, book, *_given(part), np.zeros(len(part[0]), np.int64))
            for book, part in ((BACKTEST, backtest), (LIVE, live))
            if part is not None and len(part[0])
        }
        absorb([self], parts)

    def merge_known(self, book: str, rows: Fresh, texts: Texts) -> NDArray[np.bool_]:
        """Merge what belongs to rows that lie here; which of these did."""
        keys = rows[KEY[book]]
        at = self.locate_many(keys)
        hit = at.places >= 0
        if hit.any():
            loose = self.loose(at.only(hit))
            if loose.any():
                self.open(keys[hit][loose])
                at = self.locate_many(keys)
            self._merge(book, at.only(hit), rows[hit], texts[hit])
        return hit

    def _merge(self, book: str, at: At, new: Fresh, texts: Texts) -> None:
        rows = self.read(at)
        lacks = rows[KEY[book]] == 0
        if lacks.all():
            put_on(rows, new, book)
        elif lacks.any():
            mine = rows[lacks]
            put_on(mine, new[lacks], book)
            rows[lacks] = mine
        if not lacks.all():
            mine = rows[~lacks]
            self._overrule(add(mine, new[~lacks], book))
            rows[~lacks] = mine
        for i in np.flatnonzero((rows["tid_len"] == 0) & (texts != "")).tolist():
            self.shelf(int(at.numbers[i])).retext(int(at.places[i]), texts[i])
        self.write(at, rows)

    def _overrule(self, rows: Rows) -> None:
        if len(rows):
            self.overruled.append(rows)

    def fills_overrule(self, rows: Rows | Fresh) -> None:
        """A decision whose id has fills in the backtest, be it of the other side, is no execution. `rows`: backtest sides just absorbed."""
        rows = rows[rows["b_trade"] != 0]
        if len(rows) == 0:
            return
        own = mix(rows["b_trade"], rows["side"].astype(np.int64).view(np.uint64))
        opposite = mix(rows["b_trade"], (-rows["side"].astype(np.int64)).view(np.uint64))
        names = np.unique(np.concatenate([own, opposite]))
        at = self.locate_many(names)
        found = self.read(at.only(at.places >= 0))
        filled = np.unique(found["b_trade"][(found["flags"] & B_FILLS) != 0])
        vain = executed(found, BACKTEST) & ((found["flags"] & B_FILLS) == 0) & np.isin(found["b_trade"], filled)
        if vain.any():
            names = found["bkey"][vain]
            self.open(names)
            at = self.locate_many(names)
            mine = self.read(at)
            self._overrule(taken_off(mine, BACKTEST))
            without_execution(mine)
            self.write(at, mine)
            self.recheck(np.unique(mine["sym"]).tolist())

    # --- what rows tell -------------------------------------------------------------------------------------------

    def suspect_bps(self) -> float:
        """The price difference beyond which a trade of this strategy is suspect."""
        return self.parameters.of(self.strategy).thresholds.suspect_bps

    def note(self, rows: Rows | Fresh) -> None:
        """Learn from new or changed rows, and ask for pairing by time where that can change."""
        if len(rows) == 0:
            return
        syms = np.ascontiguousarray(rows["sym"])
        present = np.unique(syms).tolist()
        if not (nameless(rows, BACKTEST) | nameless(rows, LIVE)).any():
            near = int(distances(rows).max())
            if near <= NEAR_NS and self.nothing_new(present, near):
                return
        if len(present) == 1:
            self._note_symbol(present[0], rows)
            return
        for sym in present:
            self._note_symbol(sym, rows[syms == sym])

    def nothing_new(self, syms: Iterable[int], near: int) -> bool:
        """Whether these symbols' books are known to share ids and to hold nothing without one: then rows with ids, whose times lie within `near`
        ns of their trade times, need no more than that to be remembered.
        """
        cells = [self.cells.get(sym) for sym in syms]
        if not all(c is not None and c.backtest and c.live and c.ids_shared and not c.idless for c in cells):
            return False
        for c in cells:
            if c is not None and c.slack.near < near:
                c.slack.near = near
        return True

    def learn(self, sym: int, found: Presence, rows: Callable[[], Rows | Fresh]) -> None:
        """As `note` of these rows of one symbol; they are looked at only where that needs more than what was found in them."""
        cell = self.cells.get(sym)
        known = cell or Cell()
        idless, backtest, live = known.idless or found.idless, known.backtest or found.backtest, known.live or found.live
        shared = known.ids_shared or (backtest and live and found.by_id)
        if found.near > NEAR_NS or (backtest and live and (idless or not shared)):
            self._note_symbol(sym, rows())
            return
        turned, known.ids_shared = shared and not known.ids_shared, shared
        known.idless, known.backtest, known.live = idless, backtest, live
        known.slack.near = max(known.slack.near, found.near)
        self.cells[sym] = known
        if turned and cell is not None:
            self._ask_all(sym, only_by_time=True)

    def _note_symbol(self, sym: int, r: Rows | Fresh) -> None:
        first = sym not in self.cells  # then these are all the rows of the symbol
        cell = self.cells.setdefault(sym, Cell())
        b, l = executed(r, BACKTEST), executed(r, LIVE)
        if not cell.idless:
            cell.idless = bool((((r["flags"] & B_ID) == 0) & b | ((r["flags"] & L_ID) == 0) & l).any())
        cell.backtest = cell.backtest or bool(b.any())
        cell.live = cell.live or bool(l.any())
        cell.slack.learn(r[b | l])
        if not cell.ids_shared and cell.backtest and cell.live and (bool((r["how"] == BY_ID).any()) or self._id_across(r[b | l])):
            cell.ids_shared = True
            if not first:
                self._ask_all(sym, only_by_time=True)
        if cell.backtest and cell.live and (cell.idless or not cell.ids_shared):
            self.ask(r[b | l])

    def _id_across(self, rows: Rows | Fresh) -> bool:
        """Whether the other book knows one of these ids on the other side."""
        for book in BOOKS:
            other = OTHER[book]
            r = rows[(rows[TRADE[book]] != 0) & executed(rows, book)]
            names = mix(r[TRADE[book]], (-r["side"].astype(np.int64)).view(np.uint64))
            there = self.read_names(names)
            if bool((executed(there, other) & np.isin(there[KEY[other]], names)).any()):
                return True
        return False

    def ask(self, rows: Rows | Fresh) -> None:
        """These rows, and what they can reach, must be paired again."""
        times = [rows[f] for f in PAIRING_TIMES]
        for side in np.unique(rows["side"]).tolist():
            mine = rows["side"] == side
            for sym in np.unique(rows["sym"][mine]).tolist():
                w = mine & (rows["sym"] == sym)
                t = np.unique(np.concatenate([c[w] for c in times]))
                self.touched.setdefault((sym, side), []).append(t[t != NO_TS])

    def _ask_all(self, sym: int, *, only_by_time: bool = False) -> None:
        """Whether ids are shared has changed: the symbol's executions are asked again; `only_by_time`: those that time joins or may join."""
        for number in sorted({*self.summaries, *self.shelves}):
            r = self.shelf(number).rows
            w = (r["sym"] == sym) & ((r["flags"] & DEAD) == 0)
            if only_by_time:
                w &= ((r["flags"] & JOINED_BY_TIME) != 0) | (r["how"] > BY_ID) | ((r["flags"] & (B_ID | L_ID)) == 0)
            mine = r[w]
            self.ask(mine[executed(mine, BACKTEST) | executed(mine, LIVE)])

    def recheck(self, syms: list[int]) -> None:
        """Executions were taken back: do the books still share ids?"""
        for sym in syms:
            cell = self.cells.get(sym)
            if cell is not None and cell.ids_shared and not self._still_shared(sym):
                cell.ids_shared = False
                self._ask_all(sym)

    def _still_shared(self, sym: int) -> bool:
        ids: dict[str, list[U64]] = {BACKTEST: [], LIVE: []}
        for number in sorted({*self.summaries, *self.shelves}, reverse=True):
            r = self.shelf(number).rows
            mine = r[(r["sym"] == sym) & ((r["flags"] & DEAD) == 0)]
            if (mine["how"] == BY_ID).any():
                return True
            for book in BOOKS:
                ids[book].append(mine[TRADE[book]][executed(mine, book) & (mine[TRADE[book]] != 0)])
        b, l = (np.concatenate(ids[book]) if ids[book] else np.zeros(0, np.uint64) for book in BOOKS)
        return bool(np.isin(b, l).any())

    # --- opened ---------------------------------------------------------------------------------------------------

    def read_names(self, names: U64) -> Rows:
        """The rows of those of these names that are known."""
        at = self.locate_many(names)
        return self.read(at.only(at.places >= 0))

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


def _given(part: Part) -> tuple[Fresh, TextColumn]:
    rows, texts = part
    return Fresh.of(rows), TextColumn.of(texts.tolist() if isinstance(texts, np.ndarray) else texts)


def _texts_apart(texts: Texts) -> tuple[Texts, Texts]:
    """The trade ids of both books of pairs by time."""
    first, second = texts.copy(), texts.copy()
    for i, text in enumerate(texts.tolist()):
        a, sep, b = text.partition(TWO_IDS)
        if sep:
            first[i], second[i] = a, b
    return first, second


__all__ = ["Books", "Cell", "Join", "Load", "Part", "RunSpan"]
