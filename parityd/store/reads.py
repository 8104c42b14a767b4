"""What can be asked of the store, over any connection to it.

1. An iterator never holds a cursor open: it takes a list of numbers, then one blob after the other, so that commits go on beside it.
2. Files come in the order of ingest, shelves' pieces in the order of their commits: of rows with one `pk` the last stands.
3. What cannot be read is StoreBroken, never an empty answer.
4. One connection is used by one thread at a time: every statement runs under `lock`.
"""

import json
import sqlite3
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parityd.core.chain import GENESIS
from parityd.core.columns import DecisionColumns, FillColumns
from parityd.core.fresh import Fresh
from parityd.core.hashing import U64
from parityd.core.records import NO_TS, Line
from parityd.core.rows import NOWHEN, Rows, Shelf, picked
from parityd.core.summary import ShelfSummary
from parityd.store import blobs, connect, segments
from parityd.store.entries import AuditRow, Event, FileEntry, ReportEntry
from parityd.store.errors import StoreBroken
from parityd.store.index import Index
from parityd.store.packing import unpack, unseal, unsqueeze

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Stored = tuple[FileEntry, FillColumns | None, DecisionColumns | None, list[Line]]

_FILES = (
    "SELECT id, book, sha256, name, size, seen_ns, ingested_ns, format, source, state, accepted, duplicates, refused, by_kind, first_ts, last_ts, "
    "strategies FROM file"
)
_PIECES = "SELECT segment, start, n, text_start, text_n FROM piece WHERE strategy = ? AND number = ? ORDER BY segment, start"
_OF_STRATEGY = " AND id IN (SELECT file FROM file_strategy WHERE strategy = ?)"
MEMORY = ":memory:"
_FIRST, _LAST = -(2**63), 2**63 - 1
_CACHED = 4  # segments held unpacked, some 4,000 rows each


def _entry(row: tuple[Any, ...]) -> FileEntry:
    order, book, sha, name, size, seen, ingested, form, source, state, accepted, duplicates, refused, by_kind, first, last, strategies = row
    return FileEntry(
        order=order, book=book, sha256=sha.hex(), name=name.decode("utf-8", "surrogatepass"), size=size, seen_ns=seen, ingested_ns=ingested,
        format=form, source=source, state=state, accepted=accepted, duplicates=duplicates, refused=json.loads(refused),
        by_kind=json.loads(by_kind), first_ts=first, last_ts=last, strategies=json.loads(strategies),
    )  # fmt: skip


