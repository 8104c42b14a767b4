"""A decision log's decisions as they are compared: read, checked, in an order that does not depend on the file's.

1. What cannot be read raises `LogError` with its place in the document. Numbers are strings or numbers, and finite; a time without an
   offset is UTC. Recent marks are evidence for a guess and nothing else: what is no number in them is not said.
2. Decisions are in order of time; several of one moment and symbol in order of their actions, then of their quantities.
3. Where a quantity is absent, target_notional / mark is meant.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from parityd.core.decision_document import ACTIONS
from parityd.core.instants import parse_time
from parityd.core.records import NO_TS

NAN = float("nan")
_RANK = {action: n for n, action in enumerate(("close", "sell", "buy", "hold"))}


class LogError(ValueError):
    """A decision log that is none: what is wrong, and where in the document."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One decision of a log. `ts` ns; None and empty: not said; `trades` counts the fills that the entry tells of."""

    ts: int
    symbol: str
    action: str
    quantity: float | None
    target: float | None
    reason: str
    guards: frozenset[str] | None
    mark: float | None
    recent: Sequence[float]  # nan: not said
    position: Any
    equity: float | None
    trades: int

    @property
    def meant(self) -> float | None:
        """Rule 3."""
        if self.quantity is None and self.target is not None and self.mark:
            return self.target / self.mark
        return self.quantity


def _number(where: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = NAN
        if number - number == 0.0:  # finite
            return number
    raise LogError(f"{where}: {value!r} is not a number")


def _part(where: str, row: Mapping[str, Any], name: str, *, needed: bool = True) -> Mapping[str, Any]:
    part = row.get(name)
    if part is None and not needed:
        return {}
    if not isinstance(part, Mapping):
        raise LogError(f"{where}.{name}: missing" if part is None else f"{where}.{name}: not an object")
    return part


def _guards(where: str, decision: Mapping[str, Any]) -> frozenset[str] | None:
    found = decision.get("guards")
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(g, str) for g in found):
        raise LogError(f"{where}.guards: not a list of names")
    return frozenset(found)


def _float(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # what is none is caught
    except (TypeError, ValueError, OverflowError):
        return NAN


def _recent(marks: object) -> Sequence[float]:
    if not isinstance(marks, list) or not marks:
        return ()
    try:
        return array("d", map(float, marks))
    except (TypeError, ValueError, OverflowError):
        return array("d", map(_float, marks))


def _trades(action: str, execution: Mapping[str, Any]) -> int:
    filled, others = execution.get("filled", action != "hold"), execution.get("other_fills")
    return (filled is True or str(filled).lower() == "true") + (len(others) if isinstance(others, list) else 0)


def _entry(n: int, row: object, symbol: str) -> Entry:
    where = f"decisions[{n}]"
    if not isinstance(row, Mapping):
        raise LogError(f"{where}: not an object")
    context, decision = _part(where, row, "context"), _part(where, row, "decision")
    execution = _part(where, row, "execution", needed=False)
    stamp = context.get("timestamp")
    ts = parse_time(stamp, naive_is_utc=True) if isinstance(stamp, str | int | float) else NO_TS
    if ts == NO_TS:
        raise LogError(f"{where}.context.timestamp: {stamp!r} is not a time")
    action = str(decision.get("action")).strip().lower()
    if action not in ACTIONS:
        raise LogError(f"{where}.decision.action: {decision.get('action')!r} is none of {', '.join(ACTIONS)}")
    return Entry(
        ts=ts, symbol=str(context.get("symbol") or symbol), action=action, quantity=_number(f"{where}.decision.quantity", decision.get("quantity")),
        target=_number(f"{where}.decision.target_notional", decision.get("target_notional")),
        reason=str(decision.get("reason") or ""), guards=_guards(f"{where}.decision", decision),
        mark=_number(f"{where}.context.current_mark", context.get("current_mark")), recent=_recent(context.get("recent_marks")),
        position=context.get("position_state"), equity=_number(f"{where}.context.equity", context.get("equity")), trades=_trades(action, execution),
    )  # fmt: skip


def entries(log: Mapping[str, Any]) -> list[Entry]:
    """A parsed decision log's decisions, rule 2. LogError: what cannot be read, and where."""
    rows = log.get("decisions")
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise LogError("decisions: missing" if rows is None else "decisions: not a list")
    symbol = str(log.get("symbol") or "")
    made = [_entry(n, row, symbol) for n, row in enumerate(rows)]
    return sorted(made, key=lambda e: (e.ts, e.symbol, _RANK[e.action], e.meant or 0.0))


def by_symbol(rows: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Each symbol's decisions, in order."""
    out: dict[str, list[Entry]] = {}
    for e in rows:
        out.setdefault(e.symbol, []).append(e)
    return out
