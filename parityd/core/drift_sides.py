"""The two sides of a drift epoch: what counts trades, and what counts active intervals.

1. Trades: one lane of price_diff_bps for mean and scale (divided by a normaliser where the epoch has one), one lane of slippage where the epoch
   measures it; then the mean's share of the budget is halved between the two.
2. Intervals: the first 60 fix a line live = a + b backtest; the deviations after them are the correlation lane. Hits need no fit. Both returns are
   taken by the size of what was held, so that the deviations of a growing book are still alike; an effect is told without that.
3. A favourable alarm ends the trades' epoch right after its trade, unless an adverse one stands at that trade; then both stand.
4. A full epoch (20,000 points) with an adverse alarm takes no further points.
"""

import math
from array import array
from typing import Any, Self

import msgspec
import numpy as np

from parityd.core.drift_hits import Hits
from parityd.core.drift_lane import SHARES, Alarm, Channel, Lane, channel
from parityd.core.drift_ranks import ARM, CALIBRATION, FloatArray, KeyArray, Ranks, salt_of

EPOCH_POINTS = 20_000
"""Points of a side after which its epoch ends on schedule."""
FIT = 60
"""Intervals that fix the line of the correlation channel and are no reference."""
VOLATILITY_OR_DRIFT = "volatility or drift"

_ALWAYS = 1 << 62


class TradeSide:
    """Mean, scale and slippage channels of one epoch."""

    def __init__(self, strategy: str, *, epoch: int, horizon: int, with_slippage: bool, normalised: bool) -> None:
        self.epoch, self.horizon, self.normalised = epoch, horizon, normalised
        salt = salt_of(strategy, epoch)
        half = SHARES["mean"] / 2.0 if with_slippage else SHARES["mean"]
        note = None if normalised else VOLATILITY_OR_DRIFT
        pair = [channel("mean", horizon=horizon, share=half), channel("scale", horizon=horizon)]
        self.price = Lane(Ranks(salt=salt), pair, epoch=epoch, note=note)
        only = [channel("slippage", horizon=horizon, share=half)]
        self.slippage = Lane(Ranks(salt=salt), only, epoch=epoch) if with_slippage else None
        self.favoured = False

    @property
    def channels(self) -> list[Channel]:
        return [*self.price.channels, *(self.slippage.channels if self.slippage else ())]

    @property
    def adverse(self) -> bool:
        return any(one.alarm and one.alarm.direction == "adverse" for one in self.channels)

    @property
    def ended(self) -> bool:
        """Whether the next trade belongs to a new epoch."""
        return self.favoured or (len(self.price.ranks) >= EPOCH_POINTS and not self.adverse)

    @property
    def room(self) -> int:
        """Trades that may be given at once."""
        return EPOCH_POINTS - len(self.price.ranks) if len(self.price.ranks) < EPOCH_POINTS else _ALWAYS

    def add_each(self, keys: KeyArray, d: FloatArray, slips: FloatArray, norms: FloatArray) -> tuple[int, list[Alarm]]:
        """Take trades one at a time; how many were taken (all, or up to the one that ended the epoch) and the alarms."""
        raised: list[Alarm] = []
        rows = zip(keys.tolist(), d.tolist(), slips.tolist(), norms.tolist(), strict=True)
        for taken, (key, price, slip, norm) in enumerate(rows, start=1):
            if len(self.price.ranks) >= EPOCH_POINTS:
                continue
            unit = norm if self.normalised else 1.0
            alarms: list[Alarm] = []
            if unit > 0.0 and math.isfinite(price / unit):
                alarms += self.price.add(key, price / unit, price)
            if self.slippage and unit > 0.0 and math.isfinite(slip / unit):
                alarms += self.slippage.add(key, slip / unit, slip)
            raised += alarms
            if any(one.direction == "favourable" for one in alarms) and not self.adverse:
                self.favoured = True
                return taken, raised
        return len(keys), raised

    def extend(self, keys: KeyArray, d: FloatArray, slips: FloatArray, norms: FloatArray) -> tuple[int, list[Alarm]]:
        """As `add_each`, in columns."""
        if len(self.price.ranks) >= EPOCH_POINTS:
            return len(keys), []
        standing = self.adverse
        unit = norms if self.normalised else np.ones(len(keys))
        found = _feed(self.price, keys, d, unit)
        if self.slippage:
            found += _feed(self.slippage, keys, slips, unit)
        found.sort(key=lambda item: item[0])
        for place, alarm in found:
            upto = [one for at, one in found if at <= place]
            if alarm.direction == "favourable" and not standing and all(one.direction == "favourable" for one in upto):
                self._end_after(upto)
                return place + 1, upto
        return len(keys), [alarm for _, alarm in found]

    def _end_after(self, raised: list[Alarm]) -> None:
        """End the epoch with these alarms: what the rest of the batch raised never happened in it."""
        self.favoured = True
        for one in self.channels:
            if one.alarm not in raised:
                one.alarm = None

    def summary(self) -> dict[str, Any]:
        """What is published, by channel."""
        lanes = [self.price, *([self.slippage] if self.slippage else [])]
        return {one.name: _shown(one, n=len(lane.ranks), arm=ARM, phi=lane.ranks.phi) for lane in lanes for one in lane.channels}

    def state(self) -> dict[str, Any]:
        constants = {
            "epoch": self.epoch,
            "horizon": self.horizon,
            "with_slippage": self.slippage is not None,
            "normalised": self.normalised,
        }
        slippage = self.slippage.state() if self.slippage else None
        return {**constants, "favoured": self.favoured, "price": self.price.state(), "slippage": slippage}

    @classmethod
    def restore(cls, strategy: str, state: dict[str, Any]) -> Self:
        constants = {name: state[name] for name in ("epoch", "horizon", "with_slippage", "normalised")}
        side = cls(strategy, **constants)
        side.favoured = state["favoured"]
        side.price.load(state["price"])
        if side.slippage:
            side.slippage.load(state["slippage"])
        return side


