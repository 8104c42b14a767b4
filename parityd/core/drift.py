"""Sequential drift detectors of one strategy: five channels, one false-alarm budget, readable after every trade.

1. At most 5 % of in-control strategies raise any alarm within `horizon` points, however often the evidence is read; the budget is split over the
   channels and fixed at the start of an epoch (proof and figures: docs/concepts, drift).
2. Trades (mean, scale, slippage) and active intervals (correlation, hit) count by themselves, each side with its own epoch number.
3. An epoch ends by `next_epoch`, by itself right after a favourable alarm, and at 20,000 points unless an adverse alarm stands:
   an adverse alarm is latched until the caller ends the epoch.
4. Any cut of the same stream into batches, with or without `state` and `restore` between, gives the same bits.
5. A value that is not finite is left out of its channel; nothing here knows time, trades or thresholds of action.
"""

import math
from typing import Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from parityd.core.drift_lane import SHARES, Alarm, Channel, ChannelName
from parityd.core.drift_ranks import FloatArray, KeyArray
from parityd.core.drift_sides import EPOCH_POINTS, IntervalSide, TradeSide

__all__ = ["EPOCH_POINTS", "MIN_HORIZON", "SHARES", "STATE_VERSION", "Alarm", "Detectors"]

STATE_VERSION = 1
MIN_HORIZON = 1000
Side = Literal["all", "trades", "intervals"]

PAST_ALARMS = 8
"""Alarms of ended epochs that are remembered."""

_FEW = 16
_PIECE = 8192


