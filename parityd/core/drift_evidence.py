"""The evidence of one drift channel: Shiryaev-Roberts sums of its bets, a latch, and what the evidence is worth.

1. R_j <- (w + R_j) f_j for each bet j, from 0; the statistic is mean_j R_j, S its logarithm. w grows from 0 to 1 over the `ramp` (armed, but not
   yet at full power), then is 1. In control mean_j R_j - sum w is a martingale, so the bound of the full sum holds from the first bet on.
2. The alarm latches when S >= log(N / share), with N the horizon of the epoch; from then on nothing moves.
3. R is kept as P (R0 + C) in aligned blocks of 64: P the product of the block's bets, C the sum of w / P before each. One bet at a time
   and a whole column make the same IEEE operations in the same order, so any cut of the stream gives the same bits.
   R stays between about 1e-4 and 1e13 until the latch, so no logarithms are needed on the way.
4. This room does not know what a bet is about.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_BLOCK = 64
_MANY = 32
"""Blocks from which on it is faster to go step by step through all of them."""


class Evidence:
    """Evidence of one channel with `size` bets; `share` of the false-alarm budget over `horizon` points, `zeta` its tail constant."""

    __slots__ = (
        "_c",
        "_p",
        "_place",
        "_r",
        "bar",
        "count",
        "horizon",
        "latched",
        "leader",
        "mean",
        "peaks",
        "ramp",
        "share",
        "size",
        "zeta",
    )

    def __init__(self, *, size: int, share: float, zeta: float, horizon: int, ramp: int = 0) -> None:
        self.size, self.share, self.zeta, self.horizon, self.ramp = size, share, zeta, horizon, ramp
        self.bar = horizon / share
        self.latched = False
        self.leader = 0
        self.count = 0
        self.restart()

    def restart(self) -> None:
        """Drop the evidence gathered so far."""
        self._r = [0.0] * self.size
        self._p = [1.0] * self.size
        self._c = [0.0] * self.size
        self._place = 0
        self.mean = 0.0
        self.peaks: list[tuple[int, float]] = []

    @property
    def limit(self) -> float:
        """The S at which the alarm latches: log(N / share)."""
        return math.log(self.bar)

    @property
    def log_evidence(self) -> float | None:
        """S, or None while nothing has been bet."""
        return math.log(self.mean) if self.mean > 0.0 else None

    @property
    def confidence(self) -> float:
        """Share of in-control stretches of N points that show less evidence than the largest of the last N points here."""
        return math.exp(-self.horizon * self.zeta / self.peaks[0][1]) if self.peaks else 0.0

    def step(self, bets: list[float]) -> bool:
        """Take one point's bets; True when the alarm latches on it."""
        if self.latched:
            return False
        p, c, r = self._p, self._c, self._r
        total = 0.0
        weight = 1.0 if self.count >= self.ramp else (self.count + 1) / self.ramp
        current = []
        for j, bet in enumerate(bets):
            c[j] += weight / p[j]
            p[j] *= bet
            value = p[j] * (r[j] + c[j])
            total += value
            current.append(value)
        self._advance(1, current)
        mean = total / self.size
        self._remember([(self.count + 1, mean)])
        return self._conclude(1, mean, current)

    def run(self, bets: FloatArray) -> int:
        """Take a column of bets (n, size); the place at which the alarm latches, or -1. Nothing after that place counts."""
        if self.latched or not len(bets):
            return -1
        start = self._place
        with np.errstate(over="ignore"):  # only long after the latch
            values = self._grown(bets)
            mean = _total(values)[start : start + len(bets)] / self.size
        last = len(mean) - 1
        if mean.max() >= self.bar:
            last = int((mean >= self.bar).argmax())
            mean = mean[: last + 1]
        after = np.maximum.accumulate(mean[::-1])[::-1]
        tops = np.append(np.flatnonzero(mean[:-1] > after[1:]), last)
        self._remember(list(zip((tops + self.count + 1).tolist(), mean[tops].tolist(), strict=True)))
        block, step = divmod(start + last, _BLOCK)
        return last if self._conclude(last + 1, float(mean[-1]), values[step, :, block].tolist()) else -1

    def path(self, bets: FloatArray) -> FloatArray:
        """S after each of the last bets, (n, size), as they were taken one after the other from no evidence on. Moves nothing."""
        fresh = Evidence(size=self.size, share=self.share, zeta=self.zeta, horizon=self.horizon, ramp=self.ramp)
        fresh.count = max(0, self.count - len(bets))
        out: FloatArray = np.log(_total(fresh._grown(bets))[: len(bets)] / self.size)
        return out

    def _grown(self, bets: FloatArray) -> FloatArray:
        """R after each point, (step of a block, size, block), from the start of the block that the first point falls into.

        Blocks lie side by side, so that a step is one operation for all of them; the first holds what is known of it in the place before the new points.
        """
        n, size, place = len(bets), self.size, self._place
        blocks = -(-(place + n) // _BLOCK)
        columns = np.ones((size, blocks * _BLOCK))
        columns[:, place : place + n] = bets.T
        p = np.ascontiguousarray(columns.reshape(size, blocks, _BLOCK).transpose(2, 0, 1))
        if place:
            p[place - 1, :, 0] = self._p
        _run_up(np.multiply, p)
        c = self._won(p, n)
        if place:
            c[: place - 1, :, 0], c[place - 1, :, 0] = 0.0, self._c
        _run_up(np.add, c)
        starts = np.array([_ends(*one) for one in zip(self._r, p[-1, :, :-1].tolist(), c[-1, :, :-1].tolist(), strict=True)])
        last = (place + n - 1) % _BLOCK
        self._place = (last + 1) % _BLOCK
        self._r, self._p, self._c = starts[:, -1].tolist(), p[last, :, -1].tolist(), c[last, :, -1].tolist()
        c += starts
        c *= p
        if not self._place:
            self._r, self._p, self._c = c[-1, :, -1].tolist(), [1.0] * size, [0.0] * size
        return c

    def _won(self, p: FloatArray, n: int) -> FloatArray:
        """The terms of C: w over the product before it in its block, shaped as the products p; n of them are new."""
        won = np.empty_like(p)
        if self.count >= self.ramp:
            won[0] = 1.0
            np.divide(1.0, p[:-1], out=won[1:])
            return won
        weights = np.ones(p.shape[2] * _BLOCK)
        weights[self._place : self._place + n] = np.minimum(np.arange(self.count + 1, self.count + n + 1) / self.ramp, 1.0)
        weight = weights.reshape(-1, _BLOCK).T
        won[0] = weight[0]
        np.divide(weight[1:, None, :], p[:-1], out=won[1:])
        return won

    def _advance(self, points: int, current: list[float]) -> None:
        self._place += points
        if self._place == _BLOCK:
            self._r, self._p, self._c, self._place = current, [1.0] * self.size, [0.0] * self.size, 0

    def _remember(self, tops: list[tuple[int, float]]) -> None:
        """Keep the falling staircase of the largest means, so that the maximum of the last N points is its first step."""
        peaks = self.peaks
        highest = tops[0][1]
        while peaks and peaks[-1][1] <= highest:
            peaks.pop()
        peaks.extend(tops)
        oldest = tops[-1][0] - self.horizon
        while peaks[0][0] <= oldest:
            del peaks[0]

    def _conclude(self, points: int, mean: float, current: list[float]) -> bool:
        self.count += points
        self.mean = mean
        if mean >= self.bar:
            self.latched = True
            self.leader = current.index(max(current))
            self._r, self._p, self._c, self._place = current, [1.0] * self.size, [0.0] * self.size, 0
        return self.latched

    def state(self) -> dict[str, Any]:
        """Everything but the constants, in plain types."""
        return {
            "r": list(self._r),
            "p": list(self._p),
            "c": list(self._c),
            "place": self._place,
            "mean": self.mean,
            "peaks": [list(peak) for peak in self.peaks],
            "count": self.count,
            "latched": self.latched,
            "leader": self.leader,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self._r, self._p, self._c = list(state["r"]), list(state["p"]), list(state["c"])
        self._place, self.mean, self.count = state["place"], state["mean"], state["count"]
        self.peaks = [(int(n), float(v)) for n, v in state["peaks"]]
        self.latched, self.leader = state["latched"], state["leader"]


def _run_up(operation: np.ufunc, steps: FloatArray) -> None:
    """Each step (size, block) becomes the running product or sum up to it."""
    if steps.shape[2] < _MANY:
        operation.accumulate(steps, axis=0, out=steps)
    else:
        for before, one in pairwise(steps):
            operation(before, one, out=one)


def _ends(r: float, products: list[float], sums: list[float]) -> list[float]:
    """R at the start of each block: of the first r, then by each block's P and C."""
    out = [r]
    for p, c in zip(products, sums, strict=True):
        r = p * (r + c)
        out.append(r)
    return out


def _total(values: FloatArray) -> FloatArray:
    """The sum over the bets in order of time, one after the other as a single point is summed."""
    total: FloatArray = values[:, 0].copy()
    for at in range(1, values.shape[1]):
        total += values[:, at]
    return total.T.reshape(-1)
