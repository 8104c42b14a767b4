"""Round trips of the live book by average cost: every exit closes part of a position at its average cost.

1. A trip is what one execution closes: its fills count together. A reversing fill closes the old position and opens the rest.
2. Profit is after fees: those of the exit, and the entry's share of the quantity closed.
3. Positions are integers of 1e-8 units: what was bought and sold again is exactly zero.
4. Fills of before a split are taken in the units of after it.
5. A trip was opened at the quantity-weighted mean time of what it closes.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.ledger import UNIT
from parityd.core.live_fills import LiveFills
from parityd.core.splits import Splits


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


def round_trips(
    fills: LiveFills, opening: Mapping[int, Lot] | None = None, splits: Splits | None = None
) -> tuple[list[Trip], dict[int, Lot]]:
    """(trips in order of their end, the positions left open by symbol, in units of the last fill). `opening`: positions before the first fill."""
    lots: dict[int, Lot] = dict(opening or {})
    trips: dict[tuple[int, int], Trip] = {}
    quantity, price = fills.quantity, fills.price
    if splits is not None and splits.table and len(fills):
        quantity, price = _in_last_units(fills, splits, lots)
    columns = (fills.ts, fills.sym, quantity, price, fills.fee, fills.name)
    for ts, sym, quantity, price, fee, name in zip(*(c.tolist() for c in columns), strict=True):
        lot, units = lots.get(sym, Lot()), round(quantity * UNIT)
        if not units:
            continue
        closing = min(abs(lot.units), abs(units)) if lot.units * units < 0 else 0
        if closing:
            q = closing / UNIT
            share = fee * closing / abs(units)
            sign = 1 if lot.units > 0 else -1
            fees = share + lot.fee * q
            one = Trip(sym=sym, opened=lot.opened, closed=ts, quantity=q, profit=sign * (price - lot.cost) * q - fees, fees=fees)
            trips[sym, name] = _joined(trips[sym, name], one) if (sym, name) in trips else one
            left = lot.units - sign * closing
            lot = msgspec.structs.replace(lot, units=left) if left else Lot()
        rest = abs(units) - closing
        lots[sym] = _added(lot, rest if units > 0 else -rest, price, fee * rest / abs(units), ts) if rest else lot
    return sorted(trips.values(), key=lambda t: (t.closed, t.sym)), {k: v for k, v in lots.items() if v.units}


def _in_last_units(fills: LiveFills, splits: Splits, lots: dict[int, Lot]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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


def _added(lot: Lot, units: int, price: float, fee: float, ts: int) -> Lot:
    old, new = abs(lot.units) / UNIT, abs(units) / UNIT
    both = old + new
    return Lot(
        units=lot.units + units, cost=(lot.cost * old + price * new) / both, fee=(lot.fee * old + fee) / both,
        opened=ts if not old else lot.opened + (ts - lot.opened) * (new / both),
    )  # fmt: skip


def _joined(a: Trip, b: Trip) -> Trip:
    both = a.quantity + b.quantity
    opened = a.opened + (b.opened - a.opened) * (b.quantity / both)
    return Trip(sym=a.sym, opened=opened, closed=b.closed, quantity=both, profit=a.profit + b.profit, fees=a.fees + b.fees)
