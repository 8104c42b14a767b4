"""Archived files -> records in a store that lacks them: what `restore` and `rebuild` have in common.

1. A file is read as of when it first came: its recorded time of ingest where a store tells it, else its day in the archive and the time it
   was written. Nothing is judged on the way, and nothing published.
2. The archive is read in place: no file is moved, and no list of refusals written again.
3. What was ingested together is ingested together; of files without a recorded order the day decides, then the name.
4. A file that cannot be read any more is counted and named, and stays.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from parityd.core.columns import OLDEST
from parityd.core.instants import DAY_NS, day_start
from parityd.core.records import Refusal
from parityd.edges.spool import Spool
from parityd.edges.waiting import Rejected, Unfit, Waiting
from parityd.service.ops_archive import Archived, archived, opened
from parityd.service.reading import Read
from parityd.service.workplace import App
from parityd.store import ACCEPTED, FileEntry

TOGETHER = 64
Tell = Callable[[int, int, str], None]


class InPlace(Spool):
    """The archive as a spool that nothing leaves."""

    def archive(self, waiting: Waiting, hash_hex: str, day: str) -> Path | None:
        del hash_hex, day
        return waiting.path

    def reject_lines(self, book: str, hash_hex: str, name: str, refusals: Iterable[Refusal]) -> Path | None:
        del book, hash_hex, name, refusals
        return None

    def reject_whole(self, entry: Waiting | Unfit, code: str, reason: str, hash_hex: str | None = None, ts: str | None = None) -> Rejected:
        del code, reason, hash_hex, ts
        return Rejected(path=entry.path)


@dataclass(slots=True)
class Refilled:
    """What came in. `unreadable`: files of the archive that no longer can be read, and why."""

    files: int = 0
    records: int = 0
    known: int = 0
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Due:
    """One file to read, and as of when (ns). `order`: of its ingest, 0 where that is not recorded."""

    file: Archived
    at: int
    order: int = 0


def due(data_dir: Path, recorded: Mapping[tuple[str, str], FileEntry], known: frozenset[tuple[str, str]]) -> list[Due]:
    """Everything archived that is not `known`, in the order in which it came. Both by (book, first twelve digits of the hash)."""
    found: dict[tuple[str, str], Due] = {}
    for one in archived(data_dir):
        name = (one.book, one.prefix)
        if name in known or name in found:
            continue
        entry = recorded.get(name)
        found[name] = Due(one, _written(one), 0) if entry is None else Due(one, entry.ingested_ns, entry.order)
    return sorted(found.values(), key=lambda x: (x.at, x.order, x.file.day, os.fsencode(x.file.name)))


def _written(one: Archived) -> int:
    """When it was written, within its day in the archive."""
    start = day_start(one.day)
    return min(max(start, os.lstat(one.path).st_mtime_ns), start + DAY_NS - 1)


def by_prefix(entries: Iterable[FileEntry]) -> dict[tuple[str, str], FileEntry]:
    """A store's accepted files as `due` wants them."""
    return {(e.book, e.sha256[:12]): e for e in entries if e.state == ACCEPTED}


def refill(app: App, files: list[Due], tell: Tell) -> Refilled:
    """Read and take in, one turn for what came together. `tell` hears how many files of how many, and the day."""
    b = app.brain
    done = Refilled()
    b.spool = b.reader.spool = InPlace(app.settings.data_dir, app.spool.limits)
    b.publisher = None
    taken = 0
    for turn in _turns(files):
        tell(taken, len(files), turn[0].file.day)
        taken += len(turn)
        with ExitStack() as stack:
            reads = []
            for one in turn:
                w = stack.enter_context(opened(one.file, app.settings.data_dir))
                reads.append(b.reader.read(w, one.at, b.is_known, OLDEST))
            result = b.files(reads, now=turn[0].at)
            if result.failed:
                raise OSError(result.failed)
            _count(done, turn, reads)
            done.records += sum(sum(got.accepted.values()) for got in result.counted.values())
    b.touched.clear()
    return done


def _turns(files: list[Due]) -> Iterator[list[Due]]:
    turn: list[Due] = []
    for one in files:
        if turn and (one.at != turn[0].at or len(turn) >= TOGETHER or not one.order):
            yield turn
            turn = []
        turn.append(one)
    if turn:
        yield turn


def _count(done: Refilled, turn: list[Due], reads: list[Read]) -> None:
    for one, r in zip(turn, reads, strict=True):
        if r.unreadable is not None:
            done.unreadable.append((one.file.path, r.unreadable.reason))
        elif r.later:
            done.unreadable.append((one.file.path, r.later))
        elif r.known:
            done.known += 1
        else:
            done.files += 1
