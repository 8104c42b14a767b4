"""The live book's fills of a period as plain columns, and what became of its orders: what performance and markouts are computed from.

1. Quantities are units of the underlying, signed; prices and fees as the ledgers have them (an unpriced fee is 0).
2. An order counts once, by the last of its final statuses. Where an engine never says `filled`, an order that has fills and no other end is filled.
3. An order belongs to the agent of its fills, else to the one that its trade id names.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.columns import FillColumns
from parityd.core.executions import FeePrice, fill_executions
from parityd.core.hashing import U64
from parityd.core.records import LIVE, Line, Order
from parityd.core.terms import Instruments

F64 = NDArray[np.float64]
FINAL = ("filled", "rejected", "cancelled", "expired")
MAKER, TAKER = 1, 2


class LiveFills(msgspec.Struct, frozen=True, kw_only=True):
    """Fills in order of time. Shapes (n,). `name`: the execution a fill is part of; `liquidity`: 0 not said, 1 maker, 2 taker."""

    ts: NDArray[np.int64]
    sym: NDArray[np.int64]
    quantity: F64
    price: F64
    fee: F64
    name: U64
    liquidity: NDArray[np.int8]
    agent: list[str]
    order: list[tuple[str, str]]  # (symbol, order id)
    trade_id: list[str]

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, mask: NDArray[np.bool_]) -> "LiveFills":
        """The fills of a mask."""
        w = np.flatnonzero(mask)
        spots = w.tolist()
        columns: dict[str, Any] = {f: getattr(self, f) for f in self.__struct_fields__}
        chosen: dict[str, Any] = {f: v[w] if isinstance(v, np.ndarray) else [v[i] for i in spots] for f, v in columns.items()}
        return LiveFills(**chosen)

    def between(self, start: int, end: int) -> "LiveFills":
        """The fills with start <= ts <= end."""
        return self.take((self.ts >= start) & (self.ts <= end))

    def by_agent(self) -> dict[str, "LiveFills"]:
        """The fills of each agent that is named."""
        agents = np.array(self.agent, object)
        return {name: self.take(agents == name) for name in sorted(set(self.agent) - {""})}


def live_fills(c: FillColumns, instruments: Instruments, fee_price: FeePrice) -> LiveFills:
    """Fills of one strategy's live book (no shadow fills, no busted ones) -> columns."""
    e = fill_executions(LIVE, c, instruments, fee_price)
    p = e.postings
    order = np.lexsort((c.key, c.ts))
    spots, symbols = order.tolist(), c.symbol
    sym = np.array([x.sym for x in e.pairs], np.int64)[e.fill_pair]
    return LiveFills(
        ts=c.ts[order], sym=sym[order], quantity=p.quantity[order], price=p.price[order], fee=p.fee[order], name=e.fill_name[order],
        liquidity=c.liquidity[order], agent=[c.agent[i] for i in spots], order=[(symbols[i], c.order_id[i]) for i in spots],
        trade_id=[c.trade_id[i] for i in spots],
    )  # fmt: skip


def no_fills() -> LiveFills:
    """None at all."""
    whole, none = np.zeros(0, np.int64), np.zeros(0)
    return LiveFills(
        ts=whole, sym=whole, quantity=none, price=none, fee=none, name=whole.astype(np.uint64), liquidity=whole.astype(np.int8), agent=[],
        order=[], trade_id=[],
    )  # fmt: skip


class Outcome(msgspec.Struct, frozen=True):
    """How an order ended, and of which agent it was ("" = not said)."""

    status: str
    agent: str


def outcomes(lines: Iterable[Line], fills: LiveFills, agents: Mapping[str, str] | None = None) -> list[Outcome]:
    """The ends of the orders of one strategy's live book. `agents`: trade id -> agent, as decisions say."""
    last: dict[tuple[str, str], tuple[int, int, str, str]] = {}
    for line in lines:
        r = line.record
        if isinstance(r, Order) and r.status in FINAL:
            said = (line.ts, -FINAL.index(r.status), r.status, str(r.trade_id or ""))
            key = (r.symbol, str(r.order_id))
            last[key] = max(said, last.get(key, said))
    named = dict(zip(fills.trade_id, fills.agent, strict=True)) | dict(agents or {})
    owner = dict(zip(fills.order, fills.agent, strict=True))
    out = [
        Outcome(status, owner.get(key) or (named.get(trade_id, "") if trade_id else "")) for key, (_, _, status, trade_id) in last.items()
    ]
    if not any(one.status == "filled" for one in out):
        out += [Outcome("filled", agent) for key, agent in owner.items() if key[1] and key not in last]
    return out


def fill_rate(ends: Iterable[Outcome]) -> float | None:
    """Filled / (filled + rejected + cancelled + expired); None without any."""
    filled = [one.status == "filled" for one in ends]
    return sum(filled) / len(filled) if filled else None
