"""How the file is opened, and when it is refused.

1. Every pragma is read back; where one did not take, the store is not opened.
2. A store is never silently empty: an empty, cut, foreign or newer file is StoreBroken, and so is a lost write-ahead log. `meta.open` is 1
   from opening to closing; a file that says 1 and has no log beside it has lost commits.
   So the writer's connection is closed by `leave` alone, which clears the mark first.
3. A new store is made beside its place and renamed into it, so that what stands there has always been whole.
4. On opening, the length is compared, small files are checked whole and large ones in their vital tables: bounded time. `Store.check`
   looks at everything.
"""

import ctypes
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from parityd.store import schema
from parityd.store.errors import StoreBroken, StoreUnavailable

Pragmas = dict[str, int | str]
BUSY_MS = 5000
CHECKED_WHOLE = 32 << 20  # bytes; `quick_check` reads about 1 GB a second
LOG_HEADER = 32
MEND = "set it aside and refill it with `parityd rebuild`, or `parityd restore` a backup"

_UNREACHABLE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_IOERR,
}  # fmt: skip
_UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
_EVERY: Pragmas = {"busy_timeout": BUSY_MS, "foreign_keys": 1, "trusted_schema": 0, "cell_size_check": 1, "mmap_size": 0}
_WRITER: Pragmas = {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 4000, "journal_size_limit": 64 << 20}
_READER: Pragmas = {"query_only": 1}
_MEMORY: Pragmas = {"foreign_keys": 1, "trusted_schema": 0, "cell_size_check": 1}


def broken(path: object, what: str, hint: str = MEND) -> StoreBroken:
    return StoreBroken(f"store {path}: {what}", hint)


@contextmanager
def reading(path: object) -> Iterator[None]:
    """What SQLite cannot read is a broken store; what it cannot reach is not."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code not in _UNREADABLE and code & 0xFF in _UNREACHABLE:
            raise StoreUnavailable(
                f"store {path}: {error} (look at its folder's owner, mode and free space, and at who else has it open)"
            ) from error
        raise broken(path, f"cannot be read: {error}") from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{urllib.parse.quote(str(path.absolute()))}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000, cached_statements=256)


def _set(db: sqlite3.Connection, path: object, wanted: Pragmas) -> None:
    for name, value in wanted.items():
        db.execute(f"PRAGMA {name} = {value}").fetchall()
        row = db.execute(f"PRAGMA {name}").fetchone()
        found = row[0] if row else None
        if found != value:
            raise broken(path, f"PRAGMA {name} is {found!r} and not {value!r}", "a file system that SQLite can lock and map is needed")


def pragmas(db: sqlite3.Connection) -> dict[str, int | str | None]:
    """What is in force, as read back."""
    return {name: (db.execute(f"PRAGMA {name}").fetchone() or (None,))[0] for name in (*_EVERY, *_WRITER, *_READER)}


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _size(path: Path) -> int:
    """Bytes, or -1 where there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fresh(db: sqlite3.Connection, now_ns: int) -> None:
    """Make the tables in an empty database."""
    db.execute("BEGIN IMMEDIATE")
    db.execute(f"PRAGMA application_id = {schema.APPLICATION}")
    schema.walk(db, 0)
    db.executemany("INSERT INTO meta VALUES (?, ?)", [("open", 0), ("created_ns", now_ns)])
    db.execute("COMMIT")


def create(path: Path, now_ns: int) -> None:
    """A new, empty store in its place."""
    beside = path.with_name(path.name + ".new")
    for leftover in (beside, beside.with_name(beside.name + "-journal")):
        leftover.unlink(missing_ok=True)
    with reading(path), closing(_connect(beside, "rwc")) as db:
        db.execute("PRAGMA synchronous = 2")
        fresh(db, now_ns)
    beside.chmod(0o640)
    sync_file(beside)
    beside.rename(path)
    sync_folder(path.parent)


def open_memory(now_ns: int) -> sqlite3.Connection:
    """A scratch store that ends with its connection."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=256)
    _set(db, ":memory:", _MEMORY)
    fresh(db, now_ns)
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    with reading(path):
        db = _connect(path, "ro")
        try:
            _set(db, path, _EVERY | _READER)
        except BaseException:
            db.close()
            raise
        return db


def open_writer(path: Path, now_ns: int) -> sqlite3.Connection:
    """The one connection that writes; the file is made, checked and brought up to this version."""
    size, log = _size(path), _size(_log(path))
    if size < 0 and log >= 0:
        raise broken(path, "is missing, but its write-ahead log is there")
    if size == 0:
        raise broken(path, "is empty")
    with reading(path):
        if size < 0:
            create(path, now_ns)
        db = _connect(path, "rw")
        hold(db)
        try:
            _examine(db, path, log)
            _set(db, path, _EVERY | _WRITER)
            _upgrade(db, path)
        except BaseException:
            if log < 0:  # there was nothing in a log that closing could take away
                db.close()
            raise
        _arrive(db, path)
        return db


def hold(db: sqlite3.Connection) -> None:
    """Let nobody but `leave` close this connection, not even the interpreter when it ends.

    SQLite's close empties and deletes the write-ahead log. A process that fails must leave the log where it is: a log that is gone while
    the file says "open" is how lost commits are told from none.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))


