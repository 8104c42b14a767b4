"""The tables, as the steps that made them: a new store walks all of them, an older one those it lacks.

1. `user_version` counts the steps taken; all that are missing are taken in one transaction. A store with more steps than these is refused.
2. A step that stands in a release is never changed: what is to be different is a further step.
3. Blobs carry a checksum of their own (see `packing`): SQLite has none.
"""

import sqlite3

APPLICATION = 0x70617279  # "pary", in the file's header: this is a store of parityd and of nobody else

STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE name (code INTEGER PRIMARY KEY, text BLOB NOT NULL)",
        "CREATE TABLE strategy (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        # `id` is the order of ingest; AUTOINCREMENT: a number that was given is never given again
        """CREATE TABLE file (
            id INTEGER PRIMARY KEY AUTOINCREMENT, book TEXT NOT NULL, sha256 BLOB NOT NULL, name BLOB NOT NULL, size INTEGER NOT NULL,
            seen_ns INTEGER NOT NULL, ingested_ns INTEGER NOT NULL, format TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL,
            accepted INTEGER NOT NULL, duplicates INTEGER NOT NULL, refused TEXT NOT NULL, by_kind TEXT NOT NULL,
            first_ts INTEGER NOT NULL, last_ts INTEGER NOT NULL, strategies TEXT NOT NULL, UNIQUE (book, sha256))""",
        """CREATE TABLE file_strategy (
            strategy INTEGER NOT NULL REFERENCES strategy (id), file INTEGER NOT NULL REFERENCES file (id) ON DELETE CASCADE,
            PRIMARY KEY (strategy, file)) WITHOUT ROWID""",
        "CREATE TABLE identity (file INTEGER PRIMARY KEY REFERENCES file (id) ON DELETE CASCADE, n INTEGER NOT NULL, data BLOB NOT NULL)",
        """CREATE TABLE record (
            file INTEGER PRIMARY KEY REFERENCES file (id) ON DELETE CASCADE, fills BLOB, decisions BLOB, rare BLOB)""",
        # rows of many shelves in one segment; a piece says which of them are one shelf's
        "CREATE TABLE segment (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL, names BLOB NOT NULL, data BLOB NOT NULL)",
        """CREATE TABLE piece (
            strategy INTEGER NOT NULL REFERENCES strategy (id), number INTEGER NOT NULL, segment INTEGER NOT NULL REFERENCES segment (id),
            start INTEGER NOT NULL, n INTEGER NOT NULL, text_start INTEGER NOT NULL, text_n INTEGER NOT NULL,
            PRIMARY KEY (strategy, number, segment, start)) WITHOUT ROWID""",
        "CREATE INDEX piece_segment ON piece (segment)",
        # by rowid: without one, a blob over 1 KB would take overflow pages of its own
        """CREATE TABLE summary (
            id INTEGER PRIMARY KEY, strategy INTEGER NOT NULL REFERENCES strategy (id), number INTEGER NOT NULL, data BLOB NOT NULL,
            UNIQUE (strategy, number))""",
        """CREATE TABLE ledger (
            strategy INTEGER NOT NULL REFERENCES strategy (id), symbol INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL,
            PRIMARY KEY (strategy, symbol, number)) WITHOUT ROWID""",
        "CREATE TABLE mark (id INTEGER PRIMARY KEY, symbol INTEGER NOT NULL, rank INTEGER NOT NULL, n INTEGER NOT NULL, data BLOB NOT NULL)",
        "CREATE INDEX mark_series ON mark (symbol, rank)",
        "CREATE TABLE state (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL)",
        "CREATE TABLE audit (sequence INTEGER PRIMARY KEY, line BLOB NOT NULL)",
    ),
    (
        "CREATE TABLE event (id INTEGER PRIMARY KEY AUTOINCREMENT, ts_ns INTEGER NOT NULL, kind TEXT NOT NULL, data BLOB NOT NULL)",
        "CREATE INDEX event_time ON event (ts_ns)",
        """CREATE TABLE report (
            id INTEGER PRIMARY KEY, day TEXT NOT NULL, revision INTEGER NOT NULL, generated_ns INTEGER NOT NULL, digest TEXT NOT NULL,
            json BLOB NOT NULL, html BLOB, UNIQUE (day, revision))""",
    ),
)
VERSION = len(STEPS)
VITAL = ("meta", "name", "strategy", "state", "file")  # small, and nothing starts without them


def walk(db: sqlite3.Connection, taken: int, upto: int = VERSION) -> None:
    """Take the steps after the first `taken`, inside the caller's transaction."""
    for step in STEPS[taken:upto]:
        for statement in step:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {int(upto)}")
