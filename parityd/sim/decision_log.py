"""The decision log's document as text: what one decision looks like, and where a run's decisions go.

1. One decision is one JSON object: `context`, `decision`, `execution` (CONTRACT: decision log); numbers are strings, what is absent is
   null, `guards` is left out where a strategy has none to speak of.
2. `execution.slippage` is money in quote currency against the mark, positive = worse; fills of earlier orders in the same bar stand
   in `execution.other_fills`.
3. The text of a log is head, decisions parted by commas, tail: a sink appends text and never holds the run.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from parityd.sim.strategy import Decision, PositionState

_encode = msgspec.json.Encoder().encode


class Execution(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What came of a decision at once. `fill_price` and `slippage` are None where nothing was filled."""

    filled: bool = False
    fill_price: float | None = None
    filled_quantity: float = 0.0
    commission: float = 0.0
    slippage: float | None = None
    side: str = ""
    note: str = ""  # why nothing was filled, where something was wanted
    order_id: str = ""
    other_fills: tuple["OtherFill", ...] = ()


class OtherFill(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fill, in this bar, of an order that an earlier decision left resting."""

    order_id: str
    side: str
    fill_price: float
    filled_quantity: float
    commission: float


NOTHING = Execution()


class DecisionSink(Protocol):
    """Where the decisions of one symbol's run go: `write` appends decisions already parted by commas, `close` ends the document."""

    def write(self, text: str, last_ts: int) -> None: ...
    def close(self, metrics: Mapping[str, Any] | None = None) -> None: ...


class OpenLog(Protocol):
    """Opens the sink of one symbol's run. `start` and `end` are ns; `head` is the document's head as `head_text` gives it."""

    def __call__(self, *, run_id: str, symbol: str, head: str) -> DecisionSink: ...


def quoted(text: str) -> str:
    """A JSON string."""
    return _encode(text).decode()


def number(value: float | None) -> str:
    """A number as the contract writes it, a string; null where there is none."""
    return "null" if value is None else f'"{float(value)!r}"'


def state_text(state: PositionState) -> str:
    return f'{{"quantity":"{state.quantity!r}","average_price":"{state.average_price!r}","side":"{state.side}"}}'


def decision_text(decision: Decision) -> str:
    guards = "" if decision.guards is None else f',"guards":{_encode(decision.guards).decode()}'
    return (
        f'{{"action":"{decision.action}","quantity":{number(decision.quantity)},"target_notional":{number(decision.target_notional)},'
        f'"reason":{quoted(decision.reason)}{guards}}}'
    )


def execution_text(execution: Execution) -> str:
    more = f',"note":{quoted(execution.note)}' if execution.note else ""
    more += f',"order_id":{quoted(execution.order_id)}' if execution.order_id else ""
    if execution.other_fills:
        rows = ",".join(
            f'{{"order_id":{quoted(f.order_id)},"side":"{f.side}","fill_price":{number(f.fill_price)},'
            f'"filled_quantity":{number(f.filled_quantity)},"commission":{number(f.commission)}}}'
            for f in execution.other_fills
        )
        more += f',"other_fills":[{rows}]'
    return (
        f'{{"filled":{"true" if execution.filled else "false"},"fill_price":{number(execution.fill_price)},'
        f'"filled_quantity":{number(execution.filled_quantity)},"commission":{number(execution.commission)},'
        f'"slippage":{number(execution.slippage)}{more}}}'
    )


def entry_text(
    *,
    timestamp: str,
    symbol: str,
    current_mark: float,
    recent_marks: Sequence[float],
    position_state: PositionState | Mapping[str, Any],
    equity: float,
    decision: Decision,
    execution: Execution = NOTHING,
) -> str:
    """One decision's object. The runner writes the same text by a faster way; a test holds them equal."""
    state = state_text(position_state) if isinstance(position_state, PositionState) else _encode(position_state).decode()
    recent = ",".join(number(m) for m in recent_marks)
    return (
        f'{{"context":{{"timestamp":"{timestamp}","symbol":{quoted(symbol)},"current_mark":{number(current_mark)},"recent_marks":[{recent}],'
        f'"position_state":{state},"equity":{number(equity)},"signal_label":{quoted(decision.label)}}},'
        f'"decision":{decision_text(decision)},"execution":{execution_text(execution)}}}'
    )


def head_text(*, run_id: str, strategy_name: str, symbol: str, start_time: str, config: Mapping[str, Any]) -> str:
    """The document up to its first decision."""
    fields = {"run_id": run_id, "strategy_name": strategy_name, "symbol": symbol, "start_time": start_time, "config": dict(config)}
    return _encode(fields).decode()[:-1] + ',"decisions":['


def tail_text(*, end_time: str | None, metrics: Mapping[str, Any] | None) -> str:
    """The document after its last decision."""
    return "]," + _encode({"end_time": end_time, "metrics": dict(metrics) if metrics is not None else None}).decode()[1:] + "\n"
