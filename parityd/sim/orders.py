"""Orders and what becomes of them.

1. An order is valid when it exists; what it lacks for its type (a limit without price) is a ValueError that names the field.
2. `market` takes the touch; `limit` never pays more than its price; `stop` waits for `last` (or the range traded) to reach its price and
   becomes a market order, or a limit order where it has a limit price; `trailing_stop` follows the best price by a distance.
3. Times are epoch seconds UTC, quantities units of the base, money the quote currency, costs positive.
"""

import math
from typing import Literal

import msgspec

from parityd.core.decision_document import OrderType
from parityd.sim.market import finite, positive

NAN = math.nan
Side = Literal["buy", "sell"]
TimeInForce = Literal["gtc", "ioc", "fok"]
Status = Literal["submitted", "resting", "partially_filled", "filled", "cancelled", "expired"]
ORDER_TYPES = ("market", "limit", "stop", "trailing_stop")
SIGNS = {"buy": 1, "sell": -1}


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a strategy asks of a market (rules 1 to 3). Without `order_id` the simulator gives it one."""

    symbol: str
    side: Side
    quantity: float
    timestamp: float
    order_type: OrderType = "market"
    limit_price: float | None = None
    stop_price: float | None = None
    trail_bps: float | None = None
    trail_offset: float | None = None
    time_in_force: TimeInForce = "gtc"
    expires_at: float | None = None
    order_id: str = ""
    trade_id: str = ""
    strategy: str = ""

    def __post_init__(self) -> None:
        put = msgspec.structs.force_setattr
        if not self.symbol:
            raise ValueError("symbol: empty")
        if self.side not in SIGNS:
            raise ValueError(f"side: {self.side!r} is neither buy nor sell")
        if self.order_type not in ORDER_TYPES:
            raise ValueError(f"order_type: {self.order_type!r} is none of {', '.join(ORDER_TYPES)}")
        if self.time_in_force not in ("gtc", "ioc", "fok"):
            raise ValueError(f"time_in_force: {self.time_in_force!r} is none of gtc, ioc, fok")
        put(self, "quantity", positive("quantity", self.quantity))
        put(self, "timestamp", finite("timestamp", self.timestamp))
        for name in ("limit_price", "stop_price", "trail_bps", "trail_offset"):
            value = getattr(self, name)
            if value is not None:
                put(self, name, positive(name, value))
        if self.expires_at is not None:
            put(self, "expires_at", finite("expires_at", self.expires_at))
        self._complete()

    def _complete(self) -> None:
        if self.order_type == "limit" and self.limit_price is None:
            raise ValueError("limit_price: a limit order needs one")
        if self.order_type == "stop" and self.stop_price is None:
            raise ValueError("stop_price: a stop order needs one")
        if self.order_type == "trailing_stop" and (self.trail_bps is None) == (self.trail_offset is None):
            raise ValueError("trail_bps: a trailing stop needs this or trail_offset, and not both")

    @property
    def sign(self) -> int:
        return SIGNS[self.side]


class SimulatedFill(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One execution. `slippage_bps` is from the touch, positive = worse; `latency_ms` = market data + submit + notice."""

    fill_id: str
    order_id: str
    symbol: str
    side: Side
    quantity: float
    price: float
    timestamp: float
    fee: float
    liquidity: Literal["maker", "taker"]
    order_type: OrderType
    slippage_bps: float
    submit_ms: float
    market_data_ms: float
    notice_ms: float
    queue_position: int
    remaining: float
    arrival_bid: float
    arrival_ask: float
    decision_mark: float = NAN
    decision_ts: float = NAN
    trade_id: str = ""
    strategy: str = ""

    @property
    def latency_ms(self) -> float:
        return self.market_data_ms + self.submit_ms + self.notice_ms

    @property
    def arrival_mark(self) -> float:
        return 0.5 * (self.arrival_bid + self.arrival_ask)

    @property
    def partial(self) -> bool:
        return self.remaining > 0.0


def fill_record(fill: SimulatedFill) -> dict[str, object]:
    """The fill as a native record; what is not known is left out."""
    record: dict[str, object] = {
        "kind": "fill", "strategy": fill.strategy, "symbol": fill.symbol, "fill_id": fill.fill_id, "order_id": fill.order_id,
        "side": fill.side, "quantity": fill.quantity, "price": round(fill.price, 12), "ts": round(fill.timestamp, 6),
        "fee": round(fill.fee, 12), "liquidity": fill.liquidity, "order_type": fill.order_type, "latency_ms": round(fill.latency_ms, 6),
        "arrival_mark": round(fill.arrival_mark, 12), "arrival_bid": fill.arrival_bid, "arrival_ask": fill.arrival_ask,
    }  # fmt: skip
    if fill.trade_id:
        record["trade_id"] = fill.trade_id
    if math.isfinite(fill.decision_ts):
        record["decision_ts"] = round(fill.decision_ts, 6)
    if math.isfinite(fill.decision_mark):
        record["decision_mark"] = fill.decision_mark
    return record
