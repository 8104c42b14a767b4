"""How much waits before a passive order, and how it gets less.

1. `join` says what stands ahead of an order that arrives at a price; `advance` what still stands ahead after trades and after the
   level's size changed. At or under zero means: what is below zero has traded beyond the queue and may fill the order.
2. Aggressive orders have no queue: position 0.
3. `QueueModel` is the reference formula: a count of orders of `mean_size` ahead, eaten by trades only.
4. `ProbabilisticQueue` starts behind the displayed size and lets cancellations ahead of the order count with a probability.
"""

import math
from typing import Literal, Protocol

import msgspec
import numpy as np

from parityd.sim.draws import F64
from parityd.sim.market import MarketConditions


class Queue(Protocol):
    """What the simulator asks of a queue model. Sizes in units of the base."""

    def join(self, market: MarketConditions, level_size: float) -> float: ...
    def advance(self, ahead: float, *, traded: float, before: float, after: float) -> float: ...
    def position(self, market: MarketConditions) -> int: ...


def clip(value: float, low: float, high: float) -> float:
    """The value, held between two bounds."""
    return low if value < low else min(value, high)


class QueueModel(msgspec.Struct, frozen=True, kw_only=True):
    """The reference: position = max(1, int(100 max(1, spread_bps / 10) max(1, 100 volatility) / clip(volume_1m / 1e6, 0.5, 2)))."""

    typical: float = 100.0
    mean_size: float = 1.0

    def position(self, market: MarketConditions) -> int:
        """Orders ahead of a passive order."""
        pressure = max(1.0, market.spread_bps / 10.0) * max(1.0, 100.0 * market.volatility)
        return max(1, int(self.typical * pressure / clip(market.volume_1m / 1e6, 0.5, 2.0)))

    def position_many(self, *, spread_bps: F64, volatility: F64, volume_1m: F64) -> F64:
        """The same over arrays."""
        pressure = np.maximum(1.0, spread_bps / 10.0) * np.maximum(1.0, 100.0 * volatility)
        return np.maximum(1.0, np.trunc(self.typical * pressure / np.clip(volume_1m / 1e6, 0.5, 2.0)))

    def join(self, market: MarketConditions, level_size: float) -> float:
        del level_size
        return self.position(market) * self.mean_size

    def advance(self, ahead: float, *, traded: float, before: float, after: float) -> float:
        del before, after
        return ahead - traded


class ProbabilisticQueue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue seen only as the size of its level: where did a cancelled quantity stand?

    After Rigtorp's answer (quant.stackexchange.com, question 3782) in the forms that hftbacktest's documentation, "Order Fill", gives:
    a decrease that no trade explains lay *behind* the order with probability p,

        form 1   p = f(back) / (f(back) + f(front))
        form 2   p = f(back) / f(back + front)
        form 3   p = 1 - f(front / (front + back))          power only

    with f(x) = x^n (`power`) or log(1 + x) (`log`); the expected share ahead, 1 - p, moves the order forward. What the part behind
    cannot have lost comes off the front.
    """

    function: Literal["power", "log"] = "power"
    exponent: float = 3.0
    form: Literal[1, 2, 3] = 1

    def __post_init__(self) -> None:
        if self.function == "log" and self.form == 3:
            raise ValueError("form: 3 stands for power only")

    def _f(self, x: float) -> float:
        return float(x**self.exponent) if self.function == "power" else math.log1p(x)

    def behind(self, front: float, back: float) -> float:
        """Probability that a cancelled quantity lay behind the order."""
        if front <= 0.0:
            return 1.0
        if back <= 0.0:
            return 0.0
        if self.form == 1:
            return self._f(back) / (self._f(back) + self._f(front))
        if self.form == 2:
            return self._f(back) / self._f(back + front)
        return 1.0 - self._f(front / (front + back))

    def position(self, market: MarketConditions) -> int:
        return max(1, int(market.bid_size + market.ask_size) // 2)

    def join(self, market: MarketConditions, level_size: float) -> float:
        del market
        return level_size

    def advance(self, ahead: float, *, traded: float, before: float, after: float) -> float:
        front = ahead - traded
        gone = before - after - traded  # what left the level without a trade
        if front <= 0.0:
            return front  # only trades go past the queue: cancellations may empty it, never fill the order
        if gone <= 0.0:
            return front
        back = max(0.0, before - ahead)
        p = self.behind(front, back)
        moved = (1.0 - p) * gone + max(0.0, p * gone - back)
        return max(0.0, front - moved)
