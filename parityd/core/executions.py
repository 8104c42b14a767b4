"""Accepted decisions and fills -> executions of one book: rows with one side filled (JUDGEMENT 2), and postings for the ledgers.

1. Fills of one trade id and side are one execution; without an id those of one parent order, else of one order, else each alone. The name of
   an execution is a hash of just that, so the same trade gets the same name whenever its parts arrive.
2. All sums over fills are additive; a reference that one fill lacks is NaN for the sum.
3. Contract size and inverse contracts are taken out here, before anything else sees a number: quantities are units of the underlying.
4. A fee in the quote currency (or unnamed) counts as it is, in the base currency at the fill price, in any other at the newest mark of
   FEE/QUOTE at or before the fill; else it is unpriced: counted, 0 in the sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parityd.core import owners
from parityd.core.columns import HOLD, DecisionColumns, FillColumns
from parityd.core.fresh import Fresh
from parityd.core.hashing import U64, hash_numbers, hash_text, mix
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.rows import B_FILLS, B_ID, B_SAID, L_ID, L_SAID, MAKER, Rows
from parityd.core.terms import Instruments, Pair
from parityd.core.text import TextColumn

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
FAR = 2**63 - 1
_ALONE, _DECIDED = np.uint64(7), np.uint64(11)
FeePrice = Callable[[str, str, I64], F64]  # (fee currency, quote currency, times) -> prices, NaN where none is known


@dataclass(slots=True, kw_only=True)
class Postings:
    """What moves a ledger, one entry a fill or executed decision. Shape (n,) each."""

    pair: I64  # place in Executions.pairs
    ts: I64
    quantity: F64  # signed
    price: F64
    fee: F64  # money
    held: F64  # signed quantity less a fee taken in the base currency: what a venue reports as position
    fee_known: Bools

    def take(self, index: I64 | Bools) -> "Postings":
        """The postings of a mask or of positions."""
        return Postings(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(slots=True, kw_only=True)
class Executions:
    """Executions of one book out of one batch, by name; `which` is each row's place in `pairs`."""

    book: str
    pairs: list[Pair]
    fresh: Fresh
    texts: TextColumn
    which: I64
    lead: I64  # a record of each row: its place in the columns
    fill_name: U64  # of each record: its execution's name
    fill_pair: I64  # of each record: its place in `pairs`
    postings: Postings  # of every fill, in order; of the executed decisions
    _rows: list[Rows] = field(default_factory=list)

    @property
    def rows(self) -> Rows:
        """`fresh` as rows, not yet derived; what is changed in them stays. (Once they were asked for, `fresh` is not looked at again.)"""
        if not self._rows:
            self._rows.append(self.fresh.laid())
        return self._rows[0]


def pairs_of(book: str, owner: NDArray[np.int32], instruments: Instruments) -> tuple[list[Pair], I64]:
    """(the distinct instruments, each record's place among them)."""
    present, which = owners.places(owner)
    return [instruments.pair(book, *owners.name(k)) for k in present], which


def of_pairs(pairs: list[Pair], which: I64, name: str, dtype: type) -> NDArray[Any]:
    """One property of each record's instrument."""
    values: NDArray[Any] = np.array([getattr(p, name) for p in pairs], dtype)
    return np.full(len(which), values[0], dtype) if len(values) == 1 else values[which]


def _coded(texts: TextColumn, default: NDArray[np.int32], instruments: Instruments) -> NDArray[np.int32]:
    """Currency codes: the record's own where it names one."""
    if not texts.some():
        return default
    return np.where(texts.given(), texts.codes(instruments.names.code), default).astype(np.int32)


# --- names --------------------------------------------------------------------------------------------------------


def by_side(trade: U64, side: NDArray[np.int8]) -> U64:
    key = mix(trade, side.astype(np.int64).view(np.uint64))
    key[key == 0] = 1
    return key


def trade_hashes(trade_id: Sequence[str], seeds: U64, has_id: Bools) -> U64:
    """The trade's hash whatever its side; 0 without an id."""
    h = hash_text(trade_id, seeds)
    h[h == 0] = 1
    return h if has_id.all() else np.where(has_id, h, np.uint64(0))


def name_of_side(trade: int, side: int) -> int:
    """The name of the execution of this trade's hash and side, in either book."""
    return int(by_side(np.array([trade], np.uint64), np.array([side], np.int8))[0])


def trade_name(pair: Pair, trade_id: str, side: int) -> int:
    """The name of the execution of this trade id and side, in either book."""
    return name_of_side(int(trade_hashes([trade_id], np.array([pair.by_trade], np.uint64), np.ones(1, np.bool_))[0]), side)


