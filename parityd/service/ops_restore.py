"""`parityd restore DIR` and `parityd rebuild`: another store in the place of the one that is there.

1. Under the daemon's lock. The new store is made and filled beside the old one and takes its place at the end; until then nothing is changed
   but the archive, which only gains files. The old store is kept, renamed.
2. What stands now survives: of each strategy the more severe of both states with the latches of both, every HALT, every lowering command,
   the contents of applied commands, a broken store that nobody has acknowledged.
3. Sequences go on above everything that anybody can have seen: store, files, backup, audit, acknowledgements; where the file is missing,
   above what can have been published since.
4. Files of the archive that the new store does not know are read into it, in their recorded order.
5. The audit trail goes on where its files end.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from parityd.core.verdicts import Standing
from parityd.edges.audit import AuditFiles
from parityd.edges.audit import read as audit_entries
from parityd.edges.files import sync_folder
from parityd.edges.halt import HaltState
from parityd.edges.lock import DirectoryLock
from parityd.problem import Problem
from parityd.service.ops_archive import archived
from parityd.service.ops_backup import COPIED, LINKED, STORE, Backup, apart, bring, opened
from parityd.service.ops_init import folders
from parityd.service.ops_refill import Refilled, Tell, by_prefix, due, refill
from parityd.service.ops_state import Past, past_of_files, past_of_store, reading_store
from parityd.service.ops_survival import above, lines, merged, remember
from parityd.service.workplace import App
from parityd.settings import Settings
from parityd.store import AuditDraft, Commit, FileEntry, ReportEntry, Store, StoreBroken, StoreUnavailable
from parityd.store.connect import copy as copy_store
from parityd.store.connect import set_aside

BESIDE = ".being-made"
Built = Callable[..., AbstractContextManager[App]]


@dataclass(slots=True, kw_only=True)
class Exchanged:
    """What was done. `kept`: where the old store's files are; `must_reset`: trading stays disabled until a reset that acknowledges it."""

    records: Refilled
    kept: list[Path] = field(default_factory=list)
    copied: int = 0
    must_reset: bool = False
    sequence: int = 0
    halts: int = 0


@dataclass(slots=True)
class _Old:
    """What the stores that lie there say of files and reports."""

    entries: dict[tuple[str, str], FileEntry] = field(default_factory=dict)
    reports: list[ReportEntry] = field(default_factory=list)
    events: list[tuple[int, str, bytes]] = field(default_factory=list)


def restore(settings: Settings, folder: Path, built: Built, now_ns: int, tell: Tell) -> Exchanged:
    """Put a backup in the place of what is there."""
    apart(settings, folder)
    made = opened(folder)
    root, path = settings.data_dir, settings.store_path()
    folders(root)
    with DirectoryLock(root, "restore"):
        past, lost = _past(settings)
        old = _told(path)
        _export(path, root)
        copied = sum(bring(folder / name, root / name, link=True) for name in LINKED)
        kept_audit = _audit_in_place(folder, root, now_ns)
        copied += sum(bring(folder / name, root / name, link=False) for name in COPIED if name not in ("system_actions", "audit"))
        beside = _cleared(path)
        copy_store(folder / STORE, beside)
        with Store.open(beside, now_ns=now_ns) as store:
            store.adopt_audit(list(audit_entries(root / "audit", store.last_audit()[0])))
        backed = past_of_store(beside)
        if not backed.readable:
            raise Problem(f"{folder / STORE}: its state cannot be read")
        data = {"folder": str(folder), "created": made.created, "files": made.files}
        done = _exchange(
            settings,
            built,
            merged(past, backed, lost=lost),
            made,
            old,
            AuditDraft(ts_ns=now_ns, event="store.restored", actor="operator", data=data),
            now_ns,
            tell,
        )
        done.copied = copied
        done.kept += kept_audit
        return done


def rebuild(settings: Settings, built: Built, now_ns: int, tell: Tell) -> Exchanged:
    """Refill a new store from the archive."""
    root, path = settings.data_dir, settings.store_path()
    if not root.is_dir():
        raise Problem(f"{root} is not there")
    with DirectoryLock(root, "rebuild"):
        if next(archived(root), None) is None:
            raise Problem(f"{root}/archive holds no file: there is nothing to rebuild from (restore a backup, or drop the files again)")
        past, lost = _past(settings)
        old = _told(path)
        for aside in _set_aside_before(path):
            _older(old, _told(aside))
        _export(path, root)
        beside = _cleared(path)
        data = {"files": len({(x.book, x.prefix) for x in archived(root)}), "recorded_order": len(old.entries)}
        audit = AuditDraft(ts_ns=now_ns, event="store.rebuilt", actor="operator", data=data)
        with Store.open(beside, now_ns=now_ns) as store:
            _trail(store, root)
            store.commit(Commit(reports=old.reports, events=old.events))
        return _exchange(settings, built, merged(past, Past(), lost=lost), None, old, audit, now_ns, tell)


# --- what is there now ----------------------------------------------------------------------------------------------


