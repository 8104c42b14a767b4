"""Everything that was built, as the loops and commands hold it; emptying the spool without a daemon."""

import errno
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from parityd.core.records import BOOKS
from parityd.edges.audit import AuditFiles
from parityd.edges.lock import DirectoryLock
from parityd.edges.publish import Publisher
from parityd.edges.spool import Spool
from parityd.edges.waiting import Key, Unfit, Unopened, Waiting
from parityd.formats import Unreadable
from parityd.service.ahead import Ahead
from parityd.service.attempts import Attempts, Poisoned
from parityd.service.brain import Brain
from parityd.service.intake import group
from parityd.service.reading import Read, digest
from parityd.service.retention import oldest
from parityd.service.turns import TurnDone
from parityd.settings import Settings
from parityd.store import Store
from parityd.store.entries import AuditDraft

UNREADABLE_TRIES = 3


@dataclass(slots=True)
class App:
    """Everything built."""

    settings: Settings
    store: Store
    spool: Spool
    brain: Brain
    publisher: Publisher
    audit: AuditFiles
    now: Callable[[], int]
    boottime: Callable[[], int]
    broken: str = ""
    instance: str = ""
    lock: DirectoryLock | None = None  # None: the caller of whoever built this has it
    attempts: Attempts = field(init=False)
    ahead: Ahead = field(init=False)
    refused: dict[Key, int] = field(default_factory=dict)  # files that the machine refused to read, and how often

    def __post_init__(self) -> None:
        self.attempts = Attempts(self.settings.data_dir)
        self.ahead = Ahead(self.brain.reader, allowed=self.settings.ingest.processes > 0)

    def owned(self) -> bool:
        """Whether the folder's lock is still ours: not after somebody removed its file or mounted over it, and another may work here."""
        return self.lock is None or self.lock.held()


def take(
    app: App,
    turn: list[Waiting],
    now: int,
    *,
    at: int | None = None,
    then: Callable[[], None] | None = None,
    following: Iterable[Waiting] = (),
) -> TurnDone:
    """Read the files of a turn and let them count. What could not be read this time stays; a disk that refuses is `failed`.

    `then` is called when they count, before they leave the spool. `following`: the files of the next turn, which may be read meanwhile.
    """
    coming = list(following)
    app.ahead.ask(turn, now, oldest(app.settings, now))
    app.ahead.ask(coming, now, oldest(app.settings, now))
    try:
        app.attempts.begin([*turn, *coming] if app.ahead.running else turn)
    except OSError as e:
        return TurnDone(failed=f"{e.filename or app.attempts.path}: {e.strerror or e}")
    reads = [_read(app, w, now) for w in turn]
    done = app.brain.files([r for r in reads if not r.later], now=at, then=then, more=bool(coming))
    app.attempts.end()
    return done


def _read(app: App, w: Waiting, now: int) -> Read:
    """One file; where the machine refused to read it, later, and a disk that fails three times over the same file is the file's fault."""
    try:
        found = app.ahead.read(w, app.brain.is_known) or app.brain.reader.read(w, now, app.brain.is_known, oldest(app.settings, now))
    except OSError as e:
        app.refused[w.key] = tries = app.refused.get(w.key, 0) + 1
        why = e.strerror or str(e)
        if e.errno == errno.EIO and tries >= UNREADABLE_TRIES:
            return Read(w, unreadable=Unreadable("unreadable_file", why))
        return Read(w, later=why)
    app.refused.pop(w.key, None)
    if found.batch is not None and any(x.code == "future_timestamp" for x in found.batch.refusals) and _behind(app):
        return Read(w, later="it holds records dated after now, and the wall clock lies before a publication")
    return found


def _behind(app: App) -> bool:
    """The wall clock was set back: what seems to come from the future may be from the present, and waits."""
    return app.now() < app.publisher.newest_ns - 1_000_000_000


def suspects(app: App) -> list[Poisoned]:
    """What a process that ended was reading, tried in a child: the files that it died of."""
    if not app.attempts.left():
        return []
    waiting = {(w.book, w.path.name): w for book in BOOKS for w in app.spool.scan(book, app.now()).ready}
    return app.attempts.tried(app.brain.reader, waiting, app.now())


def set_aside(app: App, poisoned: list[Poisoned]) -> TurnDone:
    """Refuse them whole."""
    reads = []
    for one in poisoned:
        handle = app.spool.open_stable(one.waiting)
        if isinstance(handle, Unopened):
            continue
        with handle:
            sha256 = digest(handle)
        reads.append(Read(one.waiting, sha256=sha256, size=one.waiting.size, unreadable=Unreadable("poison", one.how)))
    done = app.brain.files(reads)
    if not done.failed:
        app.attempts.end()
    return done


def tell_unfit(app: App, entries: Sequence[Unfit]) -> TurnDone:
    """Entries that will never be read, one line of the audit each: stored before they are moved, so that none is refused in silence."""
    b = app.brain
    kept = list(b.extra_audit)
    b.extra_audit += [
        AuditDraft(
            ts_ns=app.now(),
            event="file.refused",
            actor=one.book,
            strategy=None,
            data={"file": one.name, "sha256": "", "codes": {one.code: 1}},
        )
        for one in entries
    ]
    done = b.commit_extras()
    if done.failed:
        b.extra_audit = kept
    return done


def drain(
    app: App, *, at: int | None = None, wait: bool = True, limit: int = 256, tell: Callable[[int, int, str], None] | None = None
) -> None:
    """Empty the spool in turns, waiting for files that are still being written. `tell` hears how many files of how many, and the name of the next."""
    tries = taken = 0
    if poisoned := suspects(app):
        _whole(set_aside(app, poisoned))
    while True:
        found = [app.spool.scan(book, app.now(), limit) for book in BOOKS]
        if unfits := [unfit for scan in found for unfit in scan.refused]:
            _whole(tell_unfit(app, unfits))
            for unfit in unfits:
                app.spool.reject_whole(unfit, unfit.code, unfit.reason)
        ready = [list(scan.ready) for scan in found]
        app.ahead.expect(w for book in ready for w in book)
        moved = False
        turns = list(group(*ready))
        waiting = taken + sum(scan.count for scan in found)
        for k, turn in enumerate(turns):
            if tell is not None:
                tell(taken, waiting, turn[0].name)
                taken += len(turn)
            following = turns[k + 1] if k + 1 < len(turns) else []
            done = take(app, turn, max(at or 0, app.now()), at=at, following=following)  # a past `at` makes no record one of the future
            _whole(done)
            moved = moved or bool(done.reads)
        if moved:
            tries = 0
            continue
        app.ahead.end()
        left = sum(len(scan.left) + len(scan.ready) for scan in found)
        if not left or not wait or tries > 100:
            return
        tries += 1
        time.sleep(0.1)


def _whole(done: TurnDone) -> None:
    if done.failed or done.stuck:
        raise OSError(done.failed or done.stuck)


def export_audit(app: App) -> None:
    """Put the audit rows of the store into the files."""
    app.audit.export(app.store.audit_rows)
