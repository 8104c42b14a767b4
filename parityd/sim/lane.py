"""One symbol's way through a backtest: its marks as lists, its state, and its decisions as text.

1. `Lane` holds what the loop needs of a symbol; `quantity`, `state` and `mark` change only with fills and bars.
2. `LaneText` makes everything known beforehand (times, marks) text at once, and what repeats from bar to bar only when it changes: the
   same text as `decision_document.entry_text` gives (a test holds it), at a fraction of the time.
"""

import math
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
        self.times: list[str] = [f"{t}Z" for t in np.datetime_as_string(stamps, unit=unit).tolist()]
        raw = msgspec.json.encode(lane.closes)[1:-1].decode()
        self.marks = raw.split(",")
        self.joined = raw.replace(",", '","')
        self.offsets = [0, *accumulate(len(m) + 3 for m in self.marks)]
        self.logged = min(logged, lane.window)
        self.symbol = quoted(lane.symbol)
        self.rows: list[str] = []
        self.last: Decision | None = None
        self.tail = self.state_part = self.equity_part = ""
        self.last_state: PositionState | None = None
        self.last_equity = math.nan

    def add(self, i: int, decision: Decision, execution: Execution, state: PositionState, equity: float) -> None:
        """One decision's text; what repeats from bar to bar is not made again."""
        if decision is not self.last or execution is not NOTHING:
            self.last = decision if execution is NOTHING else None
            self.tail = f'","signal_label":{quoted(decision.label)}}},"decision":{decision_text(decision)},"execution":{execution_text(execution)}}}'
        if state is not self.last_state:
            self.last_state, self.state_part = state, state_text(state)
        if equity != self.last_equity:
            self.last_equity, self.equity_part = equity, digits(equity)
        first, offsets = i + 1 - self.logged, self.offsets
        recent = f'"{self.joined[offsets[max(0, first)] : offsets[i + 1] - 3]}"' if self.logged else ""
        self.rows.append(
            f'{{"context":{{"timestamp":"{self.times[i]}","symbol":{self.symbol},"current_mark":"{self.marks[i]}",'
            f'"recent_marks":[{recent}],"position_state":{self.state_part},"equity":"{self.equity_part}{self.tail}'
        )

    def flush(self, lane: Lane, i: int) -> None:
        if self.rows and lane.sink is not None:
            lane.sink.write(",".join(self.rows), lane.stamps[i])
            self.rows.clear()