def order_name(pair: Pair, order: str) -> int:
    """The name that fills of this (parent) order without a trade id have."""
    return int(named_orders([pair], np.zeros(1, np.int64), [order])[0])


def named_orders(pairs: list[Pair], which: I64, orders: Sequence[str]) -> U64:
    """The names of executions by order; 0 where there is none. An order has one side: its name needs none."""
    texts = TextColumn.of(orders)
    key = hash_text(texts, of_pairs(pairs, which, "by_order", np.uint64))
    key[key == 0] = 1
    return key if texts.full() else np.where(texts.given(), key, np.uint64(0))


def order_names(pairs: list[Pair], which: I64, c: FillColumns) -> U64:
    """The name of each fill's (parent) order, 0 where it has none."""
    orders = [p or o for p, o in zip(c.parent_id, c.order_id, strict=True)] if c.parent_id.some() else c.order_id
    return named_orders(pairs, which, orders)


def names_of(pairs: list[Pair], which: I64, c: FillColumns, side: NDArray[np.int8]) -> tuple[U64, U64]:
    """(the execution's name, the trade's hash or 0) of each fill."""
    has_id = c.trade_id.given()
    trade = trade_hashes(c.trade_id, of_pairs(pairs, which, "by_trade", np.uint64), has_id) if has_id.any() else np.zeros(len(c), np.uint64)
    key = by_side(trade, side)
    if not has_id.all():
        by_order = order_names(pairs, which, c)
        alone = mix(c.key, _ALONE)
        alone[alone == 0] = 1
        key = np.where(has_id, key, np.where(by_order != 0, by_order, alone))
    return key, trade


def turned(side: NDArray[np.int8], inverse: Bools) -> NDArray[np.int8]:
    """An inverse contract is traded on the other side."""
    return np.where(inverse, -side, side).astype(np.int8) if inverse.any() else side


# --- money --------------------------------------------------------------------------------------------------------


def _fees(
    c: FillColumns, pairs: list[Pair], which: I64, ccy: NDArray[np.int32], px: F64, instruments: Instruments, price: FeePrice
) -> tuple[F64, F64, Bools]:
    """(money, quantity taken in base, unpriced) of each fill's fee."""
    fee, names = np.nan_to_num(c.fee), instruments.names
    money, base_part, unpriced = fee.copy(), np.zeros(len(fee)), np.zeros(len(fee), np.bool_)
    if not c.fee_currency.some():
        return money, base_part, unpriced
    own = c.fee_currency.codes(names.code).astype(np.int32)
    if (own == ccy).all():
        return money, base_part, unpriced
    base, own_base = (np.array([names.code(getattr(p, f)) for p in pairs], np.int32)[which] for f in ("base", "own_base"))
    foreign = (own != 0) & (own != ccy) & (fee != 0)
    in_base = foreign & ((own == base) | (own == own_base))
    money[in_base] = fee[in_base] * px[in_base]
    base_part[in_base] = fee[in_base]
    other = foreign & ~in_base
    for code in np.unique(own[other].astype(np.int64) << 32 | ccy[other]).tolist():
        w = np.flatnonzero(other & (own == code >> 32) & (ccy == code & 0xFFFFFFFF))
        rate = price(names[code >> 32], names[code & 0xFFFFFFFF], c.ts[w])
        unpriced[w] = np.isnan(rate)
        money[w] = np.nan_to_num(fee[w] * rate)
    return money, base_part, unpriced


def _currencies(c: FillColumns, pairs: list[Pair], which: I64, instruments: Instruments) -> NDArray[np.int32]:
    """The quote currency of each fill; its fee's own where nothing else says."""
    ccy = _coded(c.currency, of_pairs(pairs, which, "ccy", np.int32), instruments)
    if (ccy == 0).any() and c.fee_currency.some():
        own = c.fee_currency.codes(instruments.names.code)
        ccy = np.where(ccy == 0, own, ccy).astype(np.int32)
    return ccy


def _references(c: FillColumns, inverse: Bools, side: NDArray[np.int8], maker: Bools) -> tuple[F64, F64, F64, F64]:
    """(price, decision mark, arrival price, arrival touch), of an inverse contract turned."""
    px, mark, mid, bid, ask = c.price, c.decision_mark, c.arrival_mark, c.arrival_bid, c.arrival_ask
    if np.isnan(mid).any():
        mid = np.where(np.isnan(mid), (bid + ask) / 2, mid)
    if inverse.any():
        px, mark, mid = (np.where(inverse, 1.0 / v, v) for v in (px, mark, mid))
        bid, ask = np.where(inverse, 1.0 / ask, bid), np.where(inverse, 1.0 / bid, ask)
    return px, mark, mid, np.where((side > 0) ^ maker, ask, bid)


