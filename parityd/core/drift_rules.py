"""The founding rules of thumb (a) to (d): descriptive figures beside the detectors. They raise nothing.

1. Read after every trade they false-alarm in 17 to 100 % of stable streams, so no finding may be built on them.
2. Each compares the newest values with a baseline from before them, never with itself; too little of either, or a baseline of 0, gives nulls.
"""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

RECENT = 30
"""Newest trades or intervals that rules (b), (c) and (d) look at."""
BASELINE = 200
"""Points at the start of the epoch that are the baseline of rules (b), (c) and (d)."""
DAYS = 3
_FEWEST = 30


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule's present value, its baseline, their relative change, and whether the rule's line is crossed (null: not measurable)."""

    value: float | None
    baseline: float | None
    change: float | None
    crossed: bool | None


def rules_of_thumb(
    *, daily_tracking_error_bps: ArrayLike, backtest_returns: ArrayLike, live_returns: ArrayLike, slippages_bps: ArrayLike
) -> dict[str, Any]:
    """The four rules in plain types, from the epoch's daily tracking errors, active interval returns and measured slippages, each in order of time.

    (a) `tracking_error`: mean of the last 3 days more than 50 % off the mean of the days before. (b) `correlation` and (c) `hit_rate` of the last
    30 intervals more than 20 % under the baseline. (d) `slippage`: mean of the last 30 more than 20 % over the baseline.
    """
    days, slips = _finite(daily_tracking_error_bps), _finite(slippages_bps)
    back, live = np.asarray(backtest_returns, dtype=np.float64), np.asarray(live_returns, dtype=np.float64)
    good = np.isfinite(back) & np.isfinite(live)
    back, live = back[good], live[good]
    first, last = _baseline(len(back)), slice(max(0, len(back) - RECENT), None)
    hits = (np.sign(back) == np.sign(live)).astype(np.float64)
    rules = {
        "tracking_error": _rule(_mean(days[-DAYS:], DAYS), _mean(days[:-DAYS], 1), up=0.5, down=0.5),
        "correlation": _rule(_pearson(back[last], live[last]), _pearson(back[first], live[first]), down=0.2),
        "hit_rate": _rule(_mean(hits[last], RECENT), _mean(hits[first], _FEWEST), down=0.2),
        "slippage": _rule(_mean(slips[-RECENT:], RECENT), _mean(slips[_baseline(len(slips))], _FEWEST), up=0.2),
    }
    return {name: msgspec.to_builtins(rule) for name, rule in rules.items()}


def _rule(value: float | None, baseline: float | None, *, up: float = math.inf, down: float = math.inf) -> Rule:
    if value is None or baseline is None or baseline == 0.0:
        return Rule(value=value, baseline=baseline, change=None, crossed=None)
    change = (value - baseline) / abs(baseline)
    return Rule(value=value, baseline=baseline, change=change, crossed=change > up or change < -down)


def _baseline(n: int) -> slice:
    return slice(0, max(0, min(BASELINE, n - RECENT)))


def _finite(values: ArrayLike) -> FloatArray:
    column: FloatArray = np.asarray(values, dtype=np.float64)
    return column[np.isfinite(column)]


def _mean(values: FloatArray, fewest: int) -> float | None:
    return float(values.mean()) if len(values) >= fewest else None


def _pearson(x: FloatArray, y: FloatArray) -> float | None:
    if len(x) < _FEWEST or not np.ptp(x) or not np.ptp(y):
        return None
    a, b = x - x.mean(), y - y.mean()
    spread = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / spread if spread > 0.0 else None
