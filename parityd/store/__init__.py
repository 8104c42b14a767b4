"""The durable truth: files, records, identities, rows, summaries, state and the audit trail in one SQLite file."""

from parityd.store.connect import set_aside
from parityd.store.entries import (
    ACCEPTED,
    REJECTED,
    AuditDraft,
    AuditRow,
    Commit,
    Event,
    FileEntry,
    FileRecords,
    Piece,
    ReportEntry,
)  # fmt: skip
from parityd.store.errors import CommitFailed, StoreBroken, StoreUnavailable
from parityd.store.reads import MEMORY, Reads, Stored
from parityd.store.store import Store

__all__ = [
    "ACCEPTED",
    "MEMORY",
    "REJECTED",
    "AuditDraft",
    "AuditRow",
    "Commit",
    "CommitFailed",
    "Event",
    "FileEntry",
    "FileRecords",
    "Piece",
    "Reads",
    "ReportEntry",
    "Store",
    "StoreBroken",
    "StoreUnavailable",
    "Stored",
    "set_aside",
]
