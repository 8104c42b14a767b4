"""How anything gets into the store: one transaction, whole or not at all.

1. A commit is one transaction: it is there whole, and durable when `commit` returns, or it is not there.
2. Packing comes before the transaction, so the file is locked for the writes alone.
3. The audit entries of a commit are chained inside it: the trail tells what happened and nothing else, and it has no gaps.
4. A commit that the disk refused half-way ends this object's life (`CommitFailed.certain` False): what the file holds is found out by
   opening it again. Every key is idempotent, so a commit that did come back does no harm.
5. Before each commit the file must still be the one that was opened: a store deleted under us is StoreBroken, not a file nobody sees.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from parityd.core.chain import canonical, entry
from parityd.core.instants import rfc3339
from parityd.store import blobs, connect, segments
from parityd.store.entries import REJECTED, AuditDraft, AuditRow, Commit, FileEntry, Piece
from parityd.store.errors import CommitFailed
from parityd.store.packing import pack, seal, squeeze
from parityd.store.reads import MEMORY, Reads

SEGMENT_ROWS = 8192
_SUMMARY = "INSERT INTO summary (strategy, number, data) VALUES (?, ?, ?) ON CONFLICT (strategy, number) DO UPDATE SET data = excluded.data"
_STATE = "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_LEDGER = "INSERT INTO ledger VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data"
_REPORT = (
    "INSERT INTO report (day, revision, generated_ns, digest, json, html) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (day, revision) "
    "DO UPDATE SET generated_ns = excluded.generated_ns, digest = excluded.digest, json = excluded.json, html = excluded.html"
)
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Writer(Reads):
    """The one connection that writes. One thread at a time is inside."""

    def __init__(self, db: sqlite3.Connection, path: Path | None) -> None:
        super().__init__(db, str(path or MEMORY), threading.RLock())
        self.path = path
        self._identity = None if path is None else inode(path)
        self._least = 0  # the file has had this size, and no file of ours ever becomes smaller
        self._codes: dict[str, int] = {}
        self._refused = ""
        self._closed = False
        self._tail = self.last_audit()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """BEGIN IMMEDIATE ... COMMIT, undone whole on any error."""
        if self._refused or self._closed:
            raise CommitFailed(f"store {self.name}: {self._refused or 'is closed'}", certain=False)
        if self.path is not None:
            self._still_there(self.path)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise self._named(error) from error
        except BaseException:
            self._undo()
            raise

    def _still_there(self, path: Path) -> None:
        """StoreBroken where the file is gone, another, or cut: what the log has is lost with it at the next start."""
        if inode(path) != self._identity:
            self._refused = "was deleted or replaced while it was open"
            raise connect.broken(self.name, self._refused)
        size = path.stat().st_size
        if size < self._least:
            self._refused = f"was cut while it was open: {size} bytes, and it had {self._least}"
            raise connect.broken(self.name, self._refused)
        self._least = size

    def attend(self) -> None:
        """Look at the file without writing: StoreBroken where it is not what was opened."""
        with self._lock:
            if self.path is not None and not (self._refused or self._closed):
                self._still_there(self.path)

    def _undo(self) -> None:
        self._codes.clear()
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._refused = f"could not undo: {error}"

    def _named(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError):
            return error  # a bug of the caller
        if code in _DAMAGE:
            self._refused = f"is damaged: {error}"
            return connect.broken(self.name, self._refused)
        certain = code not in (sqlite3.SQLITE_IOERR, 0)
        if not certain:
            self._refused = f"the disk failed: {error}"
        return CommitFailed(f"store {self.name}: {error}", certain=certain)

    def commit(self, c: Commit, packed: Callable[[], None] | None = None) -> list[AuditRow]:
        """Make all of it durable in one transaction; the audit entries it made, in order. `packed` is called when only the writing is left, and after
        the store was locked: another thread that reads what this writes waits for it.
        """
        shelves = [(group, *segments.put_segment(group)) for group in groups(c.shelves)]
        files = [(f, _packed(f)) for f in c.files]
        summaries = [(strategy, number, blobs.put_summary(s)) for strategy, number, s in c.summaries]
        statements = _statements(c)
        with self._lock:
            if packed is not None:
                packed()
            rows = self._chained(c.audit)
            with self._transaction() as db:
                for file, parts in files:
                    self._add_file(db, file, parts)
                for group, n, names, data in shelves:
                    self._add_segment(db, group, n, names, data)
                db.executemany(_SUMMARY, [(self._code(db, s), number, data) for s, number, data in summaries])
                db.executemany(_LEDGER, [(self._code(db, s), symbol, number, seal(data)) for s, symbol, number, data in c.ledgers])
                for sql, values in statements:
                    db.executemany(sql, values)
                db.executemany("INSERT INTO audit VALUES (?, ?)", [(row["sequence"], canonical(row)) for row in rows])
            if rows:
                self._tail = rows[-1]["sequence"], rows[-1]["hash"]
            return rows

    def continue_audit(self, sequence: int, last_hash: str) -> None:
        """In a store without entries: the next one follows this (a new store after a broken one)."""
        with self._lock, self._transaction() as db:
            if db.execute("SELECT 1 FROM audit LIMIT 1").fetchone() is not None:
                raise ValueError("the store has audit entries of its own")
            db.execute(
                _STATE,
                (
                    "audit.base",
                    squeeze(json.dumps([sequence, last_hash]).encode()),
                ),
            )
        self._tail = sequence, last_hash

    def adopt_audit(self, rows: Iterable[AuditRow]) -> int:
        """Entries that the exported trail has and this store lacks (an older copy of it was put back), in order after its own; how many."""
        taken = list(rows)
        with self._lock, self._transaction() as db:
            db.executemany("INSERT INTO audit VALUES (?, ?)", [(row["sequence"], canonical(row)) for row in taken])
        if taken:
            self._tail = taken[-1]["sequence"], taken[-1]["hash"]
        return len(taken)

    def _chained(self, drafts: Iterable[AuditDraft]) -> list[AuditRow]:
        sequence, previous = self._tail
        rows = []
        for d in drafts:
            sequence += 1
            row = entry(
                sequence=sequence, ts=rfc3339(d.ts_ns), event=d.event, actor=d.actor, strategy=d.strategy, data=d.data, previous=previous
            )
            previous = row["hash"]
            rows.append(row)
        return rows

    def _code(self, db: sqlite3.Connection, strategy: str) -> int:
        found = self._codes.get(strategy)
        if found is None:
            row = db.execute("SELECT id FROM strategy WHERE name = ?", (strategy,)).fetchone()
            found = row[0] if row else db.execute("INSERT INTO strategy (name) VALUES (?)", (strategy,)).lastrowid
            self._codes[strategy] = found = int(found or 0)
        return found

    def _add_file(self, db: sqlite3.Connection, f: FileEntry, packed: tuple[bytes | None, ...]) -> None:
        """A file that was once rejected and is now taken gets a new place in the order."""
        sha = bytes.fromhex(f.sha256)
        db.execute("DELETE FROM file WHERE book = ? AND sha256 = ? AND state = ?", (f.book, sha, REJECTED))
        order = db.execute(
            "INSERT INTO file (book, sha256, name, size, seen_ns, ingested_ns, format, source, state, accepted, duplicates, refused, by_kind, "
            "first_ts, last_ts, strategies) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (f.book, sha, f.name.encode("utf-8", "surrogatepass"), f.size, f.seen_ns, f.ingested_ns, f.format, f.source, f.state, f.accepted,
             f.duplicates, json.dumps(f.refused), json.dumps(f.by_kind), f.first_ts, f.last_ts, json.dumps(f.strategies)),
        ).lastrowid  # fmt: skip
        db.executemany("INSERT INTO file_strategy VALUES (?, ?)", [(self._code(db, s), order) for s in dict.fromkeys(f.strategies)])
        if f.records is not None and packed:
            identities, *columns = packed
            db.execute("INSERT INTO identity VALUES (?, ?, ?)", (order, len(f.records.keys), identities))
            if any(columns):
                db.execute("INSERT INTO record VALUES (?, ?, ?, ?)", (order, *columns))

    def _add_segment(self, db: sqlite3.Connection, group: Sequence[Piece], n: int, names: bytes, data: bytes) -> None:
        segment = db.execute("INSERT INTO segment (n, names, data) VALUES (?, ?, ?)", (n, names, data)).lastrowid
        start = text_start = 0
        places = []
        for strategy, number, rows, text in group:
            places.append((self._code(db, strategy), number, segment, start, len(rows), text_start, len(text)))
            start += len(rows)
            text_start += len(text)
        db.executemany("INSERT INTO piece VALUES (?, ?, ?, ?, ?, ?, ?)", places)


def inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _statements(c: Commit) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """What needs no other row to be there first, packed."""
    marks = [(symbol, rank, len(ts), squeeze(pack({"ts": ts, "px": px}, len(ts)))) for symbol, rank, ts, px in c.marks if len(ts)]
    reports = [
        (r.day, r.revision, r.generated_ns, r.digest, squeeze(r.json), None if r.html is None else squeeze(r.html)) for r in c.reports
    ]
    return [
        ("INSERT INTO name VALUES (?, ?)", [(code, seal(text.encode("utf-8", "surrogatepass"))) for code, text in c.names]),
        ("INSERT INTO mark (symbol, rank, n, data) VALUES (?, ?, ?, ?)", marks),
        ("DELETE FROM state WHERE key = ?", [(key,) for key in c.removed_states]),
        (_STATE, [(key, squeeze(value)) for key, value in c.states.items()]),
        ("INSERT INTO event (ts_ns, kind, data) VALUES (?, ?, ?)", [(ts, kind, squeeze(data)) for ts, kind, data in c.events]),
        (_REPORT, reports),
    ]


def _packed(f: FileEntry) -> tuple[bytes | None, ...]:
    r = f.records
    if r is None:
        return ()
    return (
        blobs.put_identities(r.keys, r.contents),
        blobs.put_columns(r.fills, r),
        blobs.put_columns(r.decisions, r),
        blobs.put_rare(r.rare),
    )


def groups(shelves: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Neighbouring shelves together, some SEGMENT_ROWS rows a group. The order of pieces of one shelf is kept."""
    group: list[Piece] = []
    rows = 0
    for _, pieces in groupby(sorted((p for p in shelves if len(p[2])), key=lambda p: p[:2]), key=lambda p: p[0]):
        for piece in pieces:
            if group and rows + len(piece[2]) > SEGMENT_ROWS:
                yield group
                group, rows = [], 0
            group.append(piece)
            rows += len(piece[2])
    if group:
        yield group