class Reads:
    """Every question; `Store` adds what changes."""

    def __init__(self, db: sqlite3.Connection, name: str, lock: threading.RLock) -> None:
        self._db = db
        self.name = name
        self._lock = lock
        self._segments: OrderedDict[int, tuple[Rows, bytes]] = OrderedDict()

    @cached_property
    def index(self) -> Index:
        """Where names of records and trades are found that need not be in memory."""
        return Index(self, None if self.name == MEMORY else Path(self.name))

    def _all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, connect.reading(self.name):
            return self._db.execute(sql, values).fetchall()

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        with self._lock, connect.reading(self.name):
            found: tuple[Any, ...] | None = self._db.execute(sql, values).fetchone()
            return found

    def _paged(self, sql: str, after: int, *values: object) -> Iterator[tuple[Any, ...]]:
        """Rows whose first column rises, a page at a time."""
        while rows := self._all(sql, after, *values):
            yield from rows
            after = rows[-1][0]

    # --- small things ---------------------------------------------------------------------------------------------

    def state(self, key: str) -> bytes | None:
        """One value, or None where there is none."""
        row = self._one("SELECT value FROM state WHERE key = ?", key)
        return None if row is None else unsqueeze(row[0])

    def states(self, prefix: str = "") -> dict[str, bytes]:
        """All values whose key starts with `prefix`, by key."""
        rows = self._all("SELECT key, value FROM state WHERE substr(key, 1, ?) = ? ORDER BY key", len(prefix), prefix)
        return {key: unsqueeze(value) for key, value in rows}

    def names(self) -> dict[int, str]:
        """Text by code."""
        return {code: str(unseal(text), "utf-8", "surrogatepass") for code, text in self._all("SELECT code, text FROM name ORDER BY code")}

    def strategies(self) -> list[str]:
        """Every strategy that anything is stored of, in order of first sight."""
        return [row[0] for row in self._all("SELECT name FROM strategy ORDER BY id")]

    def _strategy(self, name: str) -> int:
        row = self._one("SELECT id FROM strategy WHERE name = ?", name)
        return -1 if row is None else int(row[0])

    # --- files and records ----------------------------------------------------------------------------------------

    def files_known(self, book: str, sha256: str) -> FileEntry | None:
        """The entry of a file's content, or None where it is new."""
        row = self._one(_FILES + " WHERE book = ? AND sha256 = ?", book, bytes.fromhex(sha256))
        return None if row is None else _entry(row)

    def files(self, after: int = 0, limit: int = -1) -> list[FileEntry]:
        """Entries in order of ingest, those with `order` > `after`."""
        return [_entry(row) for row in self._all(_FILES + " WHERE id > ? ORDER BY id LIMIT ?", after, limit)]

    def fills_within(self, book: str, first_ns: int, last_ns: int) -> int:
        """At most so many fills with `ts` in [first, last] are stored of a book: all of the files that reach into it."""
        sql = "SELECT sum(json_extract(by_kind, '$.fill')) FROM file WHERE book = ? AND last_ts >= ? AND first_ts <= ?"
        found = self._one(sql, book, first_ns, last_ns)
        return int((found and found[0]) or 0)

    def refusals_of(self, first_ns: int, last_ns: int) -> dict[str, dict[str, int]]:
        """By book and code: refused records of files with records in [first, last], and files refused whole that came then."""
        sql = """SELECT book, refused FROM file WHERE refused != '{}' AND
            ((first_ts != ?1 AND first_ts <= ?3 AND last_ts >= ?2) OR (first_ts = ?1 AND ingested_ns BETWEEN ?2 AND ?3))"""
        out: dict[str, dict[str, int]] = {}
        for book, refused in self._all(sql, NO_TS, first_ns, last_ns):
            for code, n in json.loads(refused).items():
                of = out.setdefault(book, {})
                of[code] = of.get(code, 0) + n
        return out

    def identities(self, after: int = 0) -> Iterator[tuple[U64, U64]]:
        """(keys, contents) of the records of each file with `order` > `after`, in order."""
        for _, keys, contents in self.identities_after(after):
            yield keys, contents

    def identities_after(self, after: int, last: int = _LAST) -> Iterator[tuple[int, U64, U64]]:
        """(order, keys, contents) of the records of each file with `after` < `order` <= `last`, in order."""
        for (order,) in self._all("SELECT file FROM identity WHERE file > ? AND file <= ? ORDER BY file", after, last):
            row = self._one("SELECT data, n FROM identity WHERE file = ?", order)
            if row is not None:
                yield order, *blobs.get_identities(*row)

    def names_after(self, after: int, *, records: bool) -> int:
        """How many records (else rows) are stored beyond a file (a segment)."""
        table = "identity WHERE file" if records else "segment WHERE id"
        found = self._one(f"SELECT sum(n) FROM {table} > ?", after)  # noqa: S608  both stand here
        return int((found and found[0]) or 0)

    def oldest_number(self, *, records: bool) -> int:
        """The first file with records (else the first shelf with a time) that is still stored."""
        found = self._one("SELECT min(file) FROM identity" if records else f"SELECT min(number) FROM piece WHERE number > {NOWHEN}")  # noqa: S608
        return _FIRST if found is None or found[0] is None else int(found[0])

    def records(
        self, strategy: str | None = None, first_ns: int | None = None, last_ns: int | None = None, *, book: str | None = None
    ) -> Iterator[Stored]:
        """The records of every accepted file (of a book) that names the strategy and overlaps [first, last], whole, in order of ingest."""
        where = " WHERE state = 'accepted' AND first_ts <= ? AND last_ts >= ?"
        values: list[object] = [_LAST if last_ns is None else last_ns, _FIRST if first_ns is None else first_ns]
        if strategy is not None:
            where += _OF_STRATEGY
            values.append(self._strategy(strategy))
        if book is not None:
            where += " AND book = ?"
            values.append(book)
        for row in self._all(_FILES + where + " ORDER BY id", *values):
            entry = _entry(row)
            yield (entry, *self._records(entry.order))

    def _records(self, order: int) -> tuple[FillColumns | None, DecisionColumns | None, list[Line]]:
        row = self._one(
            "SELECT fills, decisions, rare, data, n FROM record JOIN identity ON identity.file = record.file WHERE record.file = ?", order
        )
        if row is None:
            return None, None, []
        fills, decisions, rare, data, n = row
        keys, contents = blobs.get_identities(data, n)
        return (
            blobs.get_columns(FillColumns, fills, keys, contents),
            blobs.get_columns(DecisionColumns, decisions, keys, contents),
            blobs.get_rare(rare),
        )

    # --- shelves --------------------------------------------------------------------------------------------------

    def places(self, since: int | None = None) -> Iterator[tuple[U64, I64]]:
        """(names, shelf numbers) of living rows, a segment at a time, oldest first: of one name the last entry counts."""
        for _, names, on in self.places_after(0, since=since):
            yield names, on

    def places_after(self, after: int, last: int = _LAST, *, since: int | None = None) -> Iterator[tuple[int, U64, I64]]:
        """(segment, names, shelf numbers) of the living rows of each segment with `after` < its number <= `last`."""
        lowest = -(2**62) if since is None else since
        chosen = "SELECT segment FROM piece WHERE segment > ? AND segment <= ? AND number >= ? GROUP BY segment ORDER BY segment"
        for (segment,) in self._all(chosen, after, last, lowest):
            pieces = self._all("SELECT start, n, number FROM piece WHERE segment = ? ORDER BY start", segment)
            row = self._one("SELECT names, n FROM segment WHERE id = ?", segment)
            if row is None:
                continue
            numbers = np.full(row[1], lowest - 1, np.int64)  # rows that a compaction left behind belong to no piece
            for start, n, number in pieces:
                numbers[start : start + n] = number
            names, on = segments.living_names(row[0], numbers)
            keep = on >= lowest
            yield (segment, names, on) if keep.all() else (segment, names[keep], on[keep])

    def shelf_numbers(self, strategy: str) -> list[int]:
        return [
            row[0] for row in self._all("SELECT DISTINCT number FROM piece WHERE strategy = ? ORDER BY number", self._strategy(strategy))
        ]

    def load_shelf(self, strategy: str, number: int) -> Shelf:
        """The shelf as it was last stored; empty where nothing was."""
        with self._lock:
            return segments.fold(number, self._pieces(self._strategy(strategy), number))

    def shelves_in_columns(self, strategy: str, numbers: Iterable[int]) -> Iterator[tuple[Fresh, bytes]]:
        """(rows, texts) of each of these shelves as it was last stored. For many in order: what is decoded is not held for others."""
        code = self._strategy(strategy)
        held: OrderedDict[int, tuple[Fresh, bytes]] = OrderedDict()
        for number in numbers:
            parts = []
            for segment, start, n, text_start, text_n in self._all(_PIECES, code, number):
                if segment not in held:
                    held[segment] = segments.get_columns(*self._stored(segment))
                held.move_to_end(segment)
                rows, text = held[segment]
                parts.append((rows.part(start, start + n), text[text_start : text_start + text_n]))
                while len(held) > _CACHED:
                    held.popitem(last=False)
            yield segments.fold_columns(parts) if parts else (Fresh(0), b"")

    def _pieces(self, strategy: int, number: int) -> list[tuple[Rows, bytes]]:
        out = []
        for segment, start, n, text_start, text_n in self._all(_PIECES, strategy, number):
            rows, text = self._segment(segment)
            out.append((picked(rows, np.arange(start, start + n)), text[text_start : text_start + text_n]))
        return out

    def _segment(self, segment: int) -> tuple[Rows, bytes]:
        found = self._segments.get(segment)
        if found is None:
            found = self._segments[segment] = segments.get_segment(*self._stored(segment))
            while len(self._segments) > _CACHED:
                self._segments.popitem(last=False)
        self._segments.move_to_end(segment)
        return found

    def _stored(self, segment: int) -> tuple[bytes, bytes]:
        row = self._one("SELECT names, data FROM segment WHERE id = ?", segment)
        if row is None:
            raise StoreBroken(f"store {self.name}: segment {segment} is missing", connect.MEND)
        return row[0], row[1]

    def crowded(self, most: int) -> list[tuple[str, int, int]]:
        """(strategy, shelf number, pieces) of shelves in more than `most` pieces."""
        sql = "SELECT name, number, count(*) FROM piece JOIN strategy ON id = strategy GROUP BY strategy, number HAVING count(*) > ? ORDER BY 1, 2"
        return [(name, number, n) for name, number, n in self._all(sql, most)]

    def summaries(self, strategy: str | None = None) -> Iterator[tuple[str, int, ShelfSummary | None]]:
        """(strategy, shelf number, summary), of one strategy or of all. None: written with other fields, to be summed from its rows."""
        names = [strategy] if strategy is not None else self.strategies()
        for name in names:
            for number, data in self._all("SELECT number, data FROM summary WHERE strategy = ? ORDER BY number", self._strategy(name)):
                yield name, number, blobs.get_summary(data)

    def summary_numbers(self, strategy: str) -> "array[int]":
        """The numbers of a strategy's summed shelves, sorted."""
        rows = self._all("SELECT number FROM summary WHERE strategy = ? ORDER BY number", self._strategy(strategy))
        return array("q", (number for (number,) in rows))

    def summaries_between(self, strategy: str, first: int, last: int) -> Iterator[tuple[int, ShelfSummary]]:
        """(shelf number, summary) of the shelves first..last; what was written with other fields is summed anew from its rows."""
        sql = "SELECT number, data FROM summary WHERE strategy = ? AND number BETWEEN ? AND ? ORDER BY number"
        for number, data in self._all(sql, self._strategy(strategy), first, last):
            found = blobs.get_summary(data)
            yield number, ShelfSummary(self.load_shelf(strategy, number).rows) if found is None else found

    def ledgers(self, strategy: str) -> Iterator[tuple[int, int, bytes]]:
        """(symbol code, number, value) of one strategy."""
        for symbol, number, data in self._all(
            "SELECT symbol, number, data FROM ledger WHERE strategy = ? ORDER BY symbol, number", self._strategy(strategy)
        ):
            yield symbol, number, bytes(unseal(data))

    def ledger_spans(self, strategy: str) -> dict[int, tuple[int, int]]:
        """The first and the last interval of each symbol, looked up and not searched for."""
        sql = """WITH RECURSIVE one (symbol) AS (
            SELECT min(symbol) FROM ledger WHERE strategy = ?1
            UNION ALL SELECT (SELECT min(symbol) FROM ledger WHERE strategy = ?1 AND symbol > one.symbol) FROM one WHERE one.symbol IS NOT NULL)
            SELECT symbol, (SELECT min(number) FROM ledger l WHERE l.strategy = ?1 AND l.symbol = one.symbol),
            (SELECT max(number) FROM ledger l WHERE l.strategy = ?1 AND l.symbol = one.symbol) FROM one WHERE symbol IS NOT NULL"""
        return {symbol: (first, last) for symbol, first, last in self._all(sql, self._strategy(strategy))}

    def ledger_between(self, strategy: str, symbol: int, first: int, last: int) -> Iterator[tuple[int, memoryview]]:
        """(interval, value) of a symbol's entries in first..last, in order."""
        sql = "SELECT number, data FROM ledger WHERE strategy = ? AND symbol = ? AND number BETWEEN ? AND ? ORDER BY number LIMIT 1000"
        code = self._strategy(strategy)
        while rows := self._all(sql, code, symbol, first, last):
            yield from ((number, unseal(data)) for number, data in rows)
            first = rows[-1][0] + 1

    def marks(self) -> Iterator[tuple[int, int, I64, F64]]:
        """(symbol code, rank, times, prices), in the order in which they were stored."""
        for _, symbol, rank, data in self._paged("SELECT id, symbol, rank, data FROM mark WHERE id > ? ORDER BY id LIMIT 1000", 0):
            table = unpack(unsqueeze(data))
            yield symbol, rank, np.asarray(table["ts"]), np.asarray(table["px"])

    # --- what was said and done -----------------------------------------------------------------------------------

    def audit_rows(self, after: int = 0) -> Iterator[AuditRow]:
        """Entries with sequence > `after`, in order."""
        for _, line in self._paged("SELECT sequence, line FROM audit WHERE sequence > ? ORDER BY sequence LIMIT 1000", after):
            yield json.loads(line)

    def last_audit(self) -> tuple[int, str]:
        """(sequence, hash) of the newest entry; of none, those it would follow."""
        row = self._one("SELECT line FROM audit ORDER BY sequence DESC LIMIT 1")
        if row is None:
            return self.first_audit()
        newest = json.loads(row[0])
        return newest["sequence"], newest["hash"]

    def first_audit(self) -> tuple[int, str]:
        """(sequence, hash) that the store's first entry follows."""
        base = self.state("audit.base")
        sequence, last_hash = (0, GENESIS) if base is None else json.loads(base)
        return sequence, last_hash

    def reports(self) -> list[ReportEntry]:
        """The newest revision of every day, newest day first, without the documents."""
        sql = "SELECT day, max(revision), generated_ns, digest FROM report GROUP BY day ORDER BY day DESC"
        return [ReportEntry(day=d, revision=r, json=b"", generated_ns=g, digest=x) for d, r, g, x in self._all(sql)]

    def report(self, day: str, revision: int | None = None) -> ReportEntry | None:
        """A day's newest revision, or the one asked for."""
        row = self._one(
            "SELECT day, revision, json, html, generated_ns, digest FROM report WHERE day = ? AND revision = ifnull(?, revision) "
            "ORDER BY revision DESC LIMIT 1", day, revision,
        )  # fmt: skip
        if row is None:
            return None
        html = None if row[3] is None else unsqueeze(row[3])
        return ReportEntry(day=row[0], revision=row[1], json=unsqueeze(row[2]), html=html, generated_ns=row[4], digest=row[5])

    def events(self, first_ns: int | None = None, last_ns: int | None = None) -> Iterator[Event]:
        """What happened in [first, last], in the order in which it was stored."""
        low, high = _FIRST if first_ns is None else first_ns, _LAST if last_ns is None else last_ns
        sql = "SELECT id, ts_ns, kind, data FROM event WHERE id > ? AND ts_ns BETWEEN ? AND ? ORDER BY id LIMIT 1000"
        for order, ts, kind, data in self._paged(sql, 0, low, high):
            yield Event(order=order, ts_ns=ts, kind=kind, data=unsqueeze(data))

    def sizes(self) -> dict[str, int]:
        """Bytes on the disk by table and index (empty where this SQLite cannot say)."""
        try:
            return dict(self._all("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
        except StoreBroken:
            return {}
