"""Who fills the orders of a backtest, bar by bar.

1. `FixedCosts`: market orders at the mark (or the next open) plus a slippage rate; a limit at its price, or better where a bar opens
   beyond it; a stop at its price, or worse where a bar opens beyond it, plus the slippage rate. Commission is a rate of the notional.
2. `Simulated`: every order goes through an `ExecutionSimulator` on conditions made from the bars with a stated spread model.
3. An order placed at a bar's close is never met by that bar's range: only later bars work it. Of several orders of one symbol the
   stops are worked first: within a bar the order of events is not known, and the worse one is assumed.
"""

from decimal import ROUND_DOWN, Context, Decimal, localcontext
from typing import Protocol

import msgspec

from parityd.core.decision_document import Decision
from parityd.core.instants import SECOND
from parityd.sim.account import ZERO, decimal
from parityd.sim.bars import Bars
from parityd.sim.market import MarketConditions, SpreadModel, from_bar
from parityd.sim.orders import Order, SimulatedFill
from parityd.sim.simulator import ExecutionSimulator

MONEY = Context(prec=60)
_GRAIN = Decimal("1e-8")


class Placed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order that a decision made: by whom it is known, what it wants, from which bar."""

    order_id: str
    symbol: str
    sign: int
    quantity: Decimal
    decision: Decision
    bar: int
    ts: int


class BarFill(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One fill in a bar. Money is exact; `touch` is the reference that slippage is counted from."""

    order: Placed
    quantity: Decimal
    price: Decimal
    fee: Decimal
    ts: int
    liquidity: str
    latency_ms: float | None = None
    arrival_bid: float | None = None
    arrival_ask: float | None = None


class Broker(Protocol):
    """`place` meets an order with the bar at whose close it was made; `work` the open ones with a later bar."""

    def place(self, order: Placed, bars: Bars, i: int) -> BarFill | None: ...
    def work(self, bars: Bars, i: int) -> list[BarFill]: ...
    def cancel(self, symbol: str) -> list[Placed]: ...
    def resting(self, symbol: str) -> bool: ...


def _stops_first(order: Placed) -> tuple[int, int]:
    return (0 if order.decision.order_type in ("stop", "trailing_stop") else 1, order.bar)


class FixedCosts:
    """Rule 1. `next_open` moves market orders to the next bar's open."""

    def __init__(
        self, *, commission_rate: float, slippage_rate: float, next_open: bool = False, multipliers: dict[str, Decimal] | None = None
    ) -> None:
        self._commission, self._slip, self._next_open = decimal(commission_rate), decimal(slippage_rate), next_open
        self._multipliers = multipliers or {}
        self._open: dict[str, list[Placed]] = {}
        self._best: dict[str, float] = {}  # of trailing stops, by order
        self._active: set[str] = set()  # stops with a limit that went off

    def resting(self, symbol: str) -> bool:
        return bool(self._open.get(symbol))

    def cancel(self, symbol: str) -> list[Placed]:
        return self._open.pop(symbol, [])

    def place(self, order: Placed, bars: Bars, i: int) -> BarFill | None:
        kind, mark = order.decision.order_type, float(bars.close[i])
        if kind == "market" and not self._next_open:
            return self._fill(order, bars, i, mark, slips=True, liquidity="taker")
        if kind == "limit":
            limit = order.decision.limit_price or 0.0
            if not self._next_open and (mark - limit) * order.sign <= 0.0:
                return self._fill(order, bars, i, mark, slips=True, liquidity="taker", limit=limit)
        if kind == "trailing_stop":
            self._best[order.order_id] = mark
        self._open.setdefault(bars.symbol, []).append(order)
        return None

    def work(self, bars: Bars, i: int) -> list[BarFill]:
        fills, kept = [], []
        for order in sorted(self._open.get(bars.symbol, ()), key=_stops_first):
            fill = self._meet(order, bars, i)
            if fill is not None:
                fills.append(fill)
            elif order.decision.good_for is None or i - order.bar < order.decision.good_for:
                kept.append(order)
        self._open[bars.symbol] = kept
        return fills

    def _meet(self, order: Placed, bars: Bars, i: int) -> BarFill | None:
        decision, sign = order.decision, order.sign
        opened, high, low = float(bars.open[i]), float(bars.high[i]), float(bars.low[i])
        if decision.order_type == "market":
            return self._fill(order, bars, i, opened, slips=True, liquidity="taker")
        if decision.order_type != "limit" and order.order_id not in self._active:
            stop = self._stop(order)
            worst = high if sign > 0 else low
            if (worst - stop) * sign < 0.0:
                if decision.order_type == "trailing_stop":
                    best = low if sign > 0 else high
                    self._best[order.order_id] = (
                        min(self._best[order.order_id], best) if sign > 0 else max(self._best[order.order_id], best)
                    )
                return None
            at = opened if (opened - stop) * sign > 0.0 else stop
            if decision.limit_price is None:
                return self._fill(order, bars, i, at, slips=True, liquidity="taker")
            self._active.add(order.order_id)
            if (at - decision.limit_price) * sign <= 0.0:
                return self._fill(order, bars, i, at, slips=True, liquidity="taker", limit=decision.limit_price)
            return None
        limit = decision.limit_price or 0.0
        if ((low if sign > 0 else high) - limit) * sign > 0.0:
            return None
        return self._fill(order, bars, i, opened if (opened - limit) * sign < 0.0 else limit, slips=False, liquidity="maker")

    def _stop(self, order: Placed) -> float:
        if order.decision.order_type == "stop":
            return order.decision.stop_price or 0.0
        return self._best[order.order_id] * (1.0 + order.sign * (order.decision.trail_bps or 0.0) / 1e4)

    def _fill(self, order: Placed, bars: Bars, i: int, at: float, *, slips: bool, liquidity: str, limit: float | None = None) -> BarFill:
        with localcontext(MONEY):
            price = decimal(at)
            if slips:
                price *= 1 + self._slip * order.sign
            if limit is not None and (price - decimal(limit)) * order.sign > 0:
                price = decimal(limit)
            fee = order.quantity * price * self._commission * self._multipliers.get(bars.symbol, Decimal(1))
        return BarFill(order=order, quantity=order.quantity, price=price, fee=fee, ts=int(bars.ts[i]), liquidity=liquidity)


