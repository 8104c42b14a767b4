"""Native records: JSON lines by the block, and one object at a time from CSV and documents.

1. A block of lines is decoded in one go where every line is one object that is right; else line by line. Both say the same of each line.
2. Fields are looked at in the order kind, presence, type, range; the first fault names the refusal.
3. Of a key that stands twice in an object the last one counts.
4. A number may be decimal text; "nan" and its like are refused, also where the field is optional. `null` is absent; so is an empty CSV cell.
5. Backtest records of a file that announces runs belong to them (`runs`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.columns import Block, DecisionColumns, FillColumns, decision_columns, fill_columns, rare_lines
from parityd.core.records import (
    BACKTEST,
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
from parityd.formats.depth import suspects
from parityd.formats.documents import value
from parityd.formats.lines import Chunk, Long, chunks
from parityd.formats.port import Context, Part, Sample
from parityd.formats.rows import batches, finished
from parityd.formats.runs import Runs, announced

KINDS: dict[str, type[Native]] = {
    "decision": Decision, "fill": Fill, "bust": Bust, "funding": Funding, "order": Order, "mark": Mark, "position": Position,
    "balance": Balance, "transfer": Transfer, "split": Split, "run": Run, "heartbeat": Heartbeat,
}  # fmt: skip
_DECODER: msgspec.json.Decoder[Native] = msgspec.json.Decoder(Native, strict=False)
_BRACE, _CLOSE, _RETURN = 0x7B, 0x7D, 0x0D
_DECIMAL = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?\s*\Z", re.ASCII)
_NOT_FINITE = re.compile(r"\s*[+-]?(?:nan|inf|infinity)\s*\Z", re.IGNORECASE)
_I64 = NDArray[np.int64]
C = TypeVar("C", FillColumns, DecisionColumns)


def _shape(kind: type[Native]) -> tuple[tuple[str, ...], frozenset[str]]:
    """(names that must be there, names whose value is a number)."""
    required, numbers = [], []
    for f in msgspec.structs.fields(kind):
        if f.required:
            required.append(f.encode_name)
        if "float" in str(f.type) and "str" not in str(f.type):
            numbers.append(f.encode_name)
    return tuple(required), frozenset(numbers)


_SHAPES = {name: _shape(kind) for name, kind in KINDS.items()}


def knows(sample: Sample) -> bool:
    return "kind" in sample.keys or {"strategy", "symbol", "ts"} <= sample.keys


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


def _at_once(chunk: Chunk, nesting: int) -> list[Native] | None:
    """All records of a block of which every line is one right object; None for any other."""
    n, data, octets, ends = len(chunk), chunk.data, chunk.octets, chunk.ends
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            return None
    last = octets[ends - 1]
    if (last == _RETURN).any():
        last = np.where(last == _RETURN, octets[ends - 2], last)
    if octets[0] != _BRACE or (octets[ends[:-1] + 1] != _BRACE).any() or (last != _CLOSE).any() or suspects(octets, ends, nesting):
        return None
    try:
        found = _DECODER.decode_lines(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    return found if len(found) == n else None


def _one_by_one(chunk: Chunk, nesting: int) -> tuple[list[Native], list[int], list[Refusal]]:
    records, lines, refusals = [], [], []
    for line, raw in chunk.numbered():
        found, code, reason = value(raw, nesting)
        if not code:
            try:
                made: Native | tuple[str, str] = _DECODER.decode(raw)
            except (msgspec.MsgspecError, RecursionError, UnicodeError):
                made = judged(found)
            if not isinstance(made, tuple):
                records.append(made)
                lines.append(line)
                continue
            code, reason = made
        refusals.append(Refusal(line=line, code=code, reason=reason))
    return records, lines, refusals


def _fills(context: Context, rows: list[Fill], lines: _I64, runs: Runs) -> tuple[FillColumns | None, list[Refusal]]:
    if not runs:
        return fill_columns(context.book, rows, lines, context.bounds)
    made = [fill_columns(context.book, [rows[i] for i in at], lines[at], context.bounds, run) for run, at in runs.groups(rows, lines)]
    parts = [c for c, _ in made if c is not None]
    return _in_order(FillColumns.joined(parts)) if parts else None, [r for _, refused in made for r in refused]


def _decisions(context: Context, rows: list[Decision], lines: _I64, runs: Runs) -> tuple[DecisionColumns | None, list[Refusal]]:
    if not runs:
        return decision_columns(context.book, rows, lines, context.bounds)
    made = [decision_columns(context.book, [rows[i] for i in at], lines[at], context.bounds, run) for run, at in runs.groups(rows, lines)]
    parts = [c for c, _ in made if c is not None]
    return _in_order(DecisionColumns.joined(parts)) if parts else None, [r for _, refused in made for r in refused]


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
        fills, refused = _fills(context, records, lines, runs)  # type: ignore[arg-type]
    elif n_fills:
        fills, refused = _fills(context, [r for r in records if type(r) is Fill], _where(kinds, lines, Fill), runs)
    if n_decisions:
        decisions, more = _decisions(context, [r for r in records if type(r) is Decision], _where(kinds, lines, Decision), runs)
    made = Block(decisions=decisions, fills=fills, rare=[], refusals=[*refused, *more])
    if n_fills + n_decisions < len(records):
        others = [i for i, kind in enumerate(kinds) if kind is not Fill and kind is not Decision]
        made.rare, rest = rare_lines(lines[others].tolist(), [records[i] for i in others], context.bounds)  # type: ignore[misc]
        made.refusals += rest
    return made


def _where(kinds: list[type], lines: _I64, kind: type) -> _I64:
    return lines[np.fromiter([k is kind for k in kinds], np.bool_, len(kinds))]


def read_lines(part: Part, context: Context) -> Iterator[Block]:
    """JSON lines."""
    limits = context.limits
    runs = announced(part, context) if context.book == BACKTEST else Runs()
    for piece in chunks(part.open(), limits.line, part.first):
        if isinstance(piece, Long):
            yield Block(decisions=None, fills=None, rare=[], refusals=[piece.refusal(limits.line)])
            continue
        found = _at_once(piece, limits.nesting)
        refusals: list[Refusal] = []
        if found is not None:
            lines = np.arange(piece.first, piece.first + len(found))
        else:
            found, at, refusals = _one_by_one(piece, limits.nesting)
            lines = np.array(at, np.int64)
        made = columned(context, found, lines, runs)
        if refusals or made.refusals:
            made.refusals = piece.explain([*refusals, *made.refusals])
        yield made


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of CSV as an object: empty cells are absent, guards a list."""
    out = {k: v for k, v in row.items() if v != "" and k}
    guards = out.get("guards")
    if guards is not None:
        listed = value(guards.encode(), 1)[0] if guards.startswith("[") else None
        out["guards"] = listed if isinstance(listed, list) else [g.strip() for g in guards.split(";") if g.strip()]
    return out


def read_rows(part: Part, context: Context) -> Iterator[Block]:
    """CSV, and documents that are an array of records or one record."""
    runs = announced(part, context) if context.book == BACKTEST else Runs()
    for batch in batches(part, context):
        records, lines, refusals = [], [], list(batch.refusals)
        for line, row in batch.rows:
            made = judged(_cells(row) if part.shape == "table" else row)
            if isinstance(made, tuple):
                refusals.append(Refusal(line=line, code=made[0], reason=made[1]))
            else:
                records.append(made)
                lines.append(line)
        yield finished(columned(context, records, np.array(lines, np.int64), runs), refusals, batch.text)


def read(part: Part, context: Context) -> Iterator[Block]:
    if part.shape in ("table", "document"):
        return read_rows(part, context)
    return read_lines(part, context)
