"""The bets of the drift detectors: what each wins or loses on one conformal p-value.

1. A bet is a density over the unit interval: it integrates to 1, so no betting on uniform p-values gains on average.
2. Bets are laid for shifts (mean, slippage), for wider spread (scale) and for larger deviations (correlation), each in a normal
   and a Student t (3 degrees) form, so that neither thin nor heavy tails are a blind spot.
3. A bet is read from a table by binary exponent and mantissa, linear in between (relative error under 1e-6). Only exact operations
   and IEEE products are used, so one p-value at a time and a whole column give the same bits.
4. This room knows neither trades nor time.
"""

import math
from collections.abc import Callable
from functools import cache, cached_property
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Rows = NDArray[np.int64]

P_FLOOR = 1e-6
"""p-values are clipped to [P_FLOOR, 1 - P_FLOOR] before a bet is read."""

_OCTAVES = 19
_CELLS = 1024
_HALF = _OCTAVES * _CELLS + 2
_MANY = 512
_BELOW_CELL = 42
_FIRST_CELL = (1022 - _OCTAVES) * _CELLS
"""Of a double in [2^-k, 2^(1-k)) the 11 bits of the exponent say 1023 - k; then come 10 bits of the cell and 42 below it."""
_SQRT3 = math.sqrt(3.0)
_STANDARD = NormalDist()


def normal_quantile(p: float) -> float:
    """Quantile of the standard normal law for 0 < p < 1 (Wichura 1988, to about 1e-15 relative)."""
    return _STANDARD.inv_cdf(p)


def t3_quantile(p: float) -> float:
    """Quantile of Student's t with 3 degrees of freedom for 0 < p < 1, to about 1e-12 relative."""
    if p == 0.5:
        return 0.0
    lower = float(_t3_lower(np.array([min(p, 1.0 - p)]))[0])
    return lower if p < 0.5 else -lower


def _t3_lower(tail: FloatArray) -> FloatArray:
    """Lower quantiles for tails in (0, 0.5]: with t = -sqrt3 cot(psi/2) the law's tail is (psi - sin psi) / (2 pi), Kepler's equation."""
    y = 2.0 * math.pi * tail
    psi = np.minimum(np.cbrt(6.0 * y), math.pi)
    for _ in range(12):
        square = psi * psi
        series = psi * square / 6.0 * (1 - square / 20 * (1 - square / 42 * (1 - square / 72 * (1 - square / 110 * (1 - square / 156)))))
        left = np.where(psi < 0.5, series, psi - np.sin(psi))
        psi = np.minimum(psi - (left - y) / (2.0 * np.sin(psi / 2.0) ** 2), math.pi)
    return -_SQRT3 / np.tan(psi / 2.0)


def _g(q: FloatArray) -> FloatArray:
    return (1.0 + q * q / 3.0) ** -2.0


def _shift_bets(z: FloatArray, q: FloatArray) -> list[FloatArray]:
    normal = [np.exp(a * z - a * a / 2.0) for a in (0.6, 1.1, -0.6, -1.1)]
    return [*normal, *(_g(q - c * _SQRT3) / _g(q) for c in (1.0, -1.0))]


def _spread_bets(normal: tuple[float, ...], heavy: tuple[float, ...]) -> Callable[[FloatArray, FloatArray], list[FloatArray]]:
    def bets(z: FloatArray, q: FloatArray) -> list[FloatArray]:
        thin = [np.exp(z * z / 2.0 * (1.0 - 1.0 / (s * s))) / s for s in normal]
        return [*thin, *(_g(q / s) / _g(q) / s for s in heavy)]

    return bets


class Cells(NamedTuple):
    """Where p-values lie in a table: the row in a half by their tail, the same with a half before it where they lie in the upper half of the unit interval
    (`up`) or in the lower (`down`), and how far towards the next row.
    """

    tail: Rows
    up: Rows
    down: Rows
    weight: FloatArray


def cells(p: FloatArray) -> Cells:
    """The same for every table: channels that bet on the same p-values share it. Octave and cell of a tail are the first bits of its number."""
    bits = np.minimum(p, 1.0 - p).view(np.int64)
    tail = (bits >> _BELOW_CELL) - _FIRST_CELL
    up = tail + (p >= 0.5) * np.int64(_HALF)
    weight = (bits & ((1 << _BELOW_CELL) - 1)).astype(np.float64) * math.ldexp(1.0, -_BELOW_CELL)
    return Cells(tail, up, 2 * tail + np.int64(_HALF) - up, weight)


