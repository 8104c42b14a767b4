"""The dearest and the cheapest trades of a day, and how much its trade costs vary, gathered piece by piece.

1. Trades are ranked by money; of equal ones the earlier shelf, then the earlier place comes first.
2. A ranked trade is taken off its piece at once, so that no piece is held.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parityd.core.day_rows import Piece
from parityd.core.marks import Marks
from parityd.core.rows import Shelf
from parityd.core.terms import Names
from parityd.core.trade_view import values, view
from parityd.core.window import Settling, settled_rows

WORST = 10
F64 = NDArray[np.float64]
Trades = list[dict[str, Any]]


class Ranking:
    """Of one strategy's settled trades."""

    def __init__(self, until: Settling) -> None:
        self.until = until
        self._n = self._sum = self._squares = 0.0
        self._top: list[tuple[float, int, int, tuple[Shelf, int]]] = []

    def add(self, piece: Piece, money: F64) -> None:
        """See the trades of a piece, with what each of its rows cost."""
        places = np.flatnonzero(settled_rows(piece.rows, self.until))
        if len(places) == 0:
            return
        money = money[places]
        self._squares, self._sum, self._n = (
            self._squares + float((money * money).sum()),
            self._sum + float(money.sum()),
            self._n + len(money),
        )
        order = np.argsort(money)
        for k in {*order[:WORST].tolist(), *order[-WORST:].tolist()}:
            i = int(places[k])
            self._top.append((float(money[k]), *piece.place(i), piece.at(i)))
        self._top.sort(key=lambda one: one[:3])
        self._top[WORST:-WORST] = []

    @property
    def variance(self) -> float:
        """Of the sum of all trades' money."""
        n = self._n
        return max(0.0, self._squares - self._sum * self._sum / n) * n / (n - 1) if n > 1 else 0.0

    def shown(self, strategy: str, marks: Marks, names: Names, end: int) -> tuple[Trades, Trades]:
        """(the trades that cost most, those that earned most)."""

        def seen(found: Iterable[tuple[Shelf, int]]) -> Trades:
            prices = ((shelf, place, float(values(shelf.rows[place : place + 1], marks, end)[0])) for shelf, place in found)
            return [view(shelf, place, strategy, names, price, settled=True) for shelf, place, price in prices]

        top = self._top
        return seen(x[3] for x in reversed(top[-WORST:]) if x[0] > 0), seen(x[3] for x in top[:WORST] if x[0] < 0)