def leave(db: sqlite3.Connection) -> None:
    """Close the writer: all commits in the file, no log left. Where that fails, all stays as it is, for the next start."""
    db.execute("UPDATE meta SET value = 0 WHERE key = 'open'")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(db))


def _examine(db: sqlite3.Connection, path: Path, log: int) -> None:
    """Is this a store, ours, and whole as far as can be seen quickly?"""
    if db.execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION:
        raise broken(path, "is no store of parityd", "move it away, or set another `[store] url`")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > schema.VERSION:
        raise broken(
            path, f"was written by a newer parityd (schema {version}, this one knows {schema.VERSION})", "install that version again"
        )
    if version < 1:
        raise broken(path, "has no schema")
    db.execute("PRAGMA cell_size_check = 1")
    found = db.execute("SELECT value FROM meta WHERE key = 'open'").fetchone()
    if found is None:
        raise broken(path, "does not say whether it was closed")
    if found[0] and log < LOG_HEADER:
        raise broken(path, "was not closed, and its write-ahead log is missing: the last commits are lost")
    if log < LOG_HEADER:  # all commits are in the file: looked at before a write of ours can lengthen it
        _whole(db, path)
    faults = quick_check(db, _size(path))
    if faults:
        raise broken(path, f"is damaged: {faults[0]}")


def _whole(db: sqlite3.Connection, path: Path) -> None:
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if _size(path) < pages * size:
        raise broken(path, f"is cut off: {_size(path)} bytes of {pages * size}")


def quick_check(db: sqlite3.Connection, size: int) -> list[str]:
    """What `PRAGMA quick_check` finds: everywhere in a small file, in the vital tables of a large one."""
    if size <= CHECKED_WHOLE:
        rows = db.execute("PRAGMA quick_check(5)").fetchall()
    else:
        rows = [row for table in schema.VITAL for row in db.execute(f"PRAGMA quick_check({table})").fetchall()]
    return [str(row[0]) for row in rows if row[0] != "ok"]


def _upgrade(db: sqlite3.Connection, path: Path) -> None:
    """Take the missing steps in one transaction, with a copy of the file as it was."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == schema.VERSION:
        return
    copy(path, path.with_name(f"{path.name}.schema{version}"))
    db.execute("BEGIN IMMEDIATE")
    try:
        schema.walk(db, version)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _arrive(db: sqlite3.Connection, path: Path) -> None:
    """Say that the store is open, in the file itself, and compare its length."""
    db.execute("UPDATE meta SET value = 1 WHERE key = 'open'")
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    _whole(db, path)


def copy(source: Path, target: Path) -> None:
    """A copy of the store as one closed file, proven by reading all of it, then put in its place. The source may be in use."""
    beside = target.with_name(target.name + ".part")
    beside.unlink(missing_ok=True)
    with reading(source), closing(_connect(source, "ro")) as db, closing(_connect(beside, "rwc")) as made:
        db.backup(made)
        made.execute("PRAGMA journal_mode = DELETE").fetchall()
        made.execute("PRAGMA synchronous = 2")
        made.execute("UPDATE meta SET value = 0 WHERE key = 'open'")
        faults = [row[0] for row in made.execute("PRAGMA integrity_check(5)").fetchall() if row[0] != "ok"]
    if faults:
        beside.unlink()
        raise broken(source, f"is damaged: {faults[0]}")
    beside.chmod(0o640)
    sync_file(beside)
    beside.rename(target)
    sync_folder(target.parent)


def set_aside(path: Path, stamp: str) -> list[Path]:
    """Rename a broken store's files out of the way (never over something); their new paths, the store's first."""
    moved = []
    for suffix in ("", "-wal", "-shm"):
        old = path.with_name(path.name + suffix)
        if not os.path.lexists(old):
            continue
        new = path.with_name(f"{path.name}.broken-{stamp}{suffix}")
        k = 1
        while os.path.lexists(new):
            k += 1
            new = path.with_name(f"{path.name}.broken-{stamp}.{k}{suffix}")
        old.rename(new)
        moved.append(new)
    sync_folder(path.parent)
    return moved
