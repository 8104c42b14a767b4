"""Accepted decisions and fills -> executions of one book: rows with one side filled (JUDGEMENT 2), and postings for the ledgers.

1. Fills of one trade id and side are one execution; without an id those of one parent order, else of one order, else each alone. The name of
   an execution is a hash of just that, so the same trade gets the same name whenever its parts arrive.
2. All sums over fills are additive; a reference that one fill lacks is NaN for the sum.
3. Contract size and inverse contracts are taken out here, before anything else sees a number: quantities are units of the underlying.
4. A fee in the quote currency (or unnamed) counts as it is, in the base currency at the fill price, in any other at the newest mark of
   FEE/QUOTE at or before the fill; else it is unpriced: counted, 0 in the sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parityd.core.columns import HOLD, DecisionColumns, FillColumns
from parityd.core.hashing import U64, hash_numbers, hash_text, mix
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.rows import B_FILLS, B_ID, L_ID, MAKER, ROW, Rows, blank
from parityd.core.terms import Instruments, Pair

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
FAR = 2**63 - 1
FeePrice = Callable[[str, str, int], float | None]  # (fee currency, quote currency, time) -> price


@dataclass(slots=True, kw_only=True)
class Postings:
    """What moves a ledger, one entry a fill or executed decision. Shape (n,) each."""

    pair: NDArray[np.int64]  # place in Executions.pairs
    ts: I64
    quantity: F64  # signed
    price: F64
    fee: F64  # money
    held: F64  # signed quantity less a fee taken in the base currency: what a venue reports as position
    fee_known: NDArray[np.bool_]


@dataclass(slots=True, kw_only=True)
class Executions:
    """Executions of one book out of one batch, by name; `which` is each row's place in `pairs`."""

    book: str
    pairs: list[Pair]
    rows: Rows
    texts: list[str]
    which: NDArray[np.int64]
    lead: NDArray[np.int64]  # a record of each row: its place in the columns
    fill_pair: NDArray[np.int64]  # of each record: its place in `pairs`
    fill_name: U64  # of each record: its execution's name
    fill_side: NDArray[np.int8]
    postings: Postings


def _pairs(book: str, strategy: Sequence[str], symbol: Sequence[str], instruments: Instruments) -> tuple[list[Pair], I64]:
    both = list(zip(strategy, symbol, strict=True))
    table: dict[tuple[str, str], int] = {}
    pairs: list[Pair] = []
    for key in dict.fromkeys(both):
        table[key] = len(pairs)
        pairs.append(instruments.pair(book, *key))
    return pairs, np.fromiter(map(table.__getitem__, both), np.int64, len(both))


def _of(pairs: list[Pair], which: I64, name: str, dtype: type) -> NDArray[np.generic]:
    return np.array([getattr(p, name) for p in pairs], dtype)[which]


def _coded(texts: list[str], default: NDArray[np.int32], instruments: Instruments) -> NDArray[np.int32]:
    """Currency codes: the record's own where it names one."""
    if not any(texts):
        return default
    code = instruments.names.code
    return np.fromiter((code(t) if t else int(k) for t, k in zip(texts, default, strict=True)), np.int32, len(texts))


def names_of(pairs: list[Pair], which: I64, c: FillColumns, side: NDArray[np.int8]) -> tuple[U64, NDArray[np.bool_]]:
    """The execution's name of each fill, and whether it comes from a trade id."""
    n = len(c)
    has_id = np.fromiter(map(bool, c.trade_id), np.bool_, n)
    key = np.zeros(n, np.uint64)
    if has_id.any():
        key = mix(hash_text(c.trade_id, _of(pairs, which, "by_trade", np.uint64)), side.astype(np.int64).view(np.uint64))  # type: ignore[arg-type]
    if not has_id.all():
        by_order = order_names(pairs, which, c)
        alone = mix(c.key, np.full(n, 7, np.uint64))
        key = np.where(has_id, key, np.where(by_order != 0, by_order, alone))
    key[key == 0] = 1
    return key, has_id


def order_names(pairs: list[Pair], which: I64, c: FillColumns) -> U64:
    """The name of each fill's (parent) order, 0 where it has none. An order has one side, so its name needs none."""
    order = [p or o for p, o in zip(c.parent_id, c.order_id, strict=True)]
    named = np.fromiter(map(bool, order), np.bool_, len(c))
    key = hash_text(order, _of(pairs, which, "by_order", np.uint64))  # type: ignore[arg-type]
    key[key == 0] = 1
    return np.where(named, key, np.uint64(0))


