"""One strategy's executions: taken in, joined, kept on their shelves (JUDGEMENT 2).

1. Joining by id is a look-up by name, whole batches at a time; joining by time (`pairing`) re-pairs the cluster that a batch touched.
2. The rows are a function of the records, not of their order: an execution that comes late re-opens exactly the pairs it can reach.
3. A newer run strips the backtest sides that it covers; what was superseded never comes back.
4. Nothing here knows of thresholds, clocks or files: shelves that are not in memory are asked of `load`.
"""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.attribution import derive
from parityd.core.hashing import U64
from parityd.core.index import GONE, Places
from parityd.core.matching import reach
from parityd.core.parameters import Parameters
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.rows import (
    AMBIGUOUS,
    B_FIELDS,
    B_FILLS,
    B_ID,
    BY_ID,
    BY_NONE,
    DEAD,
    HAS_PARTS,
    L_FIELDS,
    L_ID,
    MAKER,
    PART,
    SHELF_NS,
    Rows,
    Shelf,
    blank,
    shelf_of,
)  # fmt: skip
from parityd.core.summary import ShelfSummary

SIDE_FIELDS = {BACKTEST: B_FIELDS, LIVE: L_FIELDS}
KEY = {BACKTEST: "bkey", LIVE: "lkey"}
OTHER = {BACKTEST: LIVE, LIVE: BACKTEST}
LONGEST_SLACK = 7 * 86_400 * 1_000_000_000
Load = Callable[[str, int], Shelf | None]
Part = tuple[Rows, list[str]]  # rows and their trade ids


class Cell(msgspec.Struct):
    """What is known of one symbol: do the books share ids, is there an execution without one, which books trade it."""

    ids_shared: bool = False
    idless: bool = False
    backtest: bool = False
    live: bool = False
    slack: int = 0  # how far a time by which a row is paired lies from its trade time, at most (ns)


class RunSpan(msgspec.Struct, frozen=True):
    """A backtest run and what it covers: [start, end) ns; `symbol` "" = all."""

    run_id: str
    created: int
    start: int
    end: int
    symbol: str = ""


