"""Lines for the audit trail from commands that run beside a daemon: the store has one writer, so they leave a note for it.

1. A note is a file in `data_dir/.notes/`, which only the owner can enter; the daemon takes it within seconds, in the order of its name.
2. Without a daemon the command takes the lock and writes the line itself.
3. A note is removed after its line is committed; its name is in the line, so that one told twice (a crash between) can be seen as one.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec

from parityd.edges.audit import AuditFiles
from parityd.edges.files import ensure_folder, replace_durably, sync_folder
from parityd.edges.lock import DirectoryLock, LockedError
from parityd.service.brain import Brain
from parityd.settings import Settings
from parityd.store import AuditDraft, Commit, Store

FOLDER = ".notes"
MOST = 256


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One audit line to be."""

    ts_ns: int
    event: str
    actor: str
    data: dict[str, Any]
    strategy: str | None = None


def leave(settings: Settings, note: Note) -> None:
    """Into the audit trail: at once where no daemon runs, else through it. The caller owns the directory."""
    try:
        with DirectoryLock(settings.data_dir, note.event):
            if settings.store_path().exists():
                with Store.open(settings.store_path(), now_ns=note.ts_ns) as store:
                    store.commit(Commit(audit=[_draft(note)]))
                    AuditFiles(settings.data_dir / "audit").export(store.audit_rows)
                return
    except LockedError:
        pass
    folder = settings.data_dir / FOLDER
    ensure_folder(folder, 0o700)
    replace_durably(folder / f"{note.ts_ns:020d}-{os.getpid()}.json", msgspec.json.encode(note), 0o600)


def _draft(note: Note) -> AuditDraft:
    return AuditDraft(ts_ns=note.ts_ns, event=note.event, actor=note.actor, strategy=note.strategy, data=note.data)


def take(brain: Brain, data_dir: Path) -> int:
    """The worker's: put what was left into the audit trail; how many."""
    folder = data_dir / FOLDER
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))[:MOST]
    except FileNotFoundError:
        return 0
    taken = 0
    for name in names:
        with contextlib.suppress(msgspec.MsgspecError, json.JSONDecodeError):
            note = msgspec.json.decode((folder / name).read_bytes(), type=Note)
            brain.note(note.event, note.actor, note.strategy, {**note.data, "note": name.removesuffix(".json")})
            if not brain.writable:
                return taken
            taken += 1
        os.unlink(folder / name)
    if names:
        sync_folder(folder)
    return taken
