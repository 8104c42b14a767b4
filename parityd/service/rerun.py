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
from parityd.core.publication import Entries, Head, no_better_than, same
from parityd.core.rows import picked
from parityd.edges.publish import Content, Publisher, Terms
from parityd.edges.spool import Spool
from parityd.service.brain import Brain
from parityd.service.reading import Read, Reader
from parityd.service.reporting import Reporter
from parityd.service.sessions import parameters_of
from parityd.service.turns import TurnDone
from parityd.settings import Settings
from parityd.store import Store
from parityd.store.entries import AuditRow, Commit, ReportEntry
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
        self._held.append(c)
        if packed is not None:
            packed()
        self._reports |= {r.day: r for r in c.reports}
        self._waiting += sum(f.accepted for f in c.files)
        if len(self._held) >= HELD or self._waiting >= HELD_RECORDS:
            self.flush()
        return []

    def flush(self) -> None:
        """Make one transaction of what was held back; of values that replace each other the last."""
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
    out.summaries = list({x[:2]: x for c in commits for x in c.summaries}.values())
    out.ledgers = list({x[:3]: x for c in commits for x in c.ledgers}.values())
    return out


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
        publisher.told.append(lambda _before, told, head: self.issued.append((head, told)))
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

    def _leave(self, reads: list[Read], done: TurnDone, now: int) -> None:
        """No file lies anywhere."""