class Simulated:
    """Rule 2. Touch sizes and volatility come from the bars (`market.from_bar`)."""

    def __init__(self, simulator: ExecutionSimulator, spread: SpreadModel | None = None) -> None:
        self._sim, self._spread = simulator, spread
        self._open: dict[str, list[Placed]] = {}
        self._filled: dict[str, Decimal] = {}

    def resting(self, symbol: str) -> bool:
        return bool(self._open.get(symbol))

    def cancel(self, symbol: str) -> list[Placed]:
        orders = self._open.pop(symbol, [])
        for order in orders:
            self._sim.cancel_order(order.order_id)
        return orders

    def _market(self, bars: Bars, i: int) -> MarketConditions:
        seconds = (bars.ts[i] - bars.ts[i - 1]) / SECOND if i else max(bars.interval_ns, SECOND) / SECOND
        return from_bar(
            bars.symbol, timestamp=float(bars.ts[i]) / SECOND, open=float(bars.open[i]), high=float(bars.high[i]), low=float(bars.low[i]),
            close=float(bars.close[i]), volume=float(bars.volume[i]), seconds=float(seconds), spread=self._spread,
        )  # fmt: skip

    def place(self, order: Placed, bars: Bars, i: int) -> BarFill | None:
        d, market = order.decision, self._market(bars, i)
        expires = None if d.good_for is None else market.timestamp + (d.good_for + 0.5) * bars.interval_ns / SECOND
        self._sim.submit_order(
            Order(
                symbol=bars.symbol, side="buy" if order.sign > 0 else "sell", quantity=float(order.quantity), timestamp=market.timestamp,
                order_type=d.order_type, limit_price=d.limit_price, stop_price=d.stop_price, trail_bps=d.trail_bps,
                expires_at=expires, order_id=order.order_id,
            ),
            market,
        )  # fmt: skip
        fill = self._step(order, market)
        if self._sim.is_open(order.order_id):
            self._open.setdefault(bars.symbol, []).append(order)
        return fill

    def work(self, bars: Bars, i: int) -> list[BarFill]:
        market = self._market(bars, i)
        found = [self._step(order, market) for order in sorted(self._open.get(bars.symbol, ()), key=_stops_first)]
        self._open[bars.symbol] = [o for o in self._open.get(bars.symbol, ()) if self._sim.is_open(o.order_id)]
        return [f for f in found if f is not None]

    def _step(self, order: Placed, market: MarketConditions) -> BarFill | None:
        fill = self._sim.process_order_execution(order.order_id, market)
        if fill is None:
            return None
        quantity = self._exact(order, fill)
        if not quantity:
            return None
        return BarFill(
            order=order, quantity=quantity, price=decimal(fill.price), fee=decimal(fill.fee), ts=round(fill.timestamp * 1e6) * 1000,
            liquidity=fill.liquidity, latency_ms=fill.latency_ms, arrival_bid=fill.arrival_bid, arrival_ask=fill.arrival_ask,
        )  # fmt: skip

    def _exact(self, order: Placed, fill: SimulatedFill) -> Decimal:
        """The fill's quantity in whole grains; the last fill takes what is left, so that the parts make the order exactly."""
        before = self._filled.pop(order.order_id, ZERO)
        with localcontext(MONEY):
            if not fill.remaining:
                return order.quantity - before
            quantity = min(decimal(fill.quantity).quantize(_GRAIN, ROUND_DOWN), order.quantity - before)
            self._filled[order.order_id] = before + quantity
            return quantity
