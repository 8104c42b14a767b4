"""Markouts (MATH 3): how the price moved 1, 5 and 30 minutes after a live fill, by maker and taker.

1. s (mark - p_l) / p_l in bps: positive where the price went the way of the fill. Averaged over fills, each counting once.
2. The mark is the newest at or before the horizon; one that is no newer than the fill says nothing, nor does a horizon that the marks have not
   reached yet: such a fill is not counted there.
3. Traded prices are no marks here: a strategy's own fills would mark its own fills.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from parityd.core.grouping import each
from parityd.core.live_fills import MAKER, TAKER, LiveFills
from parityd.core.marks import Marks

MINUTES = (1, 5, 30)
KINDS = {"maker": MAKER, "taker": TAKER, "unknown": 0}


Groups = list[tuple[int, NDArray[np.int64]]]


def markout_bps(fills: LiveFills, groups: Groups, marks: Marks, minutes: Sequence[int], until: int) -> NDArray[np.float64]:
    """Of each fill at each horizon, NaN where it could not be measured. Shape (horizons, n). `groups`: the places of each symbol's fills; `until`: the time
    up to which marks are known (ns).
    """
    out = np.full((len(minutes), len(fills)), np.nan)
    for sym, mine in groups:
        series = marks.marks.get(sym)
        if series is None:
            continue
        series.settle()
        if not len(series.ts):
            continue
        ts, price, way = fills.ts[mine], fills.price[mine], np.sign(fills.quantity[mine])
        known = max(until, int(series.ts[-1]))
        for row, m in zip(out, minutes, strict=True):
            due = ts + m * 60_000_000_000
            place = np.searchsorted(series.ts, due, side="right") - 1
            good = (due <= known) & (place >= 0) & (series.ts[np.maximum(place, 0)] > ts)
            row[mine] = np.where(good, way * (series.px[place] / price - 1.0) * 1e4, np.nan)
    return out


def markouts(
    fills: LiveFills, marks: Marks, until: int, minutes: Sequence[int] = MINUTES
) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """`{maker | taker: {"1m": {mean_bps, n}, ...}}`; `unknown` only where fills do not say."""
    groups = list(each(fills.sym))
    values = dict(zip(minutes, markout_bps(fills, groups, marks, minutes, until), strict=True))
    out: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for kind, code in KINDS.items():
        mine = fills.liquidity == code
        if kind != "unknown" or mine.any():
            out[kind] = {f"{m}m": _mean(v[mine]) for m, v in values.items()}
    return out


def _mean(values: NDArray[np.float64]) -> dict[str, float | int | None]:
    known = values[~np.isnan(values)]
    return {"mean_bps": float(known.mean()) if len(known) else None, "n": len(known)}
