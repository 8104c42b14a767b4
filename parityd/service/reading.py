"""One waiting file -> its records, in the worker's thread: opened safely, hashed, decoded, and still the same afterwards.

1. A file is read whole or not at all: what cannot be read as a whole is an `Unreadable` beside it, and nothing of it counts.
2. A file that changed while it was read is left for the next scan.
3. The bytes of a small file are hashed first: one that is known already is not decoded again. Those of a large one are hashed while it is decoded.
4. A file that a tailed or polled source put into the spool is named after it (`piece_name`), and is read as that source says.
"""

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, BinaryIO, Self

from parityd.core.columns import Block, Bounds, DecisionColumns, FillColumns
from parityd.core.intake import FileBatch
from parityd.core.records import NO_TS, Line, Refusal
from parityd.edges.fingerprint import Fingerprint
from parityd.edges.spool import Spool
from parityd.edges.waiting import Unopened, Waiting, unchanged
from parityd.formats import Context, Limits, Source, Unreadable, read, texts
from parityd.service.told import Told
from parityd.settings import Settings

IN_MEMORY = 8 << 20
PIECE = re.compile(r"(?P<source>[^~]+)~(?:(?P<format>[a-z_]+)~)?\d{19}-[0-9a-f]{12}", re.ASCII)


@dataclass(slots=True)
class Read:
    """What became of one waiting file. Exactly one of `batch`, `unreadable`, `later` or `known` says so."""

    waiting: Waiting
    sha256: str = ""
    size: int = 0
    format: str = ""
    source: str = ""
    batch: FileBatch | None = None
    unreadable: Unreadable | None = None
    later: str = ""
    known: bool = False
    first_ts: int = NO_TS
    last_ts: int = NO_TS
    strategies: list[str] = field(default_factory=list)
    states: dict[str, bytes] = field(default_factory=dict)  # to be kept in the transaction that keeps the records

    @property
    def counted_as(self) -> str:
        """By which a turn knows what of it counted."""
        return self.waiting.book + self.sha256


def piece_name(source: str, number: int, sha256: str, suffix: str, known: str = "") -> str:
    """The name of a file that a source puts into the spool: `number` orders its files, `known` is the format that its log was found to have."""
    return f"{source}~{known + '~' if known else ''}{number:019d}-{sha256[:12]}{suffix}"


def as_source(name: str, s: Any, known: str | None = None) -> Source:
    """`[sources.<name>]` as formats see it."""
    return Source(
        name=name, format=s.format or known, strategy=s.strategy, timezone=s.timezone,
        columns=dict(s.columns) if s.columns else None, timeframe=None,
    )  # fmt: skip


