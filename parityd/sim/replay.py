"""Orders against a stream of quotes: what `parityd simulate` does, without the files.

1. An order meets the quote that prevails when it arrives (the newest at or before), then every later quote until it is closed.
2. The mark of the decision is the quote that had reached the strategy: the newest at or before the order's time.
3. Orders and quotes of one symbol do not touch another's. Fills leave in order of (time, order of submission).
4. An order in a symbol without a quote, or one still open after the last quote, ends as an `order` record: expired or cancelled.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from parityd.sim.market import MarketConditions
from parityd.sim.orders import Order, SimulatedFill
from parityd.sim.simulator import ExecutionSimulator


class Outcome:
    """What became of the orders: `fills`, and of each order (as submitted, with its id) its last status."""

    __slots__ = ("fills", "orders")

    def __init__(self) -> None:
        self.fills: list[SimulatedFill] = []
        self.orders: list[tuple[str, Order, str, float]] = []  # id, order, status, time of the last look

    def records(self) -> list[dict[str, object]]:
        """`order` records of what never filled completely: status `expired` or `cancelled`."""
        return [
            {"kind": "order", "strategy": o.strategy, "symbol": o.symbol, "order_id": order_id, "status": "expired" if status == "expired" else "cancelled",
             "ts": round(at, 6), "side": o.side, "quantity": o.quantity, **({"limit_price": o.limit_price} if o.limit_price is not None else {}),
             **({"trade_id": o.trade_id} if o.trade_id else {}), "reason": status}
            for order_id, o, status, at in self.orders
            if status != "filled"
        ]  # fmt: skip


def by_symbol(quotes: Iterable[MarketConditions]) -> dict[str, list[MarketConditions]]:
    """Quotes by symbol, each in order of time."""
    out: dict[str, list[MarketConditions]] = {}
    for quote in quotes:
        out.setdefault(quote.symbol, []).append(quote)
    for rows in out.values():
        rows.sort(key=lambda q: q.timestamp)
    return out


def run_orders(simulator: ExecutionSimulator, orders: Iterable[Order], quotes: Mapping[str, Sequence[MarketConditions]]) -> Outcome:
    """Work every order through the quotes of its symbol (rules above)."""
    out = Outcome()
    times = {symbol: [q.timestamp for q in rows] for symbol, rows in quotes.items()}
    for order in sorted(orders, key=lambda o: o.timestamp):
        rows, when = quotes.get(order.symbol, ()), times.get(order.symbol, [])
        seen = bisect_right(when, order.timestamp) - 1
        order_id = simulator.submit_order(order, rows[seen] if seen >= 0 else None)
        at = order.timestamp
        first = max(0, bisect_right(when, simulator.arrival(order_id)) - 1)
        for quote in islice(rows, first, None):
            fill = simulator.process_order_execution(order_id, quote)
            at = max(at, quote.timestamp)
            if fill is not None:
                out.fills.append(fill)
            if not simulator.is_open(order_id):
                break
        status: str = simulator.status(order_id)
        if simulator.is_open(order_id):
            simulator.cancel_order(order_id)
            status = "no quote" if not rows else "open at the last quote"
        out.orders.append((order_id, order, status, at))
    out.fills.sort(key=lambda f: f.timestamp)
    return out
