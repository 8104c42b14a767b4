"""Measures of the past days as they stood along the way: series for charts, in which nothing is judged.

1. A point stands for the end of an hour and looks back as far as the measure itself does (MATH 3 and 4); nothing looks ahead.
2. An hour without trades has no tracking error; a correlation that cannot be taken is None.
3. Sums of shelves are enough for all of it but the distribution, for which the newest pairs are read, `MOST_PAIRS` at the most.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.fresh import Fresh
from parityd.core.instants import rfc3339
from parityd.core.marks import Marks
from parityd.core.returns import Returns, correlation, hit_rate, window_begin
from parityd.core.rows import SHELF_NS, SUSPECT, Rows, Shelf, shelf_of
from parityd.core.strategy import Strategy
from parityd.core.summary import ID, TIMED, classes
from parityd.core.terms import Names
from parityd.core.trade_view import values, view

HOUR = 4  # shelves
DAYS = 7
BINS = 40
NAMED = 5
MOST_PAIRS = 20_000
Series = list[dict[str, Any]]


def trailing(r: Returns, first: int, last: int) -> Series:
    """`[{ts, correlation, hit_rate}]` at the ends of hours in the intervals first..last. `r`: as many of the 30 days before as there are."""
    ends = range(-(-(first + 1) // HOUR) * HOUR - 1, min(last, int(r.numbers[-1])) + 1, HOUR) if len(r.numbers) else range(0)
    out = []
    for k in ends:
        n = int(np.searchsorted(r.numbers, k, side="right"))
        if not n:
            continue
        active, begin = r.active[:n], window_begin(r.active[:n])
        part = msgspec.structs.replace(r, active=active, pnl_allowed=r.pnl_allowed[:n], pnl_live=r.pnl_live[:n], begin=begin)
        out.append({"ts": rfc3339((k + 1) * SHELF_NS), "correlation": correlation(part), "hit_rate": hit_rate(part)})
    while out and out[0]["correlation"] is None and out[0]["hit_rate"] is None:
        del out[0]
    return out


def profits(r: Returns) -> Series:
    """`[{ts, backtest, allowed, live}]`: profits summed from the first interval on."""
    sums = {k: np.cumsum(v).tolist() for k, v in (("backtest", r.pnl_backtest_full), ("allowed", r.pnl_allowed), ("live", r.pnl_live))}
    return [{"ts": rfc3339((n + 1) * SHELF_NS), **{k: v[i] for k, v in sums.items()}} for i, n in enumerate(r.numbers.tolist())]


def hourly_error(s: Strategy, first: int, last: int) -> Series:
    """`[{ts, value}]`: root mean square of the price differences of each hour's matched trades."""
    hours: dict[int, list[float]] = {}
    for number in _shelves(s, first, last):
        parts = s.books.summaries[number].parts
        hour = hours.setdefault(number // HOUR, [0.0, 0.0])
        hour[0] += parts[ID]["n"] + parts[TIMED]["n"]
        hour[1] += parts[ID]["d2"] + parts[TIMED]["d2"]
    return [{"ts": rfc3339((h + 1) * HOUR * SHELF_NS), "value": float(np.sqrt(v[1] / v[0]))} for h, v in sorted(hours.items()) if v[0]]


def newest_pairs(s: Strategy, marks: Marks, names: Names, first: int, last: int) -> dict[str, Any]:
    """The distribution of the newest matched trades' price differences, as `spread` gives it; {} without any."""
    found: list[NDArray[np.float64]] = []
    far: list[tuple[float, Shelf, int]] = []
    held = 0
    for number in reversed(_shelves(s, first, last)):
        shelf = s.books.shelf(number)
        places, d = pairs_of(shelf.rows)
        found.append(d)
        far += [(float(d[k]), shelf, int(places[k])) for k in np.argsort(-np.abs(d))[:NAMED].tolist()]
        held += len(d)
        if held >= MOST_PAIRS:
            break
    return spread(found, far, s.name, marks, names, (last + 1) * SHELF_NS)


def pairs_of(r: Rows | Fresh) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(places, price differences) of the matched trades that are measured."""
    by_id, timed, _, _ = classes(r)
    places = np.flatnonzero((by_id | timed) & ((r["flags"] & SUSPECT) == 0) & ~np.isnan(r["d"]))
    return places, r["d"][places].copy()


def spread(
    found: list[NDArray[np.float64]], far: list[tuple[float, Shelf, int]], strategy: str, marks: Marks, names: Names, end: int
) -> dict[str, Any]:
    """`{edges_bps, counts, n, mean_bps, outliers}`: the outermost bins hold what lies beyond the middle 99 %; of that the farthest are named."""
    d = np.concatenate(found) if found else np.zeros(0)
    if not len(d):
        return {}
    low, high = np.percentile(d, [0.5, 99.5]) if len(d) >= 200 else (d.min(), d.max())
    counts, edges = np.histogram(np.clip(d, low, high), bins=min(BINS, max(5, round(2 * len(d) ** 0.5))))
    middle, width = float(d.mean()), float(d.std())
    named = [one for one in sorted(far, key=lambda x: -abs(x[0])) if abs(one[0] - middle) > 2 * width][:NAMED]
    outliers = []
    for value, shelf, place in named:
        price = float(values(shelf.rows[place : place + 1], marks, end)[0])
        shown = view(shelf, place, strategy, names, price, settled=True)
        kept = {k: shown[k] for k in ("trade_id", "symbol", "side", "ts", "total_pnl_diff", "currency")}
        outliers.append({**kept, "value_bps": value})
    return {"edges_bps": edges.tolist(), "counts": counts.tolist(), "n": len(d), "mean_bps": middle, "outliers": outliers}


def _shelves(s: Strategy, first: int, last: int) -> list[int]:
    summaries = s.books.summaries
    if last - first < len(summaries):
        return [k for k in range(first, last + 1) if k in summaries]
    return sorted(k for k in summaries if first <= k <= last)


def recent(s: Strategy, marks: Marks, names: Names, returns: Returns | None, now: int) -> dict[str, Any]:
    """Series of the last days up to the newest trade; a part without data is left out. `returns`: of the last 30 days up to now."""
    newest = max((k for k in list(s.books.summaries) if k <= shelf_of(now)), default=None)
    if newest is None:
        return {}
    first = newest - DAYS * 24 * HOUR + 1
    out: dict[str, Any] = {"tracking_error": hourly_error(s, first, newest), "price_diff": newest_pairs(s, marks, names, first, newest)}
    if returns is not None and len(returns.numbers):
        last = int(returns.numbers[-1])
        begun = int(np.argmax((returns.pnl_backtest_full != 0) | (returns.pnl_live != 0)))
        keep = returns.numbers >= max(last - DAYS * 24 * HOUR, int(returns.numbers[begun]) - 1)
        columns = ("numbers", "pnl_backtest_full", "pnl_allowed", "pnl_live")
        out["pnl"] = profits(msgspec.structs.replace(returns, **{k: getattr(returns, k)[keep] for k in columns}))
        out["correlation"] = trailing(returns, last - DAYS * 24 * HOUR, last)
    return {k: v for k, v in out.items() if v}
