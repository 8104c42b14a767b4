"""What is kept of a strategy between two looks so that a look costs what is new: ledger columns, drift streams, compared decisions.

1. All of it can be made again from the rows, the ledger and the stored decisions; nothing here is the truth.
2. Decisions are compared only where both books send them; the earlier ones of the first book are then read again from history.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from parityd.core.columns import DecisionColumns
from parityd.core.decisions import Decisions
from parityd.core.drift_feed import DriftFeed
from parityd.core.keeping import Windows
from parityd.core.parameters import Parameters
from parityd.core.parity import DecisionParity, Parity
from parityd.core.records import BACKTEST, BOOKS, LIVE, NO_TS
from parityd.core.returns import Columns
from parityd.core.strategy import Strategy
from parityd.core.terms import Instruments, Names
from parityd.core.window import DAY_NS

Past = Callable[[str], Iterable[tuple[str, DecisionColumns]]]  # strategy -> (book, decisions) of stored files


class Gauges:
    """One strategy's."""

    def __init__(self, s: Strategy, p: Parameters) -> None:
        terms = p.of(s.name)
        self.windows = Windows()
        self.columns = Columns()
        self.feed = DriftFeed(s.name)
        self.decisions = Decisions(timeframe=terms.timeframe)
        gap, tolerance = s.books.gap_ns()
        self.parity = DecisionParity(self.decisions, gap=gap, tolerance=tolerance, quantity_tolerance=p.matching.quantity_tolerance)
        self.filled = False
        self.saved_ns = 0
        self.written = 0  # rows written when the drift streams were kept up last

    def learn(self, book: str, d: DecisionColumns, s: Strategy, instruments: Instruments, names: Names, past: Past) -> None:
        """Decisions of a turn (new ones, of this strategy)."""
        if book not in s.memory.decided:
            s.memory.decided.append(book)
        if len(s.memory.decided) < len(BOOKS):
            return
        if not self.filled:  # the second book begins to decide: what is stored holds this turn's as well
            self.fill(s, instruments, names, past)
            return
        self.decisions.supersede(s.books.runs, names)
        own = d.only(s.name)
        self.decisions.add(book, own, instruments, _created(book, own, s))

    def fill(self, s: Strategy, instruments: Instruments, names: Names, past: Past) -> None:
        """Read the stored decisions of both books."""
        self.filled = True
        self.decisions.supersede(s.books.runs, names)
        for b, cols in past(s.name):
            own = cols.only(s.name)
            if len(own):
                self.decisions.add(b, own, instruments, _created(b, own, s))

    def compared(self, s: Strategy) -> Parity:
        """Counts of the 24 h up to what both watermarks have reached."""
        reached = min(s.memory.pulses[b].watermark for b in (LIVE, BACKTEST))
        return self.compared_in(s, max(reached - DAY_NS, s.memory.line), reached)

    def compared_in(self, s: Strategy, start: int, end: int) -> Parity:
        """Counts of [start, end] (ns), as far as both watermarks have come; none where the decisions of that time are no longer held."""
        reached = min(s.memory.pulses[b].watermark for b in (LIVE, BACKTEST))
        if not self.filled or reached == NO_TS:
            return Parity()
        self.parity.refresh(s.memory.scales)
        return self.parity.window(start, end, reached, s.memory.sends_holds)


def _created(book: str, d: DecisionColumns, s: Strategy) -> NDArray[np.int64] | None:
    if book != BACKTEST or not s.books.runs:
        return None
    table = {r.run_id: r.created for r in s.books.runs}
    return np.fromiter((table.get(x, NO_TS) for x in d.run_id), np.int64, len(d))