def order_name(pair: Pair, order: str) -> int:
    """The name that fills of this (parent) order without a trade id have."""
    return int(hash_text([order], np.array([pair.by_order], np.uint64))[0]) or 1


def trade_name(pair: Pair, trade_id: str, side: int) -> int:
    """The name of the execution of this trade id and side, in either book."""
    h = hash_text([trade_id], np.array([pair.by_trade], np.uint64))
    return int(mix(h, np.array([side], np.int64).view(np.uint64))[0]) or 1


def _fees(
    c: FillColumns, pairs: list[Pair], which: I64, ccy: NDArray[np.int32], px: F64, instruments: Instruments, price: FeePrice
) -> tuple[F64, F64, NDArray[np.bool_]]:
    """(money, quantity taken in base, unpriced) of each fill's fee."""
    fee = np.nan_to_num(c.fee)
    money, base_part, unpriced = fee.copy(), np.zeros(len(fee)), np.zeros(len(fee), np.bool_)
    if not any(c.fee_currency):
        return money, base_part, unpriced
    names = instruments.names
    base = np.fromiter((names.code(p.base) for p in pairs), np.int32, len(pairs))[which]
    own = np.fromiter(map(names.code, c.fee_currency), np.int32, len(fee))
    foreign = (own != 0) & (own != ccy) & (fee != 0)
    in_base = foreign & (own == base)
    money[in_base] = fee[in_base] * px[in_base]
    base_part[in_base] = fee[in_base]
    for i in np.flatnonzero(foreign & ~in_base).tolist():
        rate = price(c.fee_currency[i], names[int(ccy[i])], int(c.ts[i]))
        unpriced[i] = rate is None
        money[i] = 0.0 if rate is None else fee[i] * rate
    return money, base_part, unpriced


def fill_executions(book: str, c: FillColumns, instruments: Instruments, price: FeePrice) -> Executions:
    """Fills (no shadow fills) of one book -> their executions."""
    pairs, which = _pairs(book, c.strategy, c.symbol, instruments)
    multiplier = np.where(np.isnan(c.multiplier), _of(pairs, which, "multiplier", np.float64), c.multiplier)
    inverse = _of(pairs, which, "inverse", np.bool_)
    flip = np.where(inverse, -1, 1).astype(np.int8)
    side, q = (c.side * flip).astype(np.int8), c.quantity * multiplier
    marks = [c.price, c.decision_mark, c.arrival_mark, c.arrival_bid, c.arrival_ask]
    if inverse.any():
        marks = [np.where(inverse, 1.0 / m, m) for m in marks]
        marks[3], marks[4] = np.where(inverse, marks[4], marks[3]), np.where(inverse, marks[3], marks[4])
    px, m, mid, bid, ask = marks
    a = np.where(np.isnan(mid), (bid + ask) / 2, mid)
    maker = c.liquidity == 1
    touch = np.where((side > 0) ^ maker, ask, bid)
    ccy = _of(pairs, which, "ccy", np.int32).astype(np.int32)
    ccy = _coded(c.currency, ccy, instruments)
    if any(c.fee_currency):
        own = np.fromiter(map(instruments.names.code, c.fee_currency), np.int32, len(ccy))
        ccy = np.where(ccy == 0, own, ccy).astype(np.int32)
    fee, base_fee, unpriced = _fees(c, pairs, which, ccy, px, instruments, price)
    key, has_id = names_of(pairs, which, c, side)
    latency = np.where(maker, np.nan, c.latency_ms)
    signed = side * q
    postings = Postings(pair=which, ts=c.ts, quantity=signed, price=px, fee=fee, held=signed - base_fee, fee_known=~unpriced)

    order = np.lexsort((c.ts, key))
    k = key[order]
    starts = np.flatnonzero(np.concatenate([[True], k[1:] != k[:-1]]))
    lead = order[starts]
    n = len(starts)
    rows = blank(n)

    def add(v: F64) -> F64:
        return np.add.reduceat(v[order], starts)

    def low(v: I64) -> I64:
        return np.minimum.reduceat(np.where(v == NO_TS, FAR, v)[order], starts)

    counts = np.diff(np.concatenate([starts, [len(order)]]))
    rows["sym"], rows["ccy"], rows["side"] = _of(pairs, which, "sym", np.int32)[lead], ccy[lead], side[lead]
    rows["unpriced"], rows["n_fills"] = add(unpriced.astype(np.float64)), counts
    wait = np.fmax.reduceat(latency[order], starts)
    decided = low(c.decision_ts)
    decided[decided == FAR] = NO_TS
    first = low(c.ts)
    rows["flags"] = np.where(has_id[lead], L_ID if book == LIVE else B_ID, 0) | np.where(
        np.logical_and.reduceat(maker[order], starts), MAKER, 0
    )
    if book == LIVE:
        rows["lkey"], rows["l_dts"], rows["l_first"], rows["l_last"] = k[starts], decided, first, np.maximum.reduceat(c.ts[order], starts)
        rows["l_q"], rows["l_not"], rows["l_fee"] = add(q), add(q * px), add(fee)
        rows["l_mq"], rows["l_aq"], rows["l_tq"] = add(q * m), add(q * a), add(q * touch)
        rows["latency"] = wait
    else:
        rows["bkey"], rows["b_ts"], rows["b_first"] = k[starts], decided, first
        rows["b_q"], rows["b_not"], rows["b_fee"] = add(q), add(q * px), add(fee)
        rows["b_mark"] = add(q * m) / rows["b_q"]
        rows["flags"] |= B_FILLS
    texts = [c.trade_id[i] for i in lead.tolist()]
    return Executions(
        book=book,
        pairs=pairs,
        rows=rows,
        texts=texts,
        which=which[lead],
        lead=lead,
        fill_pair=which,
        fill_name=key,
        fill_side=side,
        postings=postings,
    )


