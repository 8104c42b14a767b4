"""The runs that a backtest file announces, and which of its records belong to which.

1. A `run` record may stand anywhere in its file, so the file is looked through for them first; where none is there that costs a search for bytes.
2. A run takes the decisions and fills of its strategy (and of its symbol, where it names one) in its file. A decision's own `run_id` stands.
3. Where several runs of a file could take a record: those whose [from, to) holds its time; of these the nearest above it in the file, else the
   newest `created`.
4. Only runs that will be accepted count; what is wrong with others is said where they are read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.instants import parse_time
from parityd.core.rare import rare_line
from parityd.core.records import Decision, Fill, Line, Run
from parityd.formats.lines import Chunk, chunks
from parityd.formats.port import Context, Part
from parityd.formats.rows import batches

_NEEDLE = b"run_id"
_PIECE = 1 << 20
_RUN = msgspec.json.Decoder(Run, strict=False)


@dataclass(frozen=True, slots=True)
class _Announced:
    line: int
    run_id: str
    strategy: str
    symbol: str
    created: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Runs:
    """Falsy where there are none."""

    known: tuple[_Announced, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.known)

    def of(self, record: Decision | Fill, line: int) -> str:
        """The run of a record, "" for none."""
        if isinstance(record, Decision) and record.run_id:
            return ""  # its own stands
        fit = [r for r in self.known if r.strategy == record.strategy and r.symbol in ("", record.symbol)]
        if len(fit) > 1:
            ts = parse_time(record.ts)
            fit = [r for r in fit if r.start <= ts < r.end] or fit
        if not fit:
            return ""
        above = [r for r in fit if r.line < line]
        return (max(above, key=lambda r: r.line) if above else max(fit, key=lambda r: (r.created, r.run_id))).run_id

    def groups(self, rows: Sequence[Decision | Fill], lines: NDArray[np.int64]) -> Iterator[tuple[str, list[int]]]:
        """(run, positions) for each run that takes some of the rows."""
        found: dict[str, list[int]] = {}
        for i, (record, line) in enumerate(zip(rows, lines.tolist(), strict=True)):
            found.setdefault(self.of(record, line), []).append(i)
        yield from found.items()


def announced(part: Part, context: Context) -> Runs:
    """The runs of a part, read ahead."""
    if not _mentioned(part.open()):
        return Runs()
    found = _of_rows(part, context) if part.shape in ("table", "document") else _of_lines(part, context)
    known = []
    for line, run in found:
        made = rare_line(line, run, context.bounds)
        if isinstance(made, Line):
            known.append(
                _Announced(line, str(run.run_id), run.strategy, run.symbol or "", made.ts, parse_time(run.from_), parse_time(run.to))
            )
    return Runs(tuple(known))


def _mentioned(stream: BinaryIO) -> bool:
    tail = b""
    while piece := stream.read(_PIECE):
        if _NEEDLE in piece or _NEEDLE in tail + piece[: len(_NEEDLE)]:
            return True
        tail = piece[-len(_NEEDLE) :]
    return False


def _of_lines(part: Part, context: Context) -> Iterator[tuple[int, Run]]:
    for piece in chunks(part.open(), context.limits.line, part.first):
        if isinstance(piece, Chunk) and _NEEDLE in piece.data:
            for line, raw in piece.numbered():
                if _NEEDLE in raw and b'"from"' in raw:
                    try:
                        yield line, _RUN.decode(raw)
                    except (msgspec.MsgspecError, RecursionError, UnicodeError):
                        continue


def _of_rows(part: Part, context: Context) -> Iterator[tuple[int, Run]]:
    for batch in batches(part, context):
        for line, row in batch.rows:
            if row.get("kind") == "run":
                try:
                    yield line, msgspec.convert({k: v for k, v in row.items() if v != ""}, Run, strict=False)
                except (msgspec.ValidationError, RecursionError, UnicodeError):
                    continue