class Books:
    """The rows of one strategy."""

    def __init__(self, strategy: str, parameters: Parameters, places: Places, load: Load) -> None:
        self.strategy = strategy
        self.parameters = parameters
        self.places = places
        self.load = load
        self.shelves: dict[int, Shelf] = {}
        self.summaries: dict[int, ShelfSummary] = {}
        self.dirty: set[int] = set()  # shelves whose rows changed since their summary was made
        self.unsaved: set[int] = set()
        self.cells: dict[int, Cell] = {}
        self.runs: list[RunSpan] = []
        self.touched: dict[tuple[int, int], list[int]] = {}  # (symbol, side) -> times to pair again
        self.changed_days: set[int] = set()
        self._clock = 0
        self._later: list[tuple[str, np.void, str]] = []

    # --- shelves ------------------------------------------------------------------------------------------------

    def shelf(self, number: int) -> Shelf:
        self._clock += 1
        found = self.shelves.get(number)
        if found is None:
            found = (self.load(self.strategy, number) if number in self.summaries else None) or Shelf(number)
            self.shelves[number] = found
        found.touched = self._clock
        return found

    def evict(self, most_rows: int) -> None:
        """Let go of the longest untouched stored shelves until at most so many rows are in memory."""
        held = sum(s.n for s in self.shelves.values())
        for number, shelf in sorted(self.shelves.items(), key=lambda item: item[1].touched):
            if held <= most_rows:
                break
            if number not in self.dirty and number not in self.unsaved:
                held -= shelf.n
                del self.shelves[number]

    def mark(self, number: int) -> None:
        self.dirty.add(number)
        self.unsaved.add(number)
        self.changed_days.add(number * SHELF_NS // (86_400 * 1_000_000_000))

    def refresh(self) -> None:
        """Sum the changed shelves anew."""
        for number in self.dirty:
            self.summaries[number] = ShelfSummary(self.shelf(number).rows)
        self.dirty.clear()

    def rows_between(self, start: int, end: int) -> Iterator[tuple[Shelf, NDArray[np.int64]]]:
        """Shelves with rows of trade time in [start, end], and the places of the living ones."""
        lo, hi = shelf_of(start), shelf_of(end)
        if hi - lo < len(self.summaries) + len(self.shelves):
            numbers = [k for k in range(lo, hi + 1) if k in self.summaries or k in self.shelves]
        else:
            numbers = sorted(k for k in {*self.summaries, *self.shelves} if lo <= k <= hi)
        for number in numbers:
            shelf = self.shelf(number)
            r = shelf.rows
            yield shelf, np.flatnonzero(((r["flags"] & DEAD) == 0) & (r["t"] >= start) & (r["t"] <= end))

    # --- taking in ----------------------------------------------------------------------------------------------

    def absorb(self, backtest: Part | None, live: Part | None) -> None:
        """Rows of one batch, each with one side filled; names may repeat and may be known."""
        fresh: dict[str, Part] = {}
        for book, part in ((BACKTEST, backtest), (LIVE, live)):
            if part is not None and len(part[0]):
                fresh[book] = self._merge_known(book, *part)
        self._insert(fresh.get(BACKTEST), fresh.get(LIVE))
        later, self._later = self._later, []
        for book, row, text in later:
            self.merge_one(book, row, text)

    def _merge_known(self, book: str, rows: Rows, texts: list[str]) -> Part:
        """Merge what belongs to known rows; give back the rest, sorted by name and without repetition."""
        order = np.argsort(rows[KEY[book]], kind="stable")
        rows = rows[order]
        texts = [texts[i] for i in order.tolist()]
        keys: U64 = rows[KEY[book]]
        repeated = np.zeros(len(rows), np.bool_)
        repeated[1:] = keys[1:] == keys[:-1]
        self._later += [(book, rows[i].copy(), texts[i]) for i in np.flatnonzero(repeated).tolist()]
        numbers = self.places.find(keys)
        hit = (numbers != GONE) & ~repeated
        for number in np.unique(numbers[hit]).tolist():
            self._merge_shelf(book, number, rows, texts, np.flatnonzero(hit & (numbers == number)))
        spots = np.flatnonzero(~hit & ~repeated)
        return rows[spots], [texts[i] for i in spots.tolist()]

    def _insert(self, b: Part | None, l: Part | None) -> None:
        """New names of both books: joined by id where they share one, then appended to their shelves."""
        if b is not None and l is not None and len(b[0]) and len(l[0]):
            _, ib, il = np.intersect1d(b[0]["bkey"], l[0]["lkey"], assume_unique=True, return_indices=True)
            if len(ib):
                joined = b[0][ib]
                self._fill_side(LIVE, joined, l[0][il])
                self.append(joined, [b[1][i] for i in ib.tolist()])
                b, l = _without(b, ib), _without(l, il)
        for part in (b, l):
            if part is not None:
                self.append(*part)

    def _fill_side(self, book: str, rows: Rows, new: Rows) -> None:
        """Give rows that lack this book's side that of `new` (same name): joined by id where both are executions."""
        for f in (KEY[book], *SIDE_FIELDS[book]):
            rows[f] = new[f]
        rows["flags"] |= new["flags"]
        rows["side"] = np.where(rows["side"] == 0, new["side"], rows["side"])
        rows["how"] = np.where((rows["b_q"] > 0) & (rows["l_q"] > 0), BY_ID, BY_NONE)
        own, other = (new["ccy"], rows["ccy"]) if book == LIVE else (rows["ccy"], new["ccy"])
        rows["ccy"] = np.where(own != 0, own, other)

    def append(self, rows: Rows, texts: list[str], *, derived: bool = False) -> None:
        """New rows, each onto the shelf of its trade time."""
        if len(rows) == 0:
            return
        if not derived:
            rows = rows.copy()
            derive(rows, self.parameters.of(self.strategy).thresholds.suspect_bps)
            rows["pk"] = np.where(rows["bkey"] != 0, rows["bkey"], rows["lkey"])
        numbers = rows["t"] // SHELF_NS
        self._observe(rows)
        for number in np.unique(numbers).tolist():
            w = np.flatnonzero(numbers == number)
            self.shelf(number).append(rows[w], [texts[i] for i in w.tolist()])
            self.mark(number)
        self._register(rows, numbers)

    def _register(self, rows: Rows, numbers: NDArray[np.int64]) -> None:
        for name in ("bkey", "lkey"):
            own = np.flatnonzero(rows[name] != 0)
            if len(own):
                self.places.put_many(rows[name][own], numbers[own])

    def _observe(self, rows: Rows) -> None:
        """Note what the cells learn from new or changed rows, and which of them ask for pairing by time."""
        for sym in np.unique(rows["sym"]).tolist():
            r = rows[rows["sym"] == sym]
            cell = self.cells.setdefault(sym, Cell())
            b, l = (r["bkey"] != 0) & (r["b_q"] > 0), (r["lkey"] != 0) & (r["l_q"] > 0)
            by_id = r["how"] == BY_ID
            cell.idless |= bool((((r["flags"] & B_ID) == 0) & b | ((r["flags"] & L_ID) == 0) & l).any())
            cell.backtest |= bool(b.any())
            cell.slack = max(cell.slack, _slack(r[b | l]))
            cell.live |= bool(l.any())
            if not cell.ids_shared and bool(by_id.any()):
                cell.ids_shared = True
                self._reopen(sym)
            if cell.backtest and cell.live and (cell.idless or not cell.ids_shared):
                self.ask(r[(b | l) & ((r["flags"] & DEAD) == 0)])

    def ask(self, rows: Rows) -> None:
        """These rows, or what they can reach, must be paired again."""
        for f in ("b_ts", "b_sub", "b_first", "l_dts", "l_sub", "l_first"):
            known = rows[rows[f] != NO_TS]
            for sym, side, t in zip(known["sym"].tolist(), known["side"].tolist(), known[f].tolist(), strict=True):
                self.touched.setdefault((sym, side), []).append(t)

    def _reopen(self, sym: int) -> None:
        """The books turned out to share ids: what was joined by time is asked again."""
        for number in sorted({*self.summaries, *self.shelves}):
            r = self.shelf(number).rows
            self.ask(r[(r["sym"] == sym) & ((r["flags"] & DEAD) == 0) & (r["how"] > BY_ID)])

    # --- one at a time ------------------------------------------------------------------------------------------

    def locate(self, key: int) -> tuple[Shelf, int] | None:
        """The living row that carries this name, in either book."""
        number = self.places.get(key)
        if number == GONE:
            return None
        shelf = self.shelf(number)
        place = shelf.find(key)
        return None if place < 0 else (shelf, place)

    def _merge_shelf(self, book: str, number: int, rows: Rows, texts: list[str], which: NDArray[np.int64]) -> None:
        """Rows whose names lie on one shelf: all plain joins by id at once, the rest one by one."""
        shelf = self.shelf(number)
        key, other = KEY[book], KEY[OTHER[book]]
        places = np.fromiter((shelf.find(k) for k in rows[key][which].tolist()), np.int64, len(which))
        mine = shelf.view[np.maximum(places, 0)]
        plain = (places >= 0) & (mine[key] == 0) & (mine[other] == rows[key][which]) & ((mine["flags"] & (HAS_PARTS | PART)) == 0)
        w = np.flatnonzero(plain)
        if len(w):
            changed = shelf.view[places[w]]
            self._fill_side(book, changed, rows[which[w]])
            self.rewrite(shelf, places[w], changed)
        for i in which[~plain].tolist():
            self.merge_one(book, rows[i], texts[i])

    def rewrite(self, shelf: Shelf, at: NDArray[np.int64], rows: Rows) -> None:
        """Put changed rows back: in place, or on another shelf where their trade time moved."""
        derive(rows, self.parameters.of(self.strategy).thresholds.suspect_bps)
        numbers = rows["t"] // SHELF_NS
        stay = numbers == shelf.number
        shelf.view[at[stay]] = rows[stay]
        shelf.reindex(at[stay])
        self._observe(rows[stay])
        self._register(rows[stay], numbers[stay])
        self.mark(shelf.number)
        moving = np.flatnonzero(~stay)
        if len(moving):
            texts = [shelf.text_of(p) for p in at[moving].tolist()]
            for p in at[moving].tolist():
                shelf.kill(p)
            self.append(rows[moving], texts)

    def merge_one(self, book: str, new: np.void, text: str) -> None:
        """One more row of a name that may be known: added to its side, joined by id, or new."""
        name = int(new[KEY[book]])
        found = self.locate(name)
        if found is None:
            self.append(np.array([new]), [text])
            return
        shelf, place = found
        rows = shelf.view[place : place + 1].copy()
        row = rows[0]
        mine, theirs = int(row[KEY[book]]), int(row[KEY[OTHER[book]]])
        if int(row["flags"]) & (PART | HAS_PARTS):
            self.ask(rows)
        if name not in (mine, theirs):
            raise AssertionError("a name leads to a row that does not carry it")
        if mine not in (0, name):  # the other side has this name, but was paired by time with another execution: the id decides
            self.split(shelf, place)
            self.merge_one(book, new, text)
            return
        if theirs not in (0, name) and book_has_id(book, new):
            self.split(shelf, place)  # paired by time, and now more is known of the name: open, add, pair again
            self.merge_one(book, new, text)
            return
        if mine == 0:
            self._fill_side(book, rows, np.array([new]))
        else:
            add_side(book, row, new)
            row["flags"] |= new["flags"]
            if theirs == name:
                row["how"] = BY_ID if row["b_q"] > 0 and row["l_q"] > 0 else BY_NONE
        if text and not int(row["tid_len"]):
            shelf.retext(place, text)
            row["tid_at"], row["tid_len"] = shelf.view["tid_at"][place], shelf.view["tid_len"][place]
        self.rewrite(shelf, np.array([place]), rows)

    def remove(self, shelf: Shelf, place: int) -> np.void:
        """Take a row off its shelf; its parts are freed."""
        row: np.void = shelf.view[place].copy()
        if int(row["flags"]) & HAS_PARTS:
            self._free_parts(row)
        shelf.kill(place)
        self.mark(shelf.number)
        return row

    def split(self, shelf: Shelf, place: int) -> None:
        """A pair becomes its two executions again."""
        text = shelf.text_of(place)
        row = self.remove(shelf, place)
        for book in (BACKTEST, LIVE):
            if row[KEY[book]]:
                self.append(np.array([one_side(book, row)]), [text])

    def strip(self, shelf: Shelf, place: int, book: str) -> np.void:
        """Take one book's side off a row; what is left stands alone. Returns the row as it was."""
        text = shelf.text_of(place)
        row = self.remove(shelf, place)
        other = OTHER[book]
        if row[KEY[other]]:
            self.append(np.array([one_side(other, row)]), [text])
        return row

    def _free_parts(self, row: np.void) -> None:
        owner, t = int(row["pk"]), int(row["t"])
        far = self.far_ns() * 4
        for shelf, places in self.rows_between(t - far, t + far):
            for p in places[shelf.rows["part_of"][places] == owner].tolist():
                part = shelf.view[p : p + 1].copy()
                part["part_of"] = 0
                part["flags"] &= ~np.uint16(PART)
                self.rewrite(shelf, np.array([p]), part)

    def far_ns(self) -> int:
        gap, tolerance = self.gap_ns()
        return max(reach(gap, tolerance), gap)

    def gap_ns(self) -> tuple[int, int]:
        """(gap, tolerance) of this strategy in ns."""
        timeframe = self.parameters.of(self.strategy).timeframe
        m = self.parameters.matching
        return round((timeframe / 2 if timeframe else m.gap) * 1e9), round(m.tolerance * 1e9)


def _slack(rows: Rows) -> int:
    most = 0
    for f in ("b_first", "l_dts", "l_sub", "l_first"):
        known = rows[f] != NO_TS
        if known.any():
            most = max(most, int(np.abs(rows[f][known] - rows["t"][known]).max()))
    return min(most, LONGEST_SLACK)


def book_has_id(book: str, row: np.void) -> bool:
    return bool(int(row["flags"]) & (L_ID if book == LIVE else B_ID))


def _without(part: Part, gone: NDArray[np.int64]) -> Part:
    keep = np.ones(len(part[0]), np.bool_)
    keep[gone] = False
    return part[0][keep], [part[1][i] for i in np.flatnonzero(keep).tolist()]


def one_side(book: str, row: np.void) -> np.void:
    """Only this book's side of a row, as a row of its own."""
    alone: np.void = blank(1)[0]
    for f in ("sym", "ccy", "side", KEY[book], *SIDE_FIELDS[book]):
        alone[f] = row[f]
    drop = AMBIGUOUS | HAS_PARTS | PART | (B_FILLS | B_ID if book == LIVE else MAKER | L_ID)
    alone["flags"] = int(row["flags"]) & ~drop & 0xFFFF
    return alone


def add_side(book: str, row: np.void, new: np.void) -> None:
    """More of the same execution: sums add, times take the earliest, fills overrule the decision's own simulated price."""
    row["side"] = row["side"] or new["side"]
    row["ccy"] = row["ccy"] or new["ccy"]
    if book == LIVE:
        _add_live(row, new)
        return
    had, more = bool(int(row["flags"]) & B_FILLS), bool(int(new["flags"]) & B_FILLS)
    if had == more and new["b_q"] > 0:
        for f in ("b_q", "b_not", "b_fee"):
            row[f] += new[f]
        row["b_first"] = _least(int(row["b_first"]), int(new["b_first"]))
    elif more:
        for f in ("b_q", "b_not", "b_fee", "b_first"):
            row[f] = new[f]
    decision_first = (had and not more) or (had == more)
    if more and not had and row["b_ts"] != NO_TS:
        decision_first = False
    row["b_ts"] = (
        (new["b_ts"] if had and not more and new["b_ts"] != NO_TS else _least(int(row["b_ts"]), int(new["b_ts"])))
        if decision_first
        else (row["b_ts"] if row["b_ts"] != NO_TS else new["b_ts"])
    )
    row["b_sub"] = _least(int(row["b_sub"]), int(new["b_sub"]))
    if np.isnan(row["b_mark"]) or (had and not more and not np.isnan(new["b_mark"])):
        row["b_mark"] = new["b_mark"]
    row["b_run"] = max(int(row["b_run"]), int(new["b_run"]))


def _add_live(row: np.void, new: np.void) -> None:
    had, more = row["l_q"] > 0, new["l_q"] > 0
    for f in ("l_q", "l_not", "l_fee", "l_mq", "l_aq", "l_tq"):
        row[f] = (row[f] if had else 0.0) + (new[f] if more else 0.0)
    for f in ("unpriced", "n_fills"):
        row[f] += new[f]
    for f in ("l_dts", "l_sub", "l_first"):
        row[f] = _least(int(row[f]), int(new[f]))
    row["l_last"] = max(int(row["l_last"]), int(new["l_last"]))
    row["latency"] = np.fmax(row["latency"], new["latency"])
    if np.isnan(row["l_dm"]):
        row["l_dm"] = new["l_dm"]
    if had and more and not (int(row["flags"]) & int(new["flags"]) & MAKER):
        row["flags"] = int(row["flags"]) & ~MAKER & 0xFFFF
        new["flags"] = int(new["flags"]) & ~MAKER & 0xFFFF


def _least(a: int, b: int) -> int:
    return b if a == NO_TS else a if b == NO_TS else min(a, b)
