"""The price of an order that takes what is there: from the touch, and never past its limit.

1. A model says how many bps beyond the touch a quantity costs, and how much can be had; positive = worse.
2. `SlippageModel` is the reference formula; `WalkTheBook` reads the levels; `SquareRootImpact` is the law of the literature.
3. Whatever a model says, `priced` keeps the limit, and goes at most MAX_BPS beyond the touch.
"""

from typing import Protocol

import msgspec
import numpy as np

from parityd.sim.draws import F64
from parityd.sim.market import MarketConditions


class Slippage(Protocol):
    """(bps beyond the touch, quantity that can be had at or within `limit`) of a quantity taken from this market."""

    def take(
        self, *, sign: int, quantity: float, any_price: bool, limit: float | None, market: MarketConditions
    ) -> tuple[float, float]: ...


MAX_BPS = 9_999.0  # whatever a formula says of an order far beyond the liquidity: a price stays a price


def priced(touch: float, bps: float, sign: int, limit: float | None) -> float:
    """The execution price; a limit is never passed, and a sell never reaches zero."""
    price = touch * (1.0 + sign * min(bps, MAX_BPS) / 1e4)
    if limit is not None and (price - limit) * sign > 0.0:
        return limit
    return price


class SlippageModel(msgspec.Struct, frozen=True, kw_only=True):
    """The reference: base + 50 size / liquidity + 50 volatility + 0.2 spread_bps. No liquidity at the touch counts as ratio 1."""

    market_base_bps: float = 2.0
    other_base_bps: float = 1.0
    impact_bps: float = 50.0
    volatility_bps: float = 50.0
    spread_share: float = 0.2

    def bps(self, *, sign: int, quantity: float, any_price: bool, market: MarketConditions) -> float:
        liquidity = market.ask_size if sign > 0 else market.bid_size
        ratio = quantity / liquidity if liquidity > 0.0 else 1.0
        base = self.market_base_bps if any_price else self.other_base_bps
        return min(
            MAX_BPS, base + self.impact_bps * ratio + self.volatility_bps * market.volatility + self.spread_share * market.spread_bps
        )

    def take(self, *, sign: int, quantity: float, any_price: bool, limit: float | None, market: MarketConditions) -> tuple[float, float]:
        del limit
        return self.bps(sign=sign, quantity=quantity, any_price=any_price, market=market), quantity

    def bps_many(self, *, quantity: F64, liquidity: F64, any_price: F64, volatility: F64, spread_bps: F64, volume_1m: F64) -> F64:
        """The same over arrays; `any_price` is 1 for orders without a limit."""
        del volume_1m
        base = np.where(any_price > 0, self.market_base_bps, self.other_base_bps)
        with np.errstate(over="ignore"):
            ratio = np.divide(quantity, liquidity, out=np.ones_like(quantity), where=liquidity > 0.0)
            return np.minimum(MAX_BPS, base + self.impact_bps * ratio + self.volatility_bps * volatility + self.spread_share * spread_bps)


class WalkTheBook(msgspec.Struct, frozen=True, kw_only=True):
    """The order eats the displayed levels, best first: its price is their volume-weighted mean.

    What a crossing order pays in a limit order book, level by level (Bouchaud, Farmer and Lillo 2009, "How markets slowly digest changes
    in supply and demand", section 3). More than the levels hold is not to be had now.
    """

    def take(self, *, sign: int, quantity: float, any_price: bool, limit: float | None, market: MarketConditions) -> tuple[float, float]:
        del any_price
        touch, left, paid = market.touch(sign), quantity, 0.0
        for price, size in market.depth(sign):
            if limit is not None and (price - limit) * sign > 0.0:
                break
            part = min(left, size)
            paid += part * price
            left -= part
            if left <= 0.0:
                break
        had = quantity - max(left, 0.0)
        return (sign * (paid / had - touch) / touch * 1e4, had) if had > 0.0 else (0.0, 0.0)


class SquareRootImpact(msgspec.Struct, frozen=True, kw_only=True):
    """Impact = `eta` volatility (quantity / volume)^`exponent`, plus half the permanent impact `gamma` volatility quantity / volume.

    Almgren, Thum, Hauptmann and Li (2005), "Direct estimation of equity market impact", Risk 18(7), 58-62: cost = I/2 + eta sigma
    |X / VT|^beta, fitted eta 0.142, gamma 0.314, beta 0.600; exponent 1/2 is the square-root law (the default), `fitted()` the paper's.
    Volume and volatility must be of one horizon: volume_1m x `minutes` (1,440: a day, where volatility is a day's). The paper's factor
    (shares outstanding / volume)^(1/4) of the permanent part is taken as 1, markets without shares having none.
    """

    eta: float = 0.142
    gamma: float = 0.314
    exponent: float = 0.5
    minutes: float = 1440.0

    @classmethod
    def fitted(cls, *, minutes: float = 1440.0) -> "SquareRootImpact":
        """With the exponent that the paper estimates."""
        return cls(exponent=0.6, minutes=minutes)

    def bps(self, quantity: float, market: MarketConditions) -> float:
        volume = market.volume_1m * self.minutes
        share = quantity / volume if volume > 0.0 else 1.0
        return float(market.volatility * (self.eta * share**self.exponent + 0.5 * self.gamma * share) * 1e4)

    def take(self, *, sign: int, quantity: float, any_price: bool, limit: float | None, market: MarketConditions) -> tuple[float, float]:
        del sign, any_price, limit
        return self.bps(quantity, market), quantity

    def bps_many(self, *, quantity: F64, liquidity: F64, any_price: F64, volatility: F64, spread_bps: F64, volume_1m: F64) -> F64:
        """The same over arrays."""
        del liquidity, any_price, spread_bps
        volume = volume_1m * self.minutes
        share = np.divide(quantity, volume, out=np.ones_like(quantity), where=volume > 0.0)
        return volatility * (self.eta * share**self.exponent + 0.5 * self.gamma * share) * 1e4
