"""The summaries of one strategy's shelves in order, and what they add up to over hours, quarters of a day, days and months.

1. A stretch is a whole, aligned number of shelves. Its sums are made from those of the stretches below when somebody asks, and let go of when
   a shelf of it is summed anew: a look at a window costs what changed, not what the window holds.
2. It answers as a dict of shelf number -> `ShelfSummary` does; writing through it is what keeps the order, the sums and the log true.
3. `changed` tells a reader what was summed anew since it asked last; each reader keeps its own mark. A mark that is too old gets None: all.
4. Nothing here knows windows, thresholds or clocks.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from parityd.core.changes import Changes
from parityd.core.summary import ShelfSummary, Summary, total

SPANS = (1, 4, 24, 96, 32 * 96)
"""Shelves in a stretch of each level; the shelf itself is level 0."""
KINDS = range(4)
Span = tuple[int, int]


class Stretch:
    """Sums of several shelves, by the four classes of their rows, with the span of trade times of each ((0, 0): none)."""

    __slots__ = ("parts", "spans")

    def __init__(self, below: list["ShelfSummary | Stretch"]) -> None:
        self.parts: list[Summary] = [total(one.parts[kind] for one in below if one.spans[kind] != (0, 0)) for kind in KINDS]
        self.spans: list[Span] = [_span([one.spans[kind] for one in below]) for kind in KINDS]


def _span(spans: list[Span]) -> Span:
    known = [span for span in spans if span != (0, 0)]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else (0, 0)


class Summaries(dict[int, ShelfSummary]):
    """Shelf number -> its summary."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[int] = []
        self._sums: list[dict[int, Stretch]] = [{} for _ in SPANS]
        self._changes = Changes()

    def __setitem__(self, number: int, summary: ShelfSummary) -> None:
        if number not in self:
            if not self.order or number > self.order[-1]:
                self.order.append(number)
            else:
                insort(self.order, number)
        super().__setitem__(number, summary)
        self._note(number)

    def __delitem__(self, number: int) -> None:
        super().__delitem__(number)
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
        return self.order[bisect_left(self.order, first) : bisect_right(self.order, last)]

    def stretch(self, level: int, index: int) -> ShelfSummary | Stretch:
        """The sums of one aligned stretch (of a shelf, its summary)."""
        if level == 0:
            return self[index]
        found = self._sums[level].get(index)
        if found is None:
            found = self._sums[level][index] = Stretch([self.stretch(level - 1, k) for k in self.below(level, index)])
        return found

    def below(self, level: int, index: int, first: int = -(2**62), last: int = 2**62) -> list[int]:
        """The stretches of the next finer level that hold any of the shelves first..last."""
        span, fine = SPANS[level], SPANS[level - 1]
        order, end = self.order, min((index + 1) * span - 1, last)
        at, stop = bisect_left(order, max(index * span, first)), bisect_right(order, end)
        if level == 1:
            return order[at:stop]
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
