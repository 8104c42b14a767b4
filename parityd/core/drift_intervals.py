"""The stream of active intervals that the drift detectors read, in order, once they count.

1. Profits of the epoch are kept as they were taken. Where a later look at the ledgers differs (a late trade, a newer run, a late mark) the epoch's
   stream is mended from there on and run again.
2. Returns are over the configured capital, else over the largest gross notional at the first 60 active intervals of the epoch; nothing is
   fed before these are there. The correlation channel does not bet on them, and the hits do not know the unit. Deviations are ranked as shares of what
   the allowed book held in their interval: a position twice as large, or a price that has doubled, is no drift.
3. An adverse alarm's epoch ends with the first interval that ends 7 days after it, or by a reset.
4. The horizon is the trades' one, of two days before the epoch's first interval: by then settled.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parityd.core.drift import MIN_HORIZON, Detectors
from parityd.core.drift_alarms import Raised, latch_of
from parityd.core.drift_sides import FIT, IntervalSide
from parityd.core.records import NO_TS
from parityd.core.returns import Returns
from parityd.core.rows import SHELF_NS

A_DAY = 96
WEEK = 7 * A_DAY
_SAME = 1e-10

POINT = np.dtype([("number", "i8"), ("allowed", "f8"), ("live", "f8"), ("gross", "f8")])
Points = NDArray[np.void]


class IntervalStream:
    """Feeds the interval side of `detectors`; `raised` is shared with the other side."""

    def __init__(self, detectors: Detectors, raised: list[Raised], line: int = NO_TS) -> None:
        self.detectors, self.raised = detectors, raised
        self.begin(line, detectors.intervals.epoch)

    def begin(self, line: int, epoch: int) -> None:
        """Forget all intervals and begin an epoch with the first one that begins at or after the line."""
        self.floor = -(-line // SHELF_NS) if line != NO_TS else -(2**62)
        self.last = self.floor - 1  # the newest interval looked at
        self.points: Points = np.zeros(0, POINT)
        self.fed = 0
        self.horizon: int | None = None
        self.detectors.intervals = blank_intervals(self.detectors.strategy, epoch)

    def follow(self, r: Returns, capital: float | None, horizon_of: Callable[[int], int]) -> bool:
        """Take what the ledgers say now; whether the detectors know anything new. `horizon_of(day)`: see rule 4."""
        found = np.zeros(int(r.active.sum()), POINT)
        for name, column in (("number", r.numbers), ("allowed", r.pnl_allowed), ("live", r.pnl_live), ("gross", r.gross)):
            found[name] = column[r.active]
        found = found[found["number"] >= self.floor]
        mended = self._mend(found, int(r.numbers[0]))
        fresh = found[found["number"] > self.last]
        self.points = np.concatenate([self.points, fresh])
        self.last = max(self.last, int(r.numbers[-1]))
        before = self.fed
        while self._feed(capital, horizon_of):
            pass
        return mended or self.fed != before

    def _mend(self, found: Points, first: int) -> bool:
        """Compare what was taken with what is there now; on a difference the epoch is run anew."""
        old = self.points[self.points["number"] >= first]
        new = found[found["number"] <= self.last]
        size = _SAME * max(float(old["gross"].max(initial=0.0)), float(np.abs(old["live"]).max(initial=0.0)))
        if (
            len(old) == len(new)
            and np.array_equal(old["number"], new["number"])
            and all(np.abs(old[f] - new[f]).max(initial=0.0) <= size for f in ("allowed", "live", "gross"))
        ):
            return False
        self.points = np.concatenate([self.points[self.points["number"] < first], new])
        self.fed = 0
        epoch = self.detectors.intervals.epoch
        self.raised[:] = [one for one in self.raised if one.side != "intervals" or one.alarm.epoch != epoch]
        self.detectors.intervals = blank_intervals(self.detectors.strategy, epoch)
        return True

    def _feed(self, capital: float | None, horizon_of: Callable[[int], int]) -> bool:
        """Feed at most a week, so that no alarm's latch ends within it; False where nothing is left."""
        side = self.detectors.intervals
        end = latch_of(self.raised, "intervals", side.epoch)
        rest = self.points[self.fed :]
        over = np.zeros(len(rest), np.bool_) if end is None else (rest["number"] + 1) * SHELF_NS >= end
        if len(rest) and over[0]:
            self._next(rest, side.epoch + 1)
            return True
        unit = self._unit(capital)
        if not len(rest) or unit is None:
            return False
        piece = rest[~over & (rest["number"] < rest["number"][0] + WEEK)]
        if not self.fed:
            day = int(self.points["number"][0]) // A_DAY
            self.horizon = self.horizon or max(MIN_HORIZON, horizon_of(day - 2))
            self.detectors.intervals = IntervalSide(self.detectors.strategy, epoch=side.epoch, horizon=self.horizon)
        self._step(piece, unit)
        return True

    def _next(self, points: Points, epoch: int) -> None:
        self.points, self.fed, self.horizon = points, 0, None
        self.floor = int(points["number"][0])
        self.detectors.intervals = blank_intervals(self.detectors.strategy, epoch)

    def _step(self, piece: Points, unit: float) -> None:
        epoch = self.detectors.intervals.epoch
        back, live = (np.rint(piece[f] / unit * 1e12) / 1e12 + 0.0 for f in ("allowed", "live"))
        sizes = self._sizes(len(piece))
        for alarm in self.detectors.step_intervals(piece["number"].astype(np.uint64), back, live, size=sizes):
            at, changed = ((int(key) + 1) * SHELF_NS for key in (alarm.key, alarm.change_key))
            self.raised.append(Raised(side="intervals", at=at, changed_at=changed - SHELF_NS, alarm=alarm))
        self.detectors.past.clear()
        self.fed += len(piece)
        if self.detectors.intervals.epoch != epoch:  # it was full: a new one began within the piece
            inside = len(self.detectors.intervals.hits)
            self.points, self.fed = self.points[self.fed - inside :], inside
            self.floor, self.horizon = int(self.points["number"][0]), self.detectors.intervals.horizon

    def _sizes(self, count: int) -> NDArray[np.float64]:
        """What the allowed book held in the next `count` intervals, by the most that it held in the first 60; where nothing at either end, as before."""
        gross = self.points["gross"][: self.fed + count]
        usual = float(gross[:FIT].max(initial=0.0))
        if usual <= 0.0:
            return np.ones(count)
        known = np.where(gross > 0.0, np.arange(len(gross)), -1)
        last = np.maximum.accumulate(known)
        return np.where(last >= 0, gross[last] / usual, 1.0)[self.fed :]

    def _unit(self, capital: float | None) -> float | None:
        """What profits are divided by; None while it is not known."""
        if len(self.points) < FIT:
            return None
        if capital is not None:
            return capital
        first = self.points[:FIT]
        return float(first["gross"].max()) or float(np.abs(first["allowed"]).max()) or 1.0

    def returns(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(allowed, live) profits of the epoch's intervals that were fed."""
        return self.points["allowed"][: self.fed], self.points["live"][: self.fed]

    def state(self) -> dict[str, Any]:
        side = self.detectors.intervals
        return {
            "floor": self.floor,
            "last": self.last,
            "points": self.points.tobytes(),
            "fed": self.fed,
            "horizon": self.horizon,
            "epoch": side.epoch,
            "side": side.state() if self.fed else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.begin(NO_TS, state["epoch"])
        self.floor, self.last, self.fed, self.horizon = (state[k] for k in ("floor", "last", "fed", "horizon"))
        self.points = np.frombuffer(state["points"], POINT)
        if state["side"] is not None:
            self.detectors.intervals = IntervalSide.restore(self.detectors.strategy, state["side"])


def blank_intervals(strategy: str, epoch: int) -> IntervalSide:
    """A side that has seen nothing."""
    return IntervalSide(strategy, epoch=epoch, horizon=MIN_HORIZON)
