"""How the evidence of drift came about: the present epochs told again from what the detectors hold, for charts alone.

1. The last point of a channel is its published evidence; nothing here steps a detector.
2. A share is evidence over its limit, 0 where there is none; a channel whose bets have not begun is left out, a latched one stays at its alarm.
3. At most `MOST` points, each the newest of its stretch of whole quarter hours.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parityd.core.drift import EPOCH_POINTS, Detectors
from parityd.core.drift_feed import DriftFeed
from parityd.core.drift_hits import Rates
from parityd.core.drift_lane import Channel, Lane
from parityd.core.drift_trades import TradeStream
from parityd.core.instants import DAY_NS, rfc3339
from parityd.core.rows import SHELF_NS

MOST = 96
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Path = tuple[I64, F64]  # times (ns), shares of the limit


def drift_path(feed: DriftFeed, now: int, until: int | None = None) -> list[dict[str, Any]]:
    """`[{ts, channels {name: share of its limit}}]` of the present epochs up to a time (ns), oldest first."""
    view = feed.view(now)
    paths = {**_trades(view, feed.trades), **_intervals(view)}
    if until is not None:
        paths = {name: (t[t <= until], v[t <= until]) for name, (t, v) in paths.items()}
    return _sampled({name: path for name, path in paths.items() if len(path[0])})


def _trades(view: Detectors, stream: TradeStream) -> dict[str, Path]:
    side = view.trades
    times = _times({k: one.count for k, one in stream.seen.items()}, stream.days, len(side.price.ranks))
    out: dict[str, Path] = {one.name: _shares(one, side.price, times) for one in side.price.channels}
    if side.slippage is not None and len(side.slippage.ranks):
        keys, own = np.array(side.price.ranks.keys), np.array(side.slippage.ranks.keys)
        order = np.argsort(keys, kind="stable")
        places = order[np.minimum(np.searchsorted(keys, own, sorter=order), len(keys) - 1)]
        out |= {one.name: _shares(one, side.slippage, times[places]) for one in side.slippage.channels}
    return out


def _times(seen: Mapping[int, int], days: list[list[int]], n: int) -> I64:
    """The time of each of an epoch's n trades: the end of its quarter hour, of its day where the epoch was full before the newest of them."""
    known = sum(count for _, count in days)
    shelves = np.array(sorted(seen), np.int64)
    each = np.repeat((shelves + 1) * SHELF_NS, [seen[k] for k in shelves.tolist()])
    if n < EPOCH_POINTS and len(each) >= n:
        return each[len(each) - n :]
    ends = np.array([(day + 1) * DAY_NS for day, _ in days], np.int64)
    spread = np.repeat(ends, [count for _, count in days])[:n]
    return spread if known >= n else np.full(n, ends[-1] if len(ends) else 0)


def _intervals(view: Detectors) -> dict[str, Path]:
    side = view.intervals
    out: dict[str, Path] = {}
    keys = np.array(side.deviations.ranks.keys, np.int64)
    for one in side.deviations.channels:
        out[one.name] = _shares(one, side.deviations, (keys + 1) * SHELF_NS)
    hits, rates, bets = side.hits, Rates(), []
    for index, missed in enumerate(hits.missed):
        if index >= hits.channel.began:
            bets.append(rates.bets(bool(missed)))
        rates.count(bool(missed))
    ends = (np.array(hits.keys, np.int64) + 1) * SHELF_NS
    out[hits.channel.name] = _path(hits.channel, np.array(bets).reshape(-1, hits.channel.evidence.size), ends[hits.channel.began :], 0)
    return out


def _shares(one: Channel, lane: Lane, times: I64) -> Path:
    ranks = np.array(lane.ranks.p)
    table = one.table
    if table is None or len(ranks) <= one.began:
        return times[:0], np.zeros(0)
    return _path(one, table.over(ranks[one.began :]), times[one.began :], lane.offset)


def _path(one: Channel, bets: F64, times: I64, offset: int) -> Path:
    """Shares after each bet; after an alarm nothing moves."""
    if one.alarm is not None:
        bets = bets[: one.alarm.index - offset - one.began + 1]
    elif one.evidence.latched:
        return times[:0], np.zeros(0)
    if not len(bets):
        return times[:0], np.zeros(0)
    shares = np.maximum(one.evidence.path(bets), 0.0) / one.evidence.limit
    return times, np.append(shares, np.full(len(times) - len(shares), shares[-1]))


def _sampled(paths: Mapping[str, Path]) -> list[dict[str, Any]]:
    if not paths:
        return []
    first, last = min(int(t[0]) for t, _ in paths.values()), max(int(t[-1]) for t, _ in paths.values())
    step = SHELF_NS * max(1, math.ceil((last - first) / SHELF_NS / (MOST - 1)))
    grid = np.arange(last - (last - first) // step * step, last + 1, step)
    at = {name: np.searchsorted(t, grid, side="right") - 1 for name, (t, _) in paths.items()}
    return [
        {"ts": rfc3339(int(t)), "channels": {n: round(float(v[at[n][i]]), 4) for n, (_, v) in paths.items() if at[n][i] >= 0}}
        for i, t in enumerate(grid.tolist())
    ]
