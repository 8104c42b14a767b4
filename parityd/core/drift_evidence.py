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
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_BLOCK = 64


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
        values = np.concatenate(self._pieces(bets))
        total = values[:, 0].copy()
        for j in range(1, self.size):
            total += values[:, j]
        mean = total / self.size
        over = mean >= self.bar
        last = int(over.argmax()) if over.any() else len(mean) - 1
        mean = mean[: last + 1]
        after = np.maximum.accumulate(mean[::-1])[::-1]
        tops = np.flatnonzero(np.append(mean[:-1] > after[1:], True))
        self._remember(list(zip((tops + self.count + 1).tolist(), mean[tops].tolist(), strict=True)))
        return last if self._conclude(last + 1, float(mean[-1]), values[last].tolist()) else -1

    def path(self, bets: FloatArray) -> FloatArray:
        """S after each of the last bets, (n, size), as they were taken one after the other from no evidence on. Moves nothing."""
        fresh = Evidence(size=self.size, share=self.share, zeta=self.zeta, horizon=self.horizon, ramp=self.ramp)
        fresh.count = max(0, self.count - len(bets))
        values = np.concatenate(fresh._pieces(bets))
        out: FloatArray = np.log(values.mean(axis=1))
        return out

    def _pieces(self, bets: FloatArray) -> list[FloatArray]:
        n = len(bets)
        weights = np.ones((n, 1))
        if self.count < self.ramp:
            weights[:, 0] = np.minimum(np.arange(self.count + 1, self.count + n + 1) / self.ramp, 1.0)
        head = min((_BLOCK - self._place) % _BLOCK, n)
        body = head + (n - head) // _BLOCK * _BLOCK
        pieces = [self._partial(bets[:head], weights[:head])] if head else []
        if body > head:
            pieces.append(self._blocks(bets[head:body], weights[head:body]))
        if n > body:
            pieces.append(self._partial(bets[body:], weights[body:]))
        return pieces

    def _partial(self, bets: FloatArray, weights: FloatArray) -> FloatArray:
        p = np.multiply.accumulate(np.vstack([self._p, bets]))
        c = np.add.accumulate(np.vstack([self._c, weights / p[:-1]]))
        values: FloatArray = p[1:] * (np.array(self._r) + c[1:])
        self._p, self._c = p[-1].tolist(), c[-1].tolist()
        self._advance(len(bets), values[-1].tolist())
        return values

    def _blocks(self, bets: FloatArray, weights: FloatArray) -> FloatArray:
        cube = bets.reshape(-1, _BLOCK, self.size)
        p = np.multiply.accumulate(cube, axis=1)
        c = np.empty_like(p)
        w = weights.reshape(-1, _BLOCK, 1)
        c[:, 0] = w[:, 0]
        c[:, 1:] = w[:, 1:] / p[:, :-1]
        c = np.add.accumulate(c, axis=1)
        starts = np.empty((len(cube), 1, self.size))
        start = np.array(self._r)
        for block in range(len(cube)):
            starts[block, 0] = start
            start = p[block, -1] * (start + c[block, -1])
        self._r = start.tolist()
        values: FloatArray = (p * (starts + c)).reshape(-1, self.size)
        return values

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
