"""Round trips of the live book by average cost: every exit closes part of a position at its average cost.

1. A trip is what one execution closes: its fills count together. A reversing fill closes the old position and opens the rest.
2. Profit is after fees: those of the exit, and the entry's share of the quantity closed.
3. Positions are integers of 1e-8 units: what was bought and sold again is exactly zero.
4. Fills of before a split are taken in the units of after it.
5. A trip was opened at the quantity-weighted mean time of what it closes.

Average cost, entry fee a unit and time of entry obey one recurrence over the fills of a symbol, x' = a x + b: an entry mixes what is held with what
comes by their sizes, a partial exit keeps it, a position that ends forgets it (a = 0). So it is solved for all fills at once, by doubling.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.grouping import each, order_by
from parityd.core.ledger import UNIT
from parityd.core.live_fills import LiveFills
from parityd.core.splits import Splits

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
STRETCH = 20_000
"""Fills that are gone through at a time, or all of one symbol."""


class Lot(msgspec.Struct, frozen=True, kw_only=True):
    """An open position: signed 1e-8 units, average cost and entry fee a unit, mean time of entry (ns)."""

    units: int = 0
    cost: float = 0.0
    fee: float = 0.0
    opened: float = 0.0


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    """One round trip; money in the symbol's quote currency."""

    sym: int
    opened: float
    closed: int
    quantity: float
    profit: float
    fees: float

    @property
    def seconds(self) -> float:
        return (self.closed - self.opened) / 1e9


class Trips(msgspec.Struct, frozen=True, kw_only=True):
    """Round trips as columns, in order of their end. Shapes (n,)."""

    sym: I64
    opened: F64
    closed: I64
    quantity: F64
    profit: F64
    fees: F64

    def __len__(self) -> int:
        return len(self.sym)

    def __iter__(self) -> Iterator[Trip]:
        names = self.__struct_fields__
        for values in zip(*(getattr(self, f).tolist() for f in names), strict=True):
            yield Trip(**dict(zip(names, values, strict=True)))

    def take(self, index: NDArray[Any]) -> "Trips":
        """The trips of a mask or of positions."""
        return Trips(**{f: getattr(self, f)[index] for f in self.__struct_fields__})


class _Events(msgspec.Struct):
    """Fills by symbol, then by time; open positions stand as an entry before the first of theirs. `units`: signed, int64 or Python's integers."""

    sym: I64
    ts: F64
    units: NDArray[Any]
    price: F64
    fee: F64
    name: NDArray[np.uint64]


class _Held(msgspec.Struct):
    """Positions before and after each event, and what of it closed and opened; `cost`, `fee` and `opened` are those after it. Sizes in 1e-8 units."""

    before: F64
    closing: F64
    after: NDArray[Any]
    cost: F64
    fee: F64
    opened: F64


def round_trips(fills: LiveFills, opening: Mapping[int, Lot] | None = None, splits: Splits | None = None) -> tuple[Trips, dict[int, Lot]]:
    """(trips in order of their end, the positions left open by symbol, in units of the last fill). `opening`: positions before the first fill."""
    lots: dict[int, Lot] = dict(opening or {})
    quantity, price = fills.quantity, fills.price
    if splits is not None and splits.table and len(fills):
        quantity, price = _in_last_units(fills, splits, lots)
    origin = int(fills.ts[0]) if len(fills) else 0
    done: list[Trips] = []
    left: dict[int, Lot] = {}
    for w, own in _stretches(fills.sym, lots):
        e = _events(fills, w, quantity, price, own, origin)
        held = _held(e)
        done.append(_trips(e, held, origin))
        left |= _left(e, held, origin)
    return _together(done), left


def _stretches(sym: I64, lots: Mapping[int, Lot]) -> Iterator[tuple[I64, list[tuple[int, Lot]]]]:
    """(places of fills by symbol, open positions) of some symbols at a time, by symbol: what a stretch is computed with stays in the processor's cache."""
    places: dict[int, I64] = dict(each(sym))
    open_ = {s: lot for s, lot in lots.items() if lot.units}
    held: list[I64] = []
    own: list[tuple[int, Lot]] = []
    for s in sorted({*places, *open_}):
        if s in open_:
            own.append((s, open_[s]))
        held.append(places.get(s, sym[:0]))
        if sum(map(len, held)) >= STRETCH:
            yield np.concatenate(held), own
            held, own = [], []
    if held:
        yield np.concatenate(held), own


def _left(e: _Events, held: _Held, origin: int) -> dict[int, Lot]:
    """The positions that stay open, by symbol."""
    last = np.flatnonzero(np.append(e.sym[1:] != e.sym[:-1], True)[: len(e.sym)])
    return {
        int(e.sym[i]): Lot(
            units=int(held.after[i]), cost=float(held.cost[i]), fee=float(held.fee[i]), opened=origin + float(held.opened[i])
        )
        for i in last.tolist()
        if held.after[i]
    }


def _together(parts: list[Trips]) -> Trips:
    """Trips of symbol after symbol as one, in order of their end."""
    if not parts:
        none, whole = np.zeros(0), np.zeros(0, np.int64)
        return Trips(sym=whole, opened=none, closed=whole, quantity=none, profit=none, fees=none)
    both = Trips(**{f: np.concatenate([getattr(p, f) for p in parts]) for f in Trips.__struct_fields__})
    return both.take(np.argsort(both.closed, kind="stable"))


