"""What goes into a commit and what comes back of it.

1. A `Commit` is everything one turn makes durable; what is empty costs nothing. The store takes it whole or not at all.
2. Times are int64 ns UTC, NO_TS = none; hashes are lower-case hex.
3. `FileEntry.order` is the order of ingest; it is the store's to give, and never given twice.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parityd.core.columns import DecisionColumns, FillColumns
from parityd.core.hashing import U64
from parityd.core.records import NO_TS, Line
from parityd.core.rows import Rows
from parityd.core.summary import ShelfSummary

ACCEPTED, REJECTED = "accepted", "rejected"

AuditRow = dict[str, Any]  # sequence ts event actor strategy data previous hash
Piece = tuple[str, int, Rows, bytes]  # strategy, shelf number, rows, their texts (`Shelf.delta`)
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecords:
    """The records taken from a file. `keys` and `contents`: the identities of all of them, one entry a record."""

    keys: U64
    contents: U64
    fills: FillColumns | None = None
    decisions: DecisionColumns | None = None
    rare: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file that was dealt with. Its identity is (book, sha256). `records` is given to a commit and not read back with the entry."""

    book: str
    sha256: str
    name: str
    size: int
    seen_ns: int
    ingested_ns: int
    format: str = ""
    source: str = ""
    state: str = ACCEPTED
    accepted: int = 0
    duplicates: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    by_kind: dict[str, int] = field(default_factory=dict)
    first_ts: int = NO_TS
    last_ts: int = NO_TS
    strategies: list[str] = field(default_factory=list)
    order: int = 0
    records: FileRecords | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditDraft:
    """An entry of the trail before it has its place in the chain."""

    ts_ns: int
    event: str
    actor: str
    strategy: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEntry:
    """One revision of a day's report. `digest` is of its numbers: equal digests need no new revision."""

    day: str
    revision: int
    json: bytes
    html: bytes | None = None
    generated_ns: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a replay needs beside the records."""

    order: int
    ts_ns: int
    kind: str
    data: bytes


@dataclass(slots=True, kw_only=True)
class Commit:
    """Everything one turn makes durable."""

    files: list[FileEntry] = field(default_factory=list)
    names: list[tuple[int, str]] = field(default_factory=list)
    shelves: list[Piece] = field(default_factory=list)  # appended
    summaries: list[tuple[str, int, ShelfSummary]] = field(default_factory=list)  # replaced
    ledgers: list[tuple[str, int, int, bytes]] = field(default_factory=list)  # strategy, symbol, number -> replaced
    marks: list[tuple[int, int, I64, F64]] = field(default_factory=list)  # symbol, rank, times, prices: appended
    states: dict[str, bytes] = field(default_factory=dict)  # replaced
    removed_states: list[str] = field(default_factory=list)
    audit: list[AuditDraft] = field(default_factory=list)
    reports: list[ReportEntry] = field(default_factory=list)
    events: list[tuple[int, str, bytes]] = field(default_factory=list)  # ts, kind, data
