"""One strategy's shelves: rows found by name or by time, read, changed and appended, many at once.

1. `At` says where rows lie: (shelf number, place) each. It holds until rows are written or appended again.
2. A row that is written back lies on the shelf of its trade time; whoever wrote it need not know which that is.
3. A search by time takes how far a row's times lie from its trade time as `Slack`: what most rows keep to, and the few shelves with rows
   whose times lie further off (a limit order filled days later, a trade of many days' fills).
4. Shelves that are not in memory are asked of `load`. Nothing here knows what a row means.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.attribution import derive
from parityd.core.fresh import Fresh, as_rows
from parityd.core.grouping import order_by
from parityd.core.hashing import U64
from parityd.core.index import GONE, Places
from parityd.core.parameters import Parameters
from parityd.core.records import NO_TS
from parityd.core.rows import DEAD, PAIRING_TIMES, SHELF_NS, Rows, Shelf, Texts, blank, picked, plain, shelf_of
from parityd.core.stretches import Summaries
from parityd.core.summary import ShelfSummary

I64 = NDArray[np.int64]
Load = Callable[[str, int], Shelf | None]
NEAR_NS = 86_400 * 1_000_000_000
_TIMES = (*PAIRING_TIMES, "b_last")


class At(NamedTuple):
    """Where rows lie; place -1 = nowhere."""

    numbers: I64
    places: I64

    def only(self, mask: NDArray[np.bool_] | I64) -> "At":
        return At(self.numbers[mask], self.places[mask])

    def groups(self) -> Iterator[tuple[int, I64]]:
        """(shelf number, which of these lie on it)."""
        if len(self.numbers) == 0:
            return
        if self.numbers[0] == self.numbers[-1] and (self.numbers == self.numbers[0]).all():
            yield int(self.numbers[0]), np.arange(len(self.numbers))
            return
        order = order_by(self.numbers)
        ordered = self.numbers[order]
        edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        for w in np.split(order, edges):
            yield int(self.numbers[w[0]]), w


def distances(rows: Rows | Fresh) -> I64:
    """How far a time by which each row can be found lies from its trade time, at most (ns)."""
    t = np.ascontiguousarray(rows["t"])
    most = np.zeros(len(t), np.int64)
    for f in _TIMES:
        ts = rows[f]
        if len(ts) and (ts.strides[0] or ts[0] != NO_TS):
            np.maximum(most, np.where(ts == NO_TS, 0, np.abs(ts - t)), out=most)
    return most


class Slack(msgspec.Struct):
    """Where rows lie by whose times one may search: at most `near` ns from these, or on a shelf of `far`, whose rows' times lie in (lo, hi)."""

    near: int = 0
    far: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)

    def learn(self, rows: Rows | Fresh) -> None:
        """See new or changed rows."""
        for f in _TIMES:
            known = rows[f] != NO_TS
            if known.any():
                apart = np.abs(rows[f][known] - rows["t"][known])
                most = int(apart.max())
                if most > NEAR_NS:
                    self._learn_far(as_rows(rows[known][apart > NEAR_NS]))
                    most = int(apart[apart <= NEAR_NS].max(initial=0))
                self.near = max(self.near, most)

    def _learn_far(self, rows: Rows) -> None:
        for row in rows:
            times = [int(row[f]) for f in _TIMES if row[f] != NO_TS]
            number = shelf_of(row["t"])
            lo, hi = self.far.get(number, (times[0], times[0]))
            self.far[number] = min(lo, *times), max(hi, *times)

    def beyond(self, start: int, end: int) -> list[int]:
        """Shelves of `far` that may hold a row with a time in [start, end]."""
        return [number for number, (lo, hi) in self.far.items() if lo <= end and hi >= start]


