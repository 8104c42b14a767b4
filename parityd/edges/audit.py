"""The audit trail as files: audit-YYYY-MM.jsonl, a chain of lines that shows every change made to it.

1. A line is the canonical JSON (sorted keys, no spaces, ASCII) of its entry; its `hash` is SHA-256 over the canonical JSON of the other
   fields, `previous` the hash of the entry before; the first has sequence 1 and previous GENESIS.
2. The rows of the store are the truth; the files are written from them, in order, each row into the month of its own `ts`.
3. A torn tail (a last line without its end, or zeros) is cut off and written anew from the rows. A whole line is never changed here:
   what somebody forged stays, for `verify` to find.
4. The chain runs over all files by sequence, so a clock that jumped a month ahead and back breaks nothing.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from parityd.edges.files import ensure_folder, sync_folder, write_all

GENESIS = "0" * 64
FILE_MODE = 0o640
_NAME = re.compile(r"audit-\d{4}-\d\d\.jsonl\Z", re.ASCII)
_MONTH = re.compile(r"\d{4}-\d\d", re.ASCII)
_LINE_BYTES = 16 << 20
TOLD = 1000  # entries between two words of how far a check has come
_FIELDS = frozenset(("sequence", "ts", "event", "actor", "strategy", "data", "previous", "hash"))

Row = Mapping[str, Any]


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """The end of the chain; of no chain: 0 and GENESIS."""

    sequence: int
    hash: str


NOTHING = Tail(sequence=0, hash=GENESIS)


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """The first line that does not hold. `at_end`: the files are whole but do not end where the store does."""

    file: str
    line: int
    why: str
    at_end: bool = False


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces; ValueError where a number is not finite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def entry(*, sequence: int, ts: str, event: str, actor: str, strategy: str | None, data: Row, previous: str) -> dict[str, Any]:
    """One entry, complete with its hash. `ts` RFC 3339; `strategy` None = concerns none in particular."""
    row = {"sequence": sequence, "ts": ts, "event": event, "actor": actor, "strategy": strategy, "data": dict(data), "previous": previous}
    return row | {"hash": hashlib.sha256(canonical(row)).hexdigest()}


def _sound(raw: bytes) -> dict[str, Any] | str:
    """The entry of one line, or what is wrong with the line by itself."""
    if not raw.endswith(b"\n"):
        return "the line is not whole"
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        return "the line is no JSON"
    if not isinstance(row, dict) or row.keys() != _FIELDS or type(row["sequence"]) is not int:
        return "the line is no audit entry"
    stated = row.pop("hash")
    try:
        if hashlib.sha256(canonical(row)).hexdigest() != stated:
            return "the line was changed: its hash does not fit"
        if canonical(row | {"hash": stated}) + b"\n" != raw:
            return "the line was rewritten: it is not in canonical form"
    except ValueError:
        return "the line is no audit entry"
    return row | {"hash": stated}


def _stated(raw: bytes) -> Tail | None:
    """The sequence and hash that a line states, held or not."""
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("sequence")) is not int or type(row.get("hash")) is not str:
        return None
    return Tail(sequence=row["sequence"], hash=row["hash"])


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder) if _NAME.match(name))
    except FileNotFoundError:
        return []


def _last_line(handle: BinaryIO) -> tuple[bytes, int]:
    """The last whole line, and where the whole lines end."""
    size = handle.seek(0, os.SEEK_END)
    window = 1 << 16
    while True:
        start = max(0, size - window)
        handle.seek(start)
        raw = handle.read(size - start)
        end = raw.rfind(b"\n") + 1
        begin = raw.rfind(b"\n", 0, end - 1) + 1 if end else 0
        if start == 0 or begin > 0:
            return raw[begin:end], start + end
        window *= 4


class AuditFiles:
    """The files of one folder, written by one thread. An error is raised; the next `export` starts from what is surely there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._suspect: dict[Path, int] = {}  # size before a write that failed: what lies beyond may not be on the disk

    def tail(self) -> Tail:
        """The newest entry that the files state, whether or not it holds: to go on from there, not to trust it."""
        newest = NOTHING
        for path in _files(self.folder):
            with path.open("rb") as handle:
                found = _stated(_last_line(handle)[0])
            if found is None:  # a whole line of garbage at the end: look at all of them
                found = max((t for line in _lines(path) if (t := _stated(line.raw))), key=lambda t: t.sequence, default=None)
            if found is not None and found.sequence > newest.sequence:
                newest = found
        return newest

    def repair(self) -> int:
        """Cut off torn tails; bytes cut. The rows they held are exported anew."""
        cut = 0
        for path in _files(self.folder):
            with path.open("r+b") as handle:
                whole = min(_last_line(handle)[1], self._suspect.get(path, 1 << 62))
                size = handle.seek(0, os.SEEK_END)
                if whole < size:
                    handle.truncate(whole)
                    os.fsync(handle.fileno())
                    cut += size - whole
            self._suspect.pop(path, None)
        return cut

    def export(self, rows_after: Callable[[int], Iterable[Row]]) -> Tail:
        """Append what the files lack. `rows_after(n)`: the store's rows with sequence > n, in order. Durable when it returns."""
        ensure_folder(self.folder)
        self.repair()
        end = self.tail()
        month, lines = "", list[bytes]()
        for row in rows_after(end.sequence):
            found = _MONTH.match(row["ts"])
            if found is None:
                raise ValueError(f"audit row {row['sequence']}: {row['ts']!r} is no time")
            if lines and (found.group() != month or len(lines) >= 10_000):
                self._append(month, lines)
                lines = []
            month = found.group()
            lines.append(canonical(row) + b"\n")
            end = Tail(sequence=row["sequence"], hash=row["hash"])
        if lines:
            self._append(month, lines)
        return end

    def _append(self, month: str, lines: list[bytes]) -> None:
        path = self.folder / f"audit-{month}.jsonl"
        fresh = not path.exists()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            self._suspect[path] = os.fstat(fd).st_size
            if fresh:
                os.fchmod(fd, FILE_MODE)
            write_all(fd, b"".join(lines))
            os.fsync(fd)
            if fresh:
                sync_folder(self.folder)
            del self._suspect[path]
        finally:
            os.close(fd)


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    file: Path
    number: int
    raw: bytes
    sequence: int  # as it states; -1 where it states none