class Detectors:
    """The detectors of one strategy: mutable, single-owner; `state` and `restore` move it bit for bit."""

    def __init__(self, strategy: str, trades: TradeSide, intervals: IntervalSide) -> None:
        self.strategy, self.trades, self.intervals = strategy, trades, intervals
        self.past: list[Alarm] = []

    @classmethod
    def fresh(
        cls, strategy: str, *, epoch: int = 0, horizon: int = MIN_HORIZON, with_slippage: bool = False, normaliser_present: bool = False
    ) -> Self:
        """Detectors that know nothing yet. `horizon`: matched trades of the trailing 30 days; never less than 1,000."""
        horizon = max(MIN_HORIZON, horizon)
        trades = TradeSide(strategy, epoch=epoch, horizon=horizon, with_slippage=with_slippage, normalised=normaliser_present)
        return cls(strategy, trades, IntervalSide(strategy, epoch=epoch, horizon=horizon))

    def next_epoch(
        self, side: Side = "all", *, horizon: int | None = None, with_slippage: bool | None = None, normaliser_present: bool | None = None
    ) -> None:
        """End the epoch: a new reference, no evidence, no alarm. What is not given stays as it was."""
        self.past = [*self.past, *self._standing(side)][-PAST_ALARMS:]
        if side != "intervals":
            old = self.trades
            self.trades = TradeSide(
                self.strategy,
                epoch=old.epoch + 1,
                horizon=old.horizon if horizon is None else max(MIN_HORIZON, horizon),
                with_slippage=old.slippage is not None if with_slippage is None else with_slippage,
                normalised=old.normalised if normaliser_present is None else normaliser_present,
            )
        if side != "trades":
            before = self.intervals
            length = before.horizon if horizon is None else max(MIN_HORIZON, horizon)
            self.intervals = IntervalSide(self.strategy, epoch=before.epoch + 1, horizon=length)

    def step_trades(
        self,
        keys: ArrayLike,
        d: ArrayLike,
        slippage: ArrayLike | None = None,
        normaliser: ArrayLike | None = None,
        horizon: ArrayLike | None = None,
    ) -> list[Alarm]:
        """Take matched trades in order; the alarms that latched, in order.

        `keys` uint64, `d` price_diff_bps, `slippage` the slippage component in bps (NaN where it was not measured unmerged), `normaliser` an exogenous
        volatility or spread at the trade (NaN where unknown), `horizon` the trailing 30 days' matched trades at each trade (or one
        number), used should an epoch begin by itself; all of one length.
        """
        key: KeyArray = np.ascontiguousarray(keys, dtype=np.uint64)
        n = len(key)
        price, slips, norms = (_column(one, n, math.nan) for one in (d, slippage, normaliser))
        horizons = _column(horizon, n, float(self.trades.horizon))
        raised: list[Alarm] = []
        done = 0
        while done < n:
            took, alarms = self.take_trades(key[done:], price[done:], slips[done:], norms[done:], horizons[done:])
            raised += alarms
            done += took
        return raised

    def take_trades(
        self, keys: KeyArray, d: FloatArray, slippage: FloatArray, normaliser: FloatArray, horizon: FloatArray
    ) -> tuple[int, list[Alarm]]:
        """As `step_trades`, but at most 2 x `MIN_HORIZON` trades into an epoch that begins in them: how many were taken, and the alarms."""
        raised: list[Alarm] = []
        done, n = 0, len(keys)
        while done < n:
            if self.trades.ended:
                self._begin_trades(slippage[done], normaliser[done], horizon[done])
                n = min(n, done + 2 * MIN_HORIZON)
            stop = min(done + min(_PIECE, self.trades.room), n)
            feed = self.trades.add_each if stop - done < _FEW else self.trades.extend
            took, alarms = feed(keys[done:stop], d[done:stop], slippage[done:stop], normaliser[done:stop])
            raised += alarms
            done += took
        return done, raised

    def step_intervals(
        self, keys: ArrayLike, r_b: ArrayLike, r_l: ArrayLike, horizon: ArrayLike | None = None, size: ArrayLike | None = None
    ) -> list[Alarm]:
        """Take active intervals in order: `keys` uint64, returns of the backtest and of live; the alarms that latched, in order.

        `size`: what was held, by what is usual (1 where it is left out); deviations are ranked by it.
        """
        key = np.ascontiguousarray(keys, dtype=np.uint64)
        n = len(key)
        back, live = _column(r_b, n, math.nan), _column(r_l, n, math.nan)
        horizons, sizes = _column(horizon, n, float(self.intervals.horizon)), _column(size, n, 1.0)
        raised: list[Alarm] = []
        done = 0
        while done < n:
            if self.intervals.ended:
                self.next_epoch("intervals", horizon=_whole(horizons[done]))
            stop = min(done + min(_PIECE, self.intervals.room), n)
            raised += self.intervals.extend(key[done:stop], back[done:stop], live[done:stop], sizes[done:stop])
            done = stop
        return raised

    def _begin_trades(self, slip: float, norm: float, horizon: float) -> None:
        self.next_epoch("trades", horizon=_whole(horizon), with_slippage=math.isfinite(slip), normaliser_present=bool(norm > 0.0))

    @property
    def channels(self) -> dict[ChannelName, Channel]:
        """All channels of the present epochs by name."""
        return {one.name: one for one in (*self.trades.channels, *self.intervals.channels)}

    def _standing(self, side: Side) -> list[Alarm]:
        ending = (*(self.trades.channels if side != "intervals" else ()), *(self.intervals.channels if side != "trades" else ()))
        return [one.alarm for one in ending if one.alarm]

    @property
    def alarms(self) -> list[Alarm]:
        """The alarms latched in the present epochs."""
        return self._standing("all")

    def confidences(self) -> tuple[float, float]:
        """(system, strongest) of the channels that have been bet on.

        system = 1 - min(1, sum (1 - c_k)). strongest = 1 - min(1, min_k (1 - c_k) sum(a) / a_k): the same bound weighted by budget shares, which a single
        channel's drift moves; an in-control strategy reaches x in at most a share 1 - x of the horizons, too.
        """
        doubts = [(1.0 - one.evidence.confidence, one.evidence.share) for one in self.channels.values() if one.evidence.count]
        total = math.fsum(share for _, share in doubts)
        system = 1.0 - min(1.0, math.fsum(doubt for doubt, _ in doubts)) if doubts else 0.0
        return system, 1.0 - min([1.0, *(doubt * total / share for doubt, share in doubts)])

    def summary(self) -> dict[str, Any]:
        """What is published: per channel evidence, limit, confidence, alarm; and the system's confidence."""
        system, strongest = self.confidences()
        return {
            "epoch": {"trades": self.trades.epoch, "intervals": self.intervals.epoch},
            "horizon": {"trades": self.trades.horizon, "intervals": self.intervals.horizon},
            "confidence": system,
            "confidence_strongest": strongest,
            "alarm": bool(self.alarms),
            "past": msgspec.to_builtins(self.past),
            "channels": {**self.trades.summary(), **self.intervals.summary()},
        }

    def state(self) -> dict[str, Any]:
        """All of it in plain types (dict, list, str, int, float, bool, bytes)."""
        sides = {"trades": self.trades.state(), "intervals": self.intervals.state()}
        return {"version": STATE_VERSION, "strategy": self.strategy, **sides, "past": msgspec.to_builtins(self.past)}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """Detectors from a `state`; ValueError if it is of another version."""
        if state.get("version") != STATE_VERSION:
            raise ValueError(
                f"drift state version {state.get('version')!r}, expected {STATE_VERSION}: start a fresh epoch or fold the records again"
            )
        strategy = state["strategy"]
        detectors = cls(strategy, TradeSide.restore(strategy, state["trades"]), IntervalSide.restore(strategy, state["intervals"]))
        detectors.past = msgspec.convert(state["past"], list[Alarm])
        return detectors


def _column(values: ArrayLike | None, n: int, default: float) -> FloatArray:
    if values is None:
        return np.full(n, default)
    given: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    column = np.full(n, float(given)) if given.ndim == 0 else np.ascontiguousarray(given)
    if len(column) != n:
        raise ValueError(f"columns of different length: {len(column)} beside {n} keys")
    return column


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None