def decision_executions(book: str, c: DecisionColumns, instruments: Instruments) -> Executions:
    """Decisions -> rows: executions of the backtest where they were filled, else what they say of a trade (its time and mark). One row a
    decision, also where several share a trade id; `postings` holds the executed ones, in the rows' order.
    """
    pairs, which = _pairs(book, c.strategy, c.symbol, instruments)
    n = len(c)
    multiplier = np.where(np.isnan(c.multiplier), _of(pairs, which, "multiplier", np.float64), c.multiplier)
    inverse = _of(pairs, which, "inverse", np.bool_)
    side = np.where(inverse, -c.side, c.side).astype(np.int8)
    px, mark = (np.where(inverse, 1.0 / v, v) if inverse.any() else v for v in (c.price, c.mark))
    q = c.quantity * multiplier
    done = (c.action != HOLD) & ~np.isnan(q) & ~np.isnan(px) & (c.filled != 0) & (side != 0)
    if book == LIVE:
        done[:] = False
    has_id = np.fromiter(map(bool, c.trade_id), np.bool_, n)
    key = mix(hash_text(c.trade_id, _of(pairs, which, "by_trade", np.uint64)), side.astype(np.int64).view(np.uint64))  # type: ignore[arg-type]
    alone = mix(hash_numbers(c.ts, c.key), np.full(n, 11, np.uint64))
    key = np.where(has_id, key, alone)
    key[key == 0] = 1
    ccy = _coded(c.currency, _of(pairs, which, "ccy", np.int32).astype(np.int32), instruments)
    fee = np.nan_to_num(c.fee)
    rows = blank(n)
    rows["sym"], rows["ccy"], rows["side"] = _of(pairs, which, "sym", np.int32), ccy, side
    rows["flags"] = np.where(has_id, L_ID if book == LIVE else B_ID, 0)
    if book == BACKTEST:
        rows["bkey"], rows["b_ts"] = key, c.ts
        rows["b_first"] = np.where(done, c.ts, NO_TS)
        rows["b_q"], rows["b_not"] = np.where(done, q, 0.0), np.where(done, q * px, 0.0)
        rows["b_fee"], rows["b_mark"] = np.where(done, fee, 0.0), mark
    else:
        rows["lkey"], rows["l_dts"], rows["l_dm"] = key, c.ts, mark
    keep = has_id | done  # without an id a decision that was not executed says nothing of any trade
    at = np.flatnonzero(done)
    postings = Postings(
        pair=which[at],
        ts=c.ts[at],
        quantity=(side * q)[at],
        price=px[at],
        fee=fee[at],
        held=(side * q)[at],
        fee_known=np.ones(len(at), np.bool_),
    )
    spots = np.flatnonzero(keep)
    return Executions(
        book=book,
        pairs=pairs,
        rows=rows[spots].astype(ROW, copy=False),
        texts=[c.trade_id[i] for i in spots.tolist()],
        which=which[spots],
        lead=spots,
        fill_pair=which,
        fill_name=key,
        fill_side=side,
        postings=postings,
    )
