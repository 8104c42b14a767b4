"""How long things take, in milliseconds.

1. Three ways: market data on its way to us, the order on its way to the market, the notice of the fill on its way back.
2. `LatencyModel`: each uniform between two bounds; each with a small probability a spike of a multiple.
3. `RecordedLatency`: drawn anew from what was recorded, in runs of neighbouring records, so that slow moments stay together.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from parityd.sim.draws import F64, Draws

Bounds = tuple[float, float]


class Latency(NamedTuple):
    """One order's three ways, ms."""

    submit: float
    market_data: float
    notice: float


class Latencies(Protocol):
    """What the simulator asks of a latency model; shape of `draw_many`: (n, 3) in the order of `Latency`."""

    def draw(self, draws: Draws) -> Latency: ...
    def draw_many(self, draws: Draws, n: int) -> F64: ...


def _bounds(name: str, pair: Bounds) -> None:
    if len(pair) != 2 or not 0.0 <= pair[0] <= pair[1]:
        raise ValueError(f"{name}: {pair} is no range of milliseconds")


class LatencyModel(msgspec.Struct, frozen=True, kw_only=True):
    """Uniform with spikes: the reference. Mean of one way = (low + high) / 2 x (1 + p (factor - 1))."""

    submit_ms: Bounds = (50.0, 200.0)
    market_data_ms: Bounds = (5.0, 50.0)
    notice_ms: Bounds = (20.0, 100.0)
    spike_probability: float = 0.05
    spike_factor: float = 5.0

    def __post_init__(self) -> None:
        for name in ("submit_ms", "market_data_ms", "notice_ms"):
            _bounds(name, getattr(self, name))
        if not 0.0 <= self.spike_probability <= 1.0:
            raise ValueError(f"spike_probability: {self.spike_probability} is no probability")

    def _one(self, pair: Bounds, draws: Draws) -> float:
        value = pair[0] + (pair[1] - pair[0]) * draws.one()
        return value * self.spike_factor if draws.one() < self.spike_probability else value

    def draw(self, draws: Draws) -> Latency:
        return Latency(self._one(self.submit_ms, draws), self._one(self.market_data_ms, draws), self._one(self.notice_ms, draws))

    def draw_many(self, draws: Draws, n: int) -> F64:
        u = draws.many(6 * n).reshape(n, 3, 2)
        pairs = np.array([self.submit_ms, self.market_data_ms, self.notice_ms])
        value = pairs[:, 0] + (pairs[:, 1] - pairs[:, 0]) * u[:, :, 0]
        drawn: F64 = np.where(u[:, :, 1] < self.spike_probability, value * self.spike_factor, value)
        return drawn


class RecordedLatency:
    """Recorded latencies, drawn anew by the stationary bootstrap (Politis and Romano, JASA 1994).

    From a record the next one follows with probability 1 - 1 / `mean_run`, else any record at random: each value keeps its frequency,
    and spikes come in runs as they were recorded. `records` has the shape (n, 3): submit, market data, notice, in ms; or (n,): the
    submit way alone, the two others 0.
    """

    def __init__(self, records: Sequence[float] | Sequence[Sequence[float]] | F64, *, mean_run: float = 20.0) -> None:
        table = np.asarray(records, np.float64)
        if table.ndim == 1:
            table = np.column_stack([table, np.zeros((len(table), 2))])
        if table.ndim != 2 or table.shape[1] != 3 or len(table) == 0:
            raise ValueError("records: a column of milliseconds, or three (submit, market data, notice), at least one row")
        if not np.isfinite(table).all() or table.min() < 0.0:
            raise ValueError("records: a latency is negative or not finite")
        if mean_run < 1.0:
            raise ValueError(f"mean_run: {mean_run} is under one record")
        self._table = table
        self._rows = [Latency(*row) for row in table.tolist()]
        self._jump = 1.0 / mean_run
        self._at = -1

    def draw(self, draws: Draws) -> Latency:
        jump, where = draws.one(), draws.one()
        n = len(self._rows)
        self._at = int(where * n) if self._at < 0 or jump < self._jump else (self._at + 1) % n
        return self._rows[self._at]

    def draw_many(self, draws: Draws, n: int) -> F64:
        if n == 0:
            return np.zeros((0, 3))
        u = draws.many(2 * n).reshape(n, 2)
        size = len(self._rows)
        jumps = u[:, 0] < self._jump
        first = (u[:, 1] * size).astype(np.int64)
        if self._at < 0:
            jumps[0] = True
        start = np.maximum.accumulate(np.where(jumps, np.arange(n), -1))
        began = np.where(start >= 0, first[start], self._at)
        at = (began + np.arange(n) - start) % size
        self._at = int(at[-1])
        drawn: F64 = self._table[at]
        return drawn
