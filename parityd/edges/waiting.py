"""What an inbox holds, as records: a file that may be read, an entry that never will be, and where either went.

1. A file is what it was when it was seen: device, inode, size and both times (its key). Any other key is another file.
2. `name` is safe to print and to store; `path` is what the system knows it by, undecodable bytes included.
3. Nothing here opens or moves anything.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

Key = tuple[int, int, int, int, int]  # device, inode, size, mtime, ctime


class SpoolLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, and nanoseconds that a line file without its last line's end may still grow."""

    file_bytes: int = 1 << 30
    raw_bytes: int = 64 << 10  # of one refused record's text
    rejected_bytes: int = 64 << 20  # of one FILE.rejected.jsonl
    settle_ns: int = 2_000_000_000


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A file that may be read. `name` is safe to print; `path` is what the system knows. Times in ns, wall clock."""

    book: str
    path: Path
    name: str
    key: Key
    since_ns: int  # when it came to stand there (renamed, or last written)

    @property
    def size(self) -> int:
        return self.key[2]

    @property
    def mtime_ns(self) -> int:
        return self.key[3]


class Unfit(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that will never be read: for `reject_whole`."""

    book: str
    path: Path
    name: str
    key: Key
    code: str
    reason: str


class Unopened(msgspec.Struct, frozen=True, kw_only=True):
    """Why a waiting file was not opened: `gone` and `changed` are for the next scan, `unreadable` for `reject_whole`."""

    kind: Literal["gone", "changed", "unreadable"]
    reason: str


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """Where a whole file went. `problem`: why it still stands in the spool (where it cannot be moved, later scans pass it by)."""

    path: Path
    problem: str = ""


def key_of(facts: os.stat_result) -> Key:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def unchanged(handle: BinaryIO, waiting: Waiting) -> bool:
    """Whether an open file still is what the scan saw: asked before and after reading."""
    facts = os.fstat(handle.fileno())
    return stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1 and key_of(facts) == waiting.key
