"""The live book's fills of a period as plain columns, and what became of its orders: what performance and markouts are computed from.

1. Quantities are units of the underlying, signed; prices and fees as the ledgers have them (an unpriced fee is 0).
2. An order counts once, by the last of its final statuses. Where an engine never says `filled`, an order that has fills and no other end is filled.
3. An order belongs to the agent of its fills, else to the one that its trade id names.
4. Names are numbers here (hashes, codes of agents): a day has millions of fills.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core import owners
from parityd.core.columns import FillColumns
from parityd.core.executions import FeePrice, fill_postings
from parityd.core.grouping import order_by
from parityd.core.hashing import U64, hash_one, hash_text, seed
from parityd.core.records import LIVE, Line, Order
from parityd.core.terms import Instruments
from parityd.core.text import TextColumn

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
FINAL = ("filled", "rejected", "cancelled", "expired")
MAKER, TAKER = 1, 2
_TRADE = seed("live trade")
_COLUMNS = ("ts", "key", "whose", "sym", "quantity", "price", "fee", "name", "liquidity", "agent", "order", "trade")


class LiveFills(msgspec.Struct, frozen=True, kw_only=True):
    """Fills in order of time. Shapes (n,). `whose`: owner's code; `name`: the execution a fill is part of; `liquidity`: 0 not said, 1 maker, 2 taker."""

    ts: I64
    key: U64
    whose: NDArray[np.int32]
    sym: I64
    quantity: F64
    price: F64
    fee: F64
    name: U64
    liquidity: NDArray[np.int8]
    agent: NDArray[np.int32]  # place in `agents`
    order: U64  # hash of symbol and order id, 0 without one
    trade: U64  # hash of the trade id, 0 without one
    agents: list[str]  # "" first
    ccy: dict[int, int]  # quote currency of each symbol

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, mask: NDArray[Any]) -> "LiveFills":
        """The fills of a mask or of positions."""
        w = np.flatnonzero(mask) if mask.dtype == np.bool_ else mask
        return LiveFills(**{f: getattr(self, f)[w] for f in _COLUMNS}, agents=self.agents, ccy=self.ccy)

    def between(self, start: int, end: int) -> "LiveFills":
        """The fills with start <= ts <= end."""
        first, last = np.searchsorted(self.ts, [start, end + 1])
        return LiveFills(**{f: getattr(self, f)[first:last] for f in _COLUMNS}, agents=self.agents, ccy=self.ccy)

    def by_agent(self) -> dict[str, "LiveFills"]:
        """The fills of each agent that is named."""
        found = {self.agents[k]: k for k in np.unique(self.agent).tolist() if self.agents[k]}
        return {name: self.take(self.agent == found[name]) for name in sorted(found)}

    def by_strategy(self, names: Collection[str]) -> dict[str, "LiveFills"]:
        """The fills of each of these strategies that has any."""
        codes = {name: k for k, name in enumerate(names)}
        which = owners.looked_up(self.whose, lambda strategy, _: codes.get(strategy, -1), np.int64)
        if len(which) and (which == which[0]).all():
            return {name: self for name, k in codes.items() if k == which[0]}
        order = order_by(which)
        edges = np.searchsorted(which[order], np.arange(len(codes) + 1))
        return {name: self.take(order[edges[k] : edges[k + 1]]) for name, k in codes.items() if edges[k] < edges[k + 1]}

    @classmethod
    def joined(cls, parts: Sequence["LiveFills"]) -> "LiveFills":
        """Several as one; all have one table of agents."""
        if len(parts) == 1:
            return parts[0]
        both = {f: np.concatenate([getattr(p, f) for p in parts]) for f in _COLUMNS}
        ccy = {sym: code for p in parts for sym, code in p.ccy.items()}
        _put_in_order(both)
        return cls(**both, agents=parts[0].agents, ccy=ccy)

    def ordered(self) -> "LiveFills":
        """In order of time, then of key."""
        if (self.ts[1:] > self.ts[:-1]).all():
            return self
        columns = {f: getattr(self, f).copy() for f in _COLUMNS}
        _put_in_order(columns)
        return LiveFills(**columns, agents=self.agents, ccy=self.ccy)


def _put_in_order(columns: dict[str, NDArray[Any]]) -> None:
    """By time, then key. Files lie nearly in order: what is in its place stays where it is."""
    ts = columns["ts"]
    if (ts[1:] > ts[:-1]).all():
        return
    order = _in_order(ts, columns["key"])
    moved = np.flatnonzero(order != np.arange(len(order)))
    for column in columns.values() if len(moved) else ():
        column[moved] = column[order[moved]]


def _in_order(ts: I64, key: U64) -> I64:
    """The order by time, then key. Few times are the same."""
    order: I64 = np.argsort(ts, kind="stable")
    same = np.flatnonzero(np.diff(ts[order]) == 0)
    if len(same):
        alike = np.unique(np.concatenate([same, same + 1]))
        mine = order[alike]
        order[alike] = mine[np.lexsort((key[mine], ts[mine]))]
    return order


