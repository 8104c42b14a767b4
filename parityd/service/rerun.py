"""The daemon's brain over again: the same turns into a store in memory, nothing written, nothing published.

1. `Rerun` is `Brain` with three hands tied: files do not move, reports are not written out, events are not recorded a second time.
2. `Told` is the publication without its files: what was told still scales the allowed book and is acknowledged.
3. `Scratch` holds commits back until somebody asks: a day of turns becomes one transaction, and no reader can tell.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np

from parityd.core.assessing import Facts
from parityd.core.instants import DAY_NS
from parityd.core.publication import Entries, Head, no_better_than, same
from parityd.core.records import NO_TS
from parityd.core.rows import picked
from parityd.edges.publish import Content, Publisher, Terms
from parityd.edges.spool import Spool
from parityd.service.brain import Brain
from parityd.service.memory import merged
from parityd.service.reading import Read, Reader
from parityd.service.reporting import Reporter
from parityd.service.sessions import parameters_of
from parityd.service.turns import TurnDone
from parityd.settings import Settings
from parityd.store import Store
from parityd.store.entries import ACCEPTED, AuditRow, Commit, FileEntry, FileRecords, ReportEntry
from parityd.store.reads import MEMORY

HELD = 512  # commits
HELD_RECORDS = 200_000
FOREVER = 1e9  # seconds: a replay publishes at its turns, and nothing lapses between them


class Scratch(Store):
    """A store in memory."""

    def __init__(self, *given: Any) -> None:
        self._held: list[Commit] = []
        self._waiting = 0
        self._reports: dict[str, ReportEntry] = {}
        super().__init__(*given)

    @classmethod
    def new(cls, now_ns: int) -> Self:
        return cls.open(MEMORY, now_ns=now_ns)

    def commit(self, c: Commit, packed: Callable[[], None] | None = None) -> list[AuditRow]:
        c.shelves = [
            (strategy, number, picked(rows, np.arange(len(rows))), text) for strategy, number, rows, text in c.shelves
        ]  # they go on changing
        with self._lock:
            self._held.append(c)
            self._reports |= {r.day: r for r in c.reports}
            self._waiting += sum(f.accepted for f in c.files)
            if packed is not None:
                packed()
            if len(self._held) >= HELD or self._waiting >= HELD_RECORDS:
                self.flush()
        return []

    def flush(self) -> None:
        """Make one transaction of what was held back; of values that replace each other the last. Who reads meanwhile waits."""
        with self._lock:
            if self._held:
                held, self._held, self._waiting = self._held, [], 0
                super().commit(joined(held))

    def reports(self) -> list[ReportEntry]:
        """As in a file, but asked at every check: no reason to flush."""
        return [replace(r, json=b"", html=None) for _, r in sorted(self._reports.items(), reverse=True)]

    def _all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        self.flush()
        return super()._all(sql, *values)

    def _one(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        self.flush()
        return super()._one(sql, *values)


def joined(commits: list[Commit]) -> Commit:
    """Several commits, one after the other, as one."""
    out = Commit()
    for c in commits:
        for name in ("files", "names", "shelves", "marks", "audit", "reports", "events"):
            getattr(out, name).extend(getattr(c, name))
        for key in c.removed_states:
            out.states.pop(key, None)
            out.removed_states.append(key)
        out.states |= c.states
    out.files, out.marks = together(out.files), merged(out.marks)
    out.summaries = list({x[:2]: x for c in commits for x in c.summaries}.values())
    out.ledgers = list({x[:3]: x for c in commits for x in c.ledgers}.values())
    return out


def together(files: list[FileEntry]) -> list[FileEntry]:
    """Files of one book, source and UTC day as one, the place of the first; as they came those of which anything was refused or lies elsewhere."""
    groups: dict[tuple[object, ...], list[FileEntry]] = {}
    for k, f in enumerate(files):
        day = f.first_ts // DAY_NS
        alike = f.state == ACCEPTED and f.records is not None and not f.refused and f.first_ts != NO_TS and day == f.last_ts // DAY_NS
        groups.setdefault((f.book, f.source, f.format, day) if alike else (k,), []).append(f)
    return [_one_of(group) if len(group) > 1 else group[0] for group in groups.values()]


def _one_of(files: list[FileEntry]) -> FileEntry:
    by_kind: dict[str, int] = {}
    for f in files:
        for kind, n in f.by_kind.items():
            by_kind[kind] = by_kind.get(kind, 0) + n
    return replace(
        files[-1], accepted=sum(f.accepted for f in files), duplicates=sum(f.duplicates for f in files), by_kind=by_kind,
        first_ts=min(f.first_ts for f in files), last_ts=max(f.last_ts for f in files), strategies=sorted({s for f in files for s in f.strategies}),
        records=_records_of([f.records for f in files if f.records is not None]),
    )  # fmt: skip


def _records_of(parts: list[FileRecords]) -> FileRecords:
    """Their records; identities in the order of the columns, as a store keeps them once."""
    fills, decisions = ([c for r in parts if (c := getattr(r, name)) is not None and len(c)] for name in ("fills", "decisions"))
    columns = [type(own[0]).joined(own) if own else None for own in (fills, decisions)]
    keys, contents = (np.concatenate([getattr(r, name) for r in parts]) for name in ("keys", "contents"))
    known = [c for c in columns if c is not None]
    rest = ~np.isin(keys, np.concatenate([c.key for c in known])) if known else np.ones(len(keys), np.bool_)
    return FileRecords(
        keys=np.concatenate([*(c.key for c in known), keys[rest]]), contents=np.concatenate([*(c.content for c in known), contents[rest]]),
        fills=columns[0], decisions=columns[1], rare=[line for r in parts for line in r.rare],
    )  # fmt: skip


class Told(Publisher):
    """A publication that nobody reads."""

    def publish(self, content: Content | None = None, *, rises_only: bool = False, then: Callable[[], Entries] | None = None) -> bool:
        """Take it as told."""
        del then  # of a daemon's end
        self._content = content or self._content
        assert self._content is not None  # noqa: S101  wired when it was made
        before, fresh = self.entries, self._content.compose()
        told = no_better_than(fresh, before) if rises_only else fresh
        self.sequence += 1
        self.decision_sequence += not same(told, before)
        self.entries, self.published_ns = told, self.now()
        terms = self.terms
        head = Head(
            self.sequence, self.decision_sequence, terms.instance, terms.boot_id, self.now(), self.now(), terms.ttl, terms.on_expiry
        )
        for tell in self.told:
            tell(before, told, head)
        return True


class _Unwritten(Reporter):
    def html(self, report: dict[str, Any]) -> bytes | None:
        del report
        return None

    def write(self) -> list[str]:
        days = [day for day, *_ in self.unwritten]
        self.unwritten.clear()
        return days


class Rerun(Brain):
    """The one consumer, on a clock that it is given."""

    def __init__(self, settings: Settings, now: Callable[[], int]) -> None:
        nothing = cast("Any", None)  # no spool and no reader: records come from a store
        super().__init__(settings, Scratch.new(now()), cast("Spool", nothing), cast("Reader", nothing), now, now, "")
        self.reporter = _Unwritten(self)
        p = settings.publish
        publisher = Told(settings.data_dir, Terms(p.interval, FOREVER, p.on_expiry, "replay", ""), now, now, list)
        publisher.told.append(lambda _before, told, head: self.issued.add(head, told))
        self.publisher = publisher
        self.refresh_basis()
        publisher._content = Content(self.compose, self.view.strategies)  # noqa: SLF001  wired as the daemon's is
        self.v.published = {"*": f"{self.compose().default.action} 1"}

    def reconfigure(self, settings: Settings) -> None:
        """As a daemon's reload: there is no reader and no spool to tell."""
        self.settings, self.parameters = settings, parameters_of(settings)
        self.reload()
        self.refresh_basis()

    def record(self, kind: str, now: int, facts: Facts) -> None:
        """What is replayed was recorded already."""

    def leave(self, reads: list[Read], done: TurnDone, now: int) -> None:
        """No file lies anywhere."""
