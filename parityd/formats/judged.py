"""One decoded object -> its record, or why it is none; decoded records -> a block.

1. Fields are looked at in the order kind, presence, type, range; the first fault names the refusal.
2. A number may be decimal text; "nan" and its like are refused, also where the field is optional. `null` is absent.
3. Backtest records of a file that announces runs belong to them (`runs`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.accepting import decision_columns, fill_columns
from parityd.core.columns import Block, DecisionColumns, FillColumns
from parityd.core.rare import rare_lines
from parityd.core.records import (
    Balance,
    Bust,
    Decision,
    Fill,
    Funding,
    Heartbeat,
    Mark,
    Native,
    Order,
    Position,
    Refusal,
    Run,
    Split,
    Transfer,
)
from parityd.formats.port import Context
from parityd.formats.runs import Runs

KINDS: dict[str, type[Native]] = {
    "decision": Decision, "fill": Fill, "bust": Bust, "funding": Funding, "order": Order, "mark": Mark, "position": Position,
    "balance": Balance, "transfer": Transfer, "split": Split, "run": Run, "heartbeat": Heartbeat,
}  # fmt: skip
_DECIMAL = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?\s*\Z", re.ASCII)
_NOT_FINITE = re.compile(r"\s*[+-]?(?:nan|inf|infinity)\s*\Z", re.IGNORECASE)
_I64 = NDArray[np.int64]
C = TypeVar("C", FillColumns, DecisionColumns)
R = TypeVar("R", Fill, Decision)


def _shape(kind: type[Native]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(names that must be there, names whose value is a number)."""
    required, numbers = [], []
    for f in msgspec.structs.fields(kind):
        if f.required:
            required.append(f.encode_name)
        if "float" in str(f.type) and "str" not in str(f.type):
            numbers.append(f.encode_name)
    return tuple(required), tuple(numbers)


_SHAPES = {name: _shape(kind) for name, kind in KINDS.items()}


def judged(found: Any) -> Native | tuple[str, str]:
    """A decoded object -> its record, or (code, reason)."""
    if not isinstance(found, Mapping):
        return "bad_json", "a record is one JSON object"
    name = found.get("kind")
    if name is None:
        return "missing_field", "kind is missing"
    if not isinstance(name, str) or name not in KINDS:
        return "unknown_kind", f"kind {str(name)[:80]!r} is none of {' '.join(KINDS)}"
    required, numbers = _SHAPES[name]
    for key in required:
        if found.get(key) is None:
            return "missing_field", f"{key} is missing"
    fixed = dict(found)
    for key in numbers:
        v = found.get(key)
        if isinstance(v, str):
            if not _DECIMAL.match(v):
                return "bad_value", f"{key} is {v[:80]!r}: must be a {'finite ' if _NOT_FINITE.match(v) else ''}number"
            fixed[key] = float(v)
    try:
        return msgspec.convert(fixed, KINDS[name], strict=False)
    except (msgspec.ValidationError, OverflowError, RecursionError) as e:
        return "bad_value", _said(str(e))


def _said(message: str) -> str:
    """Msgspec's message, the field first."""
    what, _, where = message.partition(" - at `$.")
    return f"{where.rstrip('`')}: {what}" if where else what


def _columns(
    make: Callable[..., tuple[C | None, list[Refusal]]], context: Context, rows: list[R], lines: _I64, runs: Runs
) -> tuple[C | None, list[Refusal]]:
    """Records of one kind -> columns in the order of their lines, each under the run that it belongs to."""
    if not runs:
        return make(context.book, rows, lines, context.bounds)
    made = [make(context.book, [rows[i] for i in at], lines[at], context.bounds, run) for run, at in runs.groups(rows, lines)]
    parts = [c for c, _ in made if c is not None]
    return _in_order(type(parts[0]).joined(parts)) if parts else None, [r for _, refused in made for r in refused]


def _in_order(columns: C) -> C:
    return columns.take(np.argsort(columns.line, kind="stable"))


def columned(context: Context, records: list[Native], lines: _I64, runs: Runs) -> Block:
    """Decoded records -> a block."""
    kinds: list[type] = [type(r) for r in records]
    fills: FillColumns | None = None
    decisions: DecisionColumns | None = None
    refused: list[Refusal] = []
    more: list[Refusal] = []
    n_fills, n_decisions = kinds.count(Fill), kinds.count(Decision)
    if n_fills == len(records):
        fills, refused = _columns(fill_columns, context, records, lines, runs)  # type: ignore[type-var]
    elif n_fills:
        fills, refused = _columns(fill_columns, context, [r for r in records if type(r) is Fill], _where(kinds, lines, Fill), runs)
    if n_decisions:
        decisions, more = _columns(
            decision_columns, context, [r for r in records if type(r) is Decision], _where(kinds, lines, Decision), runs
        )
    made = Block(decisions=decisions, fills=fills, rare=[], refusals=[*refused, *more])
    if n_fills + n_decisions < len(records):
        others = [i for i, kind in enumerate(kinds) if kind is not Fill and kind is not Decision]
        made.rare, rest = rare_lines(lines[others].tolist(), [records[i] for i in others], context.bounds)  # type: ignore[misc]
        made.refusals += rest
    return made


def _where(kinds: list[type], lines: _I64, kind: type) -> _I64:
    return lines[np.fromiter([k is kind for k in kinds], np.bool_, len(kinds))]
