"""What the simulator did, in a few numbers: over all, by symbol, by hour of the day (UTC).

1. Sums only: the memory does not grow with the number of orders.
2. A mean of nothing is None, never 0; a count is 0.
3. fill rate = orders filled at least in part / orders; partial fill rate = orders whose first fill left something / orders filled at
   least in part; fee, slippage (bps) and latency (ms) are means over fills.
"""

from typing import Any

import msgspec

from parityd.sim.orders import Order, SimulatedFill


class ExecutionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one slice (rule 3); `mean_fee` in quote currency a fill."""

    orders: int
    fills: int
    filled_orders: int
    fill_rate: float | None
    partial_fill_rate: float | None
    mean_fee: float | None
    mean_slippage_bps: float | None
    mean_latency_ms: float | None
    total_fee: float
    notional: float


class ExecutionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """`total`, and the same per symbol and per hour of the order."""

    total: ExecutionFigures
    by_symbol: dict[str, ExecutionFigures]
    by_hour: dict[int, ExecutionFigures]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: the total's figures on top, `by_symbol`, `by_hour`."""
        return {
            **msgspec.to_builtins(self.total),
            "by_symbol": {k: msgspec.to_builtins(v) for k, v in self.by_symbol.items()},
            "by_hour": {str(k): msgspec.to_builtins(v) for k, v in self.by_hour.items()},
        }


class _Sums:
    __slots__ = ("fee", "filled", "fills", "latency", "notional", "orders", "partial", "slippage")

    def __init__(self) -> None:
        self.orders = self.fills = self.filled = self.partial = 0
        self.fee = self.slippage = self.latency = self.notional = 0.0

    def add(self, fill: SimulatedFill, *, first: bool) -> None:
        self.fills += 1
        self.fee += fill.fee
        self.slippage += fill.slippage_bps
        self.latency += fill.latency_ms
        self.notional += fill.quantity * fill.price
        if first:
            self.filled += 1
            self.partial += fill.remaining > 0.0

    def figures(self) -> ExecutionFigures:
        n = self.fills
        return ExecutionFigures(
            orders=self.orders, fills=n, filled_orders=self.filled, fill_rate=self.filled / self.orders if self.orders else None,
            partial_fill_rate=self.partial / self.filled if self.filled else None, mean_fee=self.fee / n if n else None,
            mean_slippage_bps=self.slippage / n if n else None, mean_latency_ms=self.latency / n if n else None,
            total_fee=self.fee, notional=self.notional,
        )  # fmt: skip


class Tally:
    """The running sums behind `ExecutionStatistics`."""

    __slots__ = ("_slices",)

    def __init__(self) -> None:
        self._slices: dict[tuple[str, int], _Sums] = {}

    def _slice(self, order: Order) -> _Sums:
        key = (order.symbol, int(order.timestamp // 3600.0) % 24)
        found = self._slices.get(key)
        if found is None:
            found = self._slices[key] = _Sums()
        return found

    def order(self, order: Order) -> None:
        self._slice(order).orders += 1

    def fill(self, order: Order, fill: SimulatedFill, *, first: bool) -> None:
        self._slice(order).add(fill, first=first)

    def statistics(self) -> ExecutionStatistics:
        total, symbols, hours = _Sums(), dict[str, _Sums](), dict[int, _Sums]()
        for (symbol, hour), part in sorted(self._slices.items()):
            for into in (total, symbols.setdefault(symbol, _Sums()), hours.setdefault(hour, _Sums())):
                for name in _Sums.__slots__:
                    setattr(into, name, getattr(into, name) + getattr(part, name))
        return ExecutionStatistics(
            total=total.figures(),
            by_symbol={k: v.figures() for k, v in symbols.items()},
            by_hour={k: v.figures() for k, v in sorted(hours.items())},
        )
