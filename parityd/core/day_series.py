"""What a day's charts show, from the same rows as its numbers: hours, distribution, books, costs. Nothing here is judged."""

from typing import Any

import numpy as np

from parityd.core.instants import rfc3339
from parityd.core.marks import Marks
from parityd.core.returns import Returns
from parityd.core.rows import SHELF_NS, SUSPECT, shelf_of
from parityd.core.strategy import Strategy
from parityd.core.summary import classes
from parityd.core.terms import Names
from parityd.core.trade_view import cost, values, view
from parityd.core.window import Settling, settled_rows

HOUR = 4  # shelves
BINS = 40
LISTED = 20


def day_series(s: Strategy, marks: Marks, names: Names, start: int, end: int, until: Settling, returns: Returns | None) -> dict[str, Any]:
    """Series of one strategy's day [start, end]; a part without data is left out."""
    hours: dict[int, list[float]] = {}
    diffs: list[np.ndarray] = []
    by_symbol: dict[int, list[float]] = {}
    outliers: list[tuple[float, str, str]] = []
    missed: list[dict[str, Any]] = []
    unexpected: list[dict[str, Any]] = []
    for number in range(shelf_of(start), shelf_of(end) + 1):
        if number not in s.books.summaries:
            continue
        shelf = s.books.shelf(number)
        r = shelf.rows
        by_id, timed, b_only, l_only = classes(r)
        pairs = np.flatnonzero((by_id | timed) & ((r["flags"] & SUSPECT) == 0) & ~np.isnan(r["d"]))
        d = r["d"][pairs]
        if len(d):
            hour = hours.setdefault(number // HOUR, [0.0, 0.0, 0.0, 0.0])
            money = cost(r[pairs], values(r[pairs], marks, end + 1))
            hour[0] += len(d)
            hour[1] += float((d * d).sum())
            hour[2] += float(money.sum())
            hour[3] += float(r["n"][pairs].sum())
            diffs.append(d.copy())
            for sym in np.unique(r["sym"][pairs]).tolist():
                w = r["sym"][pairs] == sym
                own = by_symbol.setdefault(sym, [0.0, 0.0])
                own[0] += float(money[w].sum())
                own[1] += float(r["n"][pairs][w].sum())
            for k in np.argsort(-np.abs(d))[:5].tolist():
                outliers.append((float(d[k]), shelf.text_of(int(pairs[k])), names[int(r["sym"][pairs[k]])]))
        done = settled_rows(r, until)
        for mask, out in ((b_only, missed), (l_only, unexpected)):
            places = np.flatnonzero(mask & done)[:LISTED]
            prices = values(r[places], marks, end + 1)
            out += [view(shelf, int(p), s.name, names, float(x), settled=True) for p, x in zip(places, prices, strict=True)]
    out_: dict[str, Any] = {}
    if hours:
        at = {h: rfc3339(h * HOUR * SHELF_NS) for h in hours}
        out_["tracking_error"] = [{"ts": at[h], "value": float(np.sqrt(v[1] / v[0]))} for h, v in sorted(hours.items())]
        out_["costs_by_hour"] = [{"hour": h % 24, "total_bps": v[2] / v[3] * 1e4 if v[3] else None} for h, v in sorted(hours.items())]
        out_["costs_by_symbol"] = [
            {"symbol": names[k], "total_bps": v[0] / v[1] * 1e4 if v[1] else None}
            for k, v in sorted(by_symbol.items(), key=lambda x: -abs(x[1][0]))[:LISTED]
        ]
        all_d = np.concatenate(diffs)
        counts, edges = np.histogram(np.clip(all_d, *np.percentile(all_d, [0.5, 99.5])), bins=BINS)
        named = sorted(outliers, key=lambda x: -abs(x[0]))[:5]
        out_["price_diff"] = {
            "edges_bps": edges.tolist(),
            "counts": counts.tolist(),
            "outliers": [{"trade_id": t, "symbol": y, "value_bps": d} for d, t, y in named],
        }
    for name, listed in (("missed", missed), ("unexpected", unexpected)):
        if listed:
            out_[name] = sorted(listed, key=lambda x: -abs(x["total_pnl_diff"]))[:LISTED]
    if returns is not None and len(returns.numbers):
        total = {
            k: np.cumsum(v).tolist()
            for k, v in (("backtest", returns.pnl_backtest_full), ("allowed", returns.pnl_allowed), ("live", returns.pnl_live))
        }
        out_["pnl"] = [
            {
                "ts": rfc3339((int(n) + 1) * SHELF_NS),
                "backtest": total["backtest"][i],
                "allowed": total["allowed"][i],
                "live": total["live"][i],
            }
            for i, n in enumerate(returns.numbers.tolist())
        ]
    return out_
