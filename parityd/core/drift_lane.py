"""A lane: one ranked stream of an epoch and the channels that bet on its p-values; and what an alarm says.

1. The mean and the scale channel of the same numbers share one lane, hence one ranking.
2. A channel's bets begin at the arming point; should the frozen whitening differ from the first estimate, its evidence restarts from 0 there.
3. Change time: the last point at which the CUSUM of the leading bet was 0. Effect: median (shift channels) or median absolute deviation
   (spread channels) of the bps since then, less the same before it.
4. An alarm is a function of the stream up to and including its point.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.drift_bets import DEVIATION, SHIFT, SPREAD, BetTable, cells
from parityd.core.drift_evidence import Evidence
from parityd.core.drift_ranks import ARM, CALIBRATION, FloatArray, KeyArray, Ranks

ChannelName = Literal["mean", "scale", "slippage", "correlation", "hit"]
Direction = Literal["adverse", "favourable"]

SHARES: dict[ChannelName, float] = {"mean": 0.010, "scale": 0.0125, "correlation": 0.0025, "hit": 0.025}
"""Budget shares: they sum to 5 %. Where slippage is measured it takes half of the mean's."""
ZETAS: dict[ChannelName, float] = {"mean": 0.57, "slippage": 0.57, "scale": 0.59, "correlation": 0.42, "hit": 0.81}
"""Tail constants: P(max over N of S >= s) = 1 - exp(-N zeta e^-s) in control."""
TABLES: dict[ChannelName, BetTable] = {"mean": SHIFT, "slippage": SHIFT, "scale": SPREAD, "correlation": DEVIATION}


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A latched alarm. `index` and `change_index` count the channel's points of the epoch from 0: the point that raised it, the first changed one.

    `before` and `since` are the medians in bps (for `hit`: the rates), `spread_before` and `spread_since` the median absolute deviations
    (null for `hit`). `effect_bps` is the shift of the median, or of the spread for scale and correlation; null for `hit`.
    """

    channel: ChannelName
    epoch: int
    index: int
    key: int
    change_index: int
    change_key: int
    evidence: float
    limit: float
    effect_bps: float | None
    before: float | None
    since: float
    spread_before: float | None
    spread_since: float | None
    direction: Direction
    note: str | None = None


class Channel:
    """One channel: its evidence, the point at which its bets began, its alarm."""

    __slots__ = ("alarm", "began", "evidence", "name", "table")

    def __init__(self, name: ChannelName, table: BetTable | None, evidence: Evidence) -> None:
        self.name, self.table, self.evidence = name, table, evidence
        self.began = ARM
        self.alarm: Alarm | None = None

    def restart(self, began: int) -> None:
        """Drop the evidence, unless an alarm has latched."""
        if not self.evidence.latched:
            self.evidence.restart()
            self.began = began

    def state(self) -> dict[str, Any]:
        return {"began": self.began, "alarm": msgspec.to_builtins(self.alarm), "evidence": self.evidence.state()}

    def load(self, state: dict[str, Any]) -> None:
        self.began = state["began"]
        self.alarm = msgspec.convert(state["alarm"], Alarm | None)
        self.evidence.load(state["evidence"])


def channel(name: ChannelName, *, horizon: int, share: float | None = None, calibration: int = CALIBRATION) -> Channel:
    """A channel at the start of an epoch, with its share of the budget over `horizon` points; full power after `calibration` points."""
    table = TABLES.get(name)
    size = table.size if table else 3
    part = SHARES[name] if share is None else share
    return Channel(name, table, Evidence(size=size, share=part, zeta=ZETAS[name], horizon=horizon, ramp=max(0, calibration - ARM)))


class Lane:
    """A ranked stream and its channels."""

    def __init__(self, ranks: Ranks, channels: Sequence[Channel], *, epoch: int, note: str | None = None, offset: int = 0) -> None:
        self.ranks, self.channels, self.epoch, self.note, self.offset = ranks, list(channels), epoch, note, offset

    def add(self, key: int, x: float, bps: float) -> list[Alarm]:
        """Take one point; the alarms that latch on it."""
        ranks = self.ranks
        raised: list[Alarm] = []
        armed = ranks.armed
        changed = ranks.add(key, x, bps)
        if armed:
            p = ranks.p[-1]
            loud = [one for one in self.channels if one.table and not one.evidence.latched and one.evidence.step(one.table.at(p))]
            raised = [self._raise(one, len(ranks) - 1) for one in loud]
        if changed:
            self._restart()
        return raised

    def extend(self, keys: KeyArray, x: FloatArray, bps: FloatArray) -> list[tuple[int, Alarm]]:
        """Take any number of points; the alarms that latch, each with its place in the batch."""
        raised: list[tuple[int, Alarm]] = []
        done = 0
        while done < len(x):
            stop = min(done + self.ranks.room, len(x))
            armed, start = self.ranks.armed, len(self.ranks)
            changed = self.ranks.extend(keys[done:stop], x[done:stop], bps[done:stop])
            if armed:
                loud = self._bet(np.frombuffer(self.ranks.p[start:]))
                raised += [(done + place, self._raise(one, start + place)) for one, place in loud]
            if changed:
                self._restart()
            done = stop
        return raised

    def _bet(self, p: FloatArray) -> list[tuple[Channel, int]]:
        """Let the channels bet on new p-values; those that latch, with the place at which they do."""
        where = cells(p)
        bets = [(one, one.table.read(where)) for one in self.channels if one.table and not one.evidence.latched]
        places = [(one, one.evidence.run(column)) for one, column in bets]
        return [(one, place) for one, place in places if place >= 0]

    def _restart(self) -> None:
        for one in self.channels:
            one.restart(len(self.ranks))

    def _raise(self, one: Channel, index: int) -> Alarm:
        ranks = self.ranks
        change = self._change(one, index)
        values = np.array(ranks.bps[: index + 1])
        before, since = values[:change], values[change:]
        centre, spread = (float(v) for v in _centre(since))
        was, was_spread = (float(v) for v in _centre(before))
        shift = one.name in {"mean", "slippage"}
        effect = centre - was if shift else spread - was_spread
        one.alarm = Alarm(
            channel=one.name,
            epoch=self.epoch,
            index=index + self.offset,
            key=ranks.keys[index],
            change_index=change + self.offset,
            change_key=ranks.keys[change],
            evidence=one.evidence.log_evidence or 0.0,
            limit=one.evidence.limit,
            effect_bps=effect,
            before=was,
            since=centre,
            spread_before=was_spread,
            spread_since=spread,
            direction="favourable" if shift and effect < 0.0 else "adverse",
            note=self.note if one.name == "scale" else None,
        )
        return one.alarm

    def _change(self, one: Channel, index: int) -> int:
        if one.table is None:
            raise TypeError(f"channel {one.name} bets on no ranks")
        leading = np.ascontiguousarray(one.table.over(np.array(self.ranks.p[one.began : index + 1]))[:, one.evidence.leader])
        return one.began + change_place(leading)

    def state(self) -> dict[str, Any]:
        return {"ranks": self.ranks.state(), "channels": [one.state() for one in self.channels]}

    def load(self, state: dict[str, Any]) -> None:
        self.ranks.load(state["ranks"])
        for one, kept in zip(self.channels, state["channels"], strict=True):
            one.load(kept)


def change_place(leading: NDArray[np.float64]) -> int:
    """Place of the first changed point: after the last zero of max(0, C + log f), which is the last minimum of the running sum of log f."""
    path = np.append(0.0, np.cumsum(np.log(leading)))
    last_zero = len(path) - 1 - int(path[::-1].argmin())
    return min(last_zero, len(leading) - 1)


def _centre(values: FloatArray) -> tuple[float, float]:
    if not len(values):
        return math.nan, math.nan
    middle = float(np.median(values))
    return middle, float(np.median(np.abs(values - middle)))
