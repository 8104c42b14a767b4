"""A finished backtest as native records of the backtest book.

1. First a `run` record: [from, to) covers every decision; then decisions that act, fills of orders that were left resting (or filled in
   parts), borrow cost as `funding`, and last a `heartbeat` at the end, which is the book's watermark.
2. Holds are left out: a book that sends none is taken to hold where it is silent. `holds=True` writes them.
3. A decision that was filled whole and at its own time carries its price; of any other the fills are `fill` records, and it carries none.
"""

from collections.abc import Iterator
from typing import Any

from parityd.core.instants import SECOND, rfc3339
from parityd.sim.broker import BarFill
from parityd.sim.result import BacktestResult, LoggedDecision


def records(result: BacktestResult, *, created_ns: int, holds: bool = False) -> Iterator[dict[str, Any]]:
    """Native records of the run; `created_ns` is when it was made (the newest run of a strategy replaces older ones)."""
    yield _run(result, created_ns)
    rest = {f.order.order_id for f in result.fills if not _at_once(f)}
    later = {(f.order.symbol, f.order.ts) for f in result.fills if f.order.order_id in rest}
    for row in result.decisions:
        if row.decision.action != "hold" or holds:
            yield _decision(result.strategy_name, row, whole=row.execution.filled and (row.symbol, row.ts) not in later)
    number: dict[str, int] = {}
    for fill in result.fills:
        if fill.order.order_id in rest:
            n = number[fill.order.order_id] = number.get(fill.order.order_id, 0) + 1
            yield _fill(result.strategy_name, fill, n)
    for symbol, ts, amount in result.fundings:
        yield {
            "kind": "funding",
            "strategy": result.strategy_name,
            "symbol": symbol,
            "amount": float(amount),
            "ts": rfc3339(ts),
            "type": "borrow",
        }
    yield {"kind": "heartbeat", "strategy": result.strategy_name, "ts": rfc3339(result.end_ts)}


def _at_once(fill: BarFill) -> bool:
    return fill.quantity == fill.order.quantity and fill.ts == fill.order.ts


def _run(result: BacktestResult, created_ns: int) -> dict[str, Any]:
    run = {
        "kind": "run", "strategy": result.strategy_name, "run_id": result.run_id, "created": rfc3339(created_ns),
        "from": rfc3339(result.start_ts), "to": rfc3339(result.end_ts + max(result.interval_ns, SECOND)),
    }  # fmt: skip
    return {**run, "symbol": result.symbols[0]} if len(result.symbols) == 1 else run


def _decision(strategy: str, row: LoggedDecision, *, whole: bool) -> dict[str, Any]:
    d, x = row.decision, row.execution
    out: dict[str, Any] = {
        "kind": "decision", "strategy": strategy, "symbol": row.symbol, "ts": rfc3339(row.ts), "action": d.action,
        "mark": row.mark, "equity": row.equity, "reason": d.reason,
    }  # fmt: skip
    if d.guards is not None:
        out["guards"] = list(d.guards)
    if d.action == "hold":
        return out
    if d.action == "close":
        out["side"] = x.side or ("sell" if row.position.quantity > 0 else "buy")
    if whole:
        out |= {"quantity": x.filled_quantity, "price": x.fill_price, "fee": x.commission, "filled": True}
    else:
        out["filled"] = False
        if x.filled_quantity or d.quantity:
            out["quantity"] = x.filled_quantity or d.quantity
    return out


def _fill(strategy: str, fill: BarFill, n: int) -> dict[str, Any]:
    order = fill.order
    out: dict[str, Any] = {
        "kind": "fill", "strategy": strategy, "symbol": order.symbol, "fill_id": f"{order.order_id}-{n}", "order_id": order.order_id,
        "side": "buy" if order.sign > 0 else "sell", "quantity": float(fill.quantity), "price": float(fill.price), "fee": float(fill.fee),
        "ts": rfc3339(fill.ts), "decision_ts": rfc3339(order.ts), "liquidity": fill.liquidity, "order_type": order.decision.order_type,
    }  # fmt: skip
    if fill.latency_ms is not None:
        out |= {"latency_ms": round(fill.latency_ms, 6), "arrival_bid": fill.arrival_bid, "arrival_ask": fill.arrival_ask}
    return out