class IntervalSide:
    """Correlation and hit channels of one epoch."""

    def __init__(self, strategy: str, *, epoch: int, horizon: int) -> None:
        self.epoch, self.horizon = epoch, horizon
        rest = CALIBRATION - FIT
        ranks = Ranks(salt=salt_of(strategy, epoch), absolute=True, calibration=rest)
        self.deviations = Lane(ranks, [channel("correlation", horizon=horizon, calibration=rest)], epoch=epoch, offset=FIT)
        self.hits = Hits(channel("hit", horizon=horizon, calibration=ARM), epoch=epoch)
        self.line: tuple[float, float] | None = None
        self._back, self._live = array("d"), array("d")

    @property
    def channels(self) -> list[Channel]:
        return [*self.deviations.channels, self.hits.channel]

    @property
    def ended(self) -> bool:
        """Whether the next interval belongs to a new epoch."""
        return len(self.hits) >= EPOCH_POINTS and not any(one.alarm for one in self.channels)

    @property
    def room(self) -> int:
        """Intervals that may be given at once."""
        return EPOCH_POINTS - len(self.hits) if len(self.hits) < EPOCH_POINTS else _ALWAYS

    def extend(self, keys: KeyArray, back: FloatArray, live: FloatArray, size: FloatArray) -> list[Alarm]:
        """Take intervals in order; the alarms that latch."""
        if len(self.hits) >= EPOCH_POINTS:
            return []
        good = np.isfinite(back) & np.isfinite(live)
        keys, back, live, size = keys[good], back[good], live[good], size[good]
        found: list[tuple[int, Alarm]] = []
        for place, (key, hit) in enumerate(zip(keys.tolist(), (np.sign(back) == np.sign(live)).tolist(), strict=True)):
            alarm = self.hits.add(key, hit)
            if alarm:
                found.append((place, alarm))
        found += self._deviate(keys, back / size, live / size, size)
        return [alarm for _, alarm in sorted(found, key=lambda item: item[0])]

    def _deviate(self, keys: KeyArray, back: FloatArray, live: FloatArray, size: FloatArray) -> list[tuple[int, Alarm]]:
        skipped = 0
        if self.line is None:
            skipped = min(FIT - len(self._back), len(back))
            self._back.frombytes(back[:skipped].tobytes())
            self._live.frombytes(live[:skipped].tobytes())
            if len(self._back) == FIT:
                self.line = fitted_line(np.array(self._back), np.array(self._live))
        if self.line is None or skipped == len(back):
            return []
        level, slope = self.line
        deviation = live[skipped:] - level - slope * back[skipped:]
        told = deviation * size[skipped:] * 1e4
        return [(skipped + at, alarm) for at, alarm in self.deviations.extend(keys[skipped:], deviation, told)]

    def summary(self) -> dict[str, Any]:
        """What is published, by channel."""
        phi = self.deviations.ranks.phi
        shown: dict[str, Any] = {one.name: _shown(one, n=len(self.hits), arm=FIT + ARM, phi=phi) for one in self.deviations.channels}
        return {**shown, "hit": _shown(self.hits.channel, n=len(self.hits), arm=CALIBRATION, phi=0.0)}

    def state(self) -> dict[str, Any]:
        columns = {"back": self._back.tobytes(), "live": self._live.tobytes(), "line": None if self.line is None else list(self.line)}
        return {"epoch": self.epoch, "horizon": self.horizon, **columns, "deviations": self.deviations.state(), "hits": self.hits.state()}

    @classmethod
    def restore(cls, strategy: str, state: dict[str, Any]) -> Self:
        side = cls(strategy, epoch=state["epoch"], horizon=state["horizon"])
        side._back, side._live = array("d", state["back"]), array("d", state["live"])
        side.line = None if state["line"] is None else (state["line"][0], state["line"][1])
        side.deviations.load(state["deviations"])
        side.hits.load(state["hits"])
        return side


def fitted_line(back: FloatArray, live: FloatArray) -> tuple[float, float]:
    """(a, b) of live = a + b backtest: b by least squares about the medians (0 for a constant backtest), a a median."""
    x, y = back - np.median(back), live - np.median(live)
    spread = float((x * x).sum())
    slope = float((x * y).sum()) / spread if spread > 0.0 else 0.0
    return float(np.median(live - slope * back)), slope


def _feed(lane: Lane, keys: KeyArray, values: FloatArray, unit: FloatArray) -> list[tuple[int, Alarm]]:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = values / unit
    places = np.flatnonzero(np.isfinite(x) & (unit > 0.0))
    raised = lane.extend(keys[places], x[places], values[places])
    return [(int(places[at]), alarm) for at, alarm in raised]


def _shown(one: Channel, *, n: int, arm: int, phi: float) -> dict[str, Any]:
    return {
        "evidence": one.evidence.log_evidence,
        "limit": one.evidence.limit,
        "confidence": one.evidence.confidence,
        "armed": n >= arm,
        "n": n,
        "calibration_left": max(0, CALIBRATION - n),
        "whitening": phi,
        "alarm": msgspec.to_builtins(one.alarm),
    }
