"""What a day's charts show, from the same rows as its numbers: hours, distribution, books, costs. Nothing here is judged.

1. Costs by hour and by symbol are of all settled trades, so that their money adds up to the day's attribution less funding and carry.
2. Hours add money of several currencies only at the given rates; where one is unknown there are no hours.
3. Missed and unexpected trades are listed by their money, the largest first, and counted and summed whole.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from parityd.core.day_rows import Piece, Stored, pieces
from parityd.core.instants import rfc3339
from parityd.core.marks import Marks
from parityd.core.ranking import Ranking
from parityd.core.returns import Returns
from parityd.core.rows import SHELF_NS, SUSPECT, Rows, Shelf, shelf_of
from parityd.core.strategy import Strategy
from parityd.core.summary import classes
from parityd.core.terms import Names
from parityd.core.trade_view import cost, values, view
from parityd.core.trailing import HOUR, NAMED, hourly_error, pairs_of, profits, spread
from parityd.core.window import Settling, settled_rows

LISTED = 20
Rate = Callable[[int], float | None]
Sided = list[tuple[float, Shelf, int]]  # (money, shelf, place)
Sums = dict[tuple[int, int], list[float]]


class _Costs:
    """Money, notional and trades by (hour, currency) and by (symbol, currency); trades of one book."""

    def __init__(self) -> None:
        self.hours: Sums = {}
        self.symbols: Sums = {}
        self.sided: tuple[Sided, Sided] = ([], [])
        self.totals = [[0, 0.0], [0, 0.0]]
        self.ccys: set[int] = set()

    def add(self, piece: Piece, worth: np.ndarray, until: Settling) -> None:
        """`worth`: what each row of the piece cost."""
        r = piece.rows
        by_id, timed, b_only, l_only = classes(r)
        done = settled_rows(r, until)
        chosen = np.flatnonzero((by_id | timed | ((b_only | l_only) & done)) & ((r["flags"] & SUSPECT) == 0))
        if not len(chosen):
            return
        money = worth[chosen]
        own, live, ccy = np.nan_to_num(r["n"][chosen]), np.nan_to_num(r["ln"][chosen]), r["ccy"][chosen]
        size = np.where(own > 0, own, live)
        _sum(self.hours, piece.numbers()[chosen] // HOUR, ccy, money, size)
        _sum(self.symbols, r["sym"][chosen].astype(np.int64), ccy, money, size)
        self.ccys |= set(np.unique(ccy).tolist())
        for k, mask in enumerate((b_only, l_only)):
            which = mask[chosen]
            self.totals[k][0] += int(which.sum())
            self.totals[k][1] += float(money[which].sum())
            worst = np.flatnonzero(which)[np.argsort(-np.abs(money[which]))[:LISTED]]
            self.sided[k].extend((float(money[i]), *piece.at(int(chosen[i]))) for i in worst.tolist())


def _sum(into: Sums, keys: np.ndarray, ccy: np.ndarray, money: np.ndarray, size: np.ndarray) -> None:
    pairs, place = np.unique(keys * 2**32 + ccy, return_inverse=True)
    columns = [np.bincount(place, v, len(pairs)) for v in (money, size)] + [np.bincount(place, minlength=len(pairs))]
    for pair, *found in zip(pairs.tolist(), *columns, strict=True):
        own = into.setdefault((pair >> 32, pair & 0xFFFFFFFF), [0.0, 0.0, 0])
        for k, v in enumerate(found):
            own[k] += float(v)


def day_series(
    s: Strategy,
    marks: Marks,
    names: Names,
    start: int,
    end: int,
    until: Settling,
    returns: Returns | None,
    rate: Rate,
    stored: Stored | None = None,
    ranking: Ranking | None = None,
) -> dict[str, Any]:
    """Series of one strategy's day [start, end]; a part without data is left out. `stored`: shelves that are not in memory; `ranking` sees the same trades."""
    first, last = shelf_of(start), shelf_of(end)
    costs, found, far = _Costs(), [], []
    for piece in pieces(s.books, first, last, stored):
        places, d = pairs_of(piece.rows)
        found.append(d)
        far += [(float(d[k]), *piece.at(int(places[k]))) for k in np.argsort(-np.abs(d))[:NAMED].tolist()]
        money = cost(piece.rows, values(piece.rows, marks, end + 1))
        costs.add(piece, money, until)
        if ranking is not None:
            ranking.add(piece, money)
    out = {
        "tracking_error": hourly_error(s, first, last), "costs_by_hour": _by_hour(costs, rate), "costs_by_symbol": _by_symbol(costs, names),
        "price_diff": spread(found, far, s.name, marks, names, end + 1),
        "pnl": profits(returns) if returns is not None and len(returns.numbers) else [],
    }  # fmt: skip
    for k, name in enumerate(("missed", "unexpected")):
        out[name] = _listed(costs.sided[k], s.name, marks, names, end + 1)
        if costs.totals[k][0] and len(costs.ccys) == 1:
            out[f"{name}_total"] = {
                "trades": costs.totals[k][0],
                "total_pnl_diff": costs.totals[k][1],
                "currency": names[min(costs.ccys)] or None,
            }
    return {k: v for k, v in out.items() if v}


def _by_hour(c: _Costs, rate: Rate) -> list[dict[str, Any]]:
    worth = {ccy: 1.0 if len(c.ccys) == 1 else rate(ccy) for ccy in c.ccys}
    if None in worth.values():
        return []
    sums: dict[int, list[float]] = {}
    for (hour, ccy), (money, size, n) in sorted(c.hours.items()):
        own = sums.setdefault(hour, [0.0, 0.0, 0])
        unit = worth[ccy] or 0.0
        own[0], own[1], own[2] = own[0] + money * unit, own[1] + size * unit, own[2] + n
    return [{"hour": h % 24, "ts": rfc3339(h * HOUR * SHELF_NS), **_cost(v)} for h, v in sums.items()]


def _by_symbol(c: _Costs, names: Names) -> list[dict[str, Any]]:
    ordered = sorted(c.symbols.items(), key=lambda x: -abs(x[1][0]))[:LISTED]
    return [{"symbol": names[sym], "currency": names[ccy] or None, **_cost(v)} for (sym, ccy), v in ordered]


def _cost(v: list[float]) -> dict[str, Any]:
    return {"trades": int(v[2]), "total_pnl_diff": v[0], "total_bps": v[0] / v[1] * 1e4 if v[1] else None}


def _listed(sided: Sided, strategy: str, marks: Marks, names: Names, end: int) -> list[dict[str, Any]]:
    out = []
    for _, shelf, place in sorted(sided, key=lambda x: -abs(x[0]))[:LISTED]:
        price = float(values(_one(shelf, place), marks, end)[0])
        out.append(view(shelf, place, strategy, names, price, settled=True))
    return out


def _one(shelf: Shelf, place: int) -> Rows:
    return shelf.rows[place : place + 1]