class Reader:
    """Reads waiting files for the worker."""

    def __init__(self, spool: Spool, limits: Limits, sources: Mapping[str, Any], future_ns: int) -> None:
        self.spool = spool
        self.limits = limits
        self.sources = sources
        self.future_ns = future_ns
        self.told = Told(lambda _key: None)

    @classmethod
    def of(cls, spool: Spool, settings: Settings) -> Self:
        """As the settings have it."""
        made = cls(spool, Limits(), {}, 0)
        made.reconfigure(settings)
        return made

    def reconfigure(self, settings: Settings) -> None:
        x = settings.limits
        self.limits = Limits(
            line=x.line, file=x.file, expanded=x.expanded, nesting=x.nesting, members=x.members, child_memory=x.decoder_memory
        )
        self.sources, self.future_ns = settings.sources, round(x.future * 1e9)

    def source_of(self, w: Waiting) -> tuple[str, Source | None]:
        """The `[sources.*]` entry that the file is named after, or whose book and path fit; else the book itself as the source's name."""
        piece = PIECE.match(w.name)
        own = self.sources.get(piece["source"]) if piece else None
        if piece and own is not None and own.book in (None, w.book):
            return piece["source"], as_source(piece["source"], own, piece["format"])
        for name, s in self.sources.items():
            if s.book not in (None, w.book) or getattr(s, "mode", "drop") != "drop":
                continue
            pattern = str(s.path) if s.path is not None else ""
            if (
                not pattern
                or fnmatchcase(w.path.name, pattern)
                or fnmatchcase(str(w.path), f"*/{pattern}")
                or pattern.rstrip("/").endswith(f"spool/{w.book}")
            ):
                return name, as_source(name, s)
        return w.book, None

    def read(self, w: Waiting, now: int, is_known: Callable[[str, str], bool], oldest: int) -> Read:
        """Open, hash, decode."""
        handle = self.spool.open_stable(w)
        if isinstance(handle, Unopened):
            if handle.kind == "unreadable":
                return Read(w, unreadable=Unreadable("unreadable_file", handle.reason))
            return Read(w, later=handle.reason)
        with handle:
            return self._decode(w, handle, now, is_known, oldest)

    def _decode(self, w: Waiting, handle: BinaryIO, now: int, is_known: Callable[[str, str], bool], oldest: int) -> Read:
        out = Read(w, size=w.size)
        if w.size > IN_MEMORY:
            with Fingerprint(handle) as fingerprint:
                try:
                    blocks, finish = self._blocks(w, handle, out, now, oldest)
                except OSError:  # of a known file nothing needs to be decoded
                    if is_known(w.book, found := fingerprint.sha256()) and unchanged(handle, w):
                        return Read(w, sha256=found, size=w.size, known=True)
                    raise
                out.sha256 = fingerprint.sha256()
            if unchanged(handle, w) and is_known(w.book, out.sha256):
                return Read(w, sha256=out.sha256, size=w.size, known=True)
        else:
            raw = handle.read()
            out.sha256 = hashlib.sha256(raw).hexdigest()
            if unchanged(handle, w) and is_known(w.book, out.sha256):
                out.known = True
                return out
            blocks, finish = self._blocks(w, io.BytesIO(raw), out, now, oldest)
        if not unchanged(handle, w):
            return Read(w, sha256=out.sha256, size=w.size, later="it changed while it was read")
        if out.unreadable is None:
            out.batch = _batch(w, out, blocks)
            finish(out.batch)
        return out

    def _blocks(self, w: Waiting, data: BinaryIO, out: Read, now: int, oldest: int) -> tuple[list[Block], Callable[[FileBatch], None]]:
        """(what the file holds, what is to be done once that counts)."""
        out.source, source = self.source_of(w)
        bounds = Bounds(latest=now + self.future_ns, oldest=oldest)
        told, notes = self.told.of(w.book, out.source), self.told.notes(w.book, out.source)
        context = Context(book=w.book, name=w.name, bounds=bounds, limits=self.limits, source=source, told=told, notes=notes)
        try:
            blocks = list(read(data, context, lambda name: setattr(out, "format", name)))
        except Unreadable as e:
            out.unreadable, blocks = e, []

        def finish(batch: FileBatch) -> None:
            out.states = self.told.keep(w.book, out.source, told, notes, batch.fills.fill_id if batch.fills is not None else ())

        return blocks, finish

    def raw_texts(self, w: Waiting, lines: list[int], now: int) -> dict[int, str]:
        """The text of given lines once more, for refusals that were decided after decoding."""
        handle = self.spool.open_stable(w)
        if isinstance(handle, Unopened):
            return {}
        with handle:
            _, source = self.source_of(w)
            context = Context(book=w.book, name=w.name, bounds=Bounds(latest=now + self.future_ns), limits=self.limits, source=source)
            try:
                return texts(handle, context, lines)
            except Unreadable:
                return {}


def digest(handle: BinaryIO) -> str:
    """SHA-256 of what is left to read."""
    h = hashlib.sha256()
    while chunk := handle.read(1 << 20):
        h.update(chunk)
    return h.hexdigest()


def _batch(w: Waiting, out: Read, blocks: list[Block]) -> FileBatch:
    decisions = [b.decisions for b in blocks if b.decisions is not None]
    fills = [b.fills for b in blocks if b.fills is not None]
    rare: list[Line] = [x for b in blocks for x in b.rare]
    refusals: list[Refusal] = sorted((r for b in blocks for r in b.refusals), key=lambda r: r.line)
    d = DecisionColumns.collected(decisions) if decisions else None
    f = FillColumns.collected(fills) if fills else None
    names: set[str] = set()
    for c in (d, f):
        if c is not None and len(c):
            low, high = int(c.ts.min()), int(c.ts.max())
            out.first_ts = low if out.first_ts == NO_TS else min(low, out.first_ts)
            out.last_ts = max(out.last_ts, high)
            names |= c.strategies()
    for line in rare:
        out.first_ts = line.ts if out.first_ts == NO_TS else min(line.ts, out.first_ts)
        out.last_ts = max(out.last_ts, line.ts)
        names.add(getattr(line.record, "strategy", ""))
    out.strategies = sorted(names - {""})
    return FileBatch(book=w.book, name=w.name, sha256=out.sha256, source=out.source, decisions=d, fills=f, rare=rare, refusals=refusals)
