"""What parityd's own actions took away from the backtest, remembered by symbol and shelf: the allowed ledger is the full one less this.

1. A shelf's cut is a function of its rows and of what was lacking as it began; made again, the old one is put back first.
2. Quantities are integers of 1e-8 units, so that an allowed position returns to exactly zero.
"""

from bisect import bisect_left

import msgspec

from parityd.core.ledger import KEPT


class Taken(msgspec.Struct, array_like=True):
    """Taken off one interval of the ledger: quantity in 1e-8 units, cash, fees."""

    q: int = 0
    cash: float = 0.0
    fees: float = 0.0


class ShelfCut(msgspec.Struct):
    """`lacking`: full less allowed position after the shelf's trades; `taken` by interval of the ledger."""

    lacking: int = 0
    taken: dict[int, Taken] = msgspec.field(default_factory=dict)


class Cut(msgspec.Struct):
    """All cuts of one strategy, by symbol, then shelf; `opened`: the opening positions that they were made with."""

    shelves: dict[int, dict[int, ShelfCut]] = msgspec.field(default_factory=dict)
    opened: dict[int, int] = msgspec.field(default_factory=dict)

    def lacking(self, sym: int, before: int) -> int:
        """What the allowed position lacks as a shelf begins."""
        table = self.shelves.get(sym, {})
        numbers = sorted(table)
        k = bisect_left(numbers, before) - 1
        return table[numbers[k]].lacking if k >= 0 else 0

    def fold(self, newest: int) -> None:
        """Forget what lies before the ledger's own memory, all but the last of each symbol."""
        for table in self.shelves.values():
            old = sorted(number for number in table if number < newest - KEPT)
            for number in old[:-1]:
                del table[number]
