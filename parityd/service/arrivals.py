"""Stored records as they come once more: at their own times, or in the files and at the times in which they once came.

1. `ByTime`: each record arrives at its `ts`; a run is announced when its period begins, so that its records find it. Of equal times the
   order of ingest decides. Files are read when the clock reaches them and let go of when they are used up.
2. `AsRecorded`: turn for turn what the daemon took and did, in its order: files, checks, scans, commands, halts, reports.
3. Records that lie outside [start, end] never arrive.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parityd.core.columns import Columns, DecisionColumns, FillColumns
from parityd.core.instants import I64, parse_time
from parityd.core.intake import FileBatch
from parityd.core.records import BOOKS, NO_TS, Line, Refusal, Run
from parityd.edges.waiting import Waiting
from parityd.service.reading import Read
from parityd.store.entries import ACCEPTED, Event, FileEntry
from parityd.store.reads import Reads

AHEAD_NS = 86_400 * 1_000_000_000  # how far records are sorted at once


def as_read(book: str, name: str, source: str, size: int, parts: tuple[FillColumns | None, DecisionColumns | None, list[Line]]) -> Read:
    """Records of one book as the turn of a file of this name."""
    fills, decisions, rare = parts
    times = [(int(c.ts.min()), int(c.ts.max())) for c in (fills, decisions) if c is not None and len(c)] + [(x.ts, x.ts) for x in rare]
    names = {getattr(x.record, "strategy", "") for x in rare}
    for c in (fills, decisions):
        names |= c.strategies() if c is not None else set()
    batch = FileBatch(book=book, name=name, sha256=name, source=source, decisions=decisions, fills=fills, rare=rare, refusals=[])
    waiting = Waiting(book=book, path=Path(name), name=name, key=(0, 0, size, 0, 0), since_ns=0)
    return Read(
        waiting, sha256=f"{abs(hash_of(book + name)):064x}", size=size, format="stored", source=source, batch=batch,
        first_ts=min((a for a, _ in times), default=NO_TS), last_ts=max((b for _, b in times), default=NO_TS), strategies=sorted(names - {""}),
    )  # fmt: skip


def hash_of(text: str) -> int:
    """A name's number, the same in every run."""
    import hashlib

    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())


@dataclass(slots=True)
class _Sorted:
    """Records of one kind and book in order of arrival; `at` of them are gone."""

    columns: Columns | None = None
    times: I64 | None = None
    at: int = 0

    def add(self, parts: list[Columns]) -> None:
        rest = (
            []
            if self.columns is None or self.times is None or self.at >= len(self.times)
            else [part(self.columns, self.at, len(self.times))]
        )
        both = [*rest, *parts]
        if not parts or not both:
            return
        c = type(both[0]).joined(both)
        c = c.take(np.argsort(c.ts, kind="stable"))
        self.columns, self.times, self.at = c, c.ts, 0

    def until(self, t: int) -> Columns | None:
        if self.columns is None or self.times is None:
            return None
        end = int(np.searchsorted(self.times, t, side="right"))
        start, self.at = self.at, end
        return part(self.columns, start, end) if end > start else None


def part(c: Columns, start: int, end: int) -> Columns:
    """Neighbouring rows, without copying numbers."""
    return c.between(start, end)


def _within(c: Columns, start: int, end: int) -> Columns | None:
    keep = (c.ts >= start) & (c.ts <= end)
    return c if keep.all() else c.take(keep) if keep.any() else None


