"""The summaries of one strategy's shelves in order, and what they add up to over hours, quarters of a day, days and months.

1. A stretch is a whole, aligned number of shelves. Its sums are made from those of the stretches below when somebody asks, and let go of when
   a shelf of it is summed anew: a look at a window costs what changed, not what the window holds.
2. It answers as a dict of shelf number -> `ShelfSummary` does; writing through it is what keeps the order, the sums and the log true.
3. `changed` tells a reader what was summed anew since it asked last; each reader keeps its own mark. A mark that is too old gets None: all.
4. What is stored (`recall`) is read, a day at a time, when somebody asks, and let go of again (`trim`); its numbers alone are always in memory.
5. Nothing here knows windows, thresholds or clocks.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, MutableMapping

from parityd.core.changes import Changes
from parityd.core.rows import NOWHEN
from parityd.core.summary import ShelfSummary, Summary, total

SPANS = (1, 4, 24, 96, 32 * 96)
"""Shelves in a stretch of each level; the shelf itself is level 0."""
KINDS = range(4)
A_DAY = 96
SUMMED = 45 * A_DAY
"""Shelves behind the newest whose sums of hours and days are kept."""
Span = tuple[int, int]
Load = Callable[[int, int], Iterable[tuple[int, ShelfSummary]]]
"""The stored summaries of the shelves first..last."""


class Stretch:
    """Sums of several shelves, by the four classes of their rows, with the span of trade times of each ((0, 0): none)."""

    __slots__ = ("parts", "spans")

    def __init__(self, below: list["ShelfSummary | Stretch"]) -> None:
        self.parts: list[Summary] = [total(one.parts[kind] for one in below if one.spans[kind] != (0, 0)) for kind in KINDS]
        self.spans: list[Span] = [_span([one.spans[kind] for one in below]) for kind in KINDS]


def _span(spans: list[Span]) -> Span:
    known = [span for span in spans if span != (0, 0)]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else (0, 0)


class Summaries(MutableMapping[int, ShelfSummary]):
    """Shelf number -> its summary."""

    def __init__(self) -> None:
        self.order = array("q")
        self._held: dict[int, ShelfSummary] = {}
        self._load: Load | None = None
        self._sums: list[dict[int, ShelfSummary | Stretch]] = [{} for _ in SPANS]
        self._changes = Changes()

    def recall(self, load: Load, numbers: "array[int] | None" = None) -> None:
        """What is here is stored, and read by `load`; `numbers`: those of before, sorted."""
        self._load = load
        if numbers is not None:
            self.order = numbers

    @property
    def version(self) -> int:
        """Another one wherever anything was summed anew or dropped."""
        return self._changes.version

    @property
    def first(self) -> int | None:
        """The first shelf with a time."""
        at = bisect_right(self.order, NOWHEN)
        return self.order[at] if at < len(self.order) else None

    def trim(self, room: int) -> None:
        """Where more than `room` summaries are in memory, let go of the oldest shelves' and of the sums of old stretches. All are stored."""
        if self._load is None or len(self._held) <= room:
            return
        for number in sorted(self._held)[: len(self._held) - room // 2]:
            del self._held[number]
        for level, table in enumerate(self._sums[:-1]):
            oldest = self.order[-1] // SPANS[level] - SUMMED // SPANS[level] if self.order else 0
            for index in [index for index in table if index < oldest]:
                del table[index]

    def __getitem__(self, number: int) -> ShelfSummary:
        found = self._held.get(number)
        return found if found is not None else self._read(number)

    def _read(self, number: int) -> ShelfSummary:
        if self._load is None or number not in self:
            raise KeyError(number)
        first = number // A_DAY * A_DAY
        for other, summary in self._load(first, first + A_DAY - 1):
            self._held.setdefault(other, summary)
        return self._held[number]

    def __contains__(self, number: object) -> bool:
        if number in self._held:
            return True
        at = bisect_left(self.order, number)  # type: ignore[call-overload]
        return bool(at < len(self.order) and self.order[at] == number)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order.tolist())

    def __setitem__(self, number: int, summary: ShelfSummary) -> None:
        if number not in self:
            if not self.order or number > self.order[-1]:
                self.order.append(number)
            else:
                insort(self.order, number)
        self._held.pop(number, None)
        self._held[number] = summary
        self._note(number)

    def __delitem__(self, number: int) -> None:
        if number not in self:
            raise KeyError(number)
        self._held.pop(number, None)
        del self.order[bisect_left(self.order, number)]
        self._note(number)

    def _note(self, number: int) -> None:
        for level in range(1, len(SPANS)):
            self._sums[level].pop(number // SPANS[level], None)
        self._changes.note(number)

    def changed(self, mark: int) -> tuple[list[int] | None, int]:
        """(numbers summed anew or dropped since the mark, sorted; None: any may have been; the mark for the next time)."""
        numbers, now = self._changes.since(mark)
        return None if numbers is None else sorted(set(numbers)), now

    def between(self, first: int, last: int) -> list[int]:
        """The shelf numbers first..last that there are."""
        return self.order[bisect_left(self.order, first) : bisect_right(self.order, last)].tolist()

    def stretch(self, level: int, index: int) -> ShelfSummary | Stretch:
        """The sums of one aligned stretch (of a shelf, its summary)."""
        if level == 0:
            return self[index]
        found = self._sums[level].get(index)
        if found is None:
            below = [self.stretch(level - 1, k) for k in self.below(level, index)]
            found = self._sums[level][index] = below[0] if len(below) == 1 else Stretch(below)
        return found

    def below(self, level: int, index: int, first: int = -(2**62), last: int = 2**62) -> list[int]:
        """The stretches of the next finer level that hold any of the shelves first..last."""
        span, fine = SPANS[level], SPANS[level - 1]
        order, end = self.order, min((index + 1) * span - 1, last)
        at, stop = bisect_left(order, max(index * span, first)), bisect_right(order, end)
        if level == 1:
            return order[at:stop].tolist()
        found = []
        while at < stop:
            k = order[at] // fine
            found.append(k)
            at = bisect_left(order, (k + 1) * fine, at, stop)
        return found

    def over(self, first: int, last: int) -> Iterator[int]:
        """The coarsest stretches that hold any of the shelves first..last."""
        at, span = bisect_left(self.order, first), SPANS[-1]
        while at < len(self.order) and self.order[at] <= last:
            index = self.order[at] // span
            yield index
            at = bisect_left(self.order, (index + 1) * span)