# --- executions ---------------------------------------------------------------------------------------------------


class _Groups:
    """Records sorted by name; sums, firsts and lasts of each name."""

    def __init__(self, key: U64) -> None:
        self.order = np.argsort(key, kind="stable")
        self.key = key[self.order]
        first = np.ones(len(key), np.bool_)
        first[1:] = self.key[1:] != self.key[:-1]
        self.starts = np.flatnonzero(first)
        self.lead = self.order[self.starts]
        self.alone = len(self.starts) == len(key)

    def add(self, v: NDArray[Any]) -> NDArray[Any]:
        return v[self.order] if self.alone else np.add.reduceat(v[self.order], self.starts)

    def first(self, v: I64) -> I64:
        """The earliest, NO_TS being none."""
        if self.alone:
            return v[self.order]
        found: I64 = np.minimum.reduceat(np.where(v == NO_TS, FAR, v)[self.order], self.starts)
        found[found == FAR] = NO_TS
        return found

    def last(self, v: NDArray[Any]) -> NDArray[Any]:
        return v[self.order] if self.alone else np.fmax.reduceat(v[self.order], self.starts)


def fill_executions(book: str, c: FillColumns, instruments: Instruments, price: FeePrice) -> Executions:
    """Fills (no shadow fills) of one book -> their executions."""
    pairs, which = pairs_of(book, c.owner, instruments)
    inverse = of_pairs(pairs, which, "inverse", np.bool_)
    size = of_pairs(pairs, which, "multiplier", np.float64)
    q = c.quantity * np.where(np.isnan(c.multiplier), size, c.multiplier)
    side, maker = turned(c.side, inverse), c.liquidity == 1
    px, mark, mid, touch = _references(c, inverse, side, maker)
    ccy = _currencies(c, pairs, which, instruments)
    fee, base_fee, unpriced = _fees(c, pairs, which, ccy, px, instruments, price)
    key, trade = names_of(pairs, which, c, side)
    signed = side * q
    postings = Postings(pair=which, ts=c.ts, quantity=signed, price=px, fee=fee, held=signed - base_fee, fee_known=~unpriced)
    g = _Groups(key)
    rows = Fresh(len(g.lead))
    rows["sym"], rows["ccy"], rows["side"] = of_pairs(pairs, which, "sym", np.int32)[g.lead], ccy[g.lead], side[g.lead]
    names = g.key[g.starts]
    if book == LIVE:
        rows["l_trade"] = trade[g.lead]
        rows["lkey"], rows["flags"] = names, np.where(rows["l_trade"] != 0, L_ID, 0) | np.where(_every(g, maker), MAKER, 0)
        _live_sums(rows, g, c, q, px, fee, unpriced)
        own = np.isnan(mark)
        rows["l_mq"], rows["l_mu"] = g.add(np.where(own, 0.0, q * mark)), g.add(np.where(own, q, 0.0))
        rows["l_aq"], rows["l_tq"] = g.add(q * mid), g.add(q * touch)
    else:
        rows["b_trade"] = trade[g.lead]
        rows["bkey"], rows["flags"] = names, np.where(rows["b_trade"] != 0, B_ID, 0) | B_FILLS
        rows["b_ts"], rows["b_first"], rows["b_last"] = g.first(c.decision_ts), g.first(c.ts), g.last(c.ts)
        rows["b_q"], rows["b_not"], rows["b_fee"], rows["b_mq"] = g.add(q), g.add(q * px), g.add(fee), g.add(q * mark)
        rows["b_unp"] = g.add(unpriced.astype(np.int64))
    return Executions(
        book=book, pairs=pairs, fresh=rows, texts=c.trade_id.take(g.lead), which=which[g.lead], lead=g.lead, fill_name=key, fill_pair=which,
        postings=postings,
    )  # fmt: skip


def fill_postings(book: str, c: FillColumns, instruments: Instruments, price: FeePrice) -> tuple[list[Pair], U64, Postings]:
    """(instruments, the name of each fill's execution, postings) of fills, without their executions."""
    pairs, which = pairs_of(book, c.owner, instruments)
    inverse = of_pairs(pairs, which, "inverse", np.bool_)
    q = c.quantity * np.where(np.isnan(c.multiplier), of_pairs(pairs, which, "multiplier", np.float64), c.multiplier)
    side = turned(c.side, inverse)
    px = np.where(inverse, 1.0 / c.price, c.price) if inverse.any() else c.price
    fee, base_fee, unpriced = _fees(c, pairs, which, _currencies(c, pairs, which, instruments), px, instruments, price)
    signed = side * q
    postings = Postings(pair=which, ts=c.ts, quantity=signed, price=px, fee=fee, held=signed - base_fee, fee_known=~unpriced)
    return pairs, names_of(pairs, which, c, side)[0], postings


