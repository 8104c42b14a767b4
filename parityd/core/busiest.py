"""The largest number of executions in an hour, over weeks of shelves: what a runaway is measured against (JUDGEMENT 4).

1. An hour is any four neighbouring shelves; each book is counted by itself. Missed and unexpected executions are counted, pending ones as well.
2. Counts a shelf are kept as columns and written anew for the shelves that changed: a look costs what is new.
3. What is kept can be made again from the summaries at any time.
"""

import numpy as np
from numpy.typing import NDArray

from parityd.core.stretches import Summaries
from parityd.core.summary import B_ONLY, ID, L_ONLY, TIMED

F64 = NDArray[np.float64]
SPARE = 7 * 96
AN_HOUR = 4


class Busiest:
    """Executions by shelf and book (backtest, live)."""

    def __init__(self) -> None:
        self._first = self._mark = 0
        self._counts = np.zeros((2, 0))
        self._hours = np.zeros((2, 0))  # of each shelf and the three before it

    def hour(self, table: Summaries, first: int, after: int) -> int:
        """The most executions of either book in an hour of the shelves first..after - 1."""
        if after <= first:
            return 0
        changed, self._mark = table.changed(self._mark)
        if changed is None or first < self._first or after > self._first + self._counts.shape[1]:
            self._first, self._counts = first, np.zeros((2, after - first + SPARE))
            self._hours = np.zeros_like(self._counts)
            changed = table.between(first, first + self._counts.shape[1] - 1)
        for number in changed:
            if 0 <= number - self._first < self._counts.shape[1]:
                self._write(number - self._first, np.array(_executions(table, number)))
        begin, end = first - self._first, after - self._first
        edge = self._counts[:, begin : min(begin + AN_HOUR - 1, end)].sum(axis=1).max()  # an hour of which a part lies before
        return int(max(edge, self._hours[:, begin + AN_HOUR - 1 : end].max(initial=0.0)))

    def _write(self, at: int, counts: F64) -> None:
        self._hours[:, at : at + AN_HOUR] += (counts - self._counts[:, at])[:, None]
        self._counts[:, at] = counts


def _executions(table: Summaries, number: int) -> tuple[float, float]:
    if number not in table:
        return 0.0, 0.0
    parts = table[number].parts
    both = parts[ID]["matched"] + parts[TIMED]["matched"]
    return both + parts[B_ONLY]["missed"], both + parts[L_ONLY]["unexpected"]
