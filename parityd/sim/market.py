"""Market conditions: what an order finds.

1. Conditions are valid when they exist: a crossed or NaN quote, a negative size or volume is a ValueError that names the field.
2. They come from quotes, from order-book depth (levels best first), or from bars with a stated spread model.
3. Prices are in quote currency, sizes and volume in units of the base, `volatility` is a fraction (0.01 = 1 %), `timestamp` is epoch
   seconds UTC. `spread_bps` = (ask - bid) / last x 1e4.
4. `open`, `low` and `high` are the range traded since the previous look; NaN where only the quote is known.
"""

import math
from collections.abc import Iterable
from typing import Protocol

import msgspec

NAN = math.nan
Level = tuple[float, float]  # price, size
_POSITIVE = ("bid", "ask", "last")
_COUNTED = ("bid_size", "ask_size", "volume_1m", "volatility")


def finite(name: str, value: object) -> float:
    """A field as a finite float; ValueError that names it."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {value!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name}: {number} is not finite")
    return number


def positive(name: str, value: object) -> float:
    """A field as a float above zero; ValueError that names it."""
    number = finite(name, value)
    if number <= 0.0:
        raise ValueError(f"{name}: {number:g} is not above zero")
    return number


def not_negative(name: str, value: object) -> float:
    """A field as a float of zero or more; ValueError that names it."""
    number = finite(name, value)
    if number < 0.0:
        raise ValueError(f"{name}: {number:g} is negative")
    return number


class SpreadModel(Protocol):
    """What stands between bid and ask where data gives only bars: the width in bps of the close."""

    def width_bps(self, *, high: float, low: float, close: float) -> float: ...


class FixedSpread(msgspec.Struct, frozen=True):
    """The same width for every bar."""

    bps: float = 2.0

    def width_bps(self, *, high: float, low: float, close: float) -> float:
        del high, low, close
        return not_negative("bps", self.bps)


class RangeSpread(msgspec.Struct, frozen=True):
    """A share of the bar's own range, never under a floor: wide when the market runs."""

    share: float = 0.1
    floor_bps: float = 1.0

    def width_bps(self, *, high: float, low: float, close: float) -> float:
        return max(self.floor_bps, self.share * (high - low) / close * 1e4)


class MarketConditions(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One look at one market (units in the module's rule 3). `last` is the mid where it is not given."""

    symbol: str
    bid: float
    ask: float
    timestamp: float
    bid_size: float = 0.0
    ask_size: float = 0.0
    last: float = NAN
    volume_1m: float = 0.0
    volatility: float = 0.0
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    open: float = NAN
    low: float = NAN
    high: float = NAN

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        if self.last != self.last:  # NaN: not given
            put(self, "last", 0.5 * (finite("bid", self.bid) + finite("ask", self.ask)))
        for name in _POSITIVE:
            put(self, name, positive(name, getattr(self, name)))
        for name in _COUNTED:
            put(self, name, not_negative(name, getattr(self, name)))
        put(self, "timestamp", finite("timestamp", self.timestamp))
        if self.bid > self.ask:
            raise ValueError(f"bid: {self.bid:g} is above ask {self.ask:g} (crossed quote)")

    @property
    def mid(self) -> float:
        return 0.5 * (self.bid + self.ask)

    @property
    def spread_bps(self) -> float:
        return (self.ask - self.bid) / self.last * 1e4

    def touch(self, sign: int) -> float:
        """The price at which an order of this side (+1 buy) meets the other side."""
        return self.ask if sign > 0 else self.bid

    def liquidity(self, sign: int) -> float:
        """The size that waits at that price."""
        return self.ask_size if sign > 0 else self.bid_size

    def depth(self, sign: int) -> tuple[Level, ...]:
        """The levels that an order of this side walks, best first; the touch alone where no depth is known."""
        levels = self.asks if sign > 0 else self.bids
        return levels or ((self.touch(sign), self.liquidity(sign)),)


def _levels(name: str, levels: Iterable[tuple[object, object]], direction: int) -> tuple[Level, ...]:
    out: list[Level] = []
    for n, (price, size) in enumerate(levels):
        level = (positive(f"{name}[{n}].price", price), not_negative(f"{name}[{n}].size", size))
        if out and (level[0] - out[-1][0]) * direction <= 0:
            raise ValueError(f"{name}[{n}].price: {level[0]:g} does not come after {out[-1][0]:g}, best first")
        out.append(level)
    if not out:
        raise ValueError(f"{name}: no level")
    return tuple(out)


def from_depth(
    symbol: str,
    *,
    bids: Iterable[tuple[object, object]],
    asks: Iterable[tuple[object, object]],
    timestamp: float,
    last: float = NAN,
    volume_1m: float = 0.0,
    volatility: float = 0.0,
) -> MarketConditions:
    """Conditions from L2 levels (price, size), best first. ValueError names the level that cannot be."""
    down, up = _levels("bids", bids, -1), _levels("asks", asks, 1)
    return MarketConditions(
        symbol=symbol, bid=down[0][0], bid_size=down[0][1], ask=up[0][0], ask_size=up[0][1], timestamp=timestamp,
        last=last, volume_1m=volume_1m, volatility=volatility, bids=down, asks=up,
    )  # fmt: skip


def from_bar(
    symbol: str,
    *,
    timestamp: float,
    high: float,
    low: float,
    close: float,
    volume: float = 0.0,
    spread: SpreadModel | None = None,
    seconds: float = 60.0,
    size: float = NAN,
    volatility: float = NAN,
    open: float = NAN,
) -> MarketConditions:
    """Conditions at the close of a bar of `seconds` length (close time = `timestamp`).

    The quote lies round the close, as wide as the spread model says. Touch sizes are `size`, else one second's share of the bar's
    volume. Volatility is the bar's range as a standard deviation after Parkinson (1980), ln(high / low) / (2 sqrt(ln 2)), unless given.
    """
    close, high, low = positive("close", close), positive("high", high), positive("low", low)
    half = (spread or FixedSpread()).width_bps(high=high, low=low, close=close) / 2e4
    shown = size if size == size else not_negative("volume", volume) / seconds  # noqa: PLR0124
    swing = volatility if volatility == volatility else math.log(max(high, close) / min(low, close)) / (2.0 * math.sqrt(math.log(2.0)))  # noqa: PLR0124
    return MarketConditions(
        symbol=symbol, bid=close * (1.0 - half), ask=close * (1.0 + half), bid_size=shown, ask_size=shown, last=close,
        volume_1m=volume * 60.0 / seconds, volatility=swing, timestamp=timestamp, open=open, low=low, high=high,
    )  # fmt: skip
