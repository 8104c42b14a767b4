"""A copy of a database that an engine is using, made by SQLite's own backup: what is polled is never the file itself.

1. The source is opened read-only and never as if it could not change: its locks and its write-ahead log are honoured.
2. A database that stays busy gives no copy this time; one that cannot be read is `Unreadable`.
3. The copy holds one moment of the source, or nothing.
"""

import contextlib
import os
import sqlite3
from urllib.parse import quote

from parityd.formats.port import Unreadable

_PAGES = 2048
_BUSY = ("locked", "busy")


def snapshot(path: str | os.PathLike[str], dest: str | os.PathLike[str], *, busy_seconds: float = 5.0) -> bool:
    """Copy the database `path` to `dest`; False where it was busy for `busy_seconds`. Raises `Unreadable` where it is none."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(os.fspath(path))}?mode=ro", uri=True, timeout=busy_seconds)) as source:
            _copy(source, dest)
    except sqlite3.OperationalError as e:
        _forget(dest)
        if any(word in str(e) for word in _BUSY):
            return False
        raise Unreadable("unreadable_file", f"sqlite: {e}") from None
    except sqlite3.DatabaseError as e:
        _forget(dest)
        raise Unreadable("unreadable_file", f"sqlite: {e}") from None
    return True


def _copy(source: sqlite3.Connection, dest: str | os.PathLike[str]) -> None:
    source.execute("PRAGMA query_only=ON")
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # takes the read lock, or waits for it: busy is said here
    with contextlib.closing(sqlite3.connect(os.fspath(dest), isolation_level=None)) as copy:
        source.backup(copy, pages=_PAGES)
        copy.execute("PRAGMA journal_mode=DELETE")  # the copy stands alone, without a log beside it


def _forget(dest: str | os.PathLike[str]) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.fspath(dest) + suffix)
