"""The one consumer: turns of files, checks, reports and commands, each one transaction (the way of a fill, steps 5 to 8).

1. Only the worker's thread calls in here; what readers see is replaced whole at the end of a turn (`View`).
2. A rise in severity is published before the commit, a fall only after it. A turn whose commit fails leaves no trace: the state is
   folded anew from the store, the files stay in the spool.
3. A turn that raises is tried file by file; the culprit is set aside as `internal_error`, the rest counts.
4. It reads time only through the two callables that it was given.
"""

import time as _time
from collections.abc import Callable
from typing import Any

import msgspec

from parityd.core.assessing import Facts
from parityd.core.commands import Moment
from parityd.core.intake import Counted, FileBatch
from parityd.core.monitor import Applied
from parityd.core.publication import Entries, entries, rises, stopped
from parityd.core.verdicts import Verdicts
from parityd.edges.calendars import session_seconds
from parityd.edges.heap import give_back
from parityd.edges.publish import Content, Publisher
from parityd.edges.spool import Spool
from parityd.formats import Unreadable
from parityd.service import filing, memory, trail
from parityd.service.beside import Beside
from parityd.service.issued import Issued
from parityd.service.reading import Read, Reader
from parityd.service.reporting import Reporter
from parityd.service.sessions import parameters_of
from parityd.service.sifting import MACHINERY, sifted, with_raw
from parityd.service.turns import Operators, Sources, TurnDone, View
from parityd.settings import Settings
from parityd.store import CommitFailed, Store
from parityd.store.entries import ACCEPTED, AuditDraft, Commit

MANY = 5_000  # records of a turn that is part of a backlog
LAST_EVENTS = 1000
HEARD_MOST = 1 << 52  # beyond it no acknowledgement is believed: a Gate, and every JSON reader, counts up to 2^53
RECORDED = ("waiting", "oldest_live_file", "degraded", "backlog")  # facts that a replay cannot find out again


