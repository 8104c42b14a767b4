"""Many orders at once: each meets the one market that its row describes.

1. The result of a row is what `submit_order` and one `process_order_execution` on a fresh simulator of the same seed give, in the same
   order (a property test holds it): market orders and limit orders; a limit that does not cross rests, with its queue position.
2. The fee tier is that of the volume at the start; it does not move within a call.
3. Bad rows are a ValueError that names the field and the row (from 0).
"""

from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from parityd.sim.draws import F64
from parityd.sim.fees import FeeSchedule
from parityd.sim.partial import PartialFills
from parityd.sim.queue import QueueModel
from parityd.sim.simulator import ExecutionSimulator
from parityd.sim.slippage import MAX_BPS


@runtime_checkable
class SlippageMany(Protocol):
    """A slippage model that takes arrays."""

    def bps_many(self, *, quantity: F64, liquidity: F64, any_price: F64, volatility: F64, spread_bps: F64, volume_1m: F64) -> F64: ...


class Executions(msgspec.Struct, frozen=True, kw_only=True):
    """Arrays of shape (n,). Where `quantity` is 0 nothing was filled: price and slippage are NaN, fee is 0."""

    quantity: F64
    remaining: F64
    price: F64
    fee: F64
    slippage_bps: F64
    queue_position: NDArray[np.int64]
    submit_ms: F64
    market_data_ms: F64
    notice_ms: F64

    @property
    def latency_ms(self) -> F64:
        return self.submit_ms + self.market_data_ms + self.notice_ms


def _columns(n: int, given: dict[str, ArrayLike]) -> dict[str, F64]:
    out = {}
    for name, value in given.items():
        column = np.broadcast_to(np.asarray(value, np.float64), (n,))
        out[name] = column
        bad = ~np.isfinite(column) if name != "limit_price" else np.isinf(column) | (column <= 0.0)
        if name in ("quantity", "bid", "ask", "last"):
            bad = bad | (column <= 0.0)
        if name in ("bid_size", "ask_size", "volume_1m", "volatility"):
            bad = bad | (column < 0.0)
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"{name}: {column[row]:g} in row {row}")
    return out


def execute_many(
    simulator: ExecutionSimulator,
    *,
    sign: ArrayLike,
    quantity: ArrayLike,
    bid: ArrayLike,
    ask: ArrayLike,
    bid_size: ArrayLike,
    ask_size: ArrayLike,
    last: ArrayLike | None = None,
    volume_1m: ArrayLike = 0.0,
    volatility: ArrayLike = 0.0,
    limit_price: ArrayLike | None = None,
) -> Executions:
    """Execute n orders (`sign` +1 buy, -1 sell; `limit_price` NaN = market order). Every other argument is an array or one value for all.

    TypeError: a part of the simulator has no form for arrays (fees, queue and partial fills must be the reference classes).
    """
    fees, queue, partial, slippage = simulator.fees, simulator.queue, simulator.partial, simulator.slippage
    if not (
        isinstance(fees, FeeSchedule)
        and isinstance(queue, QueueModel)
        and isinstance(partial, PartialFills)
        and isinstance(slippage, SlippageMany)
    ):
        raise TypeError("execute_many: a part of this simulator has no form for arrays")
    n = np.asarray(quantity).size
    mid = last if last is not None else 0.5 * (np.asarray(bid, np.float64) + np.asarray(ask, np.float64))
    c = _columns(n, {
        "sign": sign, "quantity": quantity, "bid": bid, "ask": ask, "bid_size": bid_size, "ask_size": ask_size, "last": mid,
        "volume_1m": volume_1m, "volatility": volatility, "limit_price": np.nan if limit_price is None else limit_price,
    })  # fmt: skip
    _check(c)
    buy = c["sign"] > 0
    touch, limit = np.where(buy, c["ask"], c["bid"]), c["limit_price"]
    spread = (c["ask"] - c["bid"]) / c["last"] * 1e4
    any_price = np.isnan(limit)
    crossing = any_price | ((touch - limit) * c["sign"] <= 0.0)
    latency = simulator.latency.draw_many(simulator.draws["latency"], n)
    filled = _wanted(simulator, partial, c, any_price, crossing, spread)
    bps = slippage.bps_many(
        quantity=filled, liquidity=np.where(buy, c["ask_size"], c["bid_size"]), any_price=any_price.astype(np.float64),
        volatility=c["volatility"], spread_bps=spread, volume_1m=c["volume_1m"],
    )  # fmt: skip
    price = touch * (1.0 + c["sign"] * np.minimum(bps, MAX_BPS) / 1e4)
    price = np.where(~any_price & ((price - limit) * c["sign"] > 0.0), limit, price)
    price = np.where(crossing, price, np.nan)
    _, taker, market = fees.rates(simulator.volume.at(0.0))
    notional = np.where(crossing, filled * price, 0.0)
    waiting = queue.position_many(spread_bps=spread, volatility=c["volatility"], volume_1m=c["volume_1m"])
    return Executions(
        quantity=filled, remaining=c["quantity"] - filled, price=price,
        fee=fees.fee_many(sign=c["sign"], quantity=filled, notional=notional, bps=np.where(any_price, market, taker)),
        slippage_bps=c["sign"] * (price - touch) / touch * 1e4, queue_position=np.where(crossing, 0.0, waiting).astype(np.int64),
        submit_ms=latency[:, 0], market_data_ms=latency[:, 1], notice_ms=latency[:, 2],
    )  # fmt: skip


def _check(c: dict[str, F64]) -> None:
    for name, bad in (("sign", np.abs(c["sign"]) != 1.0), ("bid", c["bid"] > c["ask"])):
        if bad.any():
            row = int(np.argmax(bad))
            what = "crossed quote" if name == "bid" else "neither +1 nor -1"
            raise ValueError(f"{name}: {c[name][row]:g} in row {row} ({what})")


def _wanted(
    simulator: ExecutionSimulator, partial: PartialFills, c: dict[str, F64], any_price: NDArray[np.bool_], crossing: NDArray[np.bool_], spread: F64,
) -> F64:  # fmt: skip
    """What each crossing order gets at once; 0 of one that rests. Draws are taken by crossing orders only, as one by one."""
    rows: NDArray[Any] = np.flatnonzero(crossing)
    wanted = np.where(crossing, c["quantity"], 0.0)
    probability = partial.probability_many(
        any_price=any_price[rows].astype(np.float64), remaining=wanted[rows], spread_bps=spread[rows], volume_1m=c["volume_1m"][rows]
    )
    cut = rows[simulator.draws["partial"].many(len(rows)) < probability]
    low, high = partial.fraction
    wanted[cut] *= low + (high - low) * simulator.draws["share"].many(len(cut))
    return wanted
