"""The ways out of the spool: into `archive/` once a file's records are durable, into `rejected/` what cannot be taken.

1. Nothing is overwritten and nothing disappears; each way done twice is done once, also after a crash in the middle.
2. What is moved is what was seen: an entry that changed since stays, and the next scan tells what it is now.
3. The entry itself is moved, never what it points to. The reason is written before the move, so no rejected file is without one.
4. What cannot be moved is remembered as stuck, so that a scan does not try again every two seconds.
"""

import contextlib
import errno
import itertools
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from parityd.core.records import Refusal
from parityd.edges.files import (
    NAME_BYTES,
    cut_name,
    ensure_folder,
    exists,
    move_durably,
    replace_durably,
    safe_name,
    same_content,
    stream_durably,
    sync_all,
    sync_folder,
)
from parityd.edges.refused import refusal_lines
from parityd.edges.waiting import Key, Rejected, SpoolLimits, Unfit, Waiting, key_of

FILE_MODE = 0o640
MANY = 8  # files from which on one flush of the file system is cheaper than one of each
_IMMOVABLE = (errno.EACCES, errno.EPERM, errno.EXDEV, errno.EBUSY, errno.EROFS)  # the entry's own fault, not the disk's


class Departures:
    """Where files go, below one data directory. `stuck`: entries that could not be moved away, and why."""

    def __init__(self, data_dir: Path, limits: SpoolLimits | None = None) -> None:
        self.data_dir = data_dir
        self.limits = limits if limits is not None else SpoolLimits()
        self.stuck: dict[Key, str] = {}
        self._later: set[Path] | None = None

    @contextlib.contextmanager
    def together(self, n: int) -> Iterator[None]:
        """Departures of `n` files by one thread: many share one flush of the bytes and of the folders. OSError where that fails."""
        if n < MANY or not sync_all(self.data_dir / "spool"):
            yield
            return
        self._later = later = set[Path]()
        try:
            yield
        finally:
            self._later = None
            for folder in sorted(later, key=self.inbox_of):  # the spool's last: what left it must stand elsewhere
                sync_folder(folder)

    def inbox_of(self, folder: Path) -> bool:
        """Whether a folder is an inbox."""
        return folder.parent == self.data_dir / "spool"

    def archive(self, waiting: Waiting, hash_hex: str, day: str) -> Path | None:
        """Move a read file to archive/<book>/<day>/; None where it changed or went since it was read (the next scan will tell)."""
        prefix = hash_hex[:12] + "-"
        folder = self.data_dir / "archive" / waiting.book / day
        target = folder / (prefix + cut_name(waiting.name, NAME_BYTES - len(prefix)))
        try:
            facts = os.lstat(waiting.path)
        except FileNotFoundError:
            return target if exists(target) else None
        if key_of(facts) != waiting.key or facts.st_nlink != 1:
            return None
        ensure_folder(folder)
        if exists(target) and not same_content(waiting.path, target):
            target = folder / (hash_hex[:12] + "-" + cut_name(hash_hex + "-" + waiting.name, NAME_BYTES - 13))
        was_there = exists(target)
        move_durably(waiting.path, target, self._later)
        if not was_there and os.lstat(target).st_ino != facts.st_ino and os.lstat(target).st_dev == facts.st_dev:
            _put_back(target, waiting.path)  # a new file took the name between the look and the move
            return None
        return target

    def reject_lines(self, book: str, hash_hex: str, name: str, refusals: Iterable[Refusal]) -> Path | None:
        """rejected/<book>/<hash12>-FILE.rejected.jsonl, the same for the same file; None where nothing was refused."""
        rows = iter(refusals)
        first = next(rows, None)
        if first is None:
            return None
        limits = self.limits
        prefix, suffix = hash_hex[:12] + "-", ".rejected.jsonl"
        folder = self.data_dir / "rejected" / book
        ensure_folder(folder)
        target = folder / (prefix + cut_name(safe_name(name), NAME_BYTES - len(prefix) - len(suffix)) + suffix)
        lines = refusal_lines(itertools.chain((first,), rows), raw_bytes=limits.raw_bytes, total_bytes=limits.rejected_bytes)
        stream_durably(target, lines, FILE_MODE)
        return target

    def reject_whole(self, entry: Waiting | Unfit, code: str, reason: str, hash_hex: str | None = None, ts: str | None = None) -> Rejected:
        """Move the entry itself, whatever it is, to rejected/<book>/ beside FILE.reason.json."""
        folder = self.data_dir / "rejected" / entry.book
        ensure_folder(folder)
        target = _free_name(folder, entry, hash_hex)
        told: dict[str, str | None] = {"code": code, "reason": reason, "name": entry.name, "book": entry.book, "sha256": hash_hex}
        if ts is not None:
            told["ts"] = ts
        try:
            facts = os.lstat(entry.path)
        except FileNotFoundError:
            return Rejected(path=target, problem="" if exists(target) else "it is no longer there")
        if key_of(facts) != entry.key:
            return Rejected(path=target, problem="it changed since it was seen")
        if stat.S_ISLNK(facts.st_mode):
            told["link"] = safe_name(os.readlink(entry.path))
        replace_durably(target.with_name(target.name + ".reason.json"), json.dumps(told, sort_keys=True).encode() + b"\n", FILE_MODE)
        try:
            move_durably(entry.path, target)
        except OSError as e:
            if e.errno not in _IMMOVABLE:
                raise
            self.stuck[entry.key] = e.strerror or str(e)
            return Rejected(path=target, problem=self.stuck[entry.key])
        return Rejected(path=target)


def _put_back(taken: Path, place: Path) -> None:
    """Undo a move without overwriting what may have come since; where the place is taken it stays, a file more in the archive."""
    try:
        os.link(taken, place)
    except FileExistsError:
        return
    os.unlink(taken)
    sync_folder(place.parent)


def _free_name(folder: Path, entry: Waiting | Unfit, hash_hex: str | None) -> Path:
    """FILE; where another file has that name, <hash12>-FILE or a number before it."""
    room = NAME_BYTES - len(".reason.json") - 16
    base = cut_name(entry.name, room)
    candidates = [base] if hash_hex is None else [base, f"{hash_hex[:12]}-{base}"]
    number = 1
    while True:
        for candidate in candidates:
            target = folder / candidate
            if not exists(target) or (exists(entry.path) and same_content(entry.path, target)):
                return target
        number += 1
        candidates = [f"{number}-{base}"]