class Brain:
    """The state, the store and the turns."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        spool: Spool,
        reader: Reader,
        now: Callable[[], int],
        boottime: Callable[[], int],
        boot_id: str,
    ) -> None:
        self.settings = settings
        self.parameters = parameters_of(settings)
        self.store, self.spool, self.reader = store, spool, reader
        self.now, self.boottime, self.boot_id = now, boottime, boot_id
        self.wall = now  # the clock of publications and operators; another than `now` only where a replay judges the past
        self.v: Verdicts = memory.fold(store, self.parameters)
        self.saved_names = len(self.v.m.names.texts) if store.names() else 0
        self.v.standing.default_action = settings.publish.unknown_strategy
        self.operators = Operators(tuple(self.v.standing.halts), tuple(self.v.standing.commands))
        self.publisher: Publisher | None = None
        self.sources = Sources()
        self.view = View()
        self.swollen = False  # a large turn has used memory that was not given back yet
        self.touched: set[str] = set()
        self.unreported: set[str] = set()
        self.facts_of: Callable[[], Facts] = Facts
        self.writable = True
        self.reporter = Reporter(self)
        self.backlog = False
        self.extra_states: dict[str, bytes] = {}
        self.extra_audit: list[AuditDraft] = []
        self.extra_events: list[tuple[int, str, bytes]] = []
        self.issued = Issued()
        self.owed = False  # a judgement was published, if only its rises, and is not stored

    # --- time and facts -----------------------------------------------------------------------------------------

    def moment(self) -> Moment:
        return Moment(now_ns=self.wall(), boottime_ns=self.boottime(), boot_id=self.boot_id)

    def facts(self) -> Facts:
        return msgspec.structs.replace(self.facts_of(), sources=self.sources.facts(), backlog=self.backlog, session_seconds=session_seconds)

    def is_known(self, book: str, sha256: str) -> bool:
        """Taken before. What was rejected whole may be readable by now (a mended configuration, `requeue`): it is read again."""
        found = self.store.files_known(book, sha256)
        return found is not None and found.state == ACCEPTED

    def note_issued(self) -> None:
        """What was published since the last turn."""
        self.issued.note(self.v, self.extra_events)

    def heard(self) -> int:
        """The highest decision_sequence that any engine has acknowledged."""
        acknowledged = (s.live.acknowledged for s in self.v.m.strategies.values())
        return max((n for n in acknowledged if n < HEARD_MOST), default=0)

    def _learn(self, reads: list[Read], counted: list[Counted]) -> None:
        """Decisions of a turn, for decision parity."""
        for r, got in zip(reads, counted, strict=True):
            if got.decisions is None:
                continue
            book = r.waiting.book
            for name in sorted(got.decisions.strategies()):
                past = memory.past_decisions(self.store, self.now())
                self.v.gauges_of(name).learn(book, got.decisions, self.v.m.strategies[name], self.v.m.instruments, self.v.m.names, past)

    # --- files --------------------------------------------------------------------------------------------------

    def files(self, reads: list[Read], *, now: int | None = None, then: Callable[[], None] | None = None, more: bool = False) -> TurnDone:
        """One turn: apply, commit, move. `reads` in order of name; `then` is called when they count, before they move. `more`: another turn follows, which
        will want the memory of this one.
        """
        now = self.now() if now is None else now
        done = TurnDone(reads=reads)
        self.note_issued()
        if self.reader is not None:  # a replay has none
            self.reader.told.turned()
        unique = filing.unrepeated([r for r in reads if r.batch is not None])
        try:
            applied, c = self._applied([r.batch for r in unique if r.batch is not None], now)
        except MACHINERY:
            raise
        except Exception as e:  # noqa: BLE001  the one place: a turn that raises is tried file by file, then record by record
            return self._bisected(reads, unique, e, now)
        done.counted = {r.counted_as: got for r, got in zip(unique, applied.counted, strict=True)}
        try:
            made = filing.write_refusals(self.spool, self.reader, unique, done.counted, now)
        except OSError as e:
            self.reload()
            done.failed = f"{e.filename or 'rejected/'}: {e.strerror or e}"
            return done
        self.touched |= applied.touched
        self.unreported |= applied.touched
        filing.into(c, reads, unique, done.counted, self.is_known, now)
        many, v = sum(len(got.keys) for got in applied.counted) >= MANY, self.v
        with Beside(lambda: v.keep_up(applied.touched, now)) as side:
            stored = self.commit(c, done, side if many else None)
        if not stored:
            filing.take_back(made)
            return done
        self._learn(unique, applied.counted)
        side.check()
        self._hear(unique, applied.counted)
        if then is not None:
            then()
        self.leave(reads, done, now)
        self._put_away(many=many, more=more)
        return done

    def _hear(self, reads: list[Read], counted: list[Counted]) -> None:
        """How much of what each source sent was refused. The records themselves are let go of."""
        for r, got in zip(reads, counted, strict=True):
            refused = [x.code for x in filing.refused(r, got) if x.code != "conflict"] if r.batch is not None else []
            self.sources.add(r.source, len(refused), len(refused) + sum(got.accepted.values()), r.strategies)
            filing.let_go(r, got)

    def _put_away(self, *, many: bool, more: bool) -> None:
        """After a large turn memory keeps what it should, and what is free goes back to the machine where no other turn wants it."""
        if many:
            memory.put_away(self.store, self.v.m)
        self.swollen = self.swollen or many
        if self.swollen and not more:
            self.swollen = False
            give_back()

    def _applied(self, batches: list[FileBatch], now: int) -> tuple[Applied, Commit]:
        """The batches in the state, and the state as it is to be stored: a record that cannot be stored raises here, not at the commit."""
        applied = self.v.m.apply(batches, now)
        return applied, memory.gather(self.v, self.saved_names)

    def _bisected(self, reads: list[Read], unique: list[Read], error: Exception, now: int) -> TurnDone:
        """A turn raised: fold the state anew and take the files one by one; the one that raises alone is set aside."""
        self.reload()
        if len(unique) <= 1:
            for r in unique:
                self._sift(r, error, now)
            return self.files(reads, now=now)
        out = TurnDone(reads=reads)
        for r in reads:
            one = self.files([r], now=now)
            out.counted.update(one.counted)
            out.failed = out.failed or one.failed
        return out

    def _sift(self, r: Read, error: Exception, now: int) -> None:
        """One file that raises: its culprits are refused; where no single record is at fault, the file is."""
        assert r.batch is not None  # noqa: S101  `unique` holds no other

        def tried(batch: FileBatch) -> Exception | None:
            try:
                self._applied([batch], now)
            except MACHINERY:
                raise
            except Exception as e:  # noqa: BLE001  what a record raises is what is looked for
                return e
            finally:
                self.reload()
            return None

        rest = sifted(r.batch, tried)
        if rest is None:
            r.batch, r.unreadable = None, Unreadable("internal_error", f"{type(error).__name__}: {error}"[:500])
            return
        lines = [x.line for x in rest.refusals if x.code == "internal_error"]
        r.batch = with_raw(rest, self.reader.raw_texts(r.waiting, lines, now))

    def commit_extras(self) -> TurnDone:
        """Commit what others left to be stored."""
        done = TurnDone()
        self.commit(memory.gather(self.v, self.saved_names), done)
        return done

    def commit(self, c: Commit, done: TurnDone, side: Beside | None = None) -> bool:
        """Store it. `side` goes on meanwhile; where the commit fails it has worked on a state that never was."""
        c.states.update(self.extra_states)
        c.audit += self.extra_audit
        c.events[:0] = self.extra_events
        try:
            rows = self.store.commit(c, side.begin if side is not None else None)
        except CommitFailed as e:
            self.writable = False
            done.failed = str(e)
            self.reporter.unwritten = [x for x in self.reporter.unwritten if x[0] not in {r.day for r in c.reports}]
            if not e.certain:
                raise  # the store takes no further commit: a new process finds out what it holds
            if side is not None:
                side.wait()
            self.reload()
            return False
        self.writable = True
        self.extra_states, self.extra_audit, self.extra_events = {}, [], []
        self.saved_names = len(self.v.m.names.texts)
        done.audit += len(rows)
        return True

    def reload(self) -> None:
        """Fold the state anew from the store: what was not committed never was."""
        published, assessed = self.v.published, self.v.assessed
        self.v = memory.fold(self.store, self.parameters)
        self.v.standing.default_action = self.settings.publish.unknown_strategy
        self.v.published = published
        self.v.assessed = {k: x for k, x in assessed.items() if k in self.v.m.strategies}
        self.saved_names = len(self.v.m.names.texts) if self.store.names() else 0

    def leave(self, reads: list[Read], done: TurnDone, now: int) -> None:
        """After the commit the files leave the spool."""
        filing.leave(self.spool, reads, done, now)

    # --- judgement ----------------------------------------------------------------------------------------------

    def evaluate(self, *, now: int | None = None, reports: bool = True) -> TurnDone:
        """Judge what was touched since the last evaluation; can only raise. Stop first, book-keep after."""
        self.note_issued()
        names, self.touched = sorted(self.touched), set()
        now = self.now() if now is None else now
        facts = self.facts()
        self.record("scan", now, facts)
        self.v.scan([n for n in names if n in self.v.m.strategies], now, facts)
        return self.conclude(now, names, "scan", reports=reports)

    def record(self, kind: str, now: int, facts: Facts) -> None:
        """Let the next commit keep, for a replay, that judgement turned now, and what it was told of the outside."""
        self.extra_events.append((now, kind, msgspec.json.encode({k: getattr(facts, k) for k in RECORDED})))
        del self.extra_events[:-LAST_EVENTS]  # a store that cannot be written for long

    def check(self, *, now: int | None = None, no_better: bool = False, report_due: bool = True, recorded: bool = True) -> TurnDone:
        """The check: all strategies, raises and lowers, re-issues reports that new records changed."""
        started = _time.perf_counter()
        self.note_issued()
        self.touched = set()
        at = self.now() if now is None else now
        facts = self.facts()
        if recorded:
            self.record("check" if report_due else "look", at, facts)
        self.v.check(at, facts)
        done = self.conclude(at, sorted(self.v.m.strategies), "check", reports=report_due, no_better=no_better)
        self.view.checked_ns, self.view.check_seconds = self.wall(), _time.perf_counter() - started
        return done

    def compose(self) -> Entries:
        """The entries as of now: judgement and operators. Called by the publisher's thread too."""
        return entries(self._basis, self.operators.halts, self.operators.commands, self.moment())

    @property
    def _basis(self) -> Any:
        return self._basis_now

    _basis_now: Any = None

    def refresh_basis(self) -> None:
        self._basis_now = self.v.basis()

    def conclude(self, now: int, names: list[str], why: str, *, reports: bool = True, no_better: bool = False) -> TurnDone:
        """What was judged, as one transaction and one publication: a rise is told before it is stored, a fall after."""
        if self.owed and why != "check":
            self.v.check(now, self.facts())
            names = sorted(self.v.m.strategies)
        ended = self.v.tick(self.moment())
        if ended:
            self.swap_commands()
        first = self._basis_now is None
        self.refresh_basis()
        if self.publisher is not None:
            self.publisher.heard(self.heard())
        fresh = self.compose()
        self._show(fresh, names)
        told = not first and self._told_first(fresh, why)
        done, c = TurnDone(), memory.gather(self.v, self.saved_names)
        done.changes = self.v.changes(dict(fresh.strategies), fresh.default, now)
        c.audit += [*trail.changed(done.changes, why, now), *trail.ended(ended, self.v.ended, now)]
        self.v.ended = []
        if self.publisher is not None:
            c.states["publisher"] = _numbers(self.publisher)
        if reports:
            self.reporter.reissue(c, now)
            memory.keep_drift(self.v, c, now)
        self.owed = True  # until it is stored, it has to be found again
        if self.commit(c, done):
            self.owed = False
            self._concluded(done, now, why, told=told, no_better=no_better)
        return done

    def _concluded(self, done: TurnDone, now: int, why: str, *, told: bool, no_better: bool) -> None:
        """The judgement is stored: it is shown, and told where it was not."""
        self.view.changes = (*self.view.changes, *done.changes)[-200:]
        self.view.evaluated_ns = now
        if self.publisher is not None:
            if why == "check":
                self.publisher.evaluated()
            if not told:
                self.publisher.publish(self._content(), rises_only=no_better)

    def _told_first(self, fresh: Entries, why: str) -> bool:
        """Publish before the commit what may be: a rise in any case, and after a turn all of it where nobody is told anything less severe."""
        p = self.publisher
        if p is None:
            return False
        if why == "scan" and p.entries is not None and not rises(p.entries, fresh):
            return p.publish(self._content())
        if rises(fresh, p.entries):
            p.publish(self._content(), rises_only=True)
        return False

    def _content(self) -> Content:
        return Content(self.compose, self.view.strategies)

    def stopped_entries(self) -> Entries:
        """What is told at the end where `on_stop` says disable: nothing less than DISABLE_TRADING."""
        return stopped(entries(self._basis_now, self.operators.halts, self.operators.commands, self.moment()))

    def reconfigure(self, settings: Settings) -> None:
        """A new configuration: the same state, judged by it from now on; nothing in force is cleared."""
        self.settings, self.parameters = settings, parameters_of(settings)
        self.reader.reconfigure(settings)
        self.spool.limits = msgspec.structs.replace(self.spool.limits, file_bytes=settings.limits.file)
        self.reload()
        self.refresh_basis()

    def show_all(self) -> None:
        """Fill the view from what stands, without judging."""
        self.refresh_basis()
        self._show(self.compose(), sorted(self.v.m.strategies))

    def _show(self, fresh: Entries, names: list[str]) -> None:
        """What readers and the action file see of each strategy."""
        shown = dict(self.view.strategies)
        for name in {*names, *(k for k in fresh.strategies if k not in shown)}:
            if name in fresh.strategies:
                shown[name] = self.v.action_entry(name, fresh.strategies[name])
        for name, entry in fresh.strategies.items():
            own = shown[name]
            if own["action"] != entry.action or own["override"] != entry.override:
                shown[name] = self.v.action_entry(name, entry)
        self.view = View(shown, self.view.changes, self.view.checked_ns, self.view.check_seconds, self.view.evaluated_ns)

    # --- operators, and the audit trail ----------------------------------------------------------------------------

    def swap_commands(self) -> None:
        """What is stored of halts and commands is in force as that from now on."""
        self.operators.stored_commands = tuple(self.v.standing.commands)
        self.operators.stored_halts = tuple(self.v.standing.halts)

    def told(self, draft: AuditDraft, states: dict[str, bytes] | None = None) -> TurnDone:
        """One line of audit, and what is stored with it."""
        done = TurnDone()
        commit = memory.gather(self.v, self.saved_names)
        commit.audit.append(draft)
        commit.states |= states or {}
        self.commit(commit, done)
        return done

    def note(self, event: str, actor: str, strategy: str | None, data: dict[str, Any]) -> None:
        """One line of audit by itself."""
        self.told(AuditDraft(ts_ns=self.now(), event=event, actor=actor, strategy=strategy, data=data))


def _numbers(p: Publisher) -> bytes:
    """What the store keeps of the publications' numbers."""
    return msgspec.json.encode({"sequence": p.sequence, "decision_sequence": p.decision_sequence, "instance": p.terms.instance})
