"""The execution simulator: orders meet markets.

1. Sans-I/O: whoever drives it hands over orders and looks at the market, in order of time; it keeps no clock. A look at or before an
   order's arrival is what the order finds when it arrives; an order is worked once a look, and a look gives at most one fill.
2. Every draw comes from a seeded stream of its own part (latency, partial, share): same seed and calls, same output.
3. Every part (fees, latency, queue, slippage, partial fills) is any object with the methods of its protocol.
4. An order that crosses on arrival is a taker; one that waited is a maker and is filled at its limit: when the market trades through,
   or when its queue is used up by the volume traded at its price.
5. Quantity filled never exceeds quantity ordered; a limit is never passed; a closed order stays closed. Closed orders are forgotten
   but for their status.
"""

import math
from collections.abc import Mapping

import msgspec

from parityd.sim.draws import Draws
from parityd.sim.fees import Fees, FeeSchedule, Liquidity, TradedVolume
from parityd.sim.latency import Latencies, Latency, LatencyModel
from parityd.sim.market import NAN, MarketConditions
from parityd.sim.orders import Order, SimulatedFill, Status
from parityd.sim.partial import Partial, PartialFills
from parityd.sim.queue import Queue, QueueModel, clip
from parityd.sim.slippage import Slippage, SlippageModel, priced
from parityd.sim.statistics import ExecutionStatistics, Tally

_DUST = 1e-9  # a remainder under this share of the order is rounding, and is filled with the rest
PRESETS = ("reference",)


class _Working:
    """One open order and what has become of it so far."""

    __slots__ = (
        "active",
        "ahead",
        "arrival",
        "arrival_ask",
        "arrival_bid",
        "best",
        "decision_mark",
        "fills",
        "id",
        "latency",
        "level",
        "looked",
        "order",
        "position",
        "remaining",
    )

    def __init__(self, order: Order, order_id: str, latency: Latency, decision_mark: float) -> None:
        self.order, self.id, self.latency, self.decision_mark = order, order_id, latency, decision_mark
        self.arrival = order.timestamp + latency.submit / 1e3
        self.remaining = order.quantity
        self.active = order.order_type in ("market", "limit")
        self.arrival_bid = self.arrival_ask = NAN
        self.best = NAN  # the trailing stop's best price so far
        self.position, self.ahead = 0, NAN  # ahead is NaN until the order waits in a queue
        self.looked, self.level, self.fills = self.arrival, 0.0, 0


def _around(market: MarketConditions, price: float) -> MarketConditions:
    """The same market with its quote moved to another price."""
    if price == market.last:
        return market
    moved = price - market.mid
    return msgspec.structs.replace(market, bid=market.bid + moved, ask=market.ask + moved, last=price, bids=(), asks=())


