"""`parityd backup DIR`: everything that cannot be made again, while the daemon runs.

1. The store is copied first, in one consistent view, and proven by reading all of the copy; the archive comes after it, so it holds at least
   every file that the copy knows. What is in the archive and not in the copy is read once more by `restore`.
2. Archived files never change, so they are linked where that is possible and copied where it is not; everything else is copied.
3. `backup.json` is written last: a folder without it is no backup. The same folder may be used again; it is brought up to date.
"""

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from parityd import __version__
from parityd.core.instants import rfc3339
from parityd.edges.files import ensure_folder, replace_durably, sync_folder
from parityd.problem import Problem
from parityd.service.ops_archive import archived, digest
from parityd.service.ops_state import past_of_files, reading_store
from parityd.settings import Settings
from parityd.store import ACCEPTED
from parityd.store.connect import copy as copy_store

SCHEMA = "parityd/backup/1"
MANIFEST, STORE = "backup.json", "parityd.sqlite"
LINKED = ("archive",)
COPIED = ("rejected", "parity_reports", "system_actions", "overrides/applied", "overrides/refused", "audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup as its manifest tells it. `missing`: files that the store knows and no archive has."""

    folder: Path
    created: str
    version: str
    instance: str
    sequence: int
    decision_sequence: int
    audit_sequence: int
    files: int
    archived: int
    missing: int
    store_sha256: str


def backup(settings: Settings, folder: Path, config: Path | None, now_ns: int) -> Backup:
    """Make or refresh the backup in `folder`."""
    root = settings.data_dir
    if not settings.store_path().exists():
        raise Problem(f"{settings.store_path()}: there is no store to back up")
    apart(settings, folder)
    if folder.exists() and any(folder.iterdir()) and not any((folder / name).exists() for name in (MANIFEST, STORE)):
        raise Problem(f"{folder} holds other things: name an empty folder, or one of an earlier backup")
    ensure_folder(folder, 0o750)
    (folder / MANIFEST).unlink(missing_ok=True)
    past = past_of_files(root)
    copy_store(settings.store_path(), folder / STORE)
    for name in LINKED:
        bring(root / name, folder / name, link=True)
    for name in COPIED:
        bring(root / name, folder / name, link=False, again=True)
    if config is not None and config.is_file():
        ensure_folder(folder / "config", 0o750)
        shutil.copyfile(config, folder / "config" / "parityd.toml")
    made = _proven(folder, now_ns, past.sequence, past.decision_sequence, past.instance)
    told = {"schema": SCHEMA, **{k: getattr(made, k) for k in Backup.__slots__ if k != "folder"}}
    replace_durably(folder / MANIFEST, json.dumps(told, indent=1).encode() + b"\n", 0o640)
    return made


def apart(settings: Settings, folder: Path) -> None:
    """A backup neither lies in what it is of nor holds it: copying one over the other would destroy both."""
    here = folder.resolve()
    for there in (settings.data_dir.resolve(), settings.store_path().resolve().parent):
        if here == there or here in there.parents or there in here.parents:
            raise Problem(f"{folder}: lies in {there}, or around it: name a folder outside of it")


def bring(source: Path, target: Path, *, link: bool, again: bool = False) -> int:
    """Every regular file below `source` to `target`; how many were not there. `again`: what is there is copied over."""
    made = 0
    for folder, _, names in os.walk(source):
        place = target / Path(folder).relative_to(source)
        ensure_folder(place, 0o750)
        for name in sorted(names):
            old, new = Path(folder) / name, place / name
            if name.startswith(".") or old.is_symlink() or not old.is_file():
                continue
            there = os.path.lexists(new)
            if there and not again:
                continue
            with contextlib.suppress(FileNotFoundError):  # it left meanwhile: the archive has it, or the next backup
                _put(old, new, link=link)
                made += not there
        sync_folder(place)
    return made


def _put(old: Path, new: Path, *, link: bool) -> None:
    if link:
        try:
            os.link(old, new)
        except FileExistsError:
            return
        except OSError:
            pass  # another file system, or one without links
        else:
            return
    beside = new.with_name("." + new.name + ".part")
    try:
        shutil.copy2(old, beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.rename(beside, new)
    finally:
        beside.unlink(missing_ok=True)


def _proven(folder: Path, now_ns: int, sequence: int, decision: int, instance: str) -> Backup:
    """The copy opened and asked, and held against the archive beside it."""
    with (folder / STORE).open("rb") as handle:
        sha = digest(handle)
    with reading_store(folder / STORE) as reads:
        if reads is None:
            raise Problem(f"{folder / STORE}: the copy is not there")
        known = {(e.book, e.sha256[:12]) for e in reads.files() if e.state == ACCEPTED}
        audit_sequence, _ = reads.last_audit()
        told = json.loads(reads.state("publisher") or b"{}")
    there = {(one.book, one.prefix) for one in archived(folder)}
    return Backup(
        folder=folder, created=rfc3339(now_ns), version=__version__, instance=instance or str(told.get("instance", "")),
        sequence=max(sequence, int(told.get("sequence", 0))), decision_sequence=max(decision, int(told.get("decision_sequence", 0))),
        audit_sequence=audit_sequence, files=len(known), archived=len(there), missing=len(known - there), store_sha256=sha,
    )  # fmt: skip


def opened(folder: Path) -> Backup:
    """A backup that may be restored: its manifest is there and its store is the one that was proven."""
    try:
        told = json.loads((folder / MANIFEST).read_bytes())
        schema = told.pop("schema")
        if schema != SCHEMA:
            raise Problem(f"{folder / MANIFEST}: {schema!r} is not {SCHEMA!r}: another version of parityd made it")
        made = Backup(folder=folder, **told)
    except FileNotFoundError:
        raise Problem(f"{folder}: no backup, or one that was not finished ({MANIFEST} is missing)") from None
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise Problem(f"{folder / MANIFEST}: cannot be read ({e})") from None
    try:
        with (folder / STORE).open("rb") as handle:
            found = digest(handle)
    except FileNotFoundError:
        raise Problem(f"{folder / STORE}: it is missing") from None
    if found != made.store_sha256:
        raise Problem(f"{folder / STORE}: it is not the store that was backed up (its hash differs)")
    return made