def _events(fills: LiveFills, w: I64, quantity: F64, price: F64, open_: list[tuple[int, Lot]], origin: int) -> _Events:
    """Of the fills at these places, which stand by symbol."""
    units = np.rint(quantity[w] * UNIT)
    moves = np.flatnonzero(units)
    w, units = w[moves], units[moves]
    if float(np.abs(units).sum()) + sum(abs(lot.units) for _, lot in open_) < 2**62:
        whole: NDArray[Any] = np.concatenate([np.array([lot.units for _, lot in open_], np.int64), units.astype(np.int64)])
    else:
        whole = np.array([*(lot.units for _, lot in open_), *(int(u) for u in units.tolist())], object)
    sym = np.concatenate([np.array([s for s, _ in open_], np.int64), fills.sym[w]])
    order = order_by(sym) if open_ else np.arange(len(sym))

    def column(of_lot: list[float], own: NDArray[Any]) -> NDArray[Any]:
        made: NDArray[Any] = np.concatenate([np.array(of_lot, own.dtype), own])[order] if open_ else own
        return made

    return _Events(
        sym=sym[order], units=whole[order], ts=column([lot.opened - origin for _, lot in open_], (fills.ts[w] - origin).astype(np.float64)),
        price=column([lot.cost for _, lot in open_], price[w]), fee=column([lot.fee * abs(lot.units) / UNIT for _, lot in open_], fills.fee[w]),
        name=column([0] * len(open_), fills.name[w]),
    )  # fmt: skip


def _held(e: _Events) -> _Held:
    n = len(e.sym)
    after = np.cumsum(e.units)
    first = np.flatnonzero(np.append(True, e.sym[1:] != e.sym[:-1])[:n])
    base = np.append(after[:1] * 0, after)[first]
    after = after - np.repeat(base, np.diff(np.append(first, n)))
    before = after - e.units
    opposed = ((before > 0) & (e.units < 0)) | ((before < 0) & (e.units > 0))
    size, was = np.abs(e.units), np.abs(before)
    closing = np.where(opposed, np.minimum(was, size), 0).astype(np.float64)
    whole, old, new = size.astype(np.float64), was.astype(np.float64), np.abs(after).astype(np.float64)
    rest = np.where(opposed, np.maximum(size - was, 0), size).astype(np.float64)
    enters, safe = rest > 0, np.where(new > 0, new, 1.0)
    a = np.where(enters, np.where(closing > 0, 0.0, old / safe), np.where(new > 0, 1.0, 0.0))
    share = np.where(enters, rest / safe, 0.0)
    per_unit = e.fee / (whole / UNIT) if n else e.fee
    cost, fee, opened = _solved(a, np.stack([e.price * share, per_unit * share, e.ts * share]))
    return _Held(before=before.astype(np.float64), closing=closing, after=after, cost=cost, fee=fee, opened=opened)


def _solved(a: F64, b: F64) -> F64:
    """X of shape (k, n) with x[i] = a[i] x[i - 1] + b[i]; a[0] is 0, all a lie in [0, 1]."""
    step = 1
    while step < len(a) and a[step:].any():
        b[:, step:] += a[step:] * b[:, :-step]
        a[step:] = a[step:] * a[:-step]
        step *= 2
    return b


def _trips(e: _Events, h: _Held, origin: int) -> Trips:
    """By symbol."""
    at = np.flatnonzero(h.closing)
    at = at[np.lexsort((e.name[at], e.sym[at]))]
    if not len(at):
        none = np.zeros(0)
        return Trips(sym=none.astype(np.int64), opened=none, closed=none.astype(np.int64), quantity=none, profit=none, fees=none)
    quantity = h.closing[at] / UNIT
    fees = e.fee[at] * h.closing[at] / np.abs(e.units[at]).astype(np.float64) + h.fee[at - 1] * quantity
    profit = np.sign(h.before[at]) * (e.price[at] - h.cost[at - 1]) * quantity - fees
    new = np.append(True, (e.sym[at][1:] != e.sym[at][:-1]) | (e.name[at][1:] != e.name[at][:-1]))
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(at)) - 1
    both = np.add.reduceat(quantity, starts)
    opened = np.add.reduceat(h.opened[at - 1] * quantity, starts) / both
    closed = np.rint(e.ts[at[ends]]).astype(np.int64)
    return Trips(
        sym=e.sym[at[starts]], opened=opened + origin, closed=closed + origin, quantity=both,
        profit=np.add.reduceat(profit, starts), fees=np.add.reduceat(fees, starts),
    )  # fmt: skip


def _in_last_units(fills: LiveFills, splits: Splits, lots: dict[int, Lot]) -> tuple[F64, F64]:
    """(quantity, price) of each fill in units of the last one's time; open positions alike, in place."""
    last = int(fills.ts.max())
    factor = np.ones(len(fills))
    for sym in splits.table:
        mine = fills.sym == sym
        factor[mine] = splits.factors(sym, fills.ts[mine], last)
        lot = lots.get(sym)
        f = 1.0 if lot is None else splits.factor(sym, int(lot.opened), last)
        if lot is not None and f != 1.0:
            lots[sym] = msgspec.structs.replace(lot, units=round(lot.units * f), cost=lot.cost / f, fee=lot.fee / f)
    return fills.quantity * factor, fills.price / factor