class Shelves:
    """The rows of one strategy, by shelf."""

    def __init__(self, strategy: str, parameters: Parameters, places: Places, load: Load) -> None:
        self.strategy = strategy
        self.parameters = parameters
        self.places = places
        self.load = load
        self.shelves: dict[int, Shelf] = {}
        self.summaries = Summaries()
        self.dirty: set[int] = set()  # shelves whose rows changed since their summary was made
        self.unsaved: set[int] = set()
        self.changed_days: set[int] = set()
        self.room = 20_000  # rows to be held in memory
        self.written = 0  # rows laid and rows changed since the start
        self._clock = 0
        self._held: dict[int, int] = {}  # rows in memory by shelf, as last counted
        self._rows = 0  # and their sum
        self._used: set[int] = set()  # shelves that may have grown since

    def shelf(self, number: int) -> Shelf:
        self._clock += 1
        found = self.shelves.get(number)
        if found is None:
            found = (self.load(self.strategy, number) if number in self.summaries else None) or Shelf(number)
            self.shelves[number] = found
        found.touched = self._clock
        self._used.add(number)
        return found

    def evict(self) -> None:
        """Let go of the longest untouched stored shelves until at most `room` rows are in memory."""
        if self._counted() <= self.room:
            return
        self._held = {number: shelf.n for number, shelf in self.shelves.items()}
        held, most_rows = sum(self._held.values()), self.room
        for number in sorted(self.shelves, key=lambda k: self.shelves[k].touched):
            if held <= most_rows:
                break
            if number not in self.dirty and number not in self.unsaved:
                held -= self._held.pop(number)
                del self.shelves[number]
        self._rows = held

    def _counted(self) -> int:
        """Rows in memory, found by looking at the shelves that were used since the last time."""
        for number in self._used:
            shelf = self.shelves.get(number)
            now = shelf.n if shelf is not None else 0
            self._rows += now - self._held.get(number, 0)
            self._held[number] = now
        self._used.clear()
        return self._rows

    def mark(self, number: int) -> None:
        self.dirty.add(number)
        self.unsaved.add(number)
        self.changed_days.add(number * SHELF_NS // (86_400 * 1_000_000_000))

    def refresh(self) -> None:
        """Sum the changed shelves anew."""
        for number in sorted(self.dirty):
            self.summaries[number] = ShelfSummary(self.shelf(number).rows)
        self.dirty.clear()

    # --- found ----------------------------------------------------------------------------------------------------

    def rows_between(self, start: int, end: int) -> Iterator[tuple[Shelf, I64]]:
        """Shelves with rows of trade time in [start, end], and the places of the living ones."""
        for number in self._numbers(shelf_of(start), shelf_of(end)):
            shelf = self.shelf(number)
            r = shelf.rows
            yield shelf, np.flatnonzero(((r["flags"] & DEAD) == 0) & (r["t"] >= start) & (r["t"] <= end))

    def _numbers(self, lo: int, hi: int) -> list[int]:
        if hi - lo < len(self.summaries) + len(self.shelves):
            return [k for k in range(lo, hi + 1) if k in self.summaries or k in self.shelves]
        return sorted(k for k in {*self.summaries, *self.shelves} if lo <= k <= hi)

    def numbers_near(self, start: int, end: int, slack: Slack) -> list[int]:
        """Shelves that may hold a row with any of its times in [start, end]."""
        near, far = self._numbers(shelf_of(start - slack.near), shelf_of(end + slack.near)), slack.beyond(start, end)
        return sorted({*near, *far}) if far else near

    def locate(self, key: int) -> tuple[Shelf, int] | None:
        """The living row that carries this name, in either book."""
        number = self.places.get(key)
        if number == GONE:
            return None
        shelf = self.shelf(number)
        place = shelf.find(key)
        return None if place < 0 else (shelf, place)

    def locate_many(self, keys: U64) -> At:
        """Where the rows of these names lie."""
        order = np.argsort(keys)
        numbers = np.empty(len(keys), np.int64)
        numbers[order] = self.places.find(keys[order])
        places = np.full(len(keys), -1)
        for number, w in At(numbers, places).groups():
            if number != GONE:
                places[w] = self.shelf(number).find_many(keys[w])
        return At(numbers, places)

    # --- read and written -----------------------------------------------------------------------------------------

    def read(self, at: At) -> Rows:
        """Copies of these rows."""
        out = blank(len(at.numbers))
        for number, w in at.groups():
            plain(out)[w] = plain(picked(self.shelf(number).view, at.places[w]))
        return out

    def read_names(self, names: U64) -> Rows:
        """The rows of those of these names that are known."""
        at = self.locate_many(names)
        return self.read(at.only(at.places >= 0))

    def texts(self, at: At) -> Texts:
        out = np.empty(len(at.numbers), object)
        for number, w in at.groups():
            out[w] = self.shelf(number).raw_texts(at.places[w])
        return out

    def write(self, at: At, rows: Rows, *, derived: bool = False) -> None:
        """Put changed rows back: in place, or on another shelf where their trade time moved."""
        if len(rows) == 0:
            return
        if not derived:
            derive(rows, self.parameters.of(self.strategy).thresholds.suspect_bps)
        self.written += len(rows)
        stay = rows["t"] // SHELF_NS == at.numbers
        staying = at.only(stay) if not stay.all() else at
        kept = picked(rows, np.flatnonzero(stay)) if not stay.all() else rows
        for number, w in staying.groups():
            self.shelf(number).put(staying.places[w], picked(kept, w))
            self.mark(number)
        self.note(kept)
        if not stay.all():
            moving = at.only(~stay)
            texts = self.texts(moving)
            self.kill(moving)
            self.append(rows[~stay], texts, derived=True)

    def append(self, rows: Rows, texts: Texts, *, derived: bool = False) -> None:
        """New rows, each onto the shelf of its trade time."""
        if len(rows) == 0:
            return
        if not derived:
            derive(rows, self.parameters.of(self.strategy).thresholds.suspect_bps)
            rows["pk"] = np.where(rows["bkey"] != 0, rows["bkey"], rows["lkey"])
        numbers = rows["t"] // SHELF_NS
        for number, w in At(numbers, numbers).groups():
            self.shelf(number).append(picked(rows, w), texts[w])
            self.mark(number)
        self.written += len(rows)
        self.place(rows, numbers)
        self.note(rows)

    def place(self, rows: Rows | Fresh, numbers: I64) -> None:
        """Let their names be found there."""
        b, l = rows["bkey"], rows["lkey"]
        for names, own in ((b, np.flatnonzero(b != 0)), (l, np.flatnonzero((l != 0) & (l != b)))):
            if len(own):
                self.places.put_many(names[own], numbers[own])

    def kill(self, at: At) -> None:
        for number, w in at.groups():
            self.shelf(number).kill(at.places[w])
            self.mark(number)

    def note(self, rows: Rows | Fresh) -> None:
        """Told of all new and changed rows."""
