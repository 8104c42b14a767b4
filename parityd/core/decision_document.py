"""The decision log's document: what a decision is, what it looks like as text, and where a run's decisions go.

1. One decision is one JSON object: `context`, `decision`, `execution` (the contract's decision log); numbers are strings, what is absent is
   null, `guards` is left out where a strategy has none to speak of.
2. `execution.slippage` is money in quote currency against the mark, positive = worse; fills of earlier orders in the same bar stand
   in `execution.other_fills`.
3. The text of a log is head, decisions parted by commas, tail: a sink appends text and never holds the run.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

Action = Literal["buy", "sell", "close", "hold"]
ACTIONS = ("buy", "sell", "close", "hold")
OrderType = Literal["market", "limit", "stop", "trailing_stop"]
_encode = msgspec.json.Encoder().encode


class PositionState(msgspec.Struct, frozen=True, gc=False):
    """The strategy's position in this symbol: signed quantity, average price paid (0 when flat), time it was opened (ns; 0 when flat)."""

    quantity: float = 0.0
    average_price: float = 0.0
    opened_ts: int = 0

    @property
    def side(self) -> Literal["long", "short", "flat"]:
        return "long" if self.quantity > 0 else "short" if self.quantity < 0 else "flat"


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What to do now. `quantity` in units of the base; where it is absent, `target_notional` / mark is meant. `guards`: names of violated guards, None = the strategy has none to speak of.

    `order_type` limit, stop and trailing_stop rest until they are filled, cancelled by a `close`, or `good_for` bars old.
    """

    action: Action
    quantity: float | None = None
    target_notional: float | None = None
    reason: str = ""
    guards: tuple[str, ...] | None = ()
    label: str = ""
    order_type: OrderType = "market"
    limit_price: float | None = None
    stop_price: float | None = None
    trail_bps: float | None = None
    good_for: int | None = None
    reduce_only: bool = False


HOLD = Decision("hold")


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


def digits(value: float) -> str:
    """The shortest text that reads back as the same float."""
    return _encode(float(value)).decode()


def number(value: float | None) -> str:
    """A number as the contract writes it, a string; null where there is none."""
    return "null" if value is None else f'"{digits(value)}"'


def state_text(state: PositionState) -> str:
    return f'{{"quantity":{number(state.quantity)},"average_price":{number(state.average_price)},"side":"{state.side}"}}'


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
