"""NautilusTrader's order events -> fills, the states of orders, and the decisions behind them.

1. `OrderInitialized` is a decision without price: it feeds decision parity and is never an execution. Orders that another order brought about
   (a parent, a spawn of an execution algorithm) are nobody's decision. Several at one time, symbol and action are one, quantities added.
2. `OrderFilled` is the fill of the fills report, and the order is `filled` once its fills reach the quantity it began with.
3. Event types that change nothing for us give nothing and are no fault.
4. Only orders that are still open are remembered while a file is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from parityd.core.accepting import block
from parityd.core.columns import Block
from parityd.core.records import NAN, Decision, Native, Order
from parityd.formats.fields import flag, need, need_instant, need_number, number, side, text
from parityd.formats.nautilus import cut, fill, place
from parityd.formats.port import Context, Part, Sample
from parityd.formats.rows import batches, taken

Row = Mapping[str, Any]
_STATES = {
    "OrderSubmitted": "submitted", "OrderAccepted": "accepted", "OrderRejected": "rejected", "OrderDenied": "rejected",
    "OrderCanceled": "cancelled", "OrderExpired": "expired",
}  # fmt: skip
_ENDS = ("rejected", "cancelled", "expired")
_ENOUGH = 1 - 1e-9


def knows(sample: Sample) -> bool:
    return sample.keys >= {"type", "client_order_id", "strategy_id"} and str(sample.row.get("type", "Order")).startswith("Order")


@dataclass(slots=True)
class _Begun:
    side: str
    quantity: float
    limit: float
    parent: str
    filled: float = 0.0


@dataclass(slots=True)
class _Events:
    """What has to be known of earlier events of the file."""

    begun: dict[str, _Begun] = field(default_factory=dict)
    decided: dict[tuple[str, str, int, str, str], tuple[int, float]] = field(default_factory=dict)
    line: int = 0

    def take(self, row: Row) -> Iterator[Native]:
        what, order_id = need(row, "type"), need(row, "client_order_id")
        if what == "OrderInitialized":
            self._begin(row, order_id)
        elif what == "OrderFilled":
            yield from fill(row)
            if not flag(row, "reconciliation"):
                yield from self._filled(row, order_id)
        elif what in _STATES:
            yield self._state(row, order_id, _STATES[what])

    def _begin(self, row: Row, order_id: str) -> None:
        strategy, symbol, _ = place(row)
        way, quantity = side(row, "order_side"), need_number(row, "quantity")
        ts = need_instant(row, "ts_init") // 1000 * 1000
        options = row.get("options")
        spawn = text(row, "exec_spawn_id")
        self.begun[order_id] = _Begun(way, quantity, number(options, "price") if isinstance(options, Mapping) else NAN, spawn)
        if text(row, "parent_order_id") or (spawn and spawn != order_id):
            return
        key = (strategy, symbol, ts, "close" if flag(row, "reduce_only") else way, way)
        line, so_far = self.decided.get(key, (self.line, 0.0))
        self.decided[key] = (line, so_far + quantity)

    def _state(self, row: Row, order_id: str, status: str) -> Order:
        strategy, symbol, _ = place(row)
        known = self.begun.get(order_id) if status == "submitted" else None
        if status in _ENDS:
            self.begun.pop(order_id, None)
        return Order(
            ts=cut(need_instant(row, "ts_event")), strategy=strategy, symbol=symbol, order_id=order_id, status=status,  # type: ignore[arg-type]
            side=known.side if known else "",  # type: ignore[arg-type]
            quantity=known.quantity if known else NAN, limit_price=known.limit if known else NAN, parent_id=known.parent if known else "",
            reason=text(row, "reason"),
        )  # fmt: skip

    def _filled(self, row: Row, order_id: str) -> Iterator[Order]:
        known = self.begun.get(order_id)
        if known is None:
            return
        known.filled += need_number(row, "last_qty")
        if known.filled >= known.quantity * _ENOUGH:
            del self.begun[order_id]
            strategy, symbol, _ = place(row)
            yield Order(ts=cut(need_instant(row, "ts_event")), strategy=strategy, symbol=symbol, order_id=order_id, status="filled")

    def decisions(self) -> list[tuple[int, Native]]:
        return [
            (line, Decision(ts=cut(ts), strategy=strategy, symbol=symbol, action=action, side=way if action == "close" else "", quantity=q))  # type: ignore[arg-type]
            for (strategy, symbol, ts, action, way), (line, q) in self.decided.items()
        ]


def read(part: Part, context: Context) -> Iterator[Block]:
    events = _Events()

    for batch in batches(part, context):
        numbered = iter([line for line, _ in batch.rows])

        def take(row: Row, numbered: Iterator[int] = numbered) -> list[Native]:
            events.line = next(numbered)
            return list(events.take(row))

        yield taken(batch, context, take)
    yield block(context.book, events.decisions(), context.bounds)