def _every(g: _Groups, mask: Bools) -> Bools:
    return mask[g.order] if g.alone else np.logical_and.reduceat(mask[g.order], g.starts)


def _live_sums(rows: Fresh, g: _Groups, c: FillColumns, q: F64, px: F64, fee: F64, unpriced: Bools) -> None:
    rows["l_dts"], rows["l_first"], rows["l_last"] = g.first(c.decision_ts), g.first(c.ts), g.last(c.ts)
    rows["l_q"], rows["l_not"], rows["l_fee"] = g.add(q), g.add(q * px), g.add(fee)
    rows["l_wait"] = g.last(np.where(c.liquidity == 1, np.nan, c.latency_ms))
    rows["l_unp"], rows["l_n"] = g.add(unpriced.astype(np.int64)), g.add(np.ones(len(c), np.int64))


def _decided_postings(which: I64, ts: I64, quantity: F64, price: F64, fee: F64, at: I64) -> Postings:
    known = np.ones(len(at), np.bool_)
    return Postings(pair=which[at], ts=ts[at], quantity=quantity[at], price=price[at], fee=fee[at], held=quantity[at], fee_known=known)


def decision_executions(book: str, c: DecisionColumns, instruments: Instruments) -> Executions:
    """Decisions -> rows: executions of the backtest where they were filled, else what they say of a trade (its time and mark). One row a
    decision, also where several share a trade id.
    """
    pairs, which = pairs_of(book, c.owner, instruments)
    inverse = of_pairs(pairs, which, "inverse", np.bool_)
    side = turned(c.side, inverse)
    px, mark = (np.where(inverse, 1.0 / v, v) if inverse.any() else v for v in (c.price, c.mark))
    q = c.quantity * np.where(np.isnan(c.multiplier), of_pairs(pairs, which, "multiplier", np.float64), c.multiplier)
    done = (c.action != HOLD) & ~np.isnan(q) & ~np.isnan(px) & (c.filled != 0) & (side != 0)
    if book == LIVE:
        done[:] = False
    has_id = c.trade_id.given()
    acts = (side != 0) & (c.action != HOLD)
    spots = np.flatnonzero(acts & (has_id | done))  # without an id, a decision that was not executed says nothing of any trade
    trade = trade_hashes(c.trade_id, of_pairs(pairs, which, "by_trade", np.uint64), has_id)
    alone = mix(hash_numbers(c.ts, c.key), _DECIDED)
    alone[alone == 0] = 1
    key = np.where(has_id, by_side(trade, side), alone)
    ccy = _coded(c.currency, of_pairs(pairs, which, "ccy", np.int32), instruments)
    rows = Fresh(len(spots))
    rows["sym"], rows["ccy"], rows["side"] = of_pairs(pairs, which, "sym", np.int32)[spots], ccy[spots], side[spots]
    rows["b_trade" if book == BACKTEST else "l_trade"] = trade[spots]
    ids, executed = has_id[spots], done[spots]
    if book == BACKTEST:
        rows["flags"], rows["bkey"], rows["b_ts"], rows["b_mark"] = B_SAID | np.where(ids, B_ID, 0), key[spots], c.ts[spots], mark[spots]
        rows["b_first"] = np.where(executed, c.ts[spots], NO_TS)
        rows["b_last"] = rows["b_first"]
        rows["b_q"], rows["b_not"] = np.where(executed, q[spots], 0.0), np.where(executed, (q * px)[spots], 0.0)
        rows["b_fee"] = np.where(executed, np.nan_to_num(c.fee[spots]), 0.0)
    else:
        rows["flags"], rows["lkey"], rows["l_dts"], rows["l_dm"] = L_SAID | np.where(ids, L_ID, 0), key[spots], c.ts[spots], mark[spots]
    return Executions(
        book=book, pairs=pairs, fresh=rows, texts=c.trade_id.take(spots), which=which[spots], lead=spots, fill_name=key, fill_pair=which,
        postings=_decided_postings(which, c.ts, side * q, px, np.nan_to_num(c.fee), np.flatnonzero(done)),
    )  # fmt: skip
