"""When an order gets only a part of what it asked for at once.

1. The reference gives probabilities: 10 % for orders without a limit; min(0.8, size x spread x liquidity) for limit orders.
2. The part is uniform between two shares of what remains. What is left stays with the order.
"""

from typing import Protocol

import msgspec
import numpy as np

from parityd.sim.draws import F64
from parityd.sim.market import MarketConditions
from parityd.sim.queue import clip


class Partial(Protocol):
    """What the simulator asks: a probability, and the bounds of the share that is filled then."""

    @property
    def fraction(self) -> tuple[float, float]: ...

    def probability(self, *, any_price: bool, remaining: float, market: MarketConditions) -> float: ...


class PartialFills(msgspec.Struct, frozen=True, kw_only=True):
    """The reference (rule 1). Spread 0 and volume 0 count as factor 1."""

    market_probability: float = 0.10
    limit_cap: float = 0.8
    size_scale: float = 1000.0
    spread_scale_bps: float = 20.0
    volume_scale: float = 100_000.0
    fraction: tuple[float, float] = (0.1, 0.9)

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction[0] <= self.fraction[1] <= 1.0:
            raise ValueError(f"fraction: {self.fraction} are no shares of an order")

    def probability(self, *, any_price: bool, remaining: float, market: MarketConditions) -> float:
        if any_price:
            return self.market_probability
        spread, volume = market.spread_bps, market.volume_1m
        size_factor = min(1.0, remaining / self.size_scale)
        spread_factor = clip(self.spread_scale_bps / spread, 0.1, 1.0) if spread > 0.0 else 1.0
        liquidity_factor = clip(self.volume_scale / volume, 0.1, 1.0) if volume > 0.0 else 1.0
        return min(self.limit_cap, size_factor * spread_factor * liquidity_factor)

    def probability_many(self, *, any_price: F64, remaining: F64, spread_bps: F64, volume_1m: F64) -> F64:
        """The same over arrays."""
        one = np.ones_like(remaining)
        spread = np.clip(np.divide(self.spread_scale_bps, spread_bps, out=one.copy(), where=spread_bps > 0.0), 0.1, 1.0)
        volume = np.clip(np.divide(self.volume_scale, volume_1m, out=one.copy(), where=volume_1m > 0.0), 0.1, 1.0)
        limited = np.minimum(self.limit_cap, np.minimum(1.0, remaining / self.size_scale) * spread * volume)
        return np.where(any_price > 0, self.market_probability, limited)
