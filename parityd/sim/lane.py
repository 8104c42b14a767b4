"""One symbol's way through a backtest: its marks as lists, its state, and its decisions as text.

1. `Lane` holds what the loop needs of a symbol; `quantity`, `state` and `mark` change only with fills and bars.
2. `LaneText` makes everything known beforehand (times, marks) text at once, and what repeats from bar to bar only when it changes: the
   same text as `decision_document.entry_text` gives (a test holds it), at a fraction of the time.
"""

from itertools import accumulate
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.decision_document import (
    NOTHING,
    Decision,
    DecisionSink,
    Execution,
    PositionState,
    decision_text,
    digits,
    execution_text,
    quoted,
    state_text,
)
from parityd.core.instants import SECOND
from parityd.sim.account import decimal
from parityd.sim.bars import Bars
from parityd.sim.result import Track
from parityd.sim.strategy import Product

BATCH = 1024  # decisions between two writes to the log


class Lane:
    """One symbol's way through the run."""

    def __init__(self, bars: Bars, product: Product, lookback: int, keep: int) -> None:
        self.bars, self.product, self.symbol = bars, product, bars.symbol
        self.closes: list[float] = bars.close.tolist()
        self.stamps: list[int] = bars.ts.tolist()
        self.window = lookback or keep
        self.first = lookback - 1 if lookback else 0
        self.multiplier = decimal(product.multiplier)
        self.unit = float(product.multiplier)
        self.quantity = 0.0
        self.mark = self.closes[0] if self.closes else 0.0
        self.state = PositionState()
        self.track = Track(bars.symbol, self.stamps, self.closes, self.window)
        self.sink: DecisionSink | None = None
        self.placed = 0

    def value(self) -> float:
        return self.quantity * self.mark * self.unit


class LaneText:
    """Everything of a lane's log that is known beforehand, made at once: times and marks as text."""

    def __init__(self, lane: Lane, logged: int) -> None:
        ts = lane.bars.ts
        stamps: NDArray[np.datetime64] = ts.view("datetime64[ns]")
        unit: Literal["s", "us", "ns"] = "s" if not (ts % SECOND).any() else "us" if not (ts % 1000).any() else "ns"
        self._times: list[str] = np.datetime_as_string(stamps, unit=unit).tolist()
        raw = msgspec.json.encode(lane.closes)[1:-1].decode()
        self._marks = raw.split(",")
        self._joined = '"' + raw.replace(",", '","') + '"'
        starts = [0, *accumulate(len(m) + 3 for m in self._marks)]
        shown = min(logged, lane.window)
        self._ends = [at - 1 for at in starts[1:]]
        self._starts = [0] * (shown - 1) + starts if shown else self._ends  # of the first mark that a decision shows
        self.made = 0
        self._last: Decision | None = None
        self._last_state: PositionState | None = None
        self._tail = self._state = ""
        self._symbol = quoted(lane.symbol)

    def _tail_of(self, decision: Decision, execution: Execution) -> str:
        return f'","signal_label":{quoted(decision.label)}}},"decision":{decision_text(decision)},"execution":{execution_text(execution)}}}'

    def flush(self, lane: Lane) -> None:
        """Hand the decisions made since the last time to the sink; what repeats from bar to bar is not made again."""
        track, symbol, joined, sink = lane.track, self._symbol, self._joined, lane.sink
        first, last = self.made, len(track.equities)  # of a decision that failed there is none
        if sink is None or first == last:
            return
        bars, done, outcome = slice(first + len(track.warm), last + len(track.warm)), slice(first, last), track.executions.get
        rows: list[str] = []
        columns = zip(self._times[bars], self._marks[bars], self._starts[bars], self._ends[bars], strict=False)
        made = zip(range(first, last), track.decisions[done], track.states[done], track.asked[done], strict=True)
        for (time, mark, start, end), (k, decision, state, equity) in zip(columns, made, strict=True):
            execution = outcome(k)
            if execution is not None:
                self._last, self._tail = None, self._tail_of(decision, execution)
            elif decision is not self._last:
                self._last, self._tail = decision, self._tail_of(decision, NOTHING)
            if state is not self._last_state:
                self._last_state, self._state = state, state_text(state)
            rows.append(
                f'{{"context":{{"timestamp":"{time}Z","symbol":{symbol},"current_mark":"{mark}","recent_marks":[{joined[start:end]}],'
                f'"position_state":{self._state},"equity":"{digits(equity)}{self._tail}'
            )
        self.made = last
        sink.write(",".join(rows), lane.stamps[bars.stop - 1])