def live_fills(c: FillColumns, instruments: Instruments, fee_price: FeePrice, agents: list[str] | None = None) -> LiveFills:
    """Fills of the live book (no shadow fills, no busted ones) -> columns. `agents`: a table for several calls, which grows."""
    pairs, name, p = fill_postings(LIVE, c, instruments, fee_price)
    table = [""] if agents is None else agents
    sym = np.array([x.sym for x in pairs], np.int64)
    seeds = owners.looked_up(c.owner, lambda _, symbol: _order_seed(symbol), np.uint64)
    made = LiveFills(
        ts=c.ts, key=c.key, whose=c.owner, sym=sym[p.pair], quantity=p.quantity, price=p.price, fee=p.fee, name=name, liquidity=c.liquidity,
        agent=_coded(c.agent, table), order=_hashed(c.order_id, seeds), trade=_hashed(c.trade_id, _TRADE), agents=table, ccy={x.sym: x.ccy for x in pairs},
    )  # fmt: skip
    return made.ordered()


def _order_seed(symbol: str) -> np.uint64:
    return seed(f"live order\0{symbol}")


def _hashed(texts: TextColumn, start: U64 | np.uint64) -> U64:
    if not texts.some():
        return np.zeros(len(texts), np.uint64)
    found: U64 = np.where(texts.given(), np.maximum(hash_text(texts, start), np.uint64(1)), np.uint64(0))
    return found


def _coded(agents: TextColumn, table: list[str]) -> NDArray[np.int32]:
    codes = {name: k for k, name in enumerate(table)}

    def code(name: str) -> int:
        if name not in codes:
            codes[name] = len(table)
            table.append(name)
        return codes[name]

    return agents.codes(code).astype(np.int32)


def no_fills() -> LiveFills:
    """None at all."""
    whole, none, names = np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.uint64)
    return LiveFills(
        ts=whole, key=names, whose=whole.astype(np.int32), sym=whole, quantity=none, price=none, fee=none, name=names, liquidity=whole.astype(np.int8),
        agent=whole.astype(np.int32), order=names, trade=names, agents=[""], ccy={},
    )  # fmt: skip


class Outcome(msgspec.Struct, frozen=True):
    """How so many orders ended, and of which agent they were ("" = not said)."""

    status: str
    agent: str
    n: int = 1


def outcomes(lines: Iterable[Line], fills: LiveFills, agents: Mapping[str, str] | None = None) -> list[Outcome]:
    """The ends of the orders of one strategy's live book. `agents`: trade id -> agent, as decisions say."""
    last: dict[int, tuple[int, int, str, str]] = {}
    for line in lines:
        r = line.record
        if isinstance(r, Order) and r.status in FINAL:
            said = (line.ts, -FINAL.index(r.status), r.status, str(r.trade_id or ""))
            key = max(1, hash_one(str(r.order_id), start=_order_seed(r.symbol)))
            last[key] = max(said, last.get(key, said))
    orders, owner = _newest(fills.order, fills.agent)
    known = dict(zip(orders.tolist(), owner.tolist(), strict=True)) if last else {}
    named = _named(fills, agents or {}) if any(t for *_, t in last.values()) else {}
    counts: dict[tuple[str, str], int] = {}
    for key, (_, _, status, trade_id) in last.items():
        agent = fills.agents[known[key]] if key in known else ""
        agent = agent or (named.get(max(1, hash_one(trade_id, start=_TRADE)), "") if trade_id else "")
        counts[status, agent] = counts.get((status, agent), 0) + 1
    if not any(status == "filled" for status, _ in counts):
        open_ = ~np.isin(orders, np.array(list(last), np.uint64)) if last else np.ones(len(orders), np.bool_)
        for k, n in enumerate(np.bincount(owner[open_ & (orders != 0)]).tolist()):
            if n:
                counts["filled", fills.agents[k]] = n
    return [Outcome(status, agent, n) for (status, agent), n in counts.items()]


def _newest(names: U64, agent: NDArray[np.int32]) -> tuple[U64, NDArray[np.int32]]:
    """(the distinct names, the agent of each one's last fill)."""
    if len(agent) and (agent == agent[0]).all():
        found = np.sort(names)
        found = found[np.append(True, found[1:] != found[:-1])]
        return found, np.full(len(found), agent[0])
    found, place = np.unique(names[::-1], return_index=True)
    return found, agent[len(names) - 1 - place]


def _named(fills: LiveFills, said: Mapping[str, str]) -> dict[int, str]:
    """The agent that each trade's hash names."""
    trades, agent = _newest(fills.trade, fills.agent)
    own = {t: fills.agents[k] for t, k in zip(trades.tolist(), agent.tolist(), strict=True) if t}
    return own | {max(1, hash_one(t, start=_TRADE)): name for t, name in said.items()}


def fill_rate(ends: Iterable[Outcome]) -> float | None:
    """Filled / (filled + rejected + cancelled + expired); None without any."""
    n = [(one.n, one.status == "filled") for one in ends]
    total = sum(k for k, _ in n)
    return sum(k for k, filled in n if filled) / total if total else None
