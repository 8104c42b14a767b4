"""Rows of any shape -> blocks: what a format that knows one row at a time is driven by.

1. A row is a mapping with a line number; JSON lines, CSV, arrays of a document and tables of a database all come out alike.
2. Each row is judged alone: what it raises as `Unfit` is its refusal, with the text of its line.
3. One row may say several things (a fill and the state of its order); a line is refused once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from parityd.core.accepting import block
from parityd.core.columns import Block
from parityd.core.records import Native, Refusal
from parityd.formats import cells
from parityd.formats.documents import document, raw_text, sliced, value
from parityd.formats.fields import Unfit
from parityd.formats.lines import Long, chunks, cut
from parityd.formats.port import Context, Part

BATCH = 2000


@dataclass(slots=True)
class Batch:
    """Some rows with their lines, what could not be read, and the text of a line."""

    rows: list[tuple[int, Mapping[str, Any]]]
    refusals: list[Refusal]
    text: Callable[[int], str] = field(default=lambda _line: "")


def batches(part: Part, context: Context, inside: str | None = None) -> Iterator[Batch]:
    """The rows of a part. `inside`: the member of a document that holds them, where it is an object."""
    if part.shape == "table":
        yield from _table(part, context)
    elif part.shape == "document":
        yield from _elements(part, context, inside)
    else:
        yield from _lines(part, context)


def _object(line: int, raw: bytes | msgspec.Raw, nesting: int) -> Mapping[str, Any] | Refusal:
    found, code, reason = value(raw, nesting)
    if code:
        return Refusal(line=line, code=code, reason=reason)
    if not isinstance(found, dict):
        return Refusal(line=line, code="bad_json", reason="not a JSON object")
    return found


def _sorted(found: Iterable[tuple[int, Mapping[str, Any] | Refusal]]) -> tuple[list[tuple[int, Mapping[str, Any]]], list[Refusal]]:
    rows, refusals = [], []
    for line, made in found:
        if isinstance(made, Refusal):
            refusals.append(made)
        else:
            rows.append((line, made))
    return rows, refusals


def _lines(part: Part, context: Context) -> Iterator[Batch]:
    for piece in chunks(part.open(), context.limits.line, part.first):
        if isinstance(piece, Long):
            yield Batch([], [piece.refusal(context.limits.line)])
            continue
        rows, refusals = _sorted((i, _object(i, raw, context.limits.nesting)) for i, raw in piece.numbered())
        yield Batch(rows, refusals, piece.text)


def _table(part: Part, context: Context) -> Iterator[Batch]:
    start, mark, names = cells.header(part.open(), context.limits, part.first)
    batch, raws = Batch([], []), dict[int, str]()
    for row in cells.rows(part.open(), context.limits, start, mark, len(names), part.first):
        if isinstance(row, Refusal):
            batch.refusals.append(row)
        else:
            batch.rows.append((row.line, dict(zip(names, row.cells, strict=True))))
            raws[row.line] = cut(row.raw.decode())
        if len(batch.rows) + len(batch.refusals) >= BATCH:
            batch.text = raws.__getitem__
            yield batch
            batch, raws = Batch([], []), {}
    batch.text = raws.__getitem__
    yield batch


def _elements(part: Part, context: Context, inside: str | None) -> Iterator[Batch]:
    top = document(part, context)
    elements = top.elements
    if elements is None and inside is not None and top.members and inside in top.members:
        elements = msgspec.json.decode(top.members[inside], type=list[msgspec.Raw])
    if elements is None:
        found: dict[str, Any] = {k: value(v, context.limits.nesting)[0] for k, v in (top.members or {}).items()}
        yield Batch([(part.first, found)], [])
        return
    for first, some in sliced(elements, part.first):
        rows, refusals = _sorted((first + k, _object(first + k, raw, context.limits.nesting)) for k, raw in enumerate(some))
        yield Batch(rows, refusals, lambda line, first=first, some=some: raw_text(some[line - first]))  # type: ignore[misc]


def taken(batch: Batch, context: Context, take: Callable[[Mapping[str, Any]], Iterable[Native]]) -> Block:
    """The records that `take` makes of each row, as a block; what it raises as `Unfit` as refusals."""
    records: list[tuple[int, Native]] = []
    refusals = list(batch.refusals)
    for line, row in batch.rows:
        try:
            records.extend([(line, r) for r in take(row)])
        except Unfit as e:
            refusals.append(Refusal(line=line, code=e.code, reason=e.reason))
    return finished(block(context.book, records, context.bounds), refusals, batch.text)


def finished(made: Block, refusals: Iterable[Refusal], text: Callable[[int], str]) -> Block:
    """The block with all refusals in order, one a line, each with its text."""
    first: dict[int, Refusal] = {}
    for r in sorted([*refusals, *made.refusals], key=lambda r: r.line):
        first.setdefault(r.line, r if r.raw else msgspec.structs.replace(r, raw=text(r.line)))
    made.refusals = list(first.values())
    return made


def converted(
    part: Part, context: Context, take: Callable[[Mapping[str, Any]], Iterable[Native]], inside: str | None = None
) -> Iterator[Block]:
    """A whole part through one function of a row."""
    for batch in batches(part, context, inside):
        yield taken(batch, context, take)