def _past(settings: Settings) -> tuple[Past, bool]:
    """(what must survive, whether the state itself is lost)."""
    root, path = settings.data_dir, settings.store_path()
    files, store = past_of_files(root), past_of_store(path)
    traces = next(archived(root), None) is not None or AuditFiles(root / "audit").tail().sequence > 0
    lost = not store.readable or (traces and not path.exists())
    if not lost:
        files.standing, files.halts = Standing(), HaltState()
    return merged(store if store.readable else Past(), files, lost=lost), lost


def _told(path: Path) -> _Old:
    """Files, reports and events of a store, as far as it can be read."""
    old = _Old()
    try:
        with reading_store(path) as reads:
            if reads is not None:
                old.entries = by_prefix(reads.files())
                old.events = [(e.ts_ns, e.kind, e.data) for e in reads.events()]
                old.reports = [found for r in reads.reports() if (found := reads.report(r.day)) is not None]
    except (StoreBroken, StoreUnavailable, ValueError, KeyError):
        pass
    return old


def _older(old: _Old, more: _Old) -> None:
    """What a store that was set aside before adds: the first of both counts for files, the higher revision for reports."""
    old.entries = {**old.entries, **more.entries}
    days = {r.day: r for r in more.reports}
    for r in old.reports:
        if r.day not in days or r.revision >= days[r.day].revision:
            days[r.day] = r
    old.reports = sorted(days.values(), key=lambda r: r.day)
    old.events = sorted({*old.events, *more.events})


def _set_aside_before(path: Path) -> Iterator[Path]:
    """Stores that were set aside, oldest first."""
    names = [p for p in path.parent.glob(path.name + ".broken-*") if not p.name.endswith(("-wal", "-shm"))]
    yield from sorted(names, key=lambda p: p.stat().st_mtime_ns)


def _export(path: Path, root: Path) -> None:
    """Rows of the trail that the old store has and the files lack."""
    try:
        with reading_store(path) as reads:
            if reads is not None:
                AuditFiles(root / "audit").export(reads.audit_rows)
    except (StoreBroken, StoreUnavailable):
        return


def _trail(store: Store, root: Path) -> None:
    """A new store has the whole trail of the files; where that does not hold together, it goes on from its end."""
    tail, rows = AuditFiles(root / "audit").tail(), list(audit_entries(root / "audit"))
    if rows and (rows[0]["sequence"], rows[-1]["sequence"]) == (1, tail.sequence):
        store.adopt_audit(rows)
    elif tail.sequence:
        store.continue_audit(tail.sequence, tail.hash)


def _cleared(path: Path) -> Path:
    """The place beside the store, without what an earlier try left there."""
    beside = path.with_name(path.name + BESIDE)
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{beside}{suffix}").unlink(missing_ok=True)
    return beside


def _audit_in_place(folder: Path, root: Path, now_ns: int) -> list[Path]:
    """The backup's trail where there is none; where there is another one (another machine's), that one is kept, renamed."""
    ours, theirs = AuditFiles(root / "audit").tail(), AuditFiles(folder / "audit").tail()
    if ours.sequence:
        with reading_store(folder / STORE) as reads:
            end = reads.last_audit() if reads is not None else (0, "")
        if end[0] == 0 or any(row["sequence"] == end[0] and row["hash"] == end[1] for row in audit_entries(root / "audit", end[0] - 1)):
            return []
        aside = root / f"audit.before-restore-{now_ns // 1_000_000_000}"
        os.rename(root / "audit", aside)
        bring(folder / "audit", root / "audit", link=False)
        return [aside]
    if theirs.sequence:
        bring(folder / "audit", root / "audit", link=False)
    return []


# --- the exchange ---------------------------------------------------------------------------------------------------


def _exchange(
    settings: Settings, built: Built, past: Past, made: Backup | None, old: _Old, audit: AuditDraft, now_ns: int, tell: Tell
) -> Exchanged:
    path = settings.store_path()
    beside = path.with_name(path.name + BESIDE)
    sequence, decision = above(settings, past, made, now_ns)
    told = {"sequence": sequence, "decision_sequence": decision, "instance": past.instance or (made.instance if made is not None else "")}
    states = {
        "standing": msgspec.msgpack.encode(past.standing), "halts": msgspec.json.encode(past.halts), "publisher": msgspec.json.encode(told),
        "commands/applied": msgspec.json.encode(past.applied),
    }  # fmt: skip
    with Store.open(beside, now_ns=now_ns) as store:
        store.commit(Commit(states=states, audit=[audit]))
        known = frozenset(by_prefix(store.files()))
    aside = settings.model_copy(update={"store": settings.store.model_copy(update={"url": f"sqlite:///{beside}"})})
    with built(aside, command=audit.event, locked=True) as app:
        done = Exchanged(records=Refilled(), sequence=sequence, must_reset=past.standing.broken_store, halts=len(past.halts.latches))
        remember(app, past)
        done.records = refill(app, due(settings.data_dir, old.entries, known), tell)
        lines(app)
        app.brain.commit_extras()
    done.kept = _set_aside(path, now_ns)
    os.rename(beside, path)
    sync_folder(path.parent)
    _export(path, settings.data_dir)
    return done


def _set_aside(path: Path, now_ns: int) -> list[Path]:
    return set_aside(path, f"exchanged-{now_ns // 1_000_000_000}") if path.exists() or Path(f"{path}-wal").exists() else []
