"""The durable truth: one SQLite file, opened, read by many, written by one, kept in order.

1. `open` trusts nothing (see `connect`); `close` leaves one file without a log.
2. A reader sees one unchanging view on a connection of its own, and cannot write.
3. Upkeep (compaction, retention, backup) changes how things are stored, or drops what is older than was asked; never what they say.
4. `check` reads everything: pages, references, checksums, the chain. Opening checks what takes bounded time.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from parityd.core.rows import NOWHEN
from parityd.store import checking, connect, segments
from parityd.store.entries import Piece
from parityd.store.packing import pack, squeeze
from parityd.store.reads import F64, I64, MEMORY, Reads
from parityd.store.writer import Writer, groups, inode

_ORPHANS = "DELETE FROM segment WHERE id NOT IN (SELECT segment FROM piece)"


class Store(Writer):
    """See `Reads` for the questions and `Writer` for `commit`. Any thread may ask."""

    @classmethod
    def open(cls, path: Path | str, *, now_ns: int) -> Self:
        """The store at `path` (made where there is none), or one in memory. StoreBroken where it cannot be trusted."""
        if str(path) == MEMORY:
            return cls(connect.open_memory(now_ns), None)
        where = Path(path)
        return cls(connect.open_writer(where, now_ns), where)

    def close(self) -> None:
        """All commits into the file, the log removed. Closing twice is allowed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self.path is None:
                self._db.close()
            elif not self._refused and inode(self.path) == self._identity:
                with suppress(sqlite3.Error):  # then the log stays beside the file: nothing is lost
                    connect.leave(self._db)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def reader(self) -> Iterator[Reads]:
        """Questions from another thread: one unchanging view, on a connection that cannot write."""
        if self.path is None:
            with self._lock:
                yield self
            return
        db = connect.open_reader(self.path)
        try:
            db.execute("BEGIN")
            yield Reads(db, self.name, threading.RLock())
        finally:
            db.close()

    # --- upkeep ---------------------------------------------------------------------------------------------------

    def compact(self, strategy: str, numbers: Iterable[int]) -> int:
        """Rewrite each of these shelves as one piece, without tombstones; pieces saved. What they hold stays the same."""
        with self._lock:
            code = self._strategy(strategy)
            saved, made = 0, list[Piece]()
            gone: list[tuple[int, int]] = []
            for number in numbers:
                deltas = self._pieces(code, number)
                shelf = segments.fold(number, deltas)
                gone.append((code, number))
                saved += len(deltas) - bool(shelf.n)
                if shelf.n:
                    made.append((strategy, number, shelf.rows, bytes(shelf.text)))
            packed = [(group, *segments.put_segment(group)) for group in groups(made)]
            with self._transaction() as db:
                db.executemany("DELETE FROM piece WHERE strategy = ? AND number = ?", gone)
                for group, n, names, data in packed:
                    self._add_segment(db, group, n, names, data)
                db.execute(_ORPHANS)
            self._segments.clear()
            return saved

    def compact_marks(self, symbol: int, ranks: Iterable[int], left: Iterable[tuple[int, I64, F64]]) -> None:
        """Replace what is stored of a symbol's series of these ranks by what is left of it: (rank, times, prices)."""
        packed = [(symbol, rank, len(ts), squeeze(pack({"ts": ts, "px": px}, len(ts)))) for rank, ts, px in left if len(ts)]
        with self._lock, self._transaction() as db:
            db.executemany("DELETE FROM mark WHERE symbol = ? AND rank = ?", [(symbol, rank) for rank in ranks])
            db.executemany("INSERT INTO mark (symbol, rank, n, data) VALUES (?, ?, ?, ?)", packed)

    def scattered_marks(self, most: int) -> list[int]:
        """Symbols whose marks lie in more than so many pieces."""
        return [row[0] for row in self._all("SELECT symbol FROM mark GROUP BY symbol HAVING count(*) > ?", most)]

    def forget(self, before_ns: int, before_shelf: int) -> int:
        """Drop records and identities of files that end before a time, and shelves, summaries and ledgers before a number (but not the shelf
        without a time); files that lost theirs.

        The files' entries stay: what was once taken is not taken again.
        """
        with self._lock, self._transaction() as db:
            db.execute("DELETE FROM record WHERE file IN (SELECT id FROM file WHERE last_ts < ?)", (before_ns,))
            n = db.execute("DELETE FROM identity WHERE file IN (SELECT id FROM file WHERE last_ts < ?)", (before_ns,)).rowcount
            db.execute("DELETE FROM piece WHERE number < ? AND number > ?", (before_shelf, NOWHEN))
            db.execute("DELETE FROM summary WHERE number < ? AND number > ?", (before_shelf, NOWHEN))
            db.execute("DELETE FROM ledger WHERE number < ?", (before_shelf,))
            db.execute(_ORPHANS)
        self._segments.clear()
        return n

    def wal_checkpoint(self) -> bool:
        """Move the log into the file; False where a reader kept part of it back."""
        with self._lock, connect.reading(self.name):
            row = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return bool(row is None or (row[0] == 0 and row[1] == row[2]))

    def size(self) -> int:
        """Bytes of the file and its log."""
        if self.path is None:
            return int((self._one("PRAGMA page_count") or (0,))[0] * (self._one("PRAGMA page_size") or (0,))[0])
        return sum(p.stat().st_size for p in (self.path, Path(f"{self.path}-wal")) if p.exists())

    def backup(self, path: Path | str) -> None:
        """A proven copy as one file at `path`, which is replaced."""
        if self.path is None:
            raise ValueError("a store in memory has no backup")
        connect.copy(self.path, Path(path))

    def pragmas(self) -> dict[str, int | str | None]:
        with self._lock:
            return connect.pragmas(self._db)

    def check(self) -> list[str]:
        """Everything there is to check, in words. Empty = sound. Reads the whole file."""
        with self._lock:
            return checking.check(self, self._all)
