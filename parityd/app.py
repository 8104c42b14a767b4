"""The composition root: settings in, everything built and wired, in the order in which it is closed again.

1. `build` may fail and leaves nothing behind; nothing runs before `start`.
2. A command that changes the store or the published files takes the folder's lock first.
3. First start, a broken store, and everything that a restart must not forget, are decided here.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from parityd.core.publication import Head, entries
from parityd.edges import clock
from parityd.edges.audit import AuditFiles
from parityd.edges.audit import read as read_audit
from parityd.edges.files import ensure_folder
from parityd.edges.heap import one_heap
from parityd.edges.lock import DirectoryLock
from parityd.edges.publish import Content, Publisher, Terms, read_published, read_sequences
from parityd.edges.published import Published
from parityd.edges.spool import Spool
from parityd.edges.waiting import SpoolLimits
from parityd.problem import Problem
from parityd.service.brain import Brain
from parityd.service.inherit import inherit
from parityd.service.ops_rights import demand
from parityd.service.ops_state import past_of_files
from parityd.service.reading import Reader
from parityd.service.told import Told
from parityd.service.workplace import App, drain, export_audit
from parityd.settings import Settings
from parityd.store import Store, StoreBroken, StoreUnavailable, set_aside

MARGIN = 100_000  # sequences skipped where the last one is not known for sure
FOLDERS = (
    "spool/live",
    "spool/backtest",
    "archive/live",
    "archive/backtest",
    "rejected/live",
    "rejected/backtest",
    "overrides",
    "overrides/applied",
    "overrides/refused",
)


def folders(data_dir: Path) -> None:
    """The folders of CONTRACT 1, made where they are missing."""
    ensure_folder(data_dir, 0o755)
    for name in FOLDERS:
        ensure_folder(data_dir / name, 0o750)
    for name in ("parity_reports", "system_actions", "audit"):
        ensure_folder(data_dir / name, 0o755 if name == "system_actions" else 0o750)


@contextmanager
def built(
    settings: Settings,
    *,
    command: str,
    now: Callable[[], int] | None = None,
    boottime: Callable[[], int] = clock.boottime,
    evaluation: Callable[[], int] | None = None,
    locked: bool = False,
) -> Iterator[App]:
    """Lock the folder, open the store, fold the state. Closes everything again. `evaluation`: the clock of judgement, where it is not `now`;
    `locked`: the caller has the folder's lock already.
    """
    one_heap()
    wall = now or clock.now
    with ExitStack() as stack:
        data_dir = settings.data_dir
        demand(settings)
        folders(data_dir)
        lock = None if locked else stack.enter_context(DirectoryLock(data_dir, command))
        known_past = _any_past(data_dir, settings.store_path())
        store, broken = _store(settings, wall())
        stack.callback(store.close)
        fresh = store.state("standing") is None  # nothing was ever committed: new, or made by a start that ended at once
        if fresh and not broken and _any_past(data_dir, None):
            broken = f"{store.path}: the store holds nothing, but an archive, an audit trail or a publication is there"
        first = fresh and not broken
        audit = AuditFiles(data_dir / "audit")
        tail, own = audit.tail(), store.last_audit()[0]
        if tail.sequence > own and not broken:
            broken = f"{store.path}: an older copy: it ends with audit entry {own}, the trail with {tail.sequence}"
        if tail.sequence > own and own:
            store.adopt_audit(read_audit(data_dir / "audit", own))
        elif tail.sequence > own:
            store.continue_audit(tail.sequence, tail.hash)
        spool = Spool(data_dir, SpoolLimits(file_bytes=settings.limits.file))
        reader = Reader.of(spool, settings)
        reader.told = Told(store.state)
        boot_id = clock.boot_id()
        brain = Brain(settings, store, spool, reader, evaluation or wall, boottime, boot_id)
        brain.wall = wall
        standing = brain.v.standing
        if broken:
            standing.broken_store = True
            inherit(brain, data_dir)
        if first and settings.publish.first_start != "CONTINUE":
            standing.first_start = settings.publish.first_start
        publisher = _publisher(settings, store, wall, boottime, boot_id, brain, known_past=known_past, uncertain=bool(broken))
        brain.publisher = publisher
        brain.extra_events.append((brain.now(), "start", standing.first_start.encode()))
        publisher.told.append(lambda _before, told, head: brain.issued.add(head, told))
        app = App(settings, store, spool, brain, publisher, audit, wall, boottime, broken, publisher.terms.instance, lock)
        stack.callback(app.ahead.end)
        publisher.owned = app.owned
        if fresh or broken:
            kept = brain.commit_extras()
            if kept.failed:  # what was decided here must not be forgotten by the next start
                raise Problem(kept.failed)
        brain.refresh_basis()
        _resume(app)
        yield app


def _any_past(data_dir: Path, store: Path | None) -> bool:
    """Whether there is a store, an archive, an audit trail or a published file."""
    if (store is not None and store.exists()) or (data_dir / "system_actions/trading_override.json").exists():
        return True
    return any(found.is_file() for name in ("archive", "audit") for found in (data_dir / name).rglob("*"))


def _store(settings: Settings, now: int) -> tuple[Store, str]:
    """The store, or a new one beside what could not be read."""
    path = settings.store_path()
    ensure_folder(path.parent, 0o755)
    lost = not path.exists() and _any_past(settings.data_dir, None)
    try:
        store = Store.open(path, now_ns=now)
    except StoreUnavailable as e:
        raise Problem(str(e)) from None
    except StoreBroken as e:
        set_aside(path, str(now // 1_000_000_000))
        return Store.open(path, now_ns=now), str(e)
    return store, f"{path}: the store is gone, but an archive, an audit trail or a publication is there" if lost else ""


def _publisher(
    settings: Settings,
    store: Store,
    now: Callable[[], int],
    boottime: Callable[[], int],
    boot_id: str,
    brain: Brain,
    *,
    known_past: bool,
    uncertain: bool,
) -> Publisher:
    saved: Mapping[str, object] = msgspec.json.decode(store.state("publisher") or b"{}")
    folder = settings.data_dir / "system_actions"
    last = read_published(folder / "trading_override.json")
    on_file = read_sequences(folder / "trading_override.json")
    also = read_sequences(folder / "parity_action.json")
    instance = settings.publish.instance or str(saved.get("instance") or on_file[2] or also[2] or f"parityd-{uuid.uuid4().hex[:12]}")
    p = settings.publish
    publisher = Publisher(folder, Terms(p.interval, p.ttl, p.on_expiry, instance, boot_id), now, boottime, list)
    publisher.go_on_from(last)
    if last is not None:  # the first turn notes it: what held until now, and whether it lapsed meanwhile
        brain.issued.add(_head(last), last.entries)
    publisher.sequence = max(int(str(saved.get("sequence", 0))), on_file[0], also[0])
    if (
        last is not None
    ):  # one more may have been seen and lost in a power cut; a copy put back is older: above what can have been issued since
        publisher.sequence += 1 + max(0, round(2 * (now() - last.issued_ns) / 1e9 / p.interval))
    publisher.decision_sequence = max(int(str(saved.get("decision_sequence", 0))), on_file[1], also[1], brain.heard())
    if uncertain or (known_past and last is None):
        told = past_of_files(settings.data_dir)
        beyond = max(now() // 1_000_000, MARGIN)  # milliseconds since 1970: above whatever was counted up at one a publication
        publisher.sequence = max(publisher.sequence, told.sequence, beyond)
        publisher.decision_sequence = max(publisher.decision_sequence, told.decision_sequence, beyond)
    return publisher


def _head(last: Published) -> Head:
    return Head(
        sequence=last.sequence, decision_sequence=last.decision_sequence, instance=last.instance, boot_id=last.boot_id, issued_ns=last.issued_ns,
        issued_boottime_ns=last.issued_boottime_ns, ttl_seconds=last.ttl_seconds, on_expiry=last.on_expiry,
    )  # fmt: skip


def _resume(app: App) -> None:
    """What stands, before anything new is judged: the entries that the stored state gives."""
    b = app.brain
    app.publisher._content = Content(b.compose, b.view.strategies)  # noqa: SLF001  the root wires the parts
    fresh = entries(b.v.basis(), b.operators.halts, b.operators.commands, b.moment())
    b.v.published = {
        **{k: f"{v.action} {v.size_multiplier:g}" for k, v in fresh.strategies.items()},
        "*": f"{fresh.default.action} {fresh.default.size_multiplier:g}",
    }


__all__ = ["App", "built", "drain", "export_audit", "folders"]
