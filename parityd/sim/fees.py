"""What a trade costs beside its price.

1. A fee is positive when it is paid, negative when it is a rebate, in quote currency.
2. Three rates in bps of the notional: `maker` for an order that waited, `taker` for a limit order that crossed, `market` for orders
   without a limit. The tier of the trailing 30-day volume replaces all three.
3. The minimum holds for a rate above zero: a rebate or a free tier is not made dearer by it.
4. Regulatory fees and the cost of borrowing come on top and are off by default.
"""

from collections import deque
from typing import Literal, Protocol

import msgspec
import numpy as np

from parityd.sim.draws import F64
from parityd.sim.orders import Side

YEAR = 365.0 * 86_400.0
DAY = 86_400.0
Liquidity = Literal["maker", "taker"]


class FeeTier(msgspec.Struct, frozen=True, kw_only=True):
    """The rates from a 30-day volume (quote currency) on."""

    volume_30d: float
    maker_bps: float
    taker_bps: float
    market_bps: float


class RegulatoryFee(msgspec.Struct, frozen=True, kw_only=True):
    """A levy, such as a seller's fee: bps of the notional and an amount a unit, between a floor and a cap a fill."""

    name: str
    bps: float = 0.0
    per_unit: float = 0.0
    minimum: float = 0.0
    maximum: float | None = None
    side: Side | None = None

    def charge(self, side: str, quantity: float, notional: float) -> float:
        if self.side is not None and side != self.side:
            return 0.0
        due = max(self.minimum, notional * self.bps / 1e4 + quantity * self.per_unit)
        return due if self.maximum is None else min(due, self.maximum)


class Fees(Protocol):
    """What the simulator asks of a fee schedule."""

    def fee(
        self, *, side: str, quantity: float, notional: float, liquidity: Liquidity, crosses_any_price: bool, volume_30d: float
    ) -> float: ...


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """The reference schedule (rules 1 to 4). `borrow_rate` is a year's share of a short position's value."""

    maker_bps: float = 5.0
    taker_bps: float = 10.0
    market_bps: float = 15.0
    minimum: float = 0.01
    tiers: tuple[FeeTier, ...] = ()
    regulatory: tuple[RegulatoryFee, ...] = ()
    borrow_rate: float = 0.0

    def __post_init__(self) -> None:
        volumes = [t.volume_30d for t in self.tiers]
        if volumes != sorted(set(volumes)):
            raise ValueError("tiers: volume_30d must rise from tier to tier")

    def rates(self, volume_30d: float) -> tuple[float, float, float]:
        """(maker, taker, market) in bps at this 30-day volume."""
        rates = (self.maker_bps, self.taker_bps, self.market_bps)
        for tier in self.tiers:
            if volume_30d < tier.volume_30d:
                break
            rates = (tier.maker_bps, tier.taker_bps, tier.market_bps)
        return rates

    def fee(
        self, *, side: str, quantity: float, notional: float, liquidity: Liquidity, crosses_any_price: bool, volume_30d: float
    ) -> float:
        """The fee of one fill."""
        maker, taker, market = self.rates(volume_30d) if self.tiers else (self.maker_bps, self.taker_bps, self.market_bps)
        bps = maker if liquidity == "maker" else market if crosses_any_price else taker
        due = notional * bps / 1e4
        if bps > 0.0 and due < self.minimum:
            due = self.minimum
        for levy in self.regulatory:
            due += levy.charge(side, quantity, notional)
        return due

    def fee_many(self, *, sign: F64, quantity: F64, notional: F64, bps: F64) -> F64:
        """The same over arrays, the rate of each fill given."""
        due = notional * bps / 1e4
        due = np.where((bps > 0.0) & (due < self.minimum) & (quantity > 0.0), self.minimum, due)
        for levy in self.regulatory:
            part = np.maximum(levy.minimum, notional * levy.bps / 1e4 + quantity * levy.per_unit)
            part = part if levy.maximum is None else np.minimum(part, levy.maximum)
            applies = (quantity > 0.0) & ((sign > 0) if levy.side == "buy" else (sign < 0) if levy.side == "sell" else (sign != 0))
            due = due + np.where(applies, part, 0.0)
        return due

    def borrow_cost(self, *, short_value: float, seconds: float) -> float:
        """What holding a short position of this value for that long costs."""
        return short_value * self.borrow_rate * seconds / YEAR


class TradedVolume:
    """The notional of the trailing 30 days, by UTC day: a day leaves as a whole."""

    __slots__ = ("_days", "_initial", "_sum")

    def __init__(self, initial: float = 0.0) -> None:
        self._days: deque[list[float]] = deque()
        self._initial = initial  # what the account brought along, counted as traded on the first day
        self._sum = 0.0

    def at(self, timestamp: float) -> float:
        if self._initial:
            first, self._initial = self._initial, 0.0
            self.add(timestamp, first)
        oldest = timestamp // DAY - 30.0
        while self._days and self._days[0][0] <= oldest:
            self._sum -= self._days.popleft()[1]
        return self._sum

    def add(self, timestamp: float, notional: float) -> None:
        day = timestamp // DAY
        if self._days and self._days[-1][0] >= day:
            self._days[-1][1] += notional
        else:
            self._days.append([day, notional])
        self._sum += notional