class ExecutionSimulator:
    """`submit_order`, then `process_order_execution` with each look at the market, until the order is closed (rules above)."""

    def __init__(
        self,
        seed: int = 0,
        *,
        preset: str = "reference",
        fees: Fees | None = None,
        latency: Latencies | None = None,
        queue: Queue | None = None,
        slippage: Slippage | None = None,
        partial: Partial | None = None,
        volume_30d: float = 0.0,
        traded_share: float = 0.5,
    ) -> None:
        if preset not in PRESETS:
            raise ValueError(f"preset: {preset!r} is none of {', '.join(PRESETS)}")
        self.seed = seed
        self.fees: Fees = fees if fees is not None else FeeSchedule()
        self.latency: Latencies = latency if latency is not None else LatencyModel()
        self.queue: Queue = queue if queue is not None else QueueModel()
        self.slippage: Slippage = slippage if slippage is not None else SlippageModel()
        self.partial: Partial = PartialFills() if partial is None else partial
        self.traded_share = traded_share  # of the volume traded between two looks, at the order's own side
        self.draws: Mapping[str, Draws] = {part: Draws(seed, part) for part in ("latency", "partial", "share")}
        self.volume = TradedVolume(volume_30d)
        self._open: dict[str, _Working] = {}
        self._status: dict[str, Status] = {}
        self._tally = Tally()

    def submit_order(self, order: Order, market: MarketConditions | None = None) -> str:
        """Send an order; returns its id. `market` is what the strategy saw when deciding. ValueError: the id is taken."""
        order_id = order.order_id or f"sim-{self.seed}-{len(self._status) + 1}"
        if order_id in self._status:
            raise ValueError(f"order_id: {order_id!r} was submitted before")
        latency = self.latency.draw(self.draws["latency"])
        self._open[order_id] = _Working(order, order_id, latency, market.mid if market is not None else NAN)
        self._status[order_id] = "submitted"
        self._tally.order(order)
        return order_id

    def status(self, order_id: str) -> Status:
        """Where an order stands. ValueError: unknown."""
        if order_id not in self._status:
            raise ValueError(f"order_id: {order_id!r} is not known")
        return self._status[order_id]

    def arrival(self, order_id: str) -> float:
        """When an open order reaches the market, epoch seconds. ValueError: not open."""
        if order_id not in self._open:
            raise ValueError(f"order_id: {order_id!r} is not open")
        return self._open[order_id].arrival

    def remaining(self, order_id: str) -> float:
        """What an open order still wants; 0 of a closed one."""
        self.status(order_id)
        return self._open[order_id].remaining if order_id in self._open else 0.0

    def is_open(self, order_id: str) -> bool:
        return order_id in self._open

    @property
    def open_orders(self) -> tuple[str, ...]:
        return tuple(self._open)

    def cancel_order(self, order_id: str) -> bool:
        """Take an order back; False where it was closed already. ValueError: unknown."""
        self.status(order_id)
        return self._close(order_id, "cancelled")

    def get_execution_statistics(self) -> ExecutionStatistics:
        """Orders, fill rate, partial fill rate, means of fee, slippage and latency; over all, per symbol and hour."""
        return self._tally.statistics()

    def _close(self, order_id: str, status: Status) -> bool:
        if self._open.pop(order_id, None) is None:
            return False
        self._status[order_id] = status
        return True

    def process_order_execution(self, order_id: str, market: MarketConditions) -> SimulatedFill | None:
        """Let an order meet one look at the market: its fill, or None. ValueError: unknown order, or another symbol's market."""
        work = self._open.get(order_id)
        if work is None:
            self.status(order_id)
            return None
        order = work.order
        if market.symbol != order.symbol:
            raise ValueError(f"symbol: market of {market.symbol!r} for an order in {order.symbol!r}")
        now = max(work.arrival, market.timestamp)
        if order.expires_at is not None and now >= order.expires_at:
            self._close(order_id, "expired")
            return None
        if not work.active:
            at = self._trigger(work, market)
            if math.isnan(at):
                return None
            market = _around(market, at)
        if work.arrival_bid != work.arrival_bid:  # NaN: this is the first market that the order finds
            work.arrival_bid, work.arrival_ask = market.bid, market.ask
        limit = order.limit_price
        if work.ahead == work.ahead:  # it waits in a queue
            fill = self._wait(work, market, now)
        elif limit is None or (market.touch(order.sign) - limit) * order.sign <= 0.0:
            fill = self._take(work, market, now)
        else:
            fill = self._rest(work, market, now)
        if fill is None and order.time_in_force != "gtc":
            self._close(order_id, "cancelled")
        return fill

    def _trigger(self, work: _Working, market: MarketConditions) -> float:
        """Where a stop goes off: `last`, or the stop's own price inside the range traded (the open where it gapped past); NaN: not yet."""
        order, sign = work.order, work.order.sign
        fresh = market.timestamp > work.arrival and market.low == market.low  # a range traded while the order was there
        best = market.last if work.best != work.best else work.best
        if order.order_type == "stop":
            stop = order.stop_price or 0.0
        else:
            stop = best + sign * (order.trail_offset if order.trail_offset is not None else best * (order.trail_bps or 0.0) / 1e4)
        worst = (market.high if sign > 0 else market.low) if fresh else market.last
        work.active = (worst - stop) * sign >= 0.0
        reached = (market.low if sign > 0 else market.high) if fresh else market.last
        work.best = best if (reached - best) * sign >= 0.0 else reached
        if not work.active:
            return NAN
        if not fresh:
            return market.last
        gapped = market.open == market.open and (market.open - stop) * sign > 0.0
        return market.open if gapped else clip(stop, market.low, market.high)

    def _part(self, work: _Working, market: MarketConditions, had: float) -> float:
        any_price = work.order.limit_price is None
        probability = self.partial.probability(any_price=any_price, remaining=work.remaining, market=market)
        wanted = work.remaining
        if self.draws["partial"].one() < probability:
            low, high = self.partial.fraction
            wanted *= low + (high - low) * self.draws["share"].one()
        return min(wanted, had)

    def _take(self, work: _Working, market: MarketConditions, now: float) -> SimulatedFill | None:
        order, sign = work.order, work.order.sign
        any_price = order.limit_price is None
        quantity = self._part(work, market, work.remaining)
        bps, had = self.slippage.take(sign=sign, quantity=quantity, any_price=any_price, limit=order.limit_price, market=market)
        quantity = min(quantity, had)
        if quantity <= 0.0 or (order.time_in_force == "fok" and quantity < work.remaining):
            return None
        touch = market.touch(sign)
        return self._fill(work, now, quantity, priced(touch, bps, sign, order.limit_price), touch, "taker")

    def _rest(self, work: _Working, market: MarketConditions, now: float) -> SimulatedFill | None:
        work.position = self.queue.position(market)
        work.level = self._level(work, market)
        work.ahead = max(0.0, self.queue.join(market, work.level))
        work.looked = now
        if work.order.time_in_force == "gtc":
            self._status[work.id] = "resting"
        return None

    def _level(self, work: _Working, market: MarketConditions) -> float:
        """Displayed size at the order's price, on its own side."""
        sign, limit = work.order.sign, work.order.limit_price or 0.0
        for price, size in market.depth(-sign):
            if price == limit:
                return size
        return 0.0

    def _wait(self, work: _Working, market: MarketConditions, now: float) -> SimulatedFill | None:
        sign, limit = work.order.sign, work.order.limit_price or 0.0
        through = (market.touch(sign) - limit) * sign <= 0.0
        if market.timestamp > work.looked and market.low == market.low:
            through = through or ((market.low if sign > 0 else market.high) - limit) * sign < 0.0
        own = market.touch(-sign)
        elapsed, work.looked = now - work.looked, now
        if through:
            return self._fill(work, now, self._part(work, market, work.remaining), limit, limit, "maker")
        if (own - limit) * sign > 0.0:
            return None  # others stand before it at better prices: nothing trades here
        traded = market.volume_1m / 60.0 * elapsed * self.traded_share
        before, work.level = work.level, self._level(work, market)
        work.ahead = self.queue.advance(work.ahead, traded=traded, before=before, after=work.level)
        if work.ahead >= 0.0:
            return None
        beyond, work.ahead = -work.ahead, 0.0
        return self._fill(work, now, self._part(work, market, beyond), limit, limit, "maker")

    def _fill(self, work: _Working, now: float, quantity: float, price: float, touch: float, liquidity: Liquidity) -> SimulatedFill:
        order, latency = work.order, work.latency
        left = work.remaining - quantity
        if left <= _DUST * order.quantity:
            quantity, left = work.remaining, 0.0
        work.remaining = left
        work.fills += 1
        notional = quantity * price
        fee = self.fees.fee(
            side=order.side, quantity=quantity, notional=notional, liquidity=liquidity,
            crosses_any_price=order.limit_price is None, volume_30d=self.volume.at(now),
        )  # fmt: skip
        self.volume.add(now, notional)
        fill = SimulatedFill(
            fill_id=f"{work.id}-{work.fills}", order_id=work.id, symbol=order.symbol, side=order.side, quantity=quantity, price=price,
            timestamp=now, fee=fee, liquidity=liquidity, order_type=order.order_type, slippage_bps=order.sign * (price - touch) / touch * 1e4,
            submit_ms=latency.submit, market_data_ms=latency.market_data, notice_ms=latency.notice,
            queue_position=work.position, remaining=left, arrival_bid=work.arrival_bid, arrival_ask=work.arrival_ask,
            decision_mark=work.decision_mark, decision_ts=order.timestamp, trade_id=order.trade_id, strategy=order.strategy,
        )  # fmt: skip
        self._tally.fill(order, fill, first=work.fills == 1)
        if left <= 0.0:
            self._close(work.id, "filled")
        elif order.time_in_force == "ioc":
            self._close(work.id, "cancelled")
        else:
            self._status[work.id] = "partially_filled"
        return fill
