"""Native records: JSON lines by the block, and one object at a time from CSV and documents.

1. A block of lines is decoded in one go where every line is one object that is right; else line by line. Both say the same of each line.
2. Of a key that stands twice in an object the last one counts.
3. Of blocks that were decoded in one go several become columns together. What is then refused gets its text from a second look at the lines.
4. An empty CSV cell is absent.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.accepting import accepted_decisions, accepted_fills
from parityd.core.columns import Block
from parityd.core.rare import rare_lines
from parityd.core.records import BACKTEST, Line, Native, Refusal, Run
from parityd.formats.depth import suspects
from parityd.formats.documents import value
from parityd.formats.judged import columned, judged
from parityd.formats.layouts import Layouts
from parityd.formats.lines import Chunk, Long, chunks, texts_of
from parityd.formats.port import Context, Part, Sample
from parityd.formats.rows import batches, finished
from parityd.formats.runs import Runs, announced

TOGETHER = 16_000  # records
_DECODER: msgspec.json.Decoder[Native] = msgspec.json.Decoder(Native, strict=False)
_BRACE, _CLOSE, _RETURN = 0x7B, 0x7D, 0x0D
_I64 = NDArray[np.int64]


def knows(sample: Sample) -> bool:
    return "kind" in sample.keys or {"strategy", "symbol", "ts"} <= sample.keys


class _Gathered:
    """Records of one part that wait to become columns, all of one layout."""

    def __init__(self, context: Context, nesting: int) -> None:
        self.context, self.nesting = context, nesting
        self.layouts = Layouts()
        self.refusals: list[Refusal] = []  # still without their texts
        self._begin()

    def _begin(self) -> None:
        self.layout = self.layouts.now
        self.decisions, self.fills = self.layout.drafts()
        self.rare: list[Line] = []

    def decode(self, chunk: Chunk) -> list[Any] | None:
        """All records of a block of which every line is one right object; None for any other."""
        data, octets, ends = chunk.data, chunk.octets, chunk.ends
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                return None
        last = octets[ends - 1]
        if (last == _RETURN).any():
            last = np.where(last == _RETURN, octets[ends - 2], last)
        if octets[0] != _BRACE or (octets[ends[:-1] + 1] != _BRACE).any() or (last != _CLOSE).any():
            return None
        found = self.layouts.decode(data)
        if found is None or len(found) != len(chunk):
            return None
        shallow = {*map(type, found)} <= self.layouts.now.shallow
        return None if not shallow and suspects(octets, ends, self.nesting) else found

    def add(self, records: list[Any], lines: _I64) -> Iterator[Block]:
        """What was decoded by the present layout. Yields columns when there are enough."""
        if self.layout is not self.layouts.now:
            yield from self.columns()
        kinds = [*map(type, records)]
        left = len(kinds)
        for draft, kind in ((self.decisions, self.layout.decision), (self.fills, self.layout.fill)):
            n = kinds.count(kind) if left else 0
            left -= n
            if n == len(kinds):
                draft.add(records, lines)
            elif n:
                draft.add([r for r in records if type(r) is kind], lines[[k is kind for k in kinds]])
        if left:
            others = [i for i, k in enumerate(kinds) if k is not self.layout.decision and k is not self.layout.fill]
            rare, refused = rare_lines(lines[others].tolist(), [records[i] for i in others], self.context.bounds)
            self.rare += rare
            self.refusals += refused
        if self.decisions.n + self.fills.n >= TOGETHER:
            yield from self.columns()

    def columns(self) -> Iterator[Block]:
        """What was gathered, without its refusals."""
        book, bounds = self.context.book, self.context.bounds
        decisions, refused = accepted_decisions(self.decisions, book, bounds) if self.decisions.n else (None, [])
        fills, more = accepted_fills(self.fills, book, bounds) if self.fills.n else (None, [])
        rare = self.rare
        self.refusals += [*refused, *more]
        self._begin()
        if decisions is not None or fills is not None or rare:
            yield Block(decisions=decisions, fills=fills, rare=rare, refusals=[])


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


def _slowly(chunk: Chunk, context: Context, runs: Runs) -> Block:
    """A block of which some line is not right."""
    found, at, refusals = _one_by_one(chunk, context.limits.nesting)
    made = columned(context, found, np.array(at, np.int64), runs)
    made.refusals = chunk.explain([*refusals, *made.refusals])
    return made


def read_lines(part: Part, context: Context) -> Iterator[Block]:
    """JSON lines. A backtest file is read as if it announced no runs, and anew where it does."""
    if context.book != BACKTEST:
        yield from _blocks(part, context, Runs())
        return
    held = []
    for block in _blocks(part, context, Runs()):
        if any(type(x.record) is Run for x in block.rare):
            yield from _blocks(part, context, announced(part, context))
            return
        held.append(block)
    yield from held


def _blocks(part: Part, context: Context, runs: Runs) -> Iterator[Block]:
    limits = context.limits
    gathered = _Gathered(context, limits.nesting)
    for piece in chunks(part.open(), limits.line, part.first):
        if isinstance(piece, Long):
            yield Block(decisions=None, fills=None, rare=[], refusals=[piece.refusal(limits.line)])
            continue
        found = None if runs else gathered.decode(piece)
        if found is None:
            yield from gathered.columns()
            yield _slowly(piece, context, runs)
        else:
            yield from gathered.add(found, np.arange(piece.first, piece.first + len(found)))
    yield from gathered.columns()
    if gathered.refusals:
        texts = dict(texts_of(part.open(), limits.line, part.first, {r.line for r in gathered.refusals}))
        explained = [msgspec.structs.replace(r, raw=texts.get(r.line, "")) for r in sorted(gathered.refusals, key=lambda r: r.line)]
        yield Block(decisions=None, fills=None, rare=[], refusals=explained)


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