def _lines(path: Path) -> Iterator[_Line]:
    with path.open("rb") as handle:
        number = 0
        while raw := handle.readline(_LINE_BYTES):
            number += 1
            found = _stated(raw)
            yield _Line(file=path, number=number, raw=raw, sequence=-1 if found is None else found.sequence)


def _walk(folder: Path) -> Iterator[_Line]:
    """All lines in the order of the chain; where none continues it, the one that stands in its place."""
    files = {path: _lines(path) for path in _files(folder)}
    heads = {path: line for path, lines in files.items() if (line := next(lines, None)) is not None}
    here, wanted = Path(), 1
    while heads:
        if here not in heads or heads[here].sequence != wanted:
            goes_on = next((path for path, line in heads.items() if line.sequence == wanted), None)
            if goes_on is not None:
                here = goes_on
            elif here not in heads:
                here = min(heads, key=lambda path: heads[path].sequence)
        line = heads.pop(here)
        yield line
        wanted = line.sequence + 1
        following = next(files[here], None)
        if following is not None:
            heads[here] = following


def verify(folder: Path, store: Tail | None, tell: Callable[[int, int, str], None] | None = None) -> Broken | None:
    """None where the chain holds from its first entry to the end of the store's (`store` None: the end is not compared). `tell` hears now and then how
    many entries of how many, and the file.
    """
    last, place = NOTHING, Broken(file=str(folder), line=0, why="")
    for line in _walk(folder):
        if tell is not None and store is not None and last.sequence % TOLD == 0:
            tell(last.sequence, store.sequence, line.file.name)
        place = Broken(file=str(line.file), line=line.number, why="")
        row = _sound(line.raw)
        if isinstance(row, str):
            return msgspec.structs.replace(place, why=row)
        if row["sequence"] != last.sequence + 1:
            return msgspec.structs.replace(place, why=f"entry {row['sequence']} follows entry {last.sequence}")
        if row["previous"] != last.hash:
            return msgspec.structs.replace(place, why=f"entry {row['sequence']} does not continue entry {last.sequence}")
        last = Tail(sequence=row["sequence"], hash=row["hash"])
    if store is not None and store != last:
        why = f"the files end with entry {last.sequence}, the store with {store.sequence}"
        if store.sequence == last.sequence:
            why = f"entry {last.sequence} is not the store's"
        return msgspec.structs.replace(place, why=why, at_end=True)
    return None


def read(folder: Path, after: int = 0) -> Iterator[dict[str, Any]]:
    """The entries with sequence > `after`, in order, up to the first that does not hold: what a restored store lacks."""
    for line in _walk(folder):
        row = _sound(line.raw)
        if isinstance(row, str):
            return
        if row["sequence"] > after:
            yield row
