"""Which trades a judgement is made from: what is settled, the evidence window, days (JUDGEMENT 2 and 3).

1. Settled: joined by id; joined by time once both watermarks are past; in one book only once the other book's watermark is past, or by the grace.
   While a file waits in the spool nothing settles by the grace.
2. The window is the 24 h that end at the newest settled trade, reaching further back until it holds `min_trades`, at most 30 days, and
   never before the line drawn by a reset.
3. Stretches wholly inside and wholly settled are taken as they were summed; only shelves that an edge or a watermark cuts are summed anew.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.books import Books
from parityd.core.fresh import Fresh
from parityd.core.parameters import Parameters
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.rows import SHELF_NS, Rows, shelf_of
from parityd.core.strategy import Strategy
from parityd.core.stretches import KINDS, SPANS, Stretch
from parityd.core.summary import B_ONLY, ID, L_ONLY, TIMED, ShelfSummary, Summary, classes, summarise, total

DAY_NS = 86_400 * 1_000_000_000
LONGEST = 30 * DAY_NS
NEVER = -(2**62)


class Settling(msgspec.Struct, frozen=True):
    """Up to which trade time each class of rows is settled (inclusive, ns)."""

    timed: int
    b_only: int
    l_only: int
    ids: int = 2**62

    def until(self, kind: int) -> int:
        return (self.ids, self.timed, self.b_only, self.l_only)[kind]


def settling(s: Strategy, p: Parameters, now: int, *, waiting: bool, backlog: bool = False) -> Settling:
    """From watermarks, grace and the clock. `waiting`: a file waits in the spool; `backlog`: only what both watermarks have passed counts."""
    tolerance, late_ns = round(p.matching.tolerance * 1e9), p.before(s.name, now, p.matching.grace)
    marks = {
        book: s.memory.pulses[book].watermark - tolerance if s.memory.pulses[book].watermark != NO_TS else NEVER
        for book in (LIVE, BACKTEST)
    }

    def late(book: str) -> int:
        promised = s.memory.pulses[book].next_by
        return NEVER if waiting or (promised != NO_TS and promised > late_ns) else late_ns

    timed = max(min(marks[LIVE], marks[BACKTEST]), min(late(LIVE), late(BACKTEST)))
    if backlog:
        both = min(marks.values())
        return Settling(timed=both, b_only=both, l_only=both, ids=both)
    return Settling(timed=timed, b_only=max(marks[LIVE], late(LIVE)), l_only=max(marks[BACKTEST], late(BACKTEST)))


def of_day(until: Settling) -> Settling:
    """As a report takes it: pairs by time count whether or not both watermarks have passed them."""
    return Settling(timed=2**62, b_only=until.b_only, l_only=until.l_only)


def settled_rows(rows: Rows | Fresh, until: Settling) -> NDArray[np.bool_]:
    """Mask of the settled ones."""
    out = np.zeros(len(rows), np.bool_)
    for kind, mask in enumerate(classes(rows)):
        out |= mask & (rows["t"] <= until.until(kind))
    return out


class Window(msgspec.Struct, frozen=True):
    """[start, end], its sums, and how many trades of it still wait."""

    start: int
    end: int
    sums: Summary
    pending: int


def numbers_of(books: Books) -> Sequence[int]:
    """The shelves that hold rows, in order; not to be changed."""
    return books.summaries.order


class _Sums:
    """What a walk over stretches picks up: sums of settled trades, and how many others there are."""

    def __init__(self, books: Books, start: int, end: int, until: Settling | None) -> None:
        self.books, self.start, self.end = books, start, end
        self.first, self.last = shelf_of(start), shelf_of(end)
        self.edges = [end if until is None else min(end, until.until(kind)) for kind in KINDS]
        self.parts: list[Summary] = []
        self.pending = 0

    def walk(self) -> None:
        for index in self.books.summaries.over(self.first, self.last):
            self._visit(len(SPANS) - 1, index)

    def _visit(self, level: int, index: int) -> None:
        first, last = index * SPANS[level], (index + 1) * SPANS[level] - 1
        whole = first * SHELF_NS >= self.start and (last + 1) * SHELF_NS - 1 <= self.end
        if level == 0:
            self._shelf(index, whole=whole)
        elif not (whole and self._take(self.books.summaries.stretch(level, index))):
            for k in self.books.summaries.below(level, index, self.first, self.last):
                self._visit(level - 1, k)

    def _take(self, one: Stretch | ShelfSummary) -> bool:
        """Take a whole stretch, unless a watermark cuts it."""
        spans = [(kind, *one.spans[kind]) for kind in KINDS if one.spans[kind] != (0, 0)]
        if any(low <= self.edges[kind] < high for kind, low, high in spans):
            return False
        for kind, _, high in spans:
            if high <= self.edges[kind]:
                self.parts.append(one.parts[kind])
            else:
                self.pending += int(one.parts[kind].s[:4].sum())
        return True

    def _shelf(self, number: int, *, whole: bool) -> None:
        summary = self.books.summaries[number]
        for kind in KINDS:
            low, high = summary.spans[kind]
            if (low, high) == (0, 0):
                continue
            edge = self.edges[kind]
            if low >= self.start and high <= edge:
                self.parts.append(summary.parts[kind])
            elif whole and low > edge:
                self.pending += int(summary.parts[kind].s[:4].sum())
            elif high >= self.start and low <= self.end:
                r = self.books.shelf(number).rows
                inside = classes(r)[kind] & (r["t"] >= self.start) & (r["t"] <= self.end)
                now = inside & (r["t"] <= edge)
                self.parts.append(summarise(r[now]))
                self.pending += int((inside & ~now).sum())


def summed(books: Books, start: int, end: int, until: Settling | None) -> tuple[Summary, int]:
    """(sums of the settled trades with start <= t <= end, count of the others). `until` None: every pair counts, one-sided ones as settled."""
    found = _Sums(books, start, end, until)
    found.walk()
    return total(found.parts), found.pending


def counted(books: Books, start: int, end: int, until: Settling) -> int:
    """How many executions of [start, end] are settled."""
    found = _Sums(books, start, end, until)
    found.walk()
    return sum(part.settled for part in found.parts)


def moments(books: Books, start: int, end: int, until: Settling) -> tuple[float, float, float]:
    """(n, sum of d, sum of squared d) of the settled matched trades with start <= t <= end."""
    found = _Sums(books, start, end, until)
    found.walk()
    n, d, d2 = (math.fsum(part[name] for part in found.parts) for name in ("n", "d", "d2"))
    return n, d, d2


def newest_settled(books: Books, until: Settling, numbers: Sequence[int]) -> int:
    """Trade time of the newest settled execution, or NO_TS."""
    best = NO_TS
    for number in reversed(numbers):
        if best != NO_TS and (number + 1) * SHELF_NS <= best:
            break
        summary = books.summaries[number]
        for kind in (ID, TIMED, B_ONLY, L_ONLY):
            low, high = summary.spans[kind]
            if (low, high) == (0, 0) or low > until.until(kind):
                continue
            if high <= until.until(kind):
                best = max(best, high)
            else:
                r = books.shelf(number).rows
                mine = r["t"][classes(r)[kind] & (r["t"] <= until.until(kind))]
                best = max(best, int(mine.max())) if len(mine) else best
    return best


def evidence_window(s: Strategy, until: Settling, min_trades: int) -> Window | None:
    """The window of JUDGEMENT 3, or None where nothing is settled."""
    books = s.books
    numbers = numbers_of(books)
    end = newest_settled(books, until, numbers)
    if end == NO_TS:
        return None
    floor = max(end - LONGEST, s.memory.line, s.memory.imported_until + 1 if s.memory.imported_until != NO_TS else NEVER)
    if end < floor:
        return None
    start = max(end - DAY_NS, floor)
    sums, pending = summed(books, start, end, until)
    if sums.settled < min_trades and start > floor:
        start = _reach_back(books, until, numbers, floor, start, min_trades - sums.settled)
        sums, pending = summed(books, start, end, until)
    newer, waiting = summed(books, end + 1, 2**62, until)
    del newer
    return Window(start, end, sums, pending + waiting)


def _reach_back(books: Books, until: Settling, numbers: Sequence[int], floor: int, start: int, missing: int) -> int:
    """The trade time of the `missing`-th settled trade before `start`, or the floor."""
    for number in reversed(numbers[: bisect_right(numbers, shelf_of(start))]):
        if (number + 1) * SHELF_NS <= floor:
            break
        r = books.shelf(number).rows
        t = np.sort(r["t"][settled_rows(r, until) & (r["t"] < start) & (r["t"] >= floor)])
        if len(t) >= missing:
            return int(t[-missing])
        missing -= len(t)
    return floor