class _Halves(NamedTuple):
    """The halves of all bets behind one another, (value, slope) as one complex number so that both are read at once; where each bet's lower and upper half
    begin. What two have in common is there once: bets on a rise and on a fall mirror each other, bets on spread mirror themselves.
    """

    table: NDArray[np.complex128]
    begins: NDArray[np.int64]  # (lower or upper, size)


class BetTable:
    """All bets of a channel as functions of the p-value; `over` reads a column, `at` one value, with the same bits."""

    def __init__(self, bets: Callable[[FloatArray, FloatArray], list[FloatArray]], *, upper_half: bool = False) -> None:
        self._bets, self._upper_half = bets, upper_half
        one = np.ones(1)
        self.size = len(bets(one, one))

    @cached_property
    def _halves(self) -> _Halves:
        """Megabytes and tens of milliseconds, which only a process pays that has p-values."""
        if self._upper_half:  # u = (1 + p) / 2: both ends of p lie in the upper half of u
            tail = _tails()
            below, above = _quantiles((1.0 - tail) / 2.0), _quantiles(tail / 2.0)
            lower, upper = self._bets(-below[0], -below[1]), self._bets(-above[0], -above[1])
        else:
            z, q = _plain_quantiles()
            lower, upper = self._bets(z, q), self._bets(-z, -q)
        places: dict[bytes, int] = {}
        begins = [[places.setdefault(half.tobytes(), len(places)) for half in pair] for pair in zip(lower, upper, strict=True)]
        value = np.array([np.frombuffer(half) for half in places])
        table = np.zeros(value.shape, np.complex128)
        table.real, table.imag[:, :-1] = value, value[:, 1:] - value[:, :-1]
        return _Halves(table.reshape(-1), np.array(begins).T * _HALF)

    def over(self, p: FloatArray) -> FloatArray:
        """Bets (len(p), size) on p-values within the clip."""
        return self.read(cells(p))

    def read(self, where: Cells) -> FloatArray:
        """Bets (n, size) at the p-values of `cells`."""
        table, (lower, upper) = self._halves
        if len(where.weight) < _MANY:  # all at once, which is dearer a p-value
            few = table.take(where.tail + np.where(where.up > where.tail, upper[:, None], lower[:, None]))
            bets: FloatArray = (few.imag * where.weight + few.real).T
            return bets
        out = np.empty((self.size, len(where.weight)))
        for one, low, high in zip(out, lower.tolist(), upper.tolist(), strict=True):
            rows = where.tail if low == high else where.up if low < high else where.down
            found = table[min(low, high) :].take(rows, mode="clip")
            np.multiply(found.imag, where.weight, out=one)
            np.add(one, found.real, out=one)
        return out.T

    def at(self, p: float) -> list[float]:
        """Bets on one p-value within the clip."""
        high = p >= 0.5
        mantissa, exponent = math.frexp(1.0 - p if high else p)
        place = (mantissa - 0.5) * (2.0 * _CELLS)
        cell = int(place)
        weight = place - cell
        table, begins = self._halves
        found = table.take(begins[int(high)] + ((exponent + _OCTAVES) * _CELLS + cell)).tolist()
        return [one.real + weight * one.imag for one in found]


def _tails() -> FloatArray:
    """The tail at each row of a half."""
    row = np.arange(_HALF)
    tails: FloatArray = np.minimum(np.ldexp(0.5 + (row % _CELLS) / (2.0 * _CELLS), row // _CELLS - _OCTAVES), 0.5)
    return tails


@cache
def _plain_quantiles() -> tuple[FloatArray, FloatArray]:
    """Of the tails as they are: most of the time that a table takes, and the same for all but one."""
    return _quantiles(_tails())


def _quantiles(tail: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.array([normal_quantile(v) for v in tail.tolist()]), _t3_lower(tail)


SHIFT = BetTable(_shift_bets)
"""Mean-type bets: normal shifts of 0.6, 1.1, -0.6, -1.1 sd, t3 shifts of 1 and -1 sd."""
SPREAD = BetTable(_spread_bets((1.5,), (1.5, 2.2)))
"""Scale bets: wider by 1.5 (normal), by 1.5 and 2.2 (t3)."""
DEVIATION = BetTable(_spread_bets((1.6, 2.4), (2.0,)), upper_half=True)
"""Correlation bets, on the rank of the absolute deviation."""