class ByTime:
    """Every record at its own time."""

    def __init__(self, reads: Reads, start: int, end: int) -> None:
        self.reads, self.start, self.end = reads, start, end
        chosen = [e for e in reads.files() if e.state == ACCEPTED and e.accepted and e.first_ts <= end and e.last_ts >= start]
        self.waiting = sorted(chosen, key=lambda e: (e.first_ts, e.order), reverse=True)
        self.total = sum(e.accepted for e in chosen)
        self.first = min((e.first_ts for e in chosen), default=end)
        self.sorted = {(book, kind): _Sorted() for book in BOOKS for kind in ("fills", "decisions")}
        self.rare: dict[str, list[tuple[int, Line]]] = {book: [] for book in BOOKS}
        self.ready = start - 1

    def _fetch(self, t: int) -> None:
        """Bring in the files that begin before the next day's end."""
        self.ready = t + AHEAD_NS
        new: dict[tuple[str, str], list[Columns]] = {key: [] for key in self.sorted}
        opened: list[FileEntry] = []
        while self.waiting and self.waiting[-1].first_ts <= self.ready:
            opened.append(self.waiting.pop())
        for e in sorted(opened, key=lambda e: e.order):
            fills, decisions, rare = self.reads._records(e.order)  # noqa: SLF001  one file of the list above, not a query of its own
            for kind, c in (("fills", fills), ("decisions", decisions)):
                kept = _within(c, self.start, self.end) if c is not None and len(c) else None
                if kept is not None:
                    new[e.book, kind].append(kept)
            self.rare[e.book] += [(at, x) for x in rare if (at := self._arrival(x)) is not None]
        for key, parts in new.items():
            self.sorted[key].add(parts)
        for lines in self.rare.values():
            lines.sort(key=lambda x: x[0])

    def _arrival(self, line: Line) -> int | None:
        at = line.ts
        if isinstance(line.record, Run):
            begins = parse_time(line.record.from_)
            at = max(self.start, min(at, begins if begins != NO_TS else at))
        return at if self.start <= at <= self.end else None

    def until(self, t: int) -> list[Read]:
        """What has arrived since the last call, up to and including t: at most one turn's part a book."""
        if t > self.ready and self.waiting:
            self._fetch(t)
        out = []
        for book in sorted(BOOKS):
            fills, decisions = self.sorted[book, "fills"].until(t), self.sorted[book, "decisions"].until(t)
            lines = self.rare[book]
            n = next((k for k, (at, _) in enumerate(lines) if at > t), len(lines))
            rare, self.rare[book] = [x for _, x in lines[:n]], lines[n:]
            if fills is not None or decisions is not None or rare:
                out.append(as_read(book, f"until-{t}", book, 0, (fills, decisions, rare)))  # type: ignore[arg-type]
        return out


class AsRecorded:
    """Turn for turn."""

    def __init__(self, reads: Reads, start: int, end: int) -> None:
        self.reads = reads
        self.files = [e for e in reads.files() if e.state == ACCEPTED and start <= e.ingested_ns <= end]
        self.events = [e for e in reads.events() if start <= e.ts_ns <= end]
        self.total = sum(e.accepted for e in self.files)

    def turns(self) -> Iterator[tuple[int, list[Read] | Event]]:
        """(time, the files of a turn or an event). Of equal times the files come first."""
        files, events = self.files, self.events
        f = e = 0
        while f < len(files) or e < len(events):
            if e >= len(events) or (f < len(files) and files[f].ingested_ns <= events[e].ts_ns):
                now, turn = files[f].ingested_ns, list[Read]()
                while f < len(files) and files[f].ingested_ns == now:
                    turn.append(self._read(files[f]))
                    f += 1
                yield now, turn
            else:
                yield events[e].ts_ns, events[e]
                e += 1

    def _read(self, e: FileEntry) -> Read:
        fills, decisions, rare = self.reads._records(e.order)  # noqa: SLF001  one file of the list above, not a query of its own
        out = as_read(e.book, e.name, e.source, e.size, (fills, decisions, rare))
        out.sha256, out.format, out.strategies = e.sha256, e.format, list(e.strategies)
        if out.batch is not None:
            out.batch.sha256 = e.sha256
            out.batch.refusals = [Refusal(line=0, code=code, reason="") for code, n in e.refused.items() for _ in range(n)]
        return out
